"""The caching allocator beside one that looks through plain lists, and by hand."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from envdoctor.estimate.allocator import Allocator

MIB = 1 << 20


class Plain:
    """The same rules without any index."""

    def __init__(self) -> None:
        self.segments: list[list[list[int]]] = []  # blocks of a segment in order: size, in use (the event) or -1
        self.small: list[bool] = []
        self.highest = self.reserved = 0

    def malloc(self, size: int, event: int) -> None:
        small = size <= MIB
        best = min(
            (
                (block[0], s, b)
                for s, blocks in enumerate(self.segments)
                if self.small[s] == small
                for b, block in enumerate(blocks)
                if block[1] < 0 and block[0] >= size
            ),
            default=None,
        )
        if best is None:
            whole = 2 * MIB if small else 20 * MIB if size < 10 * MIB else -(-size // (2 * MIB)) * 2 * MIB
            self.segments.append([[whole, -1]])
            self.small.append(small)
            self.reserved += whole
            best = (whole, len(self.segments) - 1, 0)
        have, s, b = best
        rest = have - size
        if rest >= 512 if small else rest > MIB:
            self.segments[s][b : b + 1] = [[size, event], [rest, -1]]
        else:
            self.segments[s][b][1] = event
        used = sum(block[0] for blocks in self.segments for block in blocks if block[1] >= 0)
        self.highest = max(self.highest, used)

    def release(self, event: int) -> None:
        for blocks in self.segments:
            for block in blocks:
                if block[1] == event:
                    block[1] = -1
            at = 1
            while at < len(blocks):
                if blocks[at - 1][1] < 0 and blocks[at][1] < 0:
                    blocks[at - 1][0] += blocks.pop(at)[0]
                else:
                    at += 1


def events(script: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Turn (size in units, which to free) into a run's events."""
    deltas: list[int] = []
    mates: list[int] = []
    alive: list[int] = []
    for units, free in script:
        if free >= 0 and alive:
            mate = alive.pop(free % len(alive))
            deltas.append(-deltas[mate])
            mates.append(mate)
        alive.append(len(deltas))
        deltas.append(units * 512)
        mates.append(0)
    return deltas, mates


SIZES = st.one_of(st.integers(1, 100), st.integers(1, 2100), st.integers(2048, 30000), st.integers(20000, 60000))


@given(st.lists(st.tuples(SIZES, st.integers(-1, 50)), max_size=120))
@settings(max_examples=150, deadline=None)
def test_it_is_the_plain_one_but_fast(script: list[tuple[int, int]]) -> None:
    deltas, mates = events(script)
    plain, fast = Plain(), Allocator()
    for at, delta in enumerate(deltas):
        if delta > 0:
            plain.malloc(delta, at)
        else:
            plain.release(mates[at])
    fast.replay(deltas, mates, 0, len(deltas))
    assert (fast.highest_allocated, fast.reserved) == (plain.highest, plain.reserved)


def replayed(*sizes: int) -> tuple[int, int]:
    allocator = Allocator()
    allocator.replay(sizes, [0] * len(sizes), 0, len(sizes))
    return allocator.highest_allocated, allocator.reserved


def test_segments_are_as_large_as_cuda_makes_them() -> None:
    assert replayed(512) == (512, 2 * MIB)
    assert replayed(MIB, MIB) == (2 * MIB, 2 * MIB)
    assert replayed(MIB + 512) == (MIB + 512, 20 * MIB)
    assert replayed(10 * MIB) == (10 * MIB, 10 * MIB)
    assert replayed(11 * MIB) == (12 * MIB, 12 * MIB)  # a rest of at most 1 MiB is not split off
    assert replayed(9 * MIB, 9 * MIB) == (18 * MIB, 20 * MIB)


def test_nothing_is_asked_for_where_nothing_is_needed() -> None:
    assert replayed(0) == (0, 0)
