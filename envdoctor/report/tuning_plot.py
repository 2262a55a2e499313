"""A tuning as a picture: each trial by its batch, with its speed above and its memory below, and what was predicted.

SVG that stands alone: it needs no script, no font and no network, and is readable in white and in dark pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape

from envdoctor.model.speech import say
from envdoctor.model.tuning import changes
from envdoctor.report.quantities import figures, size
from envdoctor.report.tunings import GOALS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from envdoctor.model.estimate import Range
    from envdoctor.model.tuning import Attempt, Tuning

WIDTH, HEIGHT = 720, 560
_LEFT, _RIGHT, _TOP, _PANEL, _BETWEEN = 90, 30, 60, 190, 60
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9")  # told apart by most people


class _Mark(NamedTuple):
    """A trial in a panel; `value` is None where it did not run."""

    batch: int
    value: float | None
    predicted: Range | None
    colour: str
    name: str


def svg(tuning: Tuning) -> str:
    """Draw a tuning."""
    attempts = list({each.settings: each for each in tuning.attempts}.values())
    names = list(dict.fromkeys(_series(each) for each in attempts))
    colours = {name: _COLOURS[place % len(_COLOURS)] for place, name in enumerate(names)}
    legend = _TOP + 2 * _PANEL + _BETWEEN + 68
    height = max(HEIGHT, legend + 18 * len(names) + 20)
    title = say(
        "{model}, {goal}, on {device}", model=tuning.model, goal=say(GOALS[tuning.goal]), device=_device(tuning)
    )
    shape = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {shape} font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="28" font-size="16" fill="#111111">{escape(title)}</text>',
    ]
    speeds = [_mark(each, each.throughput, each.predicted.throughput, colours) for each in attempts]
    held = [_mark(each, each.peak_memory_bytes, each.predicted.memory, colours) for each in attempts]
    parts += _panel(tuning.unit, speeds, _TOP, None, figures)
    parts += _panel(say("memory"), held, _TOP + _PANEL + _BETWEEN, tuning.room_bytes, lambda count: size(int(count)))
    key = say("across: the batch; pale: predicted; a cross: it did not run; dashed: the memory that is free")
    parts.append(f'<text x="{_LEFT}" y="{legend - 22}" fill="#555555">{escape(key)}</text>')
    for place, name in enumerate(names):
        y = legend + 18 * place
        parts.append(f'<circle cx="{_LEFT}" cy="{y - 4}" r="5" fill="{colours[name]}"/>')
        parts.append(f'<text x="{_LEFT + 12}" y="{y}" fill="#111111">{escape(name)}</text>')
    return "\n".join((*parts, "</svg>")) + "\n"


def _device(tuning: Tuning) -> str:
    return tuning.device_name or tuning.device


def _series(attempt: Attempt) -> str:
    settings = attempt.settings
    return ", ".join((str(settings.size), settings.precision, *changes(settings)))


def _mark(attempt: Attempt, value: float | None, predicted: Range | None, colours: dict[str, str]) -> _Mark:
    name = _series(attempt)
    value = value if attempt.status == "ran" else None
    return _Mark(attempt.settings.batch, value, predicted, colours[name], name)


def _panel(
    label: str, marks: Sequence[_Mark], top: float, line: float | None, write: Callable[[float], str]
) -> list[str]:
    """Draw one panel; batches stand in equal steps, in their order."""
    batches = sorted({each.batch for each in marks})
    values = [each.value for each in marks if each.value is not None]
    values += [each.predicted.high for each in marks if each.predicted is not None and each.value is not None]
    most = max(values, default=0.0)
    # A limit that is far above everything would make the trials a line at the bottom.
    line = line if line is not None and most and line < 2 * most else None
    most = max(most, line or 0.0) * 1.08 or 1.0
    bottom, room = top + _PANEL, WIDTH - _LEFT - _RIGHT
    across = {batch: _LEFT + room * (place + 0.5) / len(batches) for place, batch in enumerate(batches)}

    def up(value: float) -> float:
        return bottom - _PANEL * min(value, most) / most

    parts = [f'<text x="{_LEFT}" y="{top - 8}" fill="#333333">{escape(label)}</text>']
    for share in (0.0, 0.5, 1.0):
        y, words = up(most * share), write(most * share)
        parts.append(f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#555555">{escape(words)}</text>')
    if line is not None:
        y = up(line)
        dashes = 'stroke="#aa0000" stroke-dasharray="6 4"'
        parts.append(f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" {dashes}/>')
    for batch, x in across.items():
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle" fill="#555555">{batch}</text>')
    for each in marks:
        parts += _drawn(each, across[each.batch], up, bottom, write)
    return parts


def _drawn(
    mark: _Mark, x: float, up: Callable[[float], float], bottom: float, write: Callable[[float], str]
) -> list[str]:
    """Draw a trial: a bar of what was predicted, and a point; a cross where it did not run."""
    if mark.value is None:
        cross = f"M{x - 5:.1f} {bottom - 12:.1f}l10 10m0 -10l-10 10"
        return [f'<path d="{cross}" stroke="{mark.colour}" stroke-width="2" fill="none"/>']
    parts = []
    if mark.predicted is not None:
        high, low = up(mark.predicted.high), up(mark.predicted.low)
        parts.append(
            f'<rect x="{x - 7:.1f}" y="{high:.1f}" width="14" height="{max(low - high, 1):.1f}" '
            f'fill="{mark.colour}" fill-opacity="0.15"/>'
        )
    told = escape(f"{mark.name}, {mark.batch}: {write(mark.value)}")
    point = f'<circle cx="{x:.1f}" cy="{up(mark.value):.1f}" r="4" fill="{mark.colour}">'
    return [*parts, f"{point}<title>{told}</title></circle>"]
