"""A diagnosis as text for a person: one line per area, then each finding with how we know and what to type."""

from __future__ import annotations

import shlex
import textwrap
from typing import TYPE_CHECKING

from envdoctor import __version__
from envdoctor.model.finding import Diagnosis, Finding, Fix, Ignored, proof
from envdoctor.model.snapshot import Evidence, Snapshot
from envdoctor.model.speech import message, say, say_number
from envdoctor.report.areas import Area, areas

if TYPE_CHECKING:
    from envdoctor.rules.registry import Rule

# Marks are one column wide in every font, and tell the states apart without colours.
MARKS = {"good": "+", "error": "x", "warning": "!", "unknown": "?", "absent": "-", "not-applicable": "-"}
_COLOURS = {
    "error": "31",
    "warning": "33",
    "note": "36",
    "good": "32",
    "absent": "2",
    "not-applicable": "2",
    "unknown": "35",
    "bold": "1",
}
_REASONS = 5  # most reasons for not checking that are listed one by one
_FINDINGS = 5  # most findings on the first screen
_FACTS = 3  # most facts of a finding there
_NAME = 12  # columns of an area's name
LABEL = 11  # columns of a label inside a finding
_CERTAINTIES = {"likely": message("{title} (likely)"), "hint": message("{title} (hint)")}
_WHERE = {
    "windows": message("{summary} (in Windows PowerShell)"),
    "host": message("{summary} (on the host)"),
}
EFFECTS = {
    "safe": message("safe to run"),
    "changes-env": message("changes the Python environment"),
    "needs-root": message("needs root"),
    "needs-reboot": message("needs a reboot"),
}


class Style:
    """How text is dressed: with ANSI colours or plainly, how wide, and whether all of it is wanted."""

    def __init__(self, *, colour: bool, width: int, verbose: bool = False) -> None:
        self.colour = colour
        self.width = max(40, min(width, 100))
        self.verbose = verbose

    def paint(self, text: str, kind: str) -> str:
        """Colour a text by its kind."""
        return f"\033[{_COLOURS[kind]}m{text}\033[0m" if self.colour else text

    def wrap(self, text: str, indent: str = "", first: str | None = None) -> str:
        """Fill paragraphs; words that are longer than the line, such as paths and addresses, stay whole."""
        first = indent if first is None else first
        taken = columns(first)
        if is_wide(text):
            from envdoctor.report import wide

            lines = wide.wrap(text, self.width - columns(indent), self.width - taken)
        else:
            # What stands before the text may be wider or narrower than its letters: colours, Chinese.
            lines = textwrap.wrap(
                text,
                self.width,
                initial_indent=" " * taken,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            ) or [""]
            lines = [lines[0][taken:], *(line[len(indent) :] for line in lines[1:])]
        return "\n".join((first + lines[0], *(indent + line for line in lines[1:])))

    def row(self, label: str, text: str, room: int = LABEL, before: str = "  ") -> str:
        """Fill a paragraph beside its label, which has `room` columns."""
        indent = " " * (columns(before) + room)
        return self.wrap(text, indent, before + padded(label, room))


def is_wide(text: str) -> bool:
    """Tell whether a text has letters that are two columns wide; nothing of English is."""
    return not text.isascii() and max(text) >= "\u2e80"


def columns(text: str) -> int:
    """Count the columns of a text on a terminal: colours have none, Chinese letters two.

    >>> columns("GPU"), columns("显存")
    (3, 4)
    """
    if "\033" in text:
        import re

        text = re.sub(r"\033\[[\d;]*m", "", text)
    if not is_wide(text):
        return len(text)
    from envdoctor.report import wide

    return wide.width(text)


def padded(text: str, room: int) -> str:
    """Fill a text up with spaces to that many columns, and leave one where it is longer."""
    return text + " " * max(room - columns(text), 1)


def diagnosis(machine: Snapshot, judged: Diagnosis, style: Style) -> str:
    """Write a diagnosis."""
    lines = [style.paint(f"envdoctor {__version__}", "bold") + (f"  {machine.taken_at}" if machine.taken_at else "")]
    root = judged.findings[0] if judged.count("error") else None
    if root:
        lines += [
            "",
            style.paint(style.wrap(say("Root cause: {title} [{code}]", title=root.title, code=root.id)), "bold"),
        ]
    lines += ["", *(_area(each, style) for each in areas(machine, judged))]
    lines += findings(judged, style, machine)
    lines += ["", *_ending(judged, style)]
    return "\n".join(lines) + "\n"


def _area(area: Area, style: Style) -> str:
    mark = style.paint(MARKS[area.state], area.state)
    text = f"{area.text}  [{', '.join(area.ids)}]" if area.ids else area.text
    return style.row(area.name, text, _NAME, f"{mark} ")


def findings(judged: Diagnosis, style: Style, machine: Snapshot | None = None) -> list[str]:
    """Give the lines of every finding, an empty one before each; the first five, where not all are wanted."""
    shown = judged.findings if style.verbose else judged.findings[:_FINDINGS]
    lines = [line for each in shown for line in ("", *_finding(each, style, machine))]
    more = judged.findings[len(shown) :]
    if more:
        said = say_number(
            "and 1 more: {codes} (-v shows it)",
            "and {number} more: {codes} (-v shows them)",
            len(more),
            codes=", ".join(each.id for each in more),
        )
        lines += ["", style.wrap(said, "  ", "")]
    return lines


