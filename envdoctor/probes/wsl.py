"""Windows Subsystem for Linux: which of the two, and how far its GPU door is open."""

from __future__ import annotations

import re
from functools import partial
from typing import Literal

from envdoctor.host import Host, names
from envdoctor.host import text as read_text
from envdoctor.model.snapshot import Setting, Wsl
from envdoctor.probes.partial import Gaps

OSRELEASE = "/proc/sys/kernel/osrelease"
CONF = "/etc/wsl.conf"
LIBRARIES = "/usr/lib/wsl/lib"
_BINFMT = "/proc/sys/fs/binfmt_misc"
_CACHE = "/etc/ld.so.cache"
_CACHE_LIMIT = 16 << 20
_DRIVE = "/mnt/c"
_NOBODY = ("All Users", "Default", "Default User", "Public")
_SECTIONS = ("wsl2", "experimental", "general", "gpu")


def read(host: Host, kernel: str, gaps: Gaps) -> tuple[Wsl | None, dict[str, str]]:
    """Tell which WSL this is, None for none, and where each part of the answer was read.

    https://learn.microsoft.com/windows/wsl/compare-versions, https://learn.microsoft.com/windows/wsl/wsl-config
    """
    version, source = _version(host, kernel)
    if version is None:
        return None, {"system.wsl": source}
    conf = gaps.ask("system.wsl.gpu_enabled", lambda: read_text(host, CONF))
    on_path, path_source = _on_loader_path(host, gaps)
    wsl = Wsl(
        version=version,
        distribution=host.environ.get("WSL_DISTRO_NAME") or None,
        dxg=host.kind("/dev/dxg") == "character",
        libraries=names(host, LIBRARIES),
        on_loader_path=on_path,
        gpu_enabled=gpu_enabled(conf or ""),
        **_windows_side(host, gaps),  # type: ignore[arg-type]
    )
    origins = {
        "system.wsl": source,
        "system.wsl.distribution": "WSL_DISTRO_NAME",
        "system.wsl.dxg": "/dev/dxg",
        "system.wsl.libraries": LIBRARIES,
        "system.wsl.on_loader_path": path_source,
        "system.wsl.gpu_enabled": CONF,
        "system.wsl.settings": ".wslconfig",
        "system.wsl.settings_faults": ".wslconfig",
        "system.wsl.drive_free_bytes": f"statvfs {_DRIVE}",
    }
    return wsl, origins


def _version(host: Host, kernel: str) -> tuple[Literal[1, 2] | None, str]:
    if re.fullmatch(r"4\.4\.0-\d+-Microsoft", kernel):
        return 1, OSRELEASE
    if "microsoft" in kernel.lower():
        return 2, OSRELEASE
    # A kernel that somebody built for WSL 2 may bear any name. Then the door to Windows programs is a sign of its own;
    # the variable and /run/WSL are only with the GPU's door or the driver's folder, which Hyper-V guests have as well.
    if interop := next((name for name in names(host, _BINFMT) if name.startswith("WSLInterop")), None):
        return 2, f"{_BINFMT}/{interop}"
    if host.kind("/run/WSL") == "directory":
        return 2, "/run/WSL"
    if host.environ.get("WSL_DISTRO_NAME"):
        if host.kind("/dev/dxg") == "character":
            return 2, "/dev/dxg"
        if host.kind("/usr/lib/wsl") == "directory":
            return 2, "/usr/lib/wsl"
    return None, OSRELEASE


def _on_loader_path(host: Host, gaps: Gaps) -> tuple[bool | None, str]:
    if LIBRARIES in (part.rstrip("/") for part in host.environ.get("LD_LIBRARY_PATH", "").split(":")):
        return True, "LD_LIBRARY_PATH"

    def cached() -> bool | None:
        try:
            return f"{LIBRARIES}/".encode() in host.read(_CACHE, _CACHE_LIMIT)
        except FileNotFoundError:  # musl keeps no cache, and its loader was not asked
            return None

    return gaps.ask("system.wsl.on_loader_path", cached), _CACHE


def _windows_side(host: Host, gaps: Gaps) -> dict[str, object]:
    """Read what the drive C of Windows shows of the machine's settings; nothing where it is not mounted."""
    if host.kind(_DRIVE) != "directory":
        return {}
    free = gaps.ask("system.wsl.drive_free_bytes", lambda: host.space(_DRIVE).free_bytes)
    paths = [f"{_DRIVE}/Users/{name}/.wslconfig" for name in names(host, f"{_DRIVE}/Users") if name not in _NOBODY]
    contents = [
        (path, text) for path in paths if (text := gaps.ask("system.wsl.settings", partial(read_text, host, path)))
    ]
    if len(contents) != 1:  # several accounts: which of them started this machine is not known
        return {"drive_free_bytes": free}
    path, content = contents[0]
    settings, faults = parse_settings(content, path)
    return {"drive_free_bytes": free, "settings": settings, "settings_faults": faults}


def parse_settings(content: str, source: str) -> tuple[tuple[Setting, ...], tuple[str, ...]]:
    r"""Read .wslconfig: its settings by section and name, and the lines that WSL does not understand.

    https://learn.microsoft.com/windows/wsl/wsl-config

    >>> parse_settings("[wsl2]\nmemory=8GB\nprocessors\n", "x")
    ((Setting(name='wsl2.memory', value='8GB', source='x'),), ('processors',))
    """
    section, settings, faults = "", [], []
    for raw in content.replace("\0", "").lstrip("\ufeff").splitlines():
        line = raw.partition("#")[0].strip()
        if not line:
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if line.startswith("["):
            section = line.strip("[]").strip().lower()
            if not line.endswith("]") or section not in _SECTIONS:
                faults.append(line)
        elif not equals or not section or _malformed(key.lower(), value):
            faults.append(line)
        else:
            settings.append(Setting(name=f"{section}.{key.lower()}", value=value, source=source))
    return tuple(settings), tuple(faults)


def _malformed(key: str, value: str) -> bool:
    if key in ("memory", "swap"):
        number = value.upper().rstrip("B").rstrip("KMGT")
        return not number.strip().isdigit() or (number == value and value != "0")
    # A path of Windows with single backslashes is not read.
    return key in ("kernel", "swapfile") and "\\" in value and "\\\\" not in value


def gpu_enabled(conf: str) -> bool:
    r"""Read [gpu] enabled of wsl.conf, which is true unless it is switched off.

    >>> gpu_enabled("[boot]\nsystemd=true\n[gpu]\nenabled = false\n"), gpu_enabled("[interop]\nenabled=false")
    (False, True)
    """
    section, enabled = "", True
    for line in conf.splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip().lower()
            continue
        key, equals, value = line.partition("=")
        if equals and section == "gpu" and key.strip().lower() == "enabled":
            enabled = value.strip().strip('"').lower() not in ("false", "0")
    return enabled
