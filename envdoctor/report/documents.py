"""The JSON that commands print. Its shape is a promise: keys are added, never renamed (schema_version)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from envdoctor import __version__
from envdoctor.model.finding import Diagnosis
from envdoctor.model.onboarding import Onboarding
from envdoctor.model.outcome import Outcome
from envdoctor.model.snapshot import SCHEMA_VERSION, Snapshot
from envdoctor.model.stack import Conflict, Plan

if TYPE_CHECKING:
    from datetime import date

    from envdoctor.knowledge.catalogue import Summary
    from envdoctor.knowledge.tables import Row


def diagnosis(machine: Snapshot, judged: Diagnosis) -> str:
    """Write a diagnosis with the snapshot it judges, so that it can be read back by `diagnose --from`."""
    return _pretty(
        {
            "schema_version": SCHEMA_VERSION,
            "tool": {"name": "envdoctor", "version": __version__},
            "snapshot": machine,
            "findings": judged.findings,
            "not_checked": judged.not_checked,
            "summary": {
                "errors": judged.count("error"),
                "warnings": judged.count("warning"),
                "notes": judged.count("note"),
            },
        }
    )


def snapshot(machine: Snapshot) -> str:
    """Write a snapshot."""
    return _pretty(machine)


def plan(chosen: Plan, artifacts: tuple[str, ...]) -> str:
    """Write a stack with its reasons and the files that were, or would be, written."""
    return _pretty(
        {
            "schema_version": SCHEMA_VERSION,
            "stack": chosen.stack,
            "reasons": [{"choice": r.choice, "because": r.because, "source": r.source} for r in chosen.reasons],
            "request": chosen.request,
            "target": chosen.target,
            "artifacts": artifacts,
        }
    )


def conflict(found: Conflict) -> str:
    """Write why no stack fits."""
    return _pretty({"schema_version": SCHEMA_VERSION, "conflict": found})


def outcomes(results: tuple[Outcome, ...]) -> str:
    """Write what happened when the workloads ran."""
    return _pretty({"schema_version": SCHEMA_VERSION, "outcomes": results})


def onboarding(result: Onboarding) -> str:
    """Write the whole of an onboarding: what was seen, chosen, made and proved."""
    return _pretty(
        {
            "schema_version": SCHEMA_VERSION,
            "tool": {"name": "envdoctor", "version": __version__},
            "verified": result.verified,
            "folder": result.folder,
            "python": result.python,
            "stack": result.plan and result.plan.stack,
            "reasons": result.plan and result.plan.reasons,
            "conflict": result.conflict,
            "outcomes": result.outcomes,
            "snapshot": result.machine,
            "findings": result.judged.findings,
            "not_checked": result.judged.not_checked,
        }
    )


def tables(found: tuple[Summary, ...], today: date) -> str:
    """Write which tables of knowledge there are and how old they are."""
    return _pretty({"schema_version": SCHEMA_VERSION, "tables": [_aged(each, today) for each in found]})


def rows(found: Summary, rows_: tuple[Row, ...], today: date) -> str:
    """Write rows of a table, whole."""
    return _pretty({"schema_version": SCHEMA_VERSION, "table": _aged(found, today), "rows": rows_})


def _aged(found: Summary, today: date) -> dict[str, Any]:
    from envdoctor.knowledge.age import days_since, is_old

    return {**found._asdict(), "age_days": days_since(found.newest, today), "old": is_old(found.newest, today)}


def _pretty(content: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(content), indent=2).decode() + "\n"
