"""Windows Subsystem for Linux: which of the two, and how far its GPU door is open."""

from __future__ import annotations

import re
from typing import Literal

from envdoctor.host import Host, names
from envdoctor.host import text as read_text
from envdoctor.model.snapshot import Wsl
from envdoctor.probes.partial import Gaps

OSRELEASE = "/proc/sys/kernel/osrelease"
CONF = "/etc/wsl.conf"
LIBRARIES = "/usr/lib/wsl/lib"
_BINFMT = "/proc/sys/fs/binfmt_misc"
_CACHE = "/etc/ld.so.cache"
_CACHE_LIMIT = 16 << 20


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
    )
    origins = {
        "system.wsl": source,
        "system.wsl.distribution": "WSL_DISTRO_NAME",
        "system.wsl.dxg": "/dev/dxg",
        "system.wsl.libraries": LIBRARIES,
        "system.wsl.on_loader_path": path_source,
        "system.wsl.gpu_enabled": CONF,
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
