"""A diagnosis as text for a person: one line per area, then each finding with how we know and what to type."""

from __future__ import annotations

import shlex
import textwrap
from typing import TYPE_CHECKING

from envdoctor import __version__
from envdoctor.model.finding import Diagnosis, Finding, Fix, Ignored
from envdoctor.model.snapshot import Evidence, Snapshot
from envdoctor.report.areas import areas

if TYPE_CHECKING:
    from envdoctor.rules.registry import Rule

_MARKS = {"good": "+", "absent": "-", "unknown": "?"}
_COLOURS = {"error": "31", "warning": "33", "note": "36", "good": "32", "absent": "2", "unknown": "35", "bold": "1"}
_REASONS = 5  # most reasons for not checking that are listed one by one
_WHERE = {"windows": " (in Windows PowerShell)", "host": " (on the host)", "here": ""}
_EFFECTS = {
    "safe": "safe to run",
    "changes-env": "changes the Python environment",
    "needs-root": "needs root",
    "needs-reboot": "needs a reboot",
}


class Style:
    """How text is dressed: with ANSI colours or plainly, and how wide."""

    def __init__(self, *, colour: bool, width: int) -> None:
        self.colour = colour
        self.width = max(40, min(width, 100))

    def paint(self, text: str, kind: str) -> str:
        """Colour a text by its kind."""
        return f"\033[{_COLOURS[kind]}m{text}\033[0m" if self.colour else text

    def wrap(self, text: str, indent: str = "", first: str | None = None) -> str:
        """Fill paragraphs; words that are longer than the line, such as paths and addresses, stay whole."""
        return textwrap.fill(
            text,
            self.width,
            initial_indent=indent if first is None else first,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )


def diagnosis(machine: Snapshot, judged: Diagnosis, style: Style) -> str:
    """Write a diagnosis."""
    lines = [
        style.paint(f"envdoctor {__version__}", "bold") + (f"  {machine.taken_at}" if machine.taken_at else ""),
        "",
    ]
    for area in areas(machine):
        mark = style.paint(_MARKS[area.state], area.state)
        lines.append(style.wrap(area.text, " " * 14, f"{mark} {area.name:<11} "))
    lines += findings(judged, style)
    lines += ["", *_ending(judged, style)]
    return "\n".join(lines) + "\n"


def findings(judged: Diagnosis, style: Style) -> list[str]:
    """Give the lines of every finding, an empty one before each."""
    return [line for each in judged.findings for line in ("", *_finding(each, style))]


def _finding(finding: Finding, style: Style) -> list[str]:
    sure = {"certain": "", "likely": " (likely)", "hint": " (hint)"}[finding.certainty]
    head = style.paint(f"{finding.severity}[{finding.id}]", finding.severity)
    plain = len(f"{finding.severity}[{finding.id}]")
    first, *rest = textwrap.wrap(finding.title + sure, style.width - plain - 1, break_long_words=False) or [""]
    lines = [f"{head} {style.paint(first, 'bold')}", *(" " * (plain + 1) + style.paint(r, "bold") for r in rest)]
    lines.append(style.wrap(finding.detail, "  "))
    lines += [style.wrap(f"{_shown(fact)} ({fact.source})", " " * 9, "  found: ") for fact in finding.evidence]
    for fix in finding.fixes:
        lines += _fix(fix, style)
    lines.append(style.wrap(f"envdoctor explain {finding.id}", " " * 9, "  more:  "))
    return lines


def _shown(fact: Evidence) -> str:
    """Show a fact by its path and value, and a pasted line as it stands: its place says more than its number here."""
    return f"“{fact.value}”" if fact.fact.startswith(("problems[", "declared[")) else f"{fact.fact} = {fact.value}"


def _fix(fix: Fix, style: Style) -> list[str]:
    effect = f" [{_EFFECTS[fix.effect]}]" if fix.commands else ""
    lines = [style.wrap(f"{fix.summary}{_WHERE[fix.where]}{effect}", " " * 9, "  fix:   ")]
    # A command is never wrapped, so that it can be copied.
    lines += [f"           {command_line(command)}" for command in fix.commands]
    if fix.page:
        lines.append(f"           see {fix.page}")
    return lines


def command_line(command: tuple[str, ...]) -> str:
    """Write an argv as a line that a shell reads back as the same argv."""
    return shlex.join(command)


def _ending(judged: Diagnosis, style: Style) -> list[str]:
    counts = [
        f"{count} {word if count == 1 else word + 's'}"
        for word, count in (
            ("error", judged.count("error")),
            ("warning", judged.count("warning")),
            ("note", judged.count("note")),
        )
        if count
    ]
    lines = [_ignored(each, style) for each in judged.ignored]
    if judged.not_checked:
        ids = sorted({each.id for each in judged.not_checked})
        reasons = sorted({each.because for each in judged.not_checked})
        if len(reasons) > _REASONS:  # a pasted report says little; the whole list would bury what was found
            lines.append(f"{len(ids)} rules not checked, for want of {len(reasons)} facts (--format json names them)")
        else:
            lines.append(style.wrap(f"not checked: {', '.join(ids)}", "  "))
            lines += [style.wrap(reason, "    ", "    because ") for reason in reasons]
    if judged.count("error"):
        lines.append(style.paint(f"{', '.join(counts)}: the first one is nearest to the root.", "bold"))
    elif judged.count("warning"):
        lines.append(style.paint(f"{', '.join(counts)}. If everything works for you, they can wait.", "bold"))
    else:
        counts += [f"{len(judged.ignored)} ignored"] if judged.ignored else []
        also = f" ({', '.join(counts)})" if counts else ""
        lines.append(style.paint(f"Nothing to fix{also}.", "good"))
    return lines


def _ignored(each: Ignored, style: Style) -> str:
    finding = each.finding
    explains = f" It explains {', '.join(finding.supersedes)}." if finding.supersedes else ""
    why = f": {each.reason}" if each.reason else ""
    title = f"{finding.severity}[{finding.id}] {finding.title}.{explains}"
    return style.wrap(f"{title} Ignored by {each.source}{why}", "    ", "  ignored: ")


def rules(every: tuple[Rule, ...]) -> str:
    """List rules, a line each: code, severity, slug, title."""
    widest = max(len(each.slug) for each in every)
    return "".join(f"{each.id:<9} {each.severity:<8} {each.slug:<{widest}} {each.title}\n" for each in every)


def page(code: str, title: str, body: str, facts: dict[str, str], sources: tuple[str, ...], style: Style) -> str:
    """Write a rule's page for `explain`."""
    lines = [style.paint(f"{code}  {title}", "bold"), ""]
    lines += [style.wrap(f"{name}: {value}", " " * 4, "  ") for name, value in facts.items() if value]
    for paragraph in body.split("\n\n"):
        whole = " ".join(paragraph.split())
        lines += ["", style.wrap(whole)] if whole else []
    lines += ["", "Sources:", *(f"  {source}" for source in sources)]
    return "\n".join(lines) + "\n"
