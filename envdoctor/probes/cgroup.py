"""Control groups: what the kernel grants this process, in version 1, version 2 and both at once.

A limit of any group on the way up binds, so every folder from the process's own group to the mounted top is read.
https://www.kernel.org/doc/html/latest/admin-guide/cgroup-v2.html
https://www.kernel.org/doc/html/latest/admin-guide/cgroup-v1/memory.html
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from envdoctor.host import Host
from envdoctor.host import text as read_text
from envdoctor.probes.mounts import Mount, below
from envdoctor.probes.mounts import read as read_mounts

GROUPS = "/proc/self/cgroup"
_VMSTAT = "/proc/vmstat"
# Version 1 says "no limit" with the largest page-aligned number, 9223372036854771712; no machine has 2**60 bytes.
_NO_LIMIT = 1 << 60


class Granted(NamedTuple):
    """A limit and the file that sets it."""

    value: float
    source: str


def parse_groups(text: str) -> dict[str, str]:
    r"""Read /proc/<pid>/cgroup: the group's path by controller; "" is the hierarchy of version 2.

    >>> parse_groups("4:memory:/docker/ab\n1:cpu,cpuacct:/x\n0::/init.scope")
    {'memory': '/docker/ab', 'cpu': '/x', 'cpuacct': '/x', '': '/init.scope'}
    """
    groups = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if number.isdigit() and colon:
            groups.update(dict.fromkeys(controllers.split(","), path))
    return groups


def parse_bytes(text: str) -> int | None:
    """Read memory.max, memory.high or memory.limit_in_bytes; None: no limit.

    >>> parse_bytes("max"), parse_bytes("9223372036854771712"), parse_bytes("8589934592")
    (None, None, 8589934592)

    Raises:
        ValueError: it is neither a number nor "max".
    """
    if text.strip() == "max":
        return None
    value = int(text)
    return None if value < 0 or value >= _NO_LIMIT else value


def parse_share(quota: str, period: str) -> float | None:
    """Give how many processors' worth of time a quota is; None: no limit, which version 1 writes as -1.

    >>> parse_share("150000", "100000"), parse_share("max", "100000"), parse_share("-1", "100000")
    (1.5, None, None)

    Raises:
        ValueError: they are no numbers.
    """
    if quota == "max" or int(quota) <= 0:
        return None
    if int(period) <= 0:
        raise ValueError(f"a period of {period} microseconds")
    return int(quota) / int(period)


def memory_limit(host: Host) -> Granted | None:
    """Give the tightest limit in bytes; None: there is none.

    memory.high counts as well: above it the kernel slows the group down until it stands still.

    Raises:
        ValueError: a file holds no number.
    """
    found = []
    for folder in _folders(host, ""):
        found += [_bytes(host, f"{folder}/{name}") for name in ("memory.max", "memory.high")]
    found += [_bytes(host, f"{folder}/memory.limit_in_bytes") for folder in _folders(host, "memory")]
    return _tightest(found)


# What a group holds for files can be taken from it at any time; by version: the group's use, and lines of memory.stat.
_HELD = {
    "": ("memory.current", ("inactive_file", "active_file", "slab_reclaimable")),
    "memory": ("memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
}
_LIMITS = {"": ("memory.max", "memory.high"), "memory": ("memory.limit_in_bytes",)}


def memory_left(host: Host) -> Granted | None:
    """Give how much more the group of this process may take, in bytes; None: there is no limit.

    Whatever others of a group hold counts against its limit, and so does what any group below it holds. Where a group
    does not say what it holds, its whole limit is left.

    Raises:
        ValueError: a file holds no number.
    """
    found: list[tuple[float | None, str]] = []
    for controller, names in _LIMITS.items():
        for folder in _folders(host, controller):
            for limit, path in (_bytes(host, f"{folder}/{name}") for name in names):
                found.append((None if limit is None else max(0, limit - _held(host, folder, controller)), path))
    return _tightest(found)


def _held(host: Host, folder: str, controller: str) -> int:
    """Give what a group holds and cannot give back."""
    use, names = _HELD[controller]
    held = _bytes(host, f"{folder}/{use}")[0] or 0
    lines = (read_text(host, f"{folder}/memory.stat", 1 << 16) or "").splitlines()
    counts = dict(line.split(" ", 1) for line in lines if " " in line)
    return max(0, held - sum(int(counts.get(name, "0")) for name in names))


def cpu_quota(host: Host) -> Granted | None:
    """Give the smallest share, in processors' worth of time; None: there is no limit.

    Raises:
        ValueError: a file holds no number.
    """
    found = []
    for folder in _folders(host, ""):
        if text := read_text(host, f"{folder}/cpu.max"):
            quota, _, period = text.partition(" ")
            found.append((parse_share(quota, period or "100000"), f"{folder}/cpu.max"))
    for folder in _folders(host, "cpu"):
        quota_text = read_text(host, f"{folder}/cpu.cfs_quota_us")
        period_text = read_text(host, f"{folder}/cpu.cfs_period_us")
        if quota_text and period_text:
            found.append((parse_share(quota_text, period_text), f"{folder}/cpu.cfs_quota_us"))
    return _tightest(found)


def pids_limit(host: Host) -> Granted | None:
    """Give the smallest number of processes and threads that a group may have; None: no limit."""
    folders = (*_folders(host, ""), *_folders(host, "pids"))
    texts = [(read_text(host, f"{folder}/pids.max"), f"{folder}/pids.max") for folder in folders]
    return _tightest((int(text) if text and text.isdigit() else None, path) for text, path in texts)


def oom_kills(host: Host) -> Granted | None:
    """Count what the kernel ended in this process's own group for lack of memory; None: the group does not count.

    Outside of any group of its own the machine's count stands for it.
    """
    for folder in _folders(host, "")[:1]:
        if (count := _count(read_text(host, f"{folder}/memory.events"))) is not None:
            return Granted(count, f"{folder}/memory.events")
    for folder in _folders(host, "memory")[:1]:
        if (count := _count(read_text(host, f"{folder}/memory.oom_control"))) is not None:
            return Granted(count, f"{folder}/memory.oom_control")
    return machine_oom_kills(host)


def machine_oom_kills(host: Host) -> Granted | None:
    """Count what the kernel ended on the whole machine for lack of memory; None: it does not count."""
    count = _count(read_text(host, _VMSTAT))
    return None if count is None else Granted(count, _VMSTAT)


class Use(NamedTuple):
    """What the group of a process holds, and how often the kernel ended one of it for lack of memory."""

    held_bytes: int | None
    limit_bytes: int | None  # of the group itself
    kills: Granted | None


def use(host: Host, pid: int) -> Use:
    """Look at the group of another process; everything is None where it has none that counts, or has ended.

    Raises:
        ValueError: a file holds no number.
    """
    groups = f"/proc/{pid}/cgroup"
    if not read_text(host, groups):
        return Use(None, None, None)
    for controller, held, limit, events in (
        ("", "memory.current", "memory.max", "memory.events"),
        ("memory", "memory.usage_in_bytes", "memory.limit_in_bytes", "memory.oom_control"),
    ):
        for folder in _folders(host, controller, groups)[:1]:
            if (count := _count(read_text(host, f"{folder}/{events}"))) is not None:
                return Use(
                    _bytes(host, f"{folder}/{held}")[0],
                    _bytes(host, f"{folder}/{limit}")[0],
                    Granted(count, f"{folder}/{events}"),
                )
    return Use(None, None, None)


def oom_kills_in(host: Host, path: str) -> int | None:
    """Read the count of one group's file again; None: the group is gone."""
    return _count(read_text(host, path))


