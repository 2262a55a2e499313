"""Host memory: what there is, and what this process may take of it."""

from __future__ import annotations

from msgspec.structs import replace

from envdoctor.host import Host
from envdoctor.host import text as read_text
from envdoctor.model.snapshot import Gap, Limits, Memory, Snapshot
from envdoctor.model.speech import say
from envdoctor.probes import Place, Probe, cgroup
from envdoctor.probes.partial import Gaps

MEMINFO = "/proc/meminfo"
_LIMITS = "/proc/self/limits"
_HUGE = "/sys/kernel/mm/transparent_hugepage/enabled"
SHARED = "/dev/shm"  # noqa: S108  the kernel's shared memory, not a place to write


def read(host: Host, place: Place | None) -> Snapshot:
    """Measure memory in bytes; in a container the limit tells more than the total, which is the host's."""
    del place
    gaps = Gaps("memory")
    content = read_text(host, MEMINFO)
    if content is None:
        return _without_proc(host)
    sizes = parse(content)
    if "MemTotal" not in sizes:
        raise ValueError(f"{MEMINFO} does not say MemTotal")
    limit = gaps.ask("memory.limit_bytes", lambda: cgroup.memory_limit(host))
    shm = gaps.ask("memory.shm_bytes", lambda: _shared(host))
    killed = gaps.ask("memory.oom_kills", lambda: cgroup.oom_kills(host))
    limits = gaps.ask("memory.limits", lambda: _limits(host))
    return Snapshot(
        memory=Memory(
            total_bytes=sizes["MemTotal"],
            available_bytes=sizes.get("MemAvailable"),
            limit_bytes=int(limit.value) if limit else None,
            swap_bytes=sizes.get("SwapTotal"),
            shm_bytes=shm[0] if shm else None,
            shm_free_bytes=shm[1] if shm else None,
            oom_kills=int(killed.value) if killed else None,
            huge_pages=gaps.ask("memory.huge_pages", lambda: _chosen(read_text(host, _HUGE, 256) or "")),
            reserved_huge_bytes=reserved_huge(content),
            limits=limits,
        ),
        gaps=tuple(gaps.found),
        origins={
            "memory": MEMINFO,
            "memory.total_bytes": MEMINFO,
            "memory.limit_bytes": limit.source if limit else cgroup.GROUPS,
            "memory.shm_bytes": SHARED,
            "memory.shm_free_bytes": SHARED,
            "memory.oom_kills": killed.source if killed else cgroup.GROUPS,
            "memory.huge_pages": _HUGE,
            "memory.limits": say("{limits}, pids.max of the cgroup", limits=_LIMITS),
        },
    )


PROBE = Probe("memory", ("memory",), read)


def parse(meminfo: str) -> dict[str, int]:
    r"""Read the sizes of meminfo, which it writes in KiB, as bytes.

    >>> parse("MemTotal:  16 kB\nHugePages_Total: 0\n")
    {'MemTotal': 16384}
    """
    sizes = {}
    for line in meminfo.splitlines():
        name, _, rest = line.partition(":")
        number, _, unit = rest.strip().partition(" ")
        if unit == "kB" and number.isdigit():
            sizes[name] = int(number) << 10
    return sizes


def reserved_huge(meminfo: str) -> int | None:
    r"""Give the bytes that are set aside for huge pages and that nobody uses.

    >>> reserved_huge("HugePages_Total: 16\nHugePages_Free: 10\nHugepagesize: 2048 kB\n")
    20971520
    """
    words = {line.partition(":")[0]: line.partition(":")[2].split() for line in meminfo.splitlines() if "uge" in line}
    free, size = words.get("HugePages_Free"), words.get("Hugepagesize")
    if not free or not size or not free[0].isdigit() or not size[0].isdigit():
        return None
    return int(free[0]) * (int(size[0]) << 10)


def parse_limits(listing: str) -> Limits:
    r"""Read the soft limits of /proc/self/limits; "unlimited" is no limit.

    >>> parse_limits("Limit\nMax open files            1024                 524288               files\n").open_files
    1024
    """
    soft = {}
    for line in listing.splitlines():
        name, value = line[:26].strip(), line[26:].split()
        if value and value[0].isdigit():
            soft[name] = int(value[0])
    return Limits(
        open_files=soft.get("Max open files"),
        processes=soft.get("Max processes"),
        locked_bytes=soft.get("Max locked memory"),
        stack_bytes=soft.get("Max stack size"),
    )


def _limits(host: Host) -> Limits | None:
    listing = read_text(host, _LIMITS, 1 << 14)
    if listing is None:
        return None
    limits = parse_limits(listing)
    granted = cgroup.pids_limit(host)
    counts = [int(granted.value)] if granted else []
    counts += [limits.processes] if limits.processes is not None else []
    return replace(limits, processes=min(counts)) if counts else limits


def _chosen(text: str) -> str | None:
    """Give the word in brackets, by which the kernel marks the choice in force.

    >>> _chosen("always [madvise] never")
    'madvise'
    """
    return text.partition("[")[2].partition("]")[0] or None


def _shared(host: Host) -> tuple[int, int] | None:
    if host.kind(SHARED) != "directory":
        return None
    space = host.space(SHARED)
    return space.total_bytes, space.free_bytes


def _without_proc(host: Host) -> Snapshot:
    resources = host.resources()
    if resources is None:
        detail = say("there is no {meminfo}", meminfo=MEMINFO)
        return Snapshot(gaps=(Gap(probe="memory", fact="memory", kind="unsupported", detail=detail),))
    memory = Memory(
        total_bytes=resources.total_bytes,
        available_bytes=resources.available_bytes,
        swap_bytes=resources.swap_bytes,
    )
    return Snapshot(memory=memory, origins={"memory": "psutil"})
