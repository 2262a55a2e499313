"""What came of bringing a machine from nothing to a verified environment."""

from __future__ import annotations

from typing import Literal

from envdoctor.model import Record
from envdoctor.model.finding import Diagnosis
from envdoctor.model.outcome import Outcome
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.stack import Conflict, Plan, Stack


class Made(Record):
    """An environment that was made. Its stack may be another than was chosen, where pip could not get that."""

    manager: Literal["venv", "conda"]
    path: str
    python: str
    stack: Stack


class BuiltImage(Record):
    """A container image that was built."""

    tag: str
    id: str
    size_bytes: int
    base: str | None = None  # the base by its digest, which names it for good; None: the engine knows none
    seconds: float = 0.0


class Onboarding(Record):
    """What came of it. `plan` None and `conflict` set: no stack fits."""

    folder: str
    manager: Literal["venv", "conda"]
    machine: Snapshot
    judged: Diagnosis
    plan: Plan | None = None
    conflict: Conflict | None = None
    python: str | None = None
    outcomes: tuple[Outcome, ...] = ()

    @property
    def verified(self) -> bool:
        """Tell whether every workload passed."""
        return bool(self.outcomes) and all(outcome.status == "passed" for outcome in self.outcomes)
