"""The tables of knowledge as text for a person: what there is, a table's rows, a row with where it comes from."""

from __future__ import annotations

from datetime import date

from envdoctor.knowledge.age import OLD_AFTER_DAYS, days_since, is_old
from envdoctor.knowledge.catalogue import CATALOGUE, Summary, doubts_of, key_of
from envdoctor.knowledge.tables import Row
from envdoctor.model import Record
from envdoctor.model.speech import message, say, say_number
from envdoctor.report.text import Style, columns, command_line, padded

_PROVENANCE = ("source", "how", "checked")
_HOW = {
    "documented": message("read in the source"),
    "measured": message("measured"),
    "metadata": message("read in the metadata of the package"),
    "derived": message("follows from the source"),
}
# A cell longer than this is cut: the row's own page has all of it.
_CELL = 30


def tables(found: tuple[Summary, ...], today: date, style: Style) -> str:
    """List the tables, with how many rows each has, when they were checked, and how many are doubtful."""
    header = (say("table"), say("rows"), say("newest"), say("oldest"), say("doubtful"), "")
    cells = [
        (each.name, str(each.rows), each.newest, each.oldest, str(each.doubtful or "-"), say(each.title))
        for each in found
    ]
    lines = _columns((header, *cells), style, cut=False)
    lines += ["", *notes(found, today, style)]
    lines.append(
        style.wrap(say("`envdoctor knowledge TABLE` lists its rows, `envdoctor knowledge TABLE ROW` shows one."))
    )
    return "\n".join(lines) + "\n"


def table(found: Summary, rows: tuple[Row, ...], today: date, style: Style) -> str:
    """List the rows of a table, a line each; a doubtful one ends with a question mark."""
    entry = CATALOGUE[found.name]
    names = (*entry.key, *entry.columns)
    cells = [(*(plain(getattr(row, name)) for name in names), "?" if row.doubt else "") for row in rows]
    count = say_number("{number} row", "{number} rows", found.rows)
    if found.doubtful:
        count = say("{rows}, {number} doubtful (?)", rows=count, number=found.doubtful)
    lines = [style.paint(f"{say(found.title)}: {count}", "bold"), ""]
    lines += _columns(((*names, ""), *cells), style, cut=True)
    lines += ["", *notes((found,), today, style)]
    example = command_line(("envdoctor", "knowledge", found.name, *key_of(found.name, rows[0])))
    lines.append(style.wrap(say("`{command}` shows a row with its source.", command=example)))
    return "\n".join(lines) + "\n"


def page(name: str, rows: tuple[Row, ...], today: date, style: Style) -> str:
    """Show rows whole, each with its provenance: source, how it was found, when, and what is doubtful."""
    return "\n".join(_row(name, row, today, style) for row in rows)


def notes(found: tuple[Summary, ...], today: date, style: Style) -> list[str]:
    """Say which of these tables are old."""
    lines = []
    for each in found:
        if is_old(each.newest, today):
            said = say(
                "{table} was last checked on {newest}, {days} days ago; "
                "after {most} days releases are likely to be missing from it.",
                table=each.name,
                newest=each.newest,
                days=days_since(each.newest, today),
                most=OLD_AFTER_DAYS,
            )
            lines.append(style.wrap(said, "  ", f"{style.paint(say('note'), 'note')}: "))
    return [*lines, ""] if lines else []


def plain(value: object) -> str:
    """Write a value as a person would: lists with spaces, what is not known as a dash.

    >>> plain(("11.8", "12.6")), plain(None), plain(True), plain({"numpy": "<2"})
    ('11.8 12.6', '-', 'yes', 'numpy<2')
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return say("yes") if value else say("no")
    if isinstance(value, tuple):
        # Requirements hold commas and spaces of their own.
        joint = ", " if any(" " in plain(each) for each in value) else " "
        return joint.join(plain(each) for each in value)
    if isinstance(value, dict):
        return ", ".join(f"{name}{plain(each)}" for name, each in value.items())
    if isinstance(value, Record):
        held = ((name, getattr(value, name)) for name in value.__struct_fields__ if not name.endswith("doubt"))
        return ", ".join(f"{name} {plain(each)}" for name, each in held if each != ())
    return str(value)


def _row(name: str, row: Row, today: date, style: Style) -> str:
    lines = [style.paint(f"{name} {' '.join(key_of(name, row))}", "bold"), ""]
    for field in row.__struct_fields__:
        if field not in _PROVENANCE and not field.endswith("doubt"):
            lines += _field(field, getattr(row, field), style)
    days = days_since(row.checked, today)
    ago = say("today") if days == 0 else say_number("{number} day ago", "{number} days ago", days)
    lines += [
        "",
        f"  {padded(say('source:'), 9)}{row.source}",
        f"  {padded(say('how:'), 9)}{say(_HOW[row.how])}",
        f"  {padded(say('checked:'), 9)}{row.checked}, {ago}",
    ]
    doubts = [say("of {field}: {doubt}", field=what, doubt=doubt) if what else doubt for what, doubt in doubts_of(row)]
    lines += [style.row(say("doubt:"), each, 9) for each in doubts or [say("none known")]]
    return "\n".join(lines) + "\n"


def _field(name: str, value: object, style: Style) -> list[str]:
    if isinstance(value, Record):
        value = (value,)
    if isinstance(value, tuple) and value and isinstance(value[0], Record):
        lines = [f"  {name}:"]
        lines += [style.wrap(plain(each), " " * 6, "    - ") for each in value]
        return lines
    shown = say("none") if value in ((), {}, "") else plain(value)
    return [style.wrap(f"{name}: {shown}", " " * 4, "  ")]


def _columns(rows: tuple[tuple[str, ...], ...], style: Style, *, cut: bool) -> list[str]:
    if cut:
        # The first column is the key, which people copy.
        rows = tuple((row[0], *(_cut(each) for each in row[1:])) for row in rows)
    widths = [max(columns(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [
        " ".join(padded(cell, width + 1) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return [style.paint(lines[0], "absent"), *lines[1:]]


def _cut(text: str) -> str:
    return text if len(text) <= _CELL else text[: _CELL - 1] + "…"
