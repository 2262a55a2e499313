"""The CUDA caching allocator, replayed on a run's events, as c10/cuda/CUDACachingAllocator.cpp has it.

Requests are rounded to 512 bytes. Up to 1 MiB they come out of segments of 2 MiB, below 10 MiB out of segments of
20 MiB, and from there on out of a segment of their own, rounded to 2 MiB. The smallest free block that is large enough
is taken (at the lowest address among equals); what remains of it is split off if it is worth it (512 bytes of a small
one, more than 1 MiB of a large one); free neighbours are joined.

A block is one number in here, `size << 44 | address`: so a sorted list of numbers finds the best one, and some thousand
events take milliseconds. An odd address says that the block is a segment that was never split: it has no neighbours.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

from envdoctor.estimate.tape import BLOCK

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
KEPT = SMALL << SHIFT | ADDRESS  # what is left of a large block is not split off up to here
WHOLE = 1  # the bit that is set in the address of a segment that was never split


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
        self._starts: dict[int, int] = {}  # free blocks that may have neighbours, by address
        self._ends: dict[int, int] = {}  # the same, by end
        self._held: list[int] = []  # blocks, by the event that asked for them

    def replay(self, deltas: Sequence[int], mates: Sequence[int], first: int, last: int) -> None:
        """Replay the events from `first` to before `last`: bytes asked for, and given back by their asking's number.

        Everything is in this one loop because it runs for every event.
        """
        small, large, starts, ends, held = self._small, self._large, self._starts, self._ends, self._held
        held += [0] * (last - len(held))
        allocated, highest = self._allocated, self.highest_allocated
        for at, size, mate in zip(range(first, last), deltas[first:last], mates[first:last], strict=True):
            if size > 0:
                free, kept = (small, ADDRESS) if size <= SMALL else (large, KEPT)
                wanted = size << SHIFT
                place = bisect_left(free, wanted)
                block = free.pop(place) if place < len(free) else self._segment(size)
                have, start = block >> SHIFT, block & ADDRESS
                if block - wanted > kept:
                    if start & WHOLE:
                        start -= WHOLE
                    else:
                        del starts[start]
                    after = start + size
                    starts[after] = ends[start + have] = rest = have - size << SHIFT | after
                    insort(free, rest, 0, place)
                    block = wanted | start
                    allocated += size
                else:
                    if not start & WHOLE:
                        del starts[start], ends[start + have]
                    allocated += have
                held[at] = block
                if allocated > highest:
                    highest = allocated
            elif size:
                free = small if size >= -SMALL else large
                block = held[mate]
                have = block >> SHIFT
                allocated -= have
                if not block & WHOLE:
                    start = block & ADDRESS
                    end = start + have
                    if start in ends:
                        before = ends.pop(start)
                        del free[bisect_left(free, before)]
                        start = before & ADDRESS
                        block = end - start << SHIFT | start
                    if end in starts:
                        after = starts.pop(end)
                        del free[bisect_left(free, after)]
                        end += after >> SHIFT
                        block = end - start << SHIFT | start
                    starts[start] = ends[end] = block
                insort(free, block)
        self._allocated, self.highest_allocated = allocated, highest

    def _segment(self, size: int) -> int:
        """Reserve a new segment for a request of `size` bytes, and give it as a block."""
        if size <= SMALL:
            have = SMALL_SEGMENT
        elif size < MIDDLE:
            have = LARGE_SEGMENT
        else:
            have = -(-size // ROUND) * ROUND
        start = self._room
        self._room += have + BLOCK  # what is between two segments keeps them from being joined
        self.reserved += have
        return have << SHIFT | start | WHOLE
