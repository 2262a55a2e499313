"""Who is told while something long is under way."""

from __future__ import annotations

from collections.abc import Callable

from envdoctor.model import Record


class Listener(Record):
    """Where progress goes: `step` for a person, `line` for what programs print."""

    step: Callable[[str], None]
    line: Callable[[str], None]
