"""What differs between two machines, as text: what explains the new findings, the findings, and then the rest."""

from __future__ import annotations

from itertools import groupby

from envdoctor.model.difference import Change, Difference, Moved
from envdoctor.report.quantities import size
from envdoctor.report.text import Style

_AREAS = {
    "system": "System",
    "cpu": "CPU",
    "memory": "Memory",
    "disks": "Disks",
    "driver": "Driver",
    "gpus": "GPUs",
    "toolkits": "CUDA toolkits",
    "libraries": "GPU libraries",
    "pythons": "Python",
    "variables": "Variables",
    "devices": "Device files",
    "compilers": "Compilers",
    "docker": "Containers",
    "pip": "pip",
}
_LONGEST = 60  # characters of a value; lists of libraries are longer
_FEW = 3
_OTHER = {
    "absent": "",
    "unknown": " (the other side could not be judged)",
    "explained": " (on the other side another finding explains it)",
    "milder": " (it was less severe)",
}


def text(found: Difference, style: Style) -> str:
    """Write a difference for a person who says that it worked yesterday."""
    told = [each for each in found.changes if each.explains]
    seen = [each for each in found.changes if not each.explains and not each.kind.startswith("now-")]
    dark = [each for each in found.changes if not each.explains and each.kind.startswith("now-")]
    lines: list[str] = []
    if told:
        lines += [style.paint("Most likely because of this", "bold")]
        lines += [style.wrap(f"{_line(each)}  [{', '.join(each.explains)}]", " " * 4, "  ") for each in told]
        lines.append("")
    for title, moved in (("New findings", found.came), ("Findings that are gone", found.went)):
        if moved:
            lines += [style.paint(title, "bold"), *[_moved(each, style) for each in moved], ""]
    # Sorted by area, not by the order in which an explanation was looked for.
    areas = list(_AREAS)
    for area, changes in groupby(sorted(seen, key=lambda each: areas.index(each.area)), key=lambda each: each.area):
        told_below = [style.wrap(_line(each).removeprefix(f"{area}."), " " * 4, "  ") for each in changes]
        lines += [style.paint(_AREAS[area], "bold"), *told_below, ""]
    if dark:
        lines += [style.wrap(", ".join(_summed(dark)), "  "), ""]
    if found.stayed:
        lines += [style.wrap(f"As before: {', '.join(dict.fromkeys(each.id for each in found.stayed))}"), ""]
    return "\n".join([*lines, style.paint(_ending(found, len(told) + len(seen)), "bold")]) + "\n"


def _summed(dark: list[Change]) -> list[str]:
    """Name a few facts of each area, and count them where a report left out most."""
    summed = []
    for (area, kind), changes in groupby(sorted(dark, key=lambda c: (c.area, c.kind)), key=lambda c: (c.area, c.kind)):
        facts = [each.fact for each in changes]
        named = " and ".join(facts) if len(facts) <= _FEW else f"{len(facts)} facts of {_AREAS[area]}"
        summed.append(f"{named} ({'before' if kind == 'now-known' else 'after'})")
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
    return style.wrap(f"{head} {finding.title}{_OTHER[moved.other]}", " " * 4, "  ")


def _ending(found: Difference, changes: int) -> str:
    counts = [f"{changes} changed fact{'' if changes == 1 else 's'}"]
    counts += [f"{len(found.came)} new finding{'' if len(found.came) == 1 else 's'}", f"{len(found.went)} gone"]
    return "No difference." if not (changes or found.came or found.went) else f"{', '.join(counts)}."
