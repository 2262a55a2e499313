"""How a program of the person's own came to its end, and what it held at the most."""

from __future__ import annotations

from envdoctor.model import Record


class GpuUse(Record):
    """The memory of one GPU while the program ran, in bytes."""

    index: int
    name: str | None = None
    total_bytes: int | None = None
    before_bytes: int | None = None  # used at the first look
    peak_bytes: int | None = None  # used by everybody at the most
    own_bytes: int | None = None  # by the program and its children at the most; None: the driver did not say


class Room(Record):
    """The least that was free in a file system while the program ran; bytes."""

    path: str
    total_bytes: int
    least_free_bytes: int


class Run(Record):
    """A program that has ended. Bytes and seconds; None: it was not to be seen."""

    argv: tuple[str, ...]
    status: int  # as a shell gives it: the program's own, or 128 and the number of the signal
    seconds: float
    peak_bytes: int  # most resident memory of it and its children at one time
    signal: str | None = None  # the name of the signal that ended it: SIGKILL
    group_peak_bytes: int | None = None  # most memory of its cgroup, with the page cache, where that has a limit
    group_limit_bytes: int | None = None
    oom_kills: int | None = None  # processes that the kernel ended meanwhile for lack of memory, in its cgroup
    machine_oom_kills: int | None = None  # the same, on the whole machine
    gpus: tuple[GpuUse, ...] = ()
    rooms: tuple[Room, ...] = ()
