"""Who is told while something long is under way."""

from __future__ import annotations

from collections.abc import Callable

from envdoctor.model import Record


def _nobody(steps: int) -> None:
    """Tell nobody how many steps are ahead."""


class Listener(Record):
    """Where progress goes: `step` for a person, `line` for what programs print, `expect` for how many steps follow."""

    step: Callable[[str], None]
    line: Callable[[str], None]
    expect: Callable[[int], None] = _nobody