def _count(text: str | None) -> int | None:
    r"""Read the line oom_kill.

    >>> _count("oom 3\noom_kill 2\noom_group_kill 0\n")
    2
    """
    for line in (text or "").splitlines():
        name, _, number = line.partition(" ")
        if name == "oom_kill" and number.isdigit():
            return int(number)
    return None


def _bytes(host: Host, path: str) -> tuple[int | None, str]:
    text = read_text(host, path)
    return (parse_bytes(text) if text else None), path


def _tightest(found: Iterable[tuple[float | None, str]]) -> Granted | None:
    limits = [Granted(value, source) for value, source in found if value is not None]
    return min(limits, key=lambda limit: limit.value) if limits else None


def _folders(host: Host, controller: str, groups: str = GROUPS) -> tuple[str, ...]:
    """List the folders of a process's group and those above it, innermost first; none without that hierarchy."""
    group = parse_groups(read_text(host, groups) or "").get(controller, "/")
    mount = next((mount for mount in read_mounts(host) if _carries(mount, controller)), None)
    if mount is None:
        # No list of mounts to go by: the folders that systemd and every container engine use.
        top, root = "/sys/fs/cgroup" + ("/" + controller if controller else ""), "/"
    else:
        top, root = mount.point, mount.root
    return climb(top, root, group)


def climb(top: str, root: str, group: str) -> tuple[str, ...]:
    """List the folders from a group up to the mounted top.

    A container sees its own group as the top: then the kernel names the group "/", or names it in the host's terms and
    the mount's root says how much of that is above the top. What lies outside ("/../x") cannot be seen; the top can.

    >>> climb("/sys/fs/cgroup", "/", "/a/b")
    ('/sys/fs/cgroup/a/b', '/sys/fs/cgroup/a', '/sys/fs/cgroup')
    >>> climb("/sys/fs/cgroup/memory", "/docker/ab", "/docker/ab")
    ('/sys/fs/cgroup/memory',)
    """
    inside = group[len(root.rstrip("/")) :] if below(group, root) else "/"
    steps = [step for step in inside.split("/") if step]
    if ".." in steps:
        steps = []
    return tuple("/".join((top, *steps[:length])) for length in range(len(steps), -1, -1))


def _carries(mount: Mount, controller: str) -> bool:
    if controller:
        return mount.filesystem == "cgroup" and controller in mount.options.split(",")
    return mount.filesystem == "cgroup2"
