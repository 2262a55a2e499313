"""Say in one line what a rule must find on a machine, or that it must be silent."""

from __future__ import annotations

from judged import commands, only, raised

from envdoctor.model.finding import Certainty, Finding, Severity
from envdoctor.model.snapshot import Snapshot, Variable
from envdoctor.rules import registry


def fires(
    code: str,
    machine: Snapshot,
    severity: Severity,
    *words: str,
    slug: str | None = None,
    certainty: Certainty | None = None,
) -> Finding:
    """Expect one finding of that severity, with these words in its title, its detail or its commands."""
    finding = only(code, machine)
    assert code in {each.id for each in registry.rules(machine)}, "its family is left out for this machine"
    told = "\n".join((finding.title, finding.detail, *(fix.summary for fix in finding.fixes), *commands(finding)))
    assert finding.severity == severity, finding.title
    assert [word for word in words if word not in told] == [], told
    assert slug in (None, finding.rule)
    assert certainty in (None, finding.certainty)
    return finding


def silent(code: str, *machines: Snapshot) -> None:
    """Expect nothing."""
    assert [finding.title for machine in machines for finding in raised(code, machine)] == []


def variables(**values: str) -> tuple[Variable, ...]:
    """Give environment variables."""
    return tuple(Variable(name=name, value=value) for name, value in values.items())
