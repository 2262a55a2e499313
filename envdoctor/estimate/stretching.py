"""A walk of many layers, made of two walks of few.

Where layers are alike, each stretch of a walk (weights, the optimizer's states, forward, backward and so on) is what
comes before, a layer's events once a layer, and what comes after. Two short walks show which events those are, for the
longer one has them twice more; a long walk has them as often as it has more layers. Nothing is guessed: where two
walks do not differ in just this way, there is no answer, and the model is walked as it is.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import ne
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envdoctor.estimate.tape import Run, Work

    Item = TypeVar("Item")

TWICE = 2  # how many layers the longer of the two walks has more


class Stretch(NamedTuple):
    """Where a stretch begins in each of the three walks, and where in it, and for how long, the repeated events are."""

    few: int
    end: int  # in the walk of few layers
    more: int
    long: int
    place: int
    length: int


def repeated(few: Sequence[Item], more: Sequence[Item]) -> tuple[int, int] | None:
    """Say where `more` has some items twice that `few` has not, and how many; None: that is not the difference.

    Of several places it is the one in the middle, farthest from the first layer and from the last one.
    """
    length, odd = divmod(len(more) - len(few), TWICE)
    if odd or length < 0:
        return None
    if not length:
        return (0, 0) if few == more else None
    latest = _alike(few, more)
    earliest = len(few) - _alike(few[::-1], more[::-1])
    place = (earliest + latest) // 2
    middle, end = place + length, place + TWICE * length
    if earliest > latest or more[place:middle] != more[middle:end]:
        return None
    return place, length


def _alike(few: Sequence[object], more: Sequence[object]) -> int:
    return next((at for at, other in enumerate(map(ne, few, more)) if other), len(few))


def stretched(few: Sequence[Item], more: Sequence[Item], times: int) -> list[Item] | None:
    """Give `few` with what `more` has twice in it so many times; None: they do not differ in that way."""
    found = repeated(few, more)
    if found is None:
        return None
    place, length = found
    return [*few[:place], *list(more[place : place + length]) * times, *few[place:]]


def grown(
    few: Sequence[tuple[Work, int, int]], more: Sequence[tuple[Work, int, int]], times: int
) -> list[tuple[Work, int, int]]:
    """Give operations that are done once for all layers, and are so much larger with each."""
    return [
        (kind, flops + (other - flops) // TWICE * times, moved + (another - moved) // TWICE * times)
        for (kind, flops, moved), (_, other, another) in zip(few, more, strict=True)
    ]


def stretches(few: Run, more: Run, times: int) -> list[Stretch] | None:
    """Find the stretches of two runs, and where they are in one with so many more layers than `few`."""
    if len(few.seams) != len(more.seams):
        return None
    found, long, start, other = [], 0, 0, 0
    for end, last in zip((*few.seams, len(few.deltas)), (*more.seams, len(more.deltas)), strict=True):
        differ = repeated(few.deltas[start:end], more.deltas[other:last])
        if differ is None:
            return None
        found.append(Stretch(start, end, other, long, *differ))
        long += end - start + times * differ[1]
        start, other = end, last
    return found


def deltas(few: Run, more: Run, found: Sequence[Stretch], times: int) -> list[int]:
    """Give the bytes that each event of the long walk makes or lets go."""
    made: list[int] = []
    for each in found:
        middle, first = each.few + each.place, each.more + each.place
        made += few.deltas[each.few : middle]
        made += more.deltas[first : first + each.length] * times
        made += few.deltas[middle : each.end]
    return made


def mates(few: Run, more: Run, found: Sequence[Stretch], times: int) -> list[int] | None:
    """Give for each event of the long walk what its bytes are for, or which event made them; None: it cannot be told.

    What lets go in each layer lets go of what was made in that layer, or as many layers from it as in the short walks:
    so from one layer to the next its mate is a layer further on, or a layer further back as in the backward pass. What
    is not repeated has its mate as far from where that stretch begins in both short walks, or as far from its end.
    """
    places = _Places(few, more, found, times)
    made: list[int] = []
    for each in found:
        middle, first = each.few + each.place, each.more + each.place
        length = each.length
        before = map(places.once, range(each.few, middle), range(each.more, first))
        layer = map(places.first, range(first, first + length), range(first + length, first + 2 * length))
        after = map(places.once, range(middle, each.end), range(first + 2 * length, first + len(few.deltas)))
        made += before
        steps = list(layer)
        made += [mate + step * time for time in range(times) for mate, step in steps]
        made += after
    return None if places.unclear else made


class _Places:
    """Where the mates of the short walks' events are in the long walk."""

    def __init__(self, few: Run, more: Run, found: Sequence[Stretch], times: int) -> None:
        self.few, self.more = few, more
        self.found = found
        self.times = times
        self.starts = [each.more for each in found]
        self.unclear = False

    def once(self, few: int, more: int) -> int:
        """Find the mate of an event that both short walks have, once."""
        old, new = self.few.mates[few], self.more.mates[more]
        if self.few.deltas[few] >= 0:
            self.unclear |= old != new
            return new
        home = self.found[bisect_right(self.starts, new) - 1]
        old -= home.few
        new -= home.more
        if old == new:
            return home.long + old
        self.unclear |= new - old != TWICE * home.length
        return home.long + old + self.times * home.length

    def first(self, one: int, two: int) -> tuple[int, int]:
        """Find the mate of an event of the first repeated layer, and how far it is from it to the next layer's."""
        old, new = self.more.mates[one], self.more.mates[two]
        if self.more.deltas[one] >= 0:
            self.unclear |= old != new
            return new, 0
        home = self.found[bisect_right(self.starts, old) - 1]
        step = new - old
        mate = home.long + old - home.more
        if step == home.length:
            return mate, step
        self.unclear |= step != -home.length
        return mate + (self.times - TWICE) * home.length, step
