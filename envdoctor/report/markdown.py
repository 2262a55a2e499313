"""A diagnosis as Markdown, to be pasted into an issue."""

from __future__ import annotations

import msgspec

from envdoctor import __version__
from envdoctor.formats.markdown import block, code, link, posted
from envdoctor.model.finding import Diagnosis, Finding, Fix, proof
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.model.stack import GENERATED
from envdoctor.report import text
from envdoctor.report.areas import areas

# An issue's text ends at 65,536 characters, and what a person writes around it needs room as well.
_ROOM = 45_000


def diagnosis(machine: Snapshot, judged: Diagnosis) -> str:
    """Write a diagnosis: the machine as a table, each finding, and the snapshot folded up if it has room."""
    parts = [
        f"<!-- {GENERATED} {__version__} -->",
        f"### envdoctor {__version__}" + (f", {posted(machine.taken_at)}" if machine.taken_at else ""),
        _table(machine, judged),
        *(_finding(each, machine) for each in judged.findings),
        *_ending(judged),
        f"**{posted(text.verdict(judged))}**",
    ]
    written = "\n\n".join(parts)
    return "\n\n".join((written, _folded(machine, _ROOM - len(written)))) + "\n"


def _table(machine: Snapshot, judged: Diagnosis) -> str:
    rows = [
        f"| {text.MARKS[each.state]} | {posted(each.name)} | {posted(each.text)} | {', '.join(each.ids)} |"
        for each in areas(machine, judged)
    ]
    return "\n".join(("| | | | |", "|---|---|---|---|", *rows))


def _finding(finding: Finding, machine: Snapshot) -> str:
    lines = [
        f"#### {finding.severity} {code(finding.id)}: {posted(text.titled(finding))}",
        "",
        posted(finding.detail),
        "",
    ]
    lines += [f"- {posted(say('found:'))} {code(text.shown(each))} ({code(each.source)})" for each in finding.evidence]
    if finding.needs:
        lines.append(f"- {posted(say('needs:'))} {posted(finding.needs)}")
    for fix in finding.fixes:
        lines += _fix(fix)
    lines.append(f"- {posted(say('proves it:'))} {code(text.command_line(proof(finding, machine)))}")
    return "\n".join(lines)


def _fix(fix: Fix) -> list[str]:
    lines = [f"- {posted(say('fix:'))} {posted(text.located(fix))}"]
    lines += [f"  - {code(text.command_line(each))}" for each in fix.commands]
    if fix.page:
        page = link(fix.page)
        lines.append(f"  - {page if page.startswith('<') else posted(fix.page)}")
    return lines


def _ending(judged: Diagnosis) -> list[str]:
    parts = []
    if judged.ignored:
        parts.append(posted(say("ignored: {finding}", finding=", ".join(each.finding.id for each in judged.ignored))))
    if judged.not_checked:
        codes = sorted({each.id for each in judged.not_checked})
        reasons = sorted({each.because for each in judged.not_checked})
        parts.append(
            "\n".join(
                (
                    posted(say("not checked: {codes}", codes=", ".join(codes))),
                    "",
                    *(f"- {posted(say('because {reason}', reason=each))}" for each in reasons),
                )
            )
        )
    return parts


def _folded(machine: Snapshot, room: int) -> str:
    raw = msgspec.json.format(msgspec.json.encode(machine), indent=1).decode()
    if len(raw) > room:
        return posted(say("The snapshot is too long for an issue: attach what `envdoctor snapshot` writes."))
    return f"<details><summary>snapshot.json</summary>\n\n{block(raw, 'json')}\n\n</details>"
