"""What Linux says of itself: `uname -a`, /etc/os-release, lscpu and /proc/cpuinfo, `free`, ldd --version."""

from __future__ import annotations

import re

from envdoctor.model.snapshot import Cpu, Memory, Snapshot, System, Wsl
from envdoctor.readers.lines import holding

ORIGIN = "report: kernel"
_MARKS = ("Linux ", "ID=", "lags", "ldd (", "Mem:", "MemTotal")
_UNAME = re.compile(r"\bLinux (?:[\w.-]{1,64} |version )?(\d{1,2}\.\d{1,3}\.\d{1,3}[\w.+~-]{0,60})(?=[ ,(\n]|$)")
_RELEASE_ID = re.compile(r"^ID=\"?([a-z_-]{2,30})\"?$", re.M)
_RELEASE = re.compile(r"^VERSION_ID=\"?([\d.]{1,12})\"?$", re.M)
_FLAGS = re.compile(r"^(?:\[\w{2,4}\] )?[Ff]lags\s{0,20}:\s{0,30}([a-z0-9_ ]{20,2900})$", re.M)
_LIBC = re.compile(r"ldd \([^)\n]{2,60}\) (\d\.\d{1,2})")
_MEMORY = re.compile(r"^Mem: {1,20}(\d{1,12})(Gi|G|Mi|M)?\b", re.M)
_MEMINFO = re.compile(r"^MemTotal: {1,20}(\d{1,12}) kB", re.M)


def sniff(text: str) -> bool:
    """Tell whether any of these is there."""
    return any(mark in text for mark in _MARKS)


def read(text: str) -> Snapshot:
    """Read kernel, distribution, flags of the processor, memory and C library."""
    text = holding(text, *_MARKS)
    uname, libc, flags = _UNAME.search(text), _LIBC.search(text), _FLAGS.search(text)
    release, version = _RELEASE_ID.search(text), _RELEASE.search(text)
    origins: dict[str, str] = {}
    system = None
    if uname or release or libc:
        kernel = uname[1] if uname else None
        wsl = None
        if kernel:
            origins["system.wsl"] = ORIGIN
            microsoft = "microsoft" in kernel.lower()
            wsl = Wsl(version=1 if kernel.startswith("4.4.") else 2) if microsoft else None
        tail = text[uname.end() : uname.end() + 300].split("\n")[0] if uname else ""
        system = System(
            os="linux",
            kernel=kernel,
            machine=next((each for each in ("x86_64", "aarch64") if each in tail), None),
            distribution=release[1] if release else None,
            distribution_version=version[1] if version and release else None,
            libc="glibc" if libc else None,
            libc_version=libc[1] if libc else None,
            wsl=wsl,
        )
    cpu = Cpu(features=tuple(flags[1].split())) if flags else None
    return Snapshot(system=system, cpu=cpu, memory=_memory(text), origins=origins)


def _memory(text: str) -> Memory | None:
    table, info = _MEMORY.search(text), _MEMINFO.search(text)
    if info:
        return Memory(total_bytes=int(info[1]) << 10)
    if table:
        shift = {"Gi": 30, "G": 30, "Mi": 20, "M": 20}.get(table[2] or "")
        # `free` without a unit counts KiB, `free -m` MiB without saying so.
        return Memory(total_bytes=int(table[1]) << shift) if shift else None
    return None
