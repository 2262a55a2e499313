"""What surrounds the NVIDIA driver: its second kernel module, daemons, stray copies of its libraries, its faults."""

from __future__ import annotations

import posixpath
import re

import msgspec

from envdoctor.host import Host, loader, names
from envdoctor.host import text as read_text
from envdoctor.model.snapshot import Driver, Xid
from envdoctor.model.speech import say
from envdoctor.probes.partial import Gaps

_DEVICES = "/proc/devices"
_MODPROBE = ("/usr/bin/nvidia-modprobe", "/usr/sbin/nvidia-modprobe", "/sbin/nvidia-modprobe")
_FABRIC_MANAGER = "/run/nvidia-fabricmanager/nv-fabricmanager.pid"
_PERSISTENCED = "/run/nvidia-persistenced/socket"
_DISPLAYS = "/tmp/.X11-unix"  # noqa: S108  the sockets of display servers, X's and Xwayland's
_DPKG = "/var/lib/dpkg/status"
_LARGEST_LIST = 32 << 20
_SONAMES = ("libcuda.so.1", "libnvidia-ml.so.1")
# Only the driver's own lines leave the kernel's log: the rest of it is nobody's business.
_LOG = ("/bin/sh", "-c", "dmesg | grep -F NVRM")


def complete(host: Host, driver: Driver, gaps: Gaps, *, bare: bool) -> Driver:
    """Add to the driver what surrounds it. `bare`: not a container nor WSL, whose kernel log is another's."""
    devices = gaps.ask("driver.uvm", lambda: read_text(host, _DEVICES))
    switch = any("nvswitch" in path for path in driver.device_nodes or ())
    xids, wants_open = _log(host, gaps) if bare and (driver.module_loaded or driver.module_on_disk) else (None, None)
    return msgspec.structs.replace(
        driver,
        copies=gaps.ask("driver.copies", lambda: _copies(host)) or (),
        uvm=None if devices is None else any(line.split()[1:] == ["nvidia-uvm"] for line in devices.splitlines()),
        modprobe=any(host.kind(path) == "file" for path in _MODPROBE),
        nvswitch=switch,
        fabric_manager=host.kind(_FABRIC_MANAGER) == "file" if switch else None,
        fabric_manager_version=gaps.ask("driver.fabric_manager_version", lambda: _package(host)) if switch else None,
        persistenced=host.kind(_PERSISTENCED) is not None,
        display_server=bool(gaps.ask("driver.display_server", lambda: names(host, _DISPLAYS))),
        xids=xids,
        wants_open_module=wants_open,
    )


def _copies(host: Host) -> tuple[str, ...]:
    """Give every further file that the loader could take for the driver's libraries, links followed."""
    found: list[str] = []
    for soname in _SONAMES:
        ways = loader.candidates(host, soname, also=loader.DRIVER_FOLDERS)
        found += list(dict.fromkeys(host.realpath(path) for path in ways))[1:]
    return tuple(found)


def _package(host: Host) -> str | None:
    return parse_dpkg(read_text(host, _DPKG, _LARGEST_LIST) or "")


def parse_dpkg(status: str) -> str | None:
    r"""Give the release of the installed fabric manager from Debian's list of packages.

    >>> parse_dpkg("Package: nvidia-fabricmanager-570\nStatus: install ok installed\nVersion: 570.124.06-1\n\n")
    '570.124.06'
    """
    for block in status.split("\n\n"):
        if block.startswith("Package: nvidia-fabricmanager") and "ok installed" in block:
            found = re.search(r"^Version: (?:\d+:)?(\d+(?:\.\d+)+)", block, re.M)
            return found[1] if found else None
    return None


def _log(host: Host, gaps: Gaps) -> tuple[tuple[Xid, ...] | None, bool | None]:
    try:
        answer = host.run(_LOG, host.patience)
    except FileNotFoundError:
        return None, None  # a system without a shell or dmesg, and recordings from before this was asked
    except OSError as problem:
        gaps.note("driver.xids", "timeout" if isinstance(problem, TimeoutError) else "not-reported", str(problem))
        return None, None
    if answer.returncode > 1 or "not permitted" in answer.stderr or "denied" in answer.stderr:
        gaps.note("driver.xids", "denied", say("this account may not read the kernel's log"))
        return None, None
    return parse_xids(answer.stdout), wants_open(answer.stdout)


def parse_xids(log: str) -> tuple[Xid, ...]:
    """Count the faults by card and number.

    https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html

    >>> parse_xids("NVRM: Xid (PCI:0000:01:00): 79, pid=1, GPU has fallen off the bus.")
    (Xid(code=79, bus_id='0000:01:00.0', count=1),)
    """
    counted: dict[tuple[int, str], int] = {}
    for place, number in re.findall(r"NVRM: Xid \(PCI:([0-9a-fA-F:.]+)\): (\d{1,4})\b", log):
        bus_id = place.lower() if "." in place else f"{place.lower()}.0"
        counted[int(number), bus_id] = counted.get((int(number), bus_id), 0) + 1
    return tuple(Xid(code=code, bus_id=bus_id, count=count) for (code, bus_id), count in counted.items())


def wants_open(log: str) -> bool | None:
    """Tell which flavour of the module a card asks for in the log; None: no card complains.

    >>> wants_open("NVRM: installed in this system requires use of the NVIDIA open kernel modules.")
    True
    """
    if "requires use of the NVIDIA open kernel modules" in log:
        return True
    return False if "not supported by open nvidia.ko" in log else None


def paths(driver: Driver) -> tuple[str, ...]:
    """Give the device files that a CUDA program opens, of those that are there."""
    wanted = re.compile(r"nvidia(?:\d+|ctl|-uvm)$")
    return tuple(path for path in driver.device_nodes or () if wanted.match(posixpath.basename(path)))
