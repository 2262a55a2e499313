"""What is wrong, how sure, how we know, and what to type."""

from __future__ import annotations

from typing import Literal

from envdoctor.model import Record
from envdoctor.model.snapshot import Declared, Evidence, Snapshot

Severity = Literal["error", "warning", "note"]
Certainty = Literal["certain", "likely", "hint"]
Effect = Literal["safe", "changes-env", "needs-root", "needs-reboot"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


class Fix(Record):
    """One way out. `commands` are argv lists, never shell text; where a person must act by hand there are none."""

    summary: str
    commands: tuple[tuple[str, ...], ...] = ()
    effect: Effect = "safe"
    where: Literal["here", "windows", "host"] = "here"  # which side types the commands
    page: str | None = None


class Finding(Record):
    """One cause. `rule` is the slug of root_causes; `id` the catalogue's code, which `explain` takes."""

    id: str
    rule: str
    severity: Severity
    certainty: Certainty
    title: str
    detail: str
    evidence: tuple[Evidence, ...]
    fixes: tuple[Fix, ...]
    sources: tuple[str, ...]
    supersedes: tuple[str, ...] = ()  # ids of findings that this one explains, and that are therefore not shown
    needs: str | None = None  # what would have to be so, in a few words, where the title does not say it


def proof(finding: Finding, machine: Snapshot | None = None) -> tuple[str, ...]:
    """Give the command that shows whether a finding is still there, as an argv.

    What a program said is proved by running it again (PROGRAM is the person's), a line of a file by judging the file,
    and everything else by asking that rule alone.
    """
    places = [each.fact for each in finding.evidence]
    if any(each.startswith("problems[") for each in places):
        return ("envdoctor", "run", "--", "PROGRAM")
    asked: tuple[str, ...] = ("envdoctor", "diagnose", "--only", finding.id)
    if any(each.startswith("network[") for each in places):
        asked = (*asked, "--network")  # without it the rule is silent, which would look like a proof
    if machine is None:
        return asked
    if machine.python is not None and machine.python.selected_by == "--python":
        asked = (*asked, "--python", machine.python.executable)
    for line in declared_lines(finding, machine):
        return (*asked, _option_for(line.file), line.file)
    return asked


def declared_lines(finding: Finding, machine: Snapshot) -> tuple[Declared, ...]:
    """Give the lines of a person's files that a finding rests on."""
    named = {each.fact.partition(".")[0] for each in finding.evidence}
    return tuple(line for index, line in enumerate(machine.declared) if f"declared[{index}]" in named)


def _option_for(file: str) -> str:
    if file.endswith((".yml", ".yaml")):
        return "--environment"
    return "--requirements" if file.endswith((".txt", ".toml", ".in")) else "--dockerfile"


class NotChecked(Record):
    """A rule that could not be judged, because a fact it needs is unknown."""

    id: str
    rule: str
    because: str


class Ignored(Record):
    """A finding that the person does not want to hear of, with why and where they said so."""

    finding: Finding
    reason: str | None
    source: str  # --ignore, or the settings file


class Diagnosis(Record):
    """All findings, root cause first, and what could not be judged."""

    findings: tuple[Finding, ...]
    not_checked: tuple[NotChecked, ...]
    ignored: tuple[Ignored, ...] = ()

    def count(self, severity: Severity) -> int:
        """Count the findings of that severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def at_or_above(self, severity: Severity) -> bool:
        """Tell whether any finding is as severe as that."""
        return any(SEVERITIES.index(finding.severity) <= SEVERITIES.index(severity) for finding in self.findings)
