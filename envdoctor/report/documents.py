"""The JSON that commands print. Its shape is a promise: keys are added, never renamed (schema_version)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from envdoctor import __version__
from envdoctor.model.finding import Diagnosis, Ignored
from envdoctor.model.onboarding import BuiltImage, Made, Onboarding
from envdoctor.model.outcome import Outcome
from envdoctor.model.snapshot import SCHEMA_VERSION, Snapshot
from envdoctor.model.stack import Conflict, Plan

if TYPE_CHECKING:
    from datetime import date

    from envdoctor.knowledge.catalogue import Summary
    from envdoctor.knowledge.tables import Row
    from envdoctor.model.difference import Difference
    from envdoctor.model.estimate import Capacity, Estimate, Workload
    from envdoctor.model.requirement import Checked
    from envdoctor.model.run import Run
    from envdoctor.model.tuning import Tuning
    from envdoctor.report import shapes
    from envdoctor.rules.registry import Rule


def diagnosis(machine: Snapshot, judged: Diagnosis) -> str:
    """Write a diagnosis with the snapshot it judges, so that it can be read back by `diagnose --from`."""
    document: shapes.DiagnosisDocument = {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "envdoctor", "version": __version__},
        "snapshot": machine,
        "findings": judged.findings,
        "not_checked": judged.not_checked,
        "ignored": [_ignored(each) for each in judged.ignored],
        "summary": {
            "errors": judged.count("error"),
            "warnings": judged.count("warning"),
            "notes": judged.count("note"),
            "ignored": len(judged.ignored),
        },
    }
    return _pretty(document)


def _ignored(each: Ignored) -> shapes.IgnoredFinding:
    finding = each.finding
    return {
        "id": finding.id,
        "rule": finding.rule,
        "severity": finding.severity,
        "title": finding.title,
        "reason": each.reason,
        "source": each.source,
        "supersedes": finding.supersedes,
    }


def run(done: Run, machine: Snapshot, judged: Diagnosis | None) -> str:
    """Write how a program ended, what it held, and what explains its end; `findings` is empty where it ended well."""
    document: shapes.RunDocument = {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "envdoctor", "version": __version__},
        "run": done,
        "findings": judged.findings if judged else (),
        "problems": machine.problems,
    }
    return _pretty(document)


def checks(found: tuple[Checked, ...]) -> str:
    """Write whether requirements are met."""
    count = {state: sum(each.state == state for each in found) for state in ("ok", "not met", "unknown")}
    document: shapes.ChecksDocument = {
        "schema_version": SCHEMA_VERSION,
        "checks": found,
        "summary": {"ok": count["ok"], "not_met": count["not met"], "unknown": count["unknown"]},
    }
    return _pretty(document)


def difference(found: Difference) -> str:
    """Write what differs between two machines."""
    document: shapes.DifferenceDocument = {
        "schema_version": SCHEMA_VERSION,
        "changes": found.changes,
        "findings": {"came": found.came, "went": found.went, "stayed": found.stayed},
        "summary": {
            "changes": sum(not each.kind.startswith("now-") for each in found.changes),
            "unknown": sum(each.kind.startswith("now-") for each in found.changes),
            "came": len(found.came),
            "went": len(found.went),
            "stayed": len(found.stayed),
        },
    }
    return _pretty(document)


def rules(every: tuple[Rule, ...]) -> str:
    """Write what each rule is called and how severe its findings usually are."""
    listed: list[shapes.RuleLine] = [
        {"id": r.id, "slug": r.slug, "severity": r.severity, "certainty": r.certainty, "title": r.title} for r in every
    ]
    document: shapes.RulesDocument = {"schema_version": SCHEMA_VERSION, "rules": listed}
    return _pretty(document)


def snapshot(machine: Snapshot) -> str:
    """Write a snapshot."""
    return _pretty(machine)


def plan(
    chosen: Plan,
    artifacts: tuple[str, ...],
    wheelhouse: tuple[str, ...] = (),
    made: Made | None = None,
    image: BuiltImage | None = None,
) -> str:
    """Write a stack with its reasons and the files that were, or would be, written; wheels in a folder of their own."""
    document: shapes.PlanDocument = {
        "schema_version": SCHEMA_VERSION,
        "stack": chosen.stack,
        "reasons": [{"choice": r.choice, "because": r.because, "source": r.source} for r in chosen.reasons],
        "request": chosen.request,
        "target": chosen.target,
        "artifacts": artifacts,
    }
    if chosen.mirror:
        document["mirror"] = chosen.mirror
    if wheelhouse:
        document["wheelhouse"] = wheelhouse
    if made:
        document["environment"] = made
    if image:
        document["image"] = image
    return _pretty(document)


def conflict(found: Conflict) -> str:
    """Write why no stack fits."""
    document: shapes.ConflictDocument = {"schema_version": SCHEMA_VERSION, "conflict": found}
    return _pretty(document)


def outcomes(results: tuple[Outcome, ...]) -> str:
    """Write what happened when the workloads ran."""
    document: shapes.OutcomesDocument = {"schema_version": SCHEMA_VERSION, "outcomes": results}
    return _pretty(document)


def onboarding(result: Onboarding) -> str:
    """Write the whole of an onboarding: what was seen, chosen, made and proved."""
    document: shapes.OnboardingDocument = {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "envdoctor", "version": __version__},
        "verified": result.verified,
        "folder": result.folder,
        "python": result.python,
        "stack": result.plan.stack if result.plan else None,
        "reasons": result.plan.reasons if result.plan else None,
        "conflict": result.conflict,
        "outcomes": result.outcomes,
        "snapshot": result.machine,
        "findings": result.judged.findings,
        "not_checked": result.judged.not_checked,
    }
    return _pretty(document)


def estimate(found: Estimate) -> str:
    """Write what a workload needs, whether it fits, and what would make it fit; bytes."""
    memory = found.memory
    document: shapes.EstimateDocument = {
        "schema_version": SCHEMA_VERSION,
        "model": found.workload.model,
        "parameters": memory.parameters,
        "parts": memory.parts,
        "allocated_bytes": memory.allocated_bytes,
        "reserved_bytes": memory.reserved_bytes,
        "device_bytes": {"low": found.device_bytes_low, "high": found.device_bytes_high},
        "verdict": found.verdict,
        "max_batch": found.max_batch,
        "assumptions": found.assumptions,
        "likely_device_bytes": found.device_bytes_likely,
        "peak_in": memory.peak_in,
        "flops": memory.flops,
        "bytes_moved": memory.bytes_moved,
        "workload": found.workload,
        "device": {"name": found.device_name, "free_bytes": found.free_bytes},
        "changes": found.changes,
        "speeds": found.speeds,
        "outlooks": found.outlooks,
    }
    return _pretty(document)


def capacities(workload: Workload, found: tuple[Capacity, ...]) -> str:
    """Write the largest batch on each card."""
    document: shapes.CapacitiesDocument = {"schema_version": SCHEMA_VERSION, "workload": workload, "capacities": found}
    return _pretty(document)


def tuning(found: Tuning) -> str:
    """Write what was tried, what fits and is fast, and what that means; bytes, seconds, items a second."""
    return _pretty({"schema_version": SCHEMA_VERSION, **msgspec.structs.asdict(found)})


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
