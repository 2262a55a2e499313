from __future__ import annotations

import os

import pytest

from envdoctor.app.running import Sights
from envdoctor.host import NvmlGpu
from envdoctor.host.local import LocalHost
from envdoctor.host.recorded import RecordedHost, Recording

GIB = 1 << 30


def gpu(used: int, *processes: tuple[int, int | None]) -> tuple[NvmlGpu, ...]:
    return (NvmlGpu(index=0, name="A", memory_bytes=8 * GIB, used_bytes=used * GIB, processes=processes),)


def test_what_the_program_holds_of_a_gpu_is_told_apart_from_others() -> None:
    sights = Sights(LocalHost(), ())
    me, child, other = os.getpid(), 2**22 + 1, 2**22 + 2  # beyond the largest number of a process
    sights.look(me, frozenset((me, child)))
    sights.take(gpu(1, (other, GIB)))
    assert sights.gpus[0].own_bytes is None
    sights.take(gpu(6, (other, GIB), (me, 3 * GIB), (child, 2 * GIB)))
    sights.take(gpu(2, (other, GIB), (me, GIB), (child, None)))
    held = sights.gpus[0]
    assert (held.before_bytes, held.peak_bytes, held.own_bytes, held.total_bytes) == (
        GIB,
        6 * GIB,
        5 * GIB,
        8 * GIB,
    )


def test_a_file_system_that_is_not_there_is_not_spoken_of() -> None:
    sights = Sights(LocalHost(), ("/no/such/place", "/"))
    sights.look(os.getpid(), frozenset())
    assert list(sights.rooms) == ["/"]
    assert 0 <= sights.rooms["/"].least_free_bytes <= sights.rooms["/"].total_bytes


def test_a_program_that_is_gone_has_no_counters() -> None:
    sights = Sights(LocalHost(), ())
    sights.look(2**22 + 1, frozenset())
    assert (sights.oom_kills, sights.held, sights.limit) == (None, None, None)


MOUNTS = {
    "version 2": "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
    "a container's version 2": "30 1 0:26 /kube/pod1 /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n",
}


@pytest.mark.parametrize(
    ("mounts", "group", "folder"),
    [
        ("version 2", "/user.slice/job.scope", "/sys/fs/cgroup/user.slice/job.scope"),
        ("a container's version 2", "/kube/pod1", "/sys/fs/cgroup"),
    ],
)
def test_a_group_of_version_2_is_counted_and_read_after_the_program_is_gone(
    mounts: str, group: str, folder: str
) -> None:
    """Recorded: where this was written, version 2 is mounted without its memory controller."""
    files = {
        "/proc/self/mountinfo": MOUNTS[mounts],
        "/proc/71/cgroup": f"0::{group}\n",
        f"{folder}/memory.current": f"{GIB}\n",
        f"{folder}/memory.max": f"{2 * GIB}\n",
        f"{folder}/memory.events": "low 0\nhigh 0\nmax 9\noom 1\noom_kill 3\noom_group_kill 0\n",
    }
    sights = Sights(RecordedHost(Recording(files=files)), ())
    sights.look(71, frozenset((71,)))
    assert (sights.held, sights.limit, sights.oom_kills) == (GIB, 2 * GIB, 0)
    assert sights.risen() == []
    files[f"{folder}/memory.current"] = f"{2 * GIB - 4096}\n"
    sights.look(71, frozenset((71,)))
    del files["/proc/71/cgroup"]
    files[f"{folder}/memory.events"] = "low 0\nhigh 0\nmax 40\noom 2\noom_kill 4\noom_group_kill 1\n"
    sights.look(71, frozenset((71,)))
    assert (sights.held, sights.limit, sights.oom_kills) == (2 * GIB - 4096, 2 * GIB, 1)
    (told,) = sights.risen()
    assert told.source == f"{folder}/memory.events"
    assert told.text == "oom_kill rose from 3 to 4: the kernel ended a process here"


def test_a_group_of_version_2_without_a_limit_has_none() -> None:
    files = {
        "/proc/self/mountinfo": MOUNTS["version 2"],
        "/proc/71/cgroup": "0::/job\n",
        "/sys/fs/cgroup/job/memory.current": f"{GIB}\n",
        "/sys/fs/cgroup/job/memory.max": "max\n",
        "/sys/fs/cgroup/job/memory.events": "oom_kill 0\n",
    }
    sights = Sights(RecordedHost(Recording(files=files)), ())
    sights.look(71, frozenset((71,)))
    assert (sights.held, sights.limit, sights.oom_kills) == (None, None, 0)
