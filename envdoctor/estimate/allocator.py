"""The CUDA caching allocator, replayed on a run's events, as c10/cuda/CUDACachingAllocator.cpp has it.

Requests are rounded to 512 bytes. Up to 1 MiB they come out of segments of 2 MiB, below 10 MiB out of segments of
20 MiB, and from there on out of a segment of their own, rounded to 2 MiB. The smallest free block that is large enough
is taken (at the lowest address among equals); what remains of it is split off if it is worth it (512 bytes of a small
one, more than 1 MiB of a large one); free neighbours are joined.

A block is one number in here, `size << 44 | address`: so a sorted list of numbers finds the best one, and some thousand
events take milliseconds.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MIB = 1 << 20
SMALL = MIB
MIDDLE = 10 * MIB
SMALL_SEGMENT = 2 * MIB
LARGE_SEGMENT = 20 * MIB
ROUND = 2 * MIB
SHIFT = 44  # sixteen TiB of addresses
ADDRESS = (1 << SHIFT) - 1


class Allocator:
    """The pools of one device, and their highest use so far."""

    __slots__ = (
        "_allocated",
        "_ends",
        "_held",
        "_large",
        "_room",
        "_small",
        "_starts",
        "highest_allocated",
        "reserved",
    )

    def __init__(self) -> None:
        self._allocated = 0
        self.highest_allocated = 0  # torch.cuda.max_memory_allocated
        self.reserved = 0  # torch.cuda.max_memory_reserved: segments are kept, so this is its own highest
        self._room = 0  # the first address that no segment has
        self._small: list[int] = []  # free blocks, sorted
        self._large: list[int] = []
        self._starts: dict[int, int] = {}  # free blocks: address -> size
        self._ends: dict[int, int] = {}  # free blocks: end -> address
        self._held: dict[int, int] = {}  # blocks in use, by the event that asked for them

    def replay(self, deltas: Sequence[int], mates: Sequence[int], first: int, last: int) -> None:
        """Replay the events from `first` to before `last`: bytes asked for, and given back by their asking's number.

        Everything is in this one loop because it runs for every event.
        """
        small, large, starts, ends, held = self._small, self._large, self._starts, self._ends, self._held
        allocated, highest = self._allocated, self.highest_allocated
        for at, size, mate in zip(range(first, last), deltas[first:last], mates[first:last], strict=True):
            if size > 0:
                free = small if size <= SMALL else large
                place = bisect_left(free, size << SHIFT)
                if place == len(free):
                    self._add_segment(size, free)
                    place = bisect_left(free, size << SHIFT)
                block = free.pop(place)
                have, start = block >> SHIFT, block & ADDRESS
                del starts[start]
                rest = have - size
                if rest > SMALL or (rest and free is small):
                    after = start + size
                    insort(free, rest << SHIFT | after)
                    starts[after] = rest
                    ends[start + have] = after
                    block = size << SHIFT | start
                    allocated += size
                else:
                    del ends[start + have]
                    allocated += have
                held[at] = block
                if allocated > highest:
                    highest = allocated
            elif size:
                free = small if size >= -SMALL else large
                block = held.pop(mate)
                length, start = block >> SHIFT, block & ADDRESS
                allocated -= length
                end = start + length
                if start in ends:
                    before = ends.pop(start)
                    del free[bisect_left(free, (start - before) << SHIFT | before)]
                    start = before
                if end in starts:
                    after = starts.pop(end)
                    del free[bisect_left(free, after << SHIFT | end)]
                    end += after
                starts[start] = length = end - start
                ends[end] = start
                insort(free, length << SHIFT | start)
        self._allocated, self.highest_allocated = allocated, highest

    def _add_segment(self, size: int, free: list[int]) -> None:
        """Reserve a new segment for a request of `size` bytes, as a free block."""
        if size <= SMALL:
            have = SMALL_SEGMENT
        elif size < MIDDLE:
            have = LARGE_SEGMENT
        else:
            have = -(-size // ROUND) * ROUND
        start = self._room
        self._room += have + 1  # a byte between two segments keeps them from being joined
        self.reserved += have
        self._starts[start] = have
        self._ends[start + have] = start
        insort(free, have << SHIFT | start)
