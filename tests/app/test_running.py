from __future__ import annotations

import os

from envdoctor.app.running import Sights
from envdoctor.host import NvmlGpu
from envdoctor.host.local import LocalHost

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
