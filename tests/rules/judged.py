"""Judge a machine in tests: by one rule alone, or by all of them."""

from __future__ import annotations

from collections.abc import Iterable

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Diagnosis, Finding
from envdoctor.model.snapshot import Snapshot
from envdoctor.rules import registry

FACTS = Knowledge()


def raised(code: str, machine: Snapshot) -> tuple[Finding, ...]:
    """Give what one rule says of a machine, before a nearer cause could hide it. Its needs must be known."""
    each = next(each for each in registry.rules() if each.id == code)
    assert not [need for need in each.needs if machine.gap(need)], "a fact the rule needs is unknown here"
    findings = tuple(
        Finding(
            id=each.id,
            rule=one.slug or each.slug,
            severity=one.severity or each.severity,
            certainty=one.certainty or each.certainty,
            title=one.title,
            detail=one.detail,
            evidence=machine.evidence(*one.evidence),
            fixes=one.fixes,
            sources=each.sources,
        )
        for one in each.judge(machine, FACTS)
    )
    assert overstated(findings) == []
    return findings


def overstated(findings: Iterable[Finding]) -> list[str]:
    """Give the errors that are no more than likely and that no line of an error proves: there must be none."""
    return [
        f"{each.id}: {each.title}"
        for each in findings
        if each.severity == "error"
        and each.certainty != "certain"
        and not any(evidence.fact.startswith("problems[") for evidence in each.evidence)
    ]


def only(code: str, machine: Snapshot) -> Finding:
    """Give the one finding that a rule has of a machine."""
    findings = raised(code, machine)
    assert len(findings) == 1, [finding.title for finding in findings]
    assert findings[0].evidence, "a finding says how we know"
    return findings[0]


def diagnose(machine: Snapshot) -> Diagnosis:
    """Judge by every rule."""
    judged = registry.evaluate(machine, FACTS)
    assert overstated(judged.findings) == []
    return judged


def shown(machine: Snapshot) -> list[str]:
    """Give the ids that a person sees."""
    return [finding.id for finding in diagnose(machine).findings]


def commands(finding: Finding) -> list[str]:
    """Give every command of a finding, as a line."""
    return [" ".join(command) for fix in finding.fixes for command in fix.commands]


def values(finding: Finding) -> dict[str, str]:
    """Give the evidence: fact and value."""
    return {each.fact: each.value for each in finding.evidence}
