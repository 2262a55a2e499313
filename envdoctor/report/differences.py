"""What differs between two machines, as text: what explains the new findings, the findings, and then the rest."""

from __future__ import annotations

from itertools import groupby

from envdoctor.model.difference import Change, Difference, Moved
from envdoctor.model.speech import message, say, say_number
from envdoctor.report.quantities import size
from envdoctor.report.text import Style

_AREAS = {
    "system": message("System"),
    "cpu": message("CPU"),
    "memory": message("Memory"),
    "disks": message("Disks"),
    "driver": message("Driver"),
    "gpus": message("GPUs"),
    "toolkits": message("CUDA toolkits"),
    "libraries": message("GPU libraries"),
    "pythons": message("Python"),
    "variables": message("Variables"),
    "devices": message("Device files"),
    "compilers": message("Compilers"),
    "docker": message("Containers"),
    "pip": message("pip"),
}
_LONGEST = 60  # characters of a value; lists of libraries are longer
_FEW = 3
_OTHER = {
    "unknown": message("{title} (the other side could not be judged)"),
    "explained": message("{title} (on the other side another finding explains it)"),
    "milder": message("{title} (it was less severe)"),
}


def text(found: Difference, style: Style) -> str:
    """Write a difference for a person who says that it worked yesterday."""
    told = [each for each in found.changes if each.explains]
    seen = [each for each in found.changes if not each.explains and not each.kind.startswith("now-")]
    dark = [each for each in found.changes if not each.explains and each.kind.startswith("now-")]
    lines: list[str] = []
    if told:
        lines += [style.paint(say("Most likely because of this"), "bold")]
        lines += [style.wrap(f"{_line(each)}  [{', '.join(each.explains)}]", " " * 4, "  ") for each in told]
        lines.append("")
    for title, moved in ((say("New findings"), found.came), (say("Findings that are gone"), found.went)):
        if moved:
            lines += [style.paint(title, "bold"), *[_moved(each, style) for each in moved], ""]
    # Sorted by area, not by the order in which an explanation was looked for.
    areas = list(_AREAS)
    for area, changes in groupby(sorted(seen, key=lambda each: areas.index(each.area)), key=lambda each: each.area):
        told_below = [style.wrap(_line(each).removeprefix(f"{area}."), " " * 4, "  ") for each in changes]
        lines += [style.paint(say(_AREAS[area]), "bold"), *told_below, ""]
    if dark:
        lines += [style.wrap(", ".join(_summed(dark)), "  "), ""]
    if found.stayed:
        codes = ", ".join(dict.fromkeys(each.id for each in found.stayed))
        lines += [style.wrap(say("As before: {codes}", codes=codes)), ""]
    return "\n".join([*lines, style.paint(_ending(found, len(told) + len(seen)), "bold")]) + "\n"


def _summed(dark: list[Change]) -> list[str]:
    """Name a few facts of each area, and count them where a report left out most."""
    summed = []
    for (area, kind), changes in groupby(sorted(dark, key=lambda c: (c.area, c.kind)), key=lambda c: (c.area, c.kind)):
        facts = [each.fact for each in changes]
        if len(facts) > _FEW:
            named = say("{number} facts of {area}", number=len(facts), area=say(_AREAS[area]))
        else:
            named = say(" and ").join(facts)
        summed.append(
            say("{facts} (before)", facts=named) if kind == "now-known" else say("{facts} (after)", facts=named)
        )
    return summed


def _line(change: Change) -> str:
    name = change.fact.rpartition(".")[2]
    before, after = (_value(name, each) for each in (change.before, change.after))
    return f"{change.fact}: {before} → {after}"


def _value(name: str, value: str) -> str:
    if name.endswith("_bytes") and value.isdigit():
        return size(int(value))
    return value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…"


def _moved(moved: Moved, style: Style) -> str:
    finding = moved.finding
    head = f"{finding.severity}[{finding.id}]"
    title = say(_OTHER[moved.other], title=finding.title) if moved.other in _OTHER else finding.title
    return style.wrap(f"{head} {title}", " " * 4, "  ")


def _ending(found: Difference, changes: int) -> str:
    if not (changes or found.came or found.went):
        return say("No difference.")
    return say(
        "{changes}, {findings}, {gone} gone.",
        changes=say_number("{number} changed fact", "{number} changed facts", changes),
        findings=say_number("{number} new finding", "{number} new findings", len(found.came)),
        gone=len(found.went),
    )
