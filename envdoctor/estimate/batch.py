"""The largest batch that fits, found with few walks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 1 << 20  # a step of a million samples is nobody's; the search ends there
_GUESSES = 6  # so many times a straight line says where to look; then the interval is halved


def largest(needs: Callable[[int], int], room: int, first: int = 1) -> int:
    """Give the largest batch whose need is at most `room` bytes; 0: not even one fits.

    `needs(batch)` is asked for real at the batch that is given and at the next larger one, so the answer is exact even
    where a need is no straight line: the line through two needs only says where to look. `first` is where it begins.
    """
    fits, fails = 0, LIMIT + 1  # what is known to fit, and not to
    known: list[tuple[int, int]] = []
    batch = min(max(first, 1), LIMIT)
    for turn in range(64):
        need = needs(batch)
        if need <= room:
            fits = batch
        else:
            fails = batch
        if fails - fits == 1:
            break
        known.append((batch, need))
        batch = _next(known[-2:], room, fits, fails, guess=turn < _GUESSES)
    return fits


def _next(known: list[tuple[int, int]], room: int, fits: int, fails: int, *, guess: bool) -> int:
    """Choose a batch between what fits and what fails."""
    if guess:
        (first, need), (second, other) = known[0], known[-1]
        slope = (other - need) / (second - first) if second != first else 0.0
        if slope > 0:
            reached = int(second + (room - other) / slope)
            # A guess at an end that is known would tell nothing; its neighbour settles the question.
            return min(max(reached, fits + 1), fails - 1)
        if fails > LIMIT:
            return min(max(fits * 2, 2), LIMIT)
    return (fits + fails) // 2
