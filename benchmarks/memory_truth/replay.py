"""Replay allocations as the CUDA caching allocator would serve them.

A second, independent copy of what `envdoctor.estimate` models, on purpose: a yardstick made with the thing it measures
would find no fault in it. https://zdevito.github.io/2022/08/04/cuda-caching-allocator.html
"""

from __future__ import annotations

import bisect

MIB = 1 << 20
_Free = tuple[int, int, int]  # bytes, segment, offset in it: best fit is the first that is large enough


class CachingAllocator:
    """Blocks of 512 bytes' multiples, cut from segments of 2 MiB, 20 MiB, or their own size in steps of 2 MiB."""

    def __init__(self) -> None:
        self.reserved = self.allocated = self.peak_allocated = 0
        self._free: tuple[list[_Free], list[_Free]] = ([], [])
        self._live: dict[int, tuple[int, int, int, int]] = {}
        self._segments = self._handles = 0

    def malloc(self, asked: int) -> int:
        """Serve `asked` bytes; returns a handle for `release`."""
        size = max(512, -(-asked // 512) * 512)
        large = size > MIB
        free = self._free[large]
        place = bisect.bisect_left(free, (size, 0, 0))
        if place < len(free):
            whole, segment, offset = free.pop(place)
        else:
            whole, segment, offset = self._segment(size, large), self._segments, 0
        rest = whole - size
        if rest > MIB if large else rest >= 512:
            bisect.insort(free, (rest, segment, offset + size))
            whole = size
        self.allocated += whole
        self.peak_allocated = max(self.peak_allocated, self.allocated)
        self._handles += 1
        self._live[self._handles] = (large, whole, segment, offset)
        return self._handles

    def release(self, handle: int) -> None:
        """Give a block back, joined with the free blocks beside it."""
        large, size, segment, offset = self._live.pop(handle)
        self.allocated -= size
        free = self._free[large]
        for block in [each for each in free if each[1] == segment]:
            if block[2] + block[0] == offset:
                free.remove(block)
                offset, size = block[2], size + block[0]
            elif offset + size == block[2]:
                free.remove(block)
                size += block[0]
        bisect.insort(free, (size, segment, offset))

    def _segment(self, size: int, large: bool) -> int:
        if not large:
            whole = 2 * MIB
        elif size < 10 * MIB:
            whole = 20 * MIB
        else:
            whole = -(-size // (2 * MIB)) * 2 * MIB
        self.reserved += whole
        self._segments += 1
        return whole
