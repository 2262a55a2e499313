"""What came of bringing a machine from nothing to a verified environment."""

from __future__ import annotations

from typing import Literal

from envdoctor.model import Record
from envdoctor.model.finding import Diagnosis
from envdoctor.model.outcome import Outcome
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.stack import Conflict, Plan


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
