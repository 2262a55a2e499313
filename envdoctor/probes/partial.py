"""What a probe could not see: one fact that cannot be read costs that fact, and not the rest of its probe."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from envdoctor.model.snapshot import Gap, GapKind
from envdoctor.model.speech import say

_Answer = TypeVar("_Answer")


class Gaps:
    """The gaps of one probe, in the order they were met."""

    def __init__(self, probe: str) -> None:
        self.probe = probe
        self.found: list[Gap] = []

    def ask(self, fact: str, question: Callable[[], _Answer]) -> _Answer | None:
        """Give the answer; where it cannot be had, note the gap over `fact` and give None."""
        try:
            return question()
        except (OSError, ValueError) as problem:
            self.note(fact, *_reason(problem))
            return None

    def note(self, fact: str, kind: GapKind, detail: str) -> None:
        """Say once that a fact is unknown, and why."""
        gap = Gap(probe=self.probe, fact=fact, kind=kind, detail=detail)
        if gap not in self.found:
            self.found.append(gap)


def _reason(problem: OSError | ValueError) -> tuple[GapKind, str]:
    name = getattr(problem, "filename", None)
    if isinstance(problem, PermissionError):
        return "denied", say("no permission to read {name}", name=name) if name else str(problem)
    if isinstance(problem, TimeoutError):
        return "timeout", say("{name} gave no answer", name=name) if name else str(problem)
    if isinstance(problem, ChildProcessError):
        return "crashed", str(problem)
    if isinstance(problem, OSError):
        return "not-reported", f"{name}: {problem.strerror}" if name else str(problem)
    return "not-reported", str(problem)
