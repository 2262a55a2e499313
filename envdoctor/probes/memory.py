"""Host memory: what there is, and what this process may take of it."""

from __future__ import annotations

from envdoctor.host import Host
from envdoctor.host import text as read_text
from envdoctor.model.snapshot import Gap, Memory, Snapshot
from envdoctor.probes import Place, Probe, cgroup
from envdoctor.probes.partial import Gaps

MEMINFO = "/proc/meminfo"
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
    return Snapshot(
        memory=Memory(
            total_bytes=sizes["MemTotal"],
            available_bytes=sizes.get("MemAvailable"),
            limit_bytes=int(limit.value) if limit else None,
            swap_bytes=sizes.get("SwapTotal"),
            shm_bytes=shm[0] if shm else None,
            shm_free_bytes=shm[1] if shm else None,
        ),
        gaps=tuple(gaps.found),
        origins={
            "memory": MEMINFO,
            "memory.total_bytes": MEMINFO,
            "memory.limit_bytes": limit.source if limit else cgroup.GROUPS,
            "memory.shm_bytes": SHARED,
            "memory.shm_free_bytes": SHARED,
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


def _shared(host: Host) -> tuple[int, int] | None:
    if host.kind(SHARED) != "directory":
        return None
    space = host.space(SHARED)
    return space.total_bytes, space.free_bytes


def _without_proc(host: Host) -> Snapshot:
    resources = host.resources()
    if resources is None:
        detail = f"there is no {MEMINFO}"
        return Snapshot(gaps=(Gap(probe="memory", fact="memory", kind="unsupported", detail=detail),))
    memory = Memory(
        total_bytes=resources.total_bytes,
        available_bytes=resources.available_bytes,
        swap_bytes=resources.swap_bytes,
    )
    return Snapshot(memory=memory, origins={"memory": "psutil"})
