"""Figures as geometry: bars of memory and curves, in the units of an SVG's viewBox; pure arithmetic, no text to say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envdoctor.model.estimate import Estimate

PartName = Literal["weights", "gradients", "optimizer", "activations", "context"]

BAR_WIDTH = 1000.0
_MOST_BEYOND = 2.0  # a bar that is longer than so many times the free memory is cut, or the others would be dots


class Segment(NamedTuple):
    """A piece of a bar; `start` and `width` in the bar's units."""

    part: PartName
    size: int  # bytes
    start: float
    width: float


class Bar(NamedTuple):
    """What one workload takes, beside what is free."""

    estimate: Estimate
    segments: tuple[Segment, ...]
    free: float | None  # where the free memory ends; None: not known
    cut: bool  # it is longer than the picture


def memory_parts(estimate: Estimate) -> dict[PartName, int]:
    """Give the bytes of a workload by what a person can change about them.

    Their sum is the likely size of the process on its device: what is no tensor is the context, the libraries and what
    the allocator keeps.
    """
    parts = estimate.memory.parts
    tensors: dict[PartName, int] = {
        "weights": parts.weights + parts.buffers,
        "gradients": parts.gradients,
        "optimizer": parts.optimizer,
        "activations": parts.activations + parts.temporary + parts.inputs,
    }
    return {**tensors, "context": max(0, estimate.device_bytes_likely - sum(tensors.values()))}


def bars(estimates: Sequence[Estimate]) -> tuple[Bar, ...]:
    """Draw workloads to one scale, so that their bars can be compared by eye.

    The scale ends with the longest bar, but not far behind the free memory.
    """
    free = max((each.free_bytes or 0 for each in estimates), default=0)
    longest = max((sum(memory_parts(each).values()) for each in estimates), default=0)
    whole = max(free * 1.02, min(longest, free * _MOST_BEYOND) if free else longest, 1)
    return tuple(_bar(each, BAR_WIDTH / whole) for each in estimates)


def parts_of(drawn: Sequence[Bar]) -> list[PartName]:
    """Name the parts that any of some bars shows, in their order."""
    return list(dict.fromkeys(segment.part for bar in drawn for segment in bar.segments))


def _bar(estimate: Estimate, scale: float) -> Bar:
    segments, start = [], 0.0
    for part, count in memory_parts(estimate).items():
        width = min(count * scale, BAR_WIDTH - start)
        if width > 0:
            segments.append(Segment(part, count, round(start, 2), round(width, 2)))
        start += count * scale
    free = None if estimate.free_bytes is None else round(estimate.free_bytes * scale, 2)
    return Bar(estimate, tuple(segments), free, start > BAR_WIDTH * 1.0001)


class Tick(NamedTuple):
    """A figure on an axis and its place."""

    value: float
    place: float


class Curve(NamedTuple):
    """A line through points, with its axes; places are in the picture's units, y downwards."""

    points: tuple[tuple[float, float], ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    left: float
    right: float
    top: float
    bottom: float

    @property
    def path(self) -> str:
        """The line as an SVG polyline's points."""
        return " ".join(f"{x:g},{y:g}" for x, y in self.points)


_WIDTH, _HEIGHT = 360.0, 180.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 12.0, 12.0, 40.0
_SMALLEST, _LARGEST = 1e-9, 1e15


def curve(points: Sequence[tuple[float, float]]) -> Curve | None:
    """Draw values over steps or sizes, from zero up; None: fewer than two points, or figures that no axis can hold."""
    if len(points) < 2 or not all(abs(number) < _LARGEST for point in points for number in point):
        return None
    least, most = min(x for x, _ in points), max(x for x, _ in points)
    if most - least < _SMALLEST:
        return None
    highest = max(y for _, y in points)
    up = _ticks(0.0, highest if highest > _SMALLEST else 1.0)
    top = up[-1]
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def x_place(value: float) -> float:
        return round(_LEFT + (value - least) / (most - least) * (right - _LEFT), 2)

    def y_place(value: float) -> float:
        return round(bottom - max(value, 0.0) / top * (bottom - _TOP), 2)

    across = [least, *(each for each in _ticks(least, most) if least < each < most), most]
    across = [each for each in across if each in (least, most) or _apart(each, least, most)]
    return Curve(
        points=tuple((x_place(x), y_place(y)) for x, y in points),
        across=tuple(Tick(each, x_place(each)) for each in across),
        up=tuple(Tick(each, y_place(each)) for each in up),
        left=_LEFT,
        right=right,
        top=_TOP,
        bottom=bottom,
    )


def _apart(value: float, least: float, most: float) -> bool:
    """Keep figures on the axis from running into those at its ends."""
    return min(value - least, most - value) > 0.12 * (most - least)


def _ticks(least: float, most: float) -> list[float]:
    """Give round figures that hold a range, three to six of them.

    >>> _ticks(0, 2.3), _ticks(0, 870)
    ([0.0, 1.0, 2.0, 3.0], [0.0, 500.0, 1000.0])
    """
    rough = (most - least) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(least / step), math.ceil(most / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]
