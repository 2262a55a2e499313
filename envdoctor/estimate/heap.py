"""glibc's malloc, replayed on a run's events: what a process on the CPU holds, which is more than it uses.

torch asks the C library for every tensor. A block above a threshold is mapped, and given back to the system when it is
let go; a smaller one is cut from the heap, where it leaves a hole that stays resident. The threshold grows: whenever a
mapped block of up to 32 MiB is let go, blocks of that size come from the heap from then on. Hence the growth of a
training process that its tensors do not explain. (malloc/malloc.c: sysmalloc, __libc_free, systrim)
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = 4096
FIRST_THRESHOLD = 128 << 10
LAST_THRESHOLD = 32 << 20  # DEFAULT_MMAP_THRESHOLD_MAX
PAD = 128 << 10  # what is asked of the system beyond the need, and left when the top is trimmed
UNIT = 16  # chunks are multiples of it
OWN = 16  # bytes of a chunk that say how long it is
LEAST = 32  # the smallest chunk
ALIGN = 64  # what torch asks for: c10/core/impl/alloc_cpu.h
SHIFT = 48
ADDRESS = (1 << SHIFT) - 1


class Heap:
    """One heap, and the blocks that are mapped beside it; bytes."""

    __slots__ = ("_ends", "_free", "_held", "_mapped", "_starts", "_threshold", "_top", "_trim", "fresh", "highest")

    def __init__(self) -> None:
        self.highest = 0  # resident at the most
        self.fresh = 0  # taken from the system so far, which hands it out page by page, each of them zeroed
        self._threshold = FIRST_THRESHOLD
        self._trim = 2 * FIRST_THRESHOLD
        self._mapped = 0
        self._top = 0  # where the used part of the heap ends; what lies above is free and not touched yet
        self._free: list[int] = []  # holes, `size << SHIFT | address`, sorted
        self._starts: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._held: dict[int, tuple[int, int]] = {}  # by event: size and address; -1: mapped

    def replay(self, deltas: Sequence[int], mates: Sequence[int], first: int, last: int) -> None:
        """Replay the events from `first` to before `last`."""
        for at in range(first, last):
            if deltas[at] > 0:
                self._held[at] = self._take(deltas[at])
            elif deltas[at]:
                self._give(*self._held.pop(mates[at]))

    def _take(self, size: int) -> tuple[int, int]:
        """Cut a chunk out of the smallest hole that surely holds it aligned, or out of the top, or map it."""
        size = -(-(size + OWN) // UNIT) * UNIT
        wanted = size + ALIGN + LEAST
        free = self._free
        place = bisect_left(free, wanted << SHIFT)
        if place < len(free):
            block = free.pop(place)
            have, start = block >> SHIFT, block & ADDRESS
            del self._starts[start], self._ends[start + have]
            lead = _lead(start)
            if lead:
                self._put(start, lead)
            rest = have - lead - size
            if rest >= LEAST:
                self._put(start + lead + size, rest)
            else:
                size += rest
            start += lead
        elif wanted >= self._threshold:
            size = -(-wanted // PAGE) * PAGE
            self._mapped += size
            self.fresh += size
            start = -1
        else:
            start = self._top
            lead = _lead(start)
            if lead:
                self._put(start, lead)
            start += lead
            self.fresh += start + size - self._top
            self._top = start + size
        self.highest = max(self.highest, self._mapped + self._top)
        return size, start

    def _give(self, size: int, start: int) -> None:
        if start < 0:
            self._mapped -= size
            if self._threshold < size <= LAST_THRESHOLD:
                self._threshold = size
                self._trim = 2 * size
            return
        end = start + size
        if start in self._ends:
            before = self._ends[start]
            self._drop(before, start - before)
            start = before
        if end in self._starts:
            after = self._starts[end]
            self._drop(end, after)
            end += after
        self._put(start, end - start)
        # The hole at the top is given back when it is large enough.
        if end == self._top and end - start >= self._trim:
            self._drop(start, end - start)
            self._top = start

    def _put(self, start: int, size: int) -> None:
        insort(self._free, size << SHIFT | start)
        self._starts[start] = size
        self._ends[start + size] = start

    def _drop(self, start: int, size: int) -> None:
        del self._free[bisect_left(self._free, size << SHIFT | start)], self._starts[start], self._ends[start + size]


def _lead(start: int) -> int:
    """Give what is left free before a chunk so that what it holds is aligned."""
    lead = -(start + OWN) % ALIGN
    return lead if lead == 0 or lead >= LEAST else lead + ALIGN
