"""Processor, what it can compute with, and the share of it this process may use."""

from __future__ import annotations

from envdoctor.host import Host, names
from envdoctor.host import text as read_text
from envdoctor.model.snapshot import Cpu, Snapshot
from envdoctor.model.speech import say
from envdoctor.probes import Place, Probe, cgroup
from envdoctor.probes.partial import Gaps
from envdoctor.probes.virtual import CPUINFO, FIRST_PROCESSOR, first, words

_ONLINE = "/sys/devices/system/cpu/online"
_FREQUENCY = "/sys/devices/system/cpu/cpu0/cpufreq"
_NODES = "/sys/devices/system/node"
_X86 = ("x86_64", "amd64", "i386", "i686")
# Instructions that decide whether a framework's binary runs at all (avx), and how fast a CPU computes without a GPU.
FEATURES = (
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512_bf16",
    "avx512_vnni",
    "avx_vnni",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
)
# ARM writes numbers where x86 writes names: who designed the core, and which core of theirs it is.
# https://github.com/util-linux/util-linux/blob/master/sys-utils/lscpu-arm.c
_DESIGNERS = {"0x41": "ARM", "0x46": "Fujitsu", "0x48": "HiSilicon", "0x4e": "NVIDIA", "0x51": "Qualcomm"}
_DESIGNERS |= {"0x61": "Apple", "0xc0": "Ampere"}
_CORES = {
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd42"): "Cortex-A78AE",
    ("0x41", "0xd49"): "Neoverse-N2",
    ("0x41", "0xd4f"): "Neoverse-V2",
    ("0x4e", "0x004"): "Carmel",
}


def read(host: Host, place: Place | None) -> Snapshot:
    """Describe the processor. A system without /proc tells only how many there are."""
    del place
    gaps = Gaps("cpu")
    content = read_text(host, CPUINFO, FIRST_PROCESSOR)
    share = gaps.ask("cpu.quota", lambda: cgroup.cpu_quota(host))
    logical, source = _logical(host)
    if content is None and host.uname()[2].lower() in _X86:
        gaps.note("cpu.features", "unsupported", say("there is no {cpuinfo}", cpuinfo=CPUINFO))
    if logical is None:
        gaps.note("cpu.logical", "unsupported", say("there is no {cpuinfo}", cpuinfo=CPUINFO))
    cpu = parse(content or "")
    return Snapshot(
        cpu=Cpu(
            model=cpu.model,
            vendor=cpu.vendor,
            logical=logical,
            affinity=host.affinity(),
            quota=share.value if share else None,
            features=cpu.features,
            numa_nodes=gaps.ask("cpu.numa_nodes", lambda: _numa(host)),
            governor=gaps.ask("cpu.governor", lambda: read_text(host, f"{_FREQUENCY}/scaling_governor", 64)) or None,
            scaling_driver=gaps.ask("cpu.scaling_driver", lambda: read_text(host, f"{_FREQUENCY}/scaling_driver", 64)),
        ),
        gaps=tuple(gaps.found),
        origins={
            "cpu": CPUINFO,
            "cpu.logical": source,
            "cpu.affinity": "sched_getaffinity",
            "cpu.quota": share.source if share else cgroup.GROUPS,
            "cpu.numa_nodes": f"{_NODES}, /proc/self/status",
            "cpu.governor": f"{_FREQUENCY}/scaling_governor",
            "cpu.scaling_driver": f"{_FREQUENCY}/scaling_driver",
        },
    )


PROBE = Probe("cpu", ("cpu",), read)


def parse(cpuinfo: str) -> Cpu:
    r"""Read model, vendor and instructions of the first processor.

    >>> parse("vendor_id : GenuineIntel\nmodel name : Xeon\nflags : fpu avx2 avx\n").features
    ('avx', 'avx2')
    """
    flags = words(cpuinfo, "flags")
    designer, core = first(cpuinfo, "CPU implementer") or "", first(cpuinfo, "CPU part") or ""
    return Cpu(
        model=first(cpuinfo, "model name") or _CORES.get((designer, core)),
        vendor=first(cpuinfo, "vendor_id") or _DESIGNERS.get(designer),
        features=None if flags is None else tuple(feature for feature in FEATURES if feature in flags),
    )


def count(online: str) -> int:
    """Count the processors of a list of ranges.

    >>> count("0-3,8,10-11")
    7

    Raises:
        ValueError: it is no such list.
    """
    total = 0
    for part in online.strip().split(","):
        low, dash, high = part.partition("-")
        total += int(high if dash else low) - int(low) + 1
    return total


def processors(listed: str) -> set[int]:
    """Give the processors of a list of ranges.

    >>> sorted(processors("0-2,8"))
    [0, 1, 2, 8]
    """
    found: set[int] = set()
    for part in listed.strip().split(","):
        low, dash, high = part.partition("-")
        if low:
            found.update(range(int(low), int(high if dash else low) + 1))
    return found


def _numa(host: Host) -> tuple[int, ...] | None:
    """Give the memory nodes whose processors this process may use; None: the machine has one node only."""
    nodes = [int(name[4:]) for name in names(host, _NODES) if name.startswith("node") and name[4:].isdigit()]
    if len(nodes) < 2:
        return None
    allowed = processors(first(read_text(host, "/proc/self/status") or "", "Cpus_allowed_list") or "")
    return tuple(n for n in sorted(nodes) if allowed & processors(read_text(host, f"{_NODES}/node{n}/cpulist") or ""))


def _logical(host: Host) -> tuple[int | None, str]:
    if online := read_text(host, _ONLINE):
        return count(online), _ONLINE
    if content := read_text(host, CPUINFO):
        return sum(line.startswith("processor") for line in content.splitlines()) or None, CPUINFO
    resources = host.resources()
    return (resources.logical if resources else None), "psutil"