def _finding(finding: Finding, style: Style, machine: Snapshot | None) -> list[str]:
    plain = f"{finding.severity}[{finding.id}] "
    first, *rest = style.wrap(titled(finding), " " * len(plain)).split("\n")
    head = style.paint(plain.rstrip(), finding.severity)
    lines = [f"{head} {style.paint(first[len(plain) :], 'bold')}"]
    lines += [f"{' ' * len(plain)}{style.paint(each[len(plain) :], 'bold')}" for each in rest]
    few = finding.evidence if style.verbose or len(finding.evidence) == _FACTS + 1 else finding.evidence[:_FACTS]
    lines += [style.row(say("found:"), f"{shown(fact)} ({fact.source})") for fact in few]
    if len(few) < len(finding.evidence):
        more = len(finding.evidence) - len(few)
        lines.append(style.row("", say("and {number} more facts (-v shows them)", number=more)))
    if finding.needs:
        lines.append(style.row(say("needs:"), finding.needs))
    lines.append(style.row(say("why:"), finding.detail))
    for fix in finding.fixes:
        lines += fix_lines(fix, style)
    lines.append(style.row(say("proves it:"), command_line(proof(finding, machine))))
    return lines


def titled(finding: Finding) -> str:
    """Give a finding's title, with how sure it is where it is not certain."""
    if finding.certainty in _CERTAINTIES:
        return say(_CERTAINTIES[finding.certainty], title=finding.title)
    return finding.title


def shown(fact: Evidence) -> str:
    """Show a fact by its path and value, and a pasted line as it stands: its place says more than its number here."""
    return f"“{fact.value}”" if fact.fact.startswith(("problems[", "declared[")) else f"{fact.fact} = {fact.value}"


def fix_lines(fix: Fix, style: Style) -> list[str]:
    """Give the lines of one way out."""
    summary = located(fix)
    text = f"{summary} [{say(EFFECTS[fix.effect])}]" if fix.commands else summary
    lines = [style.row(say("fix:"), text)]
    # A command is never wrapped, so that it can be copied.
    indent = " " * (LABEL + 4)
    lines += [f"{indent}{command_line(command)}" for command in fix.commands]
    if fix.page:
        lines.append(indent + say("see {page}", page=fix.page))
    return lines


def located(fix: Fix) -> str:
    """Give a way out's summary, with the side that types its commands where that is not here."""
    return say(_WHERE[fix.where], summary=fix.summary) if fix.where in _WHERE else fix.summary


def command_line(command: tuple[str, ...]) -> str:
    """Write an argv as a line that a shell reads back as the same argv."""
    return shlex.join(command)


def counted(judged: Diagnosis) -> list[str]:
    """Count errors, warnings and notes, those that there are."""
    errors, warnings, notes = (judged.count(each) for each in ("error", "warning", "note"))
    return [
        *([say_number("{number} error", "{number} errors", errors)] if errors else []),
        *([say_number("{number} warning", "{number} warnings", warnings)] if warnings else []),
        *([say_number("{number} note", "{number} notes", notes)] if notes else []),
    ]


def _ending(judged: Diagnosis, style: Style) -> list[str]:
    lines = [_ignored(each, style) for each in judged.ignored]
    if judged.not_checked:
        lines += _not_checked(judged, style)
    if judged.findings:
        lines.append(style.wrap(say("`envdoctor explain CODE` says more of a finding.")))
    lines.append(style.paint(verdict(judged), "bold" if judged.at_or_above("warning") else "good"))
    return lines


def verdict(judged: Diagnosis) -> str:
    """Say in one sentence how bad it is."""
    counts = counted(judged)
    if judged.count("error"):
        return say("{counts}: the first one is nearest to the root.", counts=", ".join(counts))
    if judged.count("warning"):
        return say("{counts}. If everything works for you, they can wait.", counts=", ".join(counts))
    if judged.ignored:
        counts.append(say_number("{number} ignored", "{number} ignored", len(judged.ignored)))
    return say("Nothing to fix ({counts}).", counts=", ".join(counts)) if counts else say("Nothing to fix.")


def _not_checked(judged: Diagnosis, style: Style) -> list[str]:
    """Say which rules could not be judged; on the first screen a long list would bury what was found."""
    ids = sorted({each.id for each in judged.not_checked})
    reasons = sorted({each.because for each in judged.not_checked})
    if not style.verbose and len(reasons) > _REASONS:  # a pasted report says little
        return [
            style.wrap(
                say(
                    "{rules} rules not checked, for want of {facts} facts (-v names them)",
                    rules=len(ids),
                    facts=len(reasons),
                )
            )
        ]
    if style.verbose or len(ids) <= _FINDINGS:
        lines = [style.wrap(say("not checked: {codes}", codes=", ".join(ids)), "  ")]
    else:
        lines = [style.wrap(say("{number} rules not checked (-v names them)", number=len(ids)), "  ")]
    return lines + [style.wrap(say("because {reason}", reason=reason), "      ", "    ") for reason in reasons]


def _ignored(each: Ignored, style: Style) -> str:
    finding = each.finding
    parts = [f"{finding.severity}[{finding.id}] {finding.title}."]
    if finding.supersedes:
        parts.append(say("It explains {codes}.", codes=", ".join(finding.supersedes)))
    parts.append(
        say("Ignored by {source}: {reason}", source=each.source, reason=each.reason)
        if each.reason
        else say("Ignored by {source}", source=each.source)
    )
    return style.wrap(say("ignored: {finding}", finding=" ".join(parts)), "    ", "  ")


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
    lines += ["", say("Sources:"), *(f"  {source}" for source in sources)]
    return "\n".join(lines) + "\n"
