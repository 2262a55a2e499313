"""Operating system, C library, and what it all stands on: WSL, container, hypervisor, board."""

from __future__ import annotations

from typing import Literal

from envdoctor.host import Host, names
from envdoctor.host import text as read_text
from envdoctor.model.snapshot import Snapshot, System
from envdoctor.probes import Place, Probe, containers, libc, virtual, wsl
from envdoctor.probes.partial import Gaps

Os = Literal["linux", "windows", "macos", "other"]

_OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")
_BOARD = "/proc/device-tree/model"
_CHASSIS = "/sys/class/dmi/id/chassis_type"
_PRIME = "/etc/prime-discrete"
_TEGRA = "/etc/nv_tegra_release"
# The variable's name is the same on every machine with UEFI; its content is four bytes of attributes and one of truth.
# https://uefi.org/specs/UEFI/2.10/03_Boot_Manager.html
_SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


def read(host: Host, place: Place | None) -> Snapshot:
    """Describe the system; what one file hides becomes a gap of its own."""
    del place
    gaps = Gaps("system")
    sysname, kernel, machine = host.uname()
    kinds: dict[str, Os] = {"Linux": "linux", "Darwin": "macos", "Windows": "windows"}
    system = kinds.get(sysname, "other")
    origins = dict.fromkeys(("system", "system.os", "system.kernel", "system.machine"), "uname")
    if system != "linux":
        from envdoctor.probes import platforms  # Windows and macOS tell by means of their own

        return Snapshot(
            system=platforms.describe(host, System(os=system, kernel=kernel or None, machine=machine or None)),
            origins=origins,
        )
    release, origin = gaps.ask("system.distribution", lambda: _os_release(host)) or ({}, _OS_RELEASE[0])
    origins |= dict.fromkeys(("system.distribution", "system.distribution_version", "system.name"), origin)

    if not kernel:
        kernel = gaps.ask("system.kernel", lambda: read_text(host, wsl.OSRELEASE) or "") or ""
    subsystem, found = wsl.read(host, kernel, gaps)
    origins |= found

    library, version, origin = gaps.ask("system.libc", lambda: libc.read(host)) or (None, None, "confstr")
    origins |= {"system.libc": origin, "system.libc_version": origin}

    container, origins["system.container"] = containers.read(host, gaps)
    is_virtual, origins["system.virtual"] = gaps.ask("system.virtual", lambda: virtual.read(host)) or (None, "")
    jetson, origins["system.jetson"] = gaps.ask("system.jetson", lambda: _jetson(host)) or (None, _BOARD)
    origins["system.secure_boot"] = _SECURE_BOOT
    origins |= {"system.laptop": _CHASSIS, "system.graphics_mode": _PRIME, "system.jetpack": _TEGRA}
    return Snapshot(
        system=System(
            os="linux",
            distribution=release.get("ID"),
            distribution_version=release.get("VERSION_ID"),
            name=release.get("PRETTY_NAME"),
            kernel=kernel or None,
            machine=machine or _machine(host),
            libc=library,
            libc_version=version,
            wsl=subsystem,
            container=container,
            virtual=is_virtual,
            secure_boot=gaps.ask("system.secure_boot", lambda: _secure_boot(host)),
            jetson=jetson,
            jetpack=gaps.ask("system.jetpack", lambda: jetpack(read_text(host, _TEGRA) or "")) if jetson else None,
            laptop=gaps.ask("system.laptop", lambda: _laptop(host)),
            graphics_mode=gaps.ask("system.graphics_mode", lambda: read_text(host, _PRIME, 64)) or None,
            iommu_passthrough=gaps.ask("system.iommu_passthrough", lambda: _iommu(host)),
        ),
        gaps=tuple(gaps.found),
        origins=origins,
    )


PROBE = Probe("system", ("system",), read)


def parse_os_release(text: str) -> dict[str, str]:
    r"""Read os-release, whose values may be quoted (https://www.freedesktop.org/software/systemd/man/os-release.html).

    >>> parse_os_release('ID=ubuntu\nVERSION_ID="22.04"\n# remark')
    {'ID': 'ubuntu', 'VERSION_ID': '22.04'}
    """
    values = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith("#"):
            quote = value[:1]
            if len(value) >= 2 and quote in "\"'" and value.endswith(quote):
                value = value[1:-1]
            for character in '"$`\\':
                value = value.replace("\\" + character, character)
            if value:
                values[key] = value
    return values


def _os_release(host: Host) -> tuple[dict[str, str], str]:
    for path in _OS_RELEASE:
        content = read_text(host, path)
        if content is not None:
            return parse_os_release(content), path
    return {}, _OS_RELEASE[0]


def _machine(host: Host) -> str | None:
    """Tell the processor of a mounted machine from the name of its program loader."""
    loaders = {name for folder in ("/lib64", "/lib") for name in names(host, folder)}
    for machine, loader in (("x86_64", "ld-linux-x86-64.so.2"), ("aarch64", "ld-linux-aarch64.so.1")):
        if loader in loaders or f"ld-musl-{machine}.so.1" in loaders:
            return machine
    return None


def _secure_boot(host: Host) -> bool | None:
    """Read the firmware's switch; None: there is no such variable (a legacy BIOS, or a container that hides it)."""
    try:
        content = host.read(_SECURE_BOOT, 16)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if len(content) < 5:
        raise ValueError(f"{_SECURE_BOOT} holds {len(content)} bytes, not 5")
    return content[4] == 1


def jetpack(release: str) -> int | None:
    """Tell JetPack's major version from the first line of nv_tegra_release; R36 is 6, R35 is 5, R32 is 4.

    >>> jetpack("# R36 (release), REVISION: 3.0, GCID: 36191598, BOARD: generic")
    6
    """
    number = release.partition("# R")[2].partition(" ")[0]
    return {"32": 4, "34": 5, "35": 5, "36": 6, "38": 7}.get(number)


def _laptop(host: Host) -> bool | None:
    # Types of the chassis: https://www.dmtf.org/standards/smbios (7.4.1)
    kind = read_text(host, _CHASSIS, 64)
    return kind in ("8", "9", "10", "14", "30", "31", "32") if kind else None


def _iommu(host: Host) -> bool | None:
    """Only AMD's compute driver asks for it; elsewhere nobody looks."""
    if host.kind("/sys/module/amdgpu") != "directory":
        return None
    return "iommu=pt" in (read_text(host, "/proc/cmdline") or "").split()


def _jetson(host: Host) -> tuple[str | None, str]:
    board = read_text(host, _BOARD)
    if board and "jetson" in board.lower():
        return board, _BOARD
    if host.kind(_TEGRA) == "file":
        return board or "NVIDIA Jetson", _TEGRA
    return None, _BOARD
