"""A diagnosis as workflow commands of GitHub Actions, which show it beside the lines of a pull request.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envdoctor.model.finding import Diagnosis, Finding, declared_lines, proof
from envdoctor.model.speech import say
from envdoctor.report import text

if TYPE_CHECKING:
    from envdoctor.model.finding import Severity
    from envdoctor.model.snapshot import Snapshot

_COMMANDS: dict[Severity, str] = {"error": "error", "warning": "warning", "note": "notice"}


def diagnosis(machine: Snapshot, judged: Diagnosis) -> str:
    """Write a line a finding, then the verdict; no text of a machine can begin a command of its own."""
    lines = [_annotation(each, machine) for each in judged.findings]
    return "\n".join((*lines, text.verdict(judged))) + "\n"


def _annotation(finding: Finding, machine: Snapshot) -> str:
    properties = {"title": f"{finding.id}: {text.titled(finding)}"}
    for line in declared_lines(finding, machine)[:1]:
        properties = {"file": line.file, "line": str(line.line), **properties}
    said = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{_COMMANDS[finding.severity]} {said}::{_data(_body(finding, machine))}"


def _body(finding: Finding, machine: Snapshot) -> str:
    lines = [finding.detail]
    for fix in finding.fixes:
        lines.append(say("fix: {fix}", fix=text.located(fix)))
        lines += [f"  {text.command_line(each)}" for each in fix.commands]
    lines.append(say("proves it: {command}", command=text.command_line(proof(finding, machine))))
    return "\n".join(lines)


def _data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")
