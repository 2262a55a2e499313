"""The one way in which every refresh_*.py renews its tables: ask, merge, say what changed, write whole files.

A row keeps what came from documentation; the index renews its own columns and never deletes a row. A release that the
table lacks gets a row whose documented columns are empty, with a doubt that says so, because a row with a doubt never
decides alone. By default few questions are asked: the newest releases that the table lacks and its last two rows.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from index import Index, NoAnswer
from packaging.version import InvalidVersion, Version
from published import NotUsable, same

from envdoctor.errors import EnvdoctorError
from envdoctor.host.writing import write
from envdoctor.knowledge.tables import Row
from envdoctor.model.stack import Artifact

TABLES = Path(__file__).resolve().parent.parent / "envdoctor" / "knowledge"
FINE, DIFFERS, NO_ANSWER = 0, 1, 3
WITHDRAWN = "withdrawn from the package index"

Fields = dict[str, Any]


class Found(NamedTuple):
    """What the index says of one release."""

    columns: Fields
    asked: str  # the day of the oldest answer
    doubts: tuple[str, ...] = ()  # for a new row
    withdrawn: bool = False


class Source(NamedTuple):
    """A table, or the rows of a table that agree with `where`, which one package of the index renews."""

    table: str
    kind: type[Row]
    package: str
    look: Callable[[Index, str, Fields, bool], Found]  # the row as it is, or as `fresh` makes it; the latter is new
    fresh: Callable[[Fields], Fields]  # the documented columns of a new row, from the row before it
    key: str = "version"
    where: Fields = {}
    adds: bool = True
    elsewhere: tuple[str, ...] = ()  # what the index does not say, and which page does


class Wish(NamedTuple):
    """How much is asked."""

    limit: int = 2
    all: bool = False
    only: tuple[str, ...] = ()


class Renewal(NamedTuple):
    """A table as it would be written, and what is new in it, one line each."""

    rows: list[Fields]
    changes: list[str]
    notes: list[str]


def read(path: Path) -> tuple[str, list[Fields]]:
    """Give the title and the rows of a table."""
    table = json.loads(path.read_text(encoding="utf-8"))
    return table["title"], table["rows"]


def text(title: str, rows: list[Fields]) -> str:
    """Write a table as it stands on disk: one row a line."""
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    return f'{{"title": {json.dumps(title, ensure_ascii=False)}, "rows": [\n{lines}\n]}}\n'


def renew(source: Source, rows: list[Fields], index: Index, wish: Wish) -> Renewal:
    """Merge what the index says into the rows of a table; none of `rows` is altered.

    Raises:
        NoAnswer: a question stayed without an answer.
    """
    mine = [row for row in rows if all(row[name] == value for name, value in source.where.items())]
    known = {str(row[source.key]): row for row in mine}
    newer = _newer(source, index, known)
    asked, left = _choose(newer, list(known), wish)
    result = Renewal(list(rows), [], [])
    if left:
        result.notes.append(f"not asked: {', '.join(left)} (--limit N, --only VERSION or --all asks)")
    # Oldest first, so that a new row is made after the one before it.
    for version in sorted(asked, key=Version):
        old = known.get(version)
        older = [each for each in known if Version(each) < Version(version)]
        before = known[max(older or known, key=Version)]
        try:
            if old is None and not source.adds:
                raise NotUsable("its rows are written by hand")
            found = source.look(index, version, old or source.fresh(before), old is None)
            if old is not None:
                _renew_row(source, result, old, found)
            elif found.withdrawn:
                raise NotUsable(f"it is {WITHDRAWN}")
            else:
                known[version] = _add_row(source, result, version, found, before)
        except NotUsable as why:
            result.notes.append(f"{version}: {'its row stays' if old else 'no row'}, because {why}")
    return result


def _newer(source: Source, index: Index, known: dict[str, Fields]) -> list[str]:
    if not source.adds:
        return []
    published = list(index.releases(source.package))
    newest = max(map(Version, known))
    return [version for version in published if Version(version) > newest]


def _choose(newer: list[str], known: list[str], wish: Wish) -> tuple[list[str], list[str]]:
    """Give the versions to ask for, and the newer ones that are left for another time."""
    if wish.only:
        return list(wish.only), []
    if wish.all:
        return [*newer, *known], []
    return [*newer[: wish.limit], *known[:2]], newer[wish.limit :]


def _renew_row(source: Source, result: Renewal, old: Fields, found: Found) -> None:
    new = old | {name: value for name, value in found.columns.items() if not same(old.get(name), value)}
    if found.withdrawn and WITHDRAWN not in (old["doubt"] or ""):
        new["doubt"] = "; ".join(filter(None, (old["doubt"], WITHDRAWN)))
    changes = [f"~ {_name(source, str(old[source.key]))} {line}" for line in differences(old, new)]
    # A row that rests on a page is not verified by what the index says of one of its columns.
    if str(old["source"]).startswith("pkg:"):
        new["checked"] = max(found.asked, str(old["checked"]))
    _proper(source, new)
    result.changes.extend(changes)
    result.rows[next(place for place, row in enumerate(result.rows) if row is old)] = new


def _add_row(source: Source, result: Renewal, version: str, found: Found, before: Fields) -> Fields:
    row = {
        source.key: version,
        **source.where,
        **source.fresh(before),
        **found.columns,
        "source": f"pkg:pypi/{source.package}@{version}",
        "checked": found.asked,
        "how": "metadata",
        "doubt": "; ".join(found.doubts) or None,
    }
    row = {name: row[name] for name in (*before, *row) if name in row}  # columns stand as in the other rows
    _proper(source, row)
    place = next(
        (
            place
            for place, other in enumerate(result.rows)
            if all(other[name] == value for name, value in source.where.items())
            and Version(str(other[source.key])) < Version(version)
        ),
        len(result.rows),
    )
    result.rows.insert(place, row)
    result.changes.append(f"+ {_name(source, version)}" + (f": {row['doubt']}" if row["doubt"] else ""))
    return row


def _proper(source: Source, row: Fields) -> None:
    try:
        msgspec.convert(row, source.kind)
    except msgspec.ValidationError as problem:
        raise NotUsable(f"it would not fit the table: {problem}") from problem


def _name(source: Source, key: str) -> str:
    return " ".join(dict.fromkeys([source.table, *map(str, source.where.values()), key]))


def differences(old: object, new: object, path: str = "") -> Iterator[str]:
    """Name what differs between two rows, as deep as it lies.

    >>> list(differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2}))
    ['a.b: 1 -> 3']
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys((*old, *new)):
            yield from differences(old.get(name), new.get(name), f"{path}.{name}".lstrip("."))
    elif _records(old) and _records(new):
        yield from differences(_by_tag(old), _by_tag(new), path)
    elif old != new:
        yield f"{path}: {json.dumps(old, ensure_ascii=False)} -> {json.dumps(new, ensure_ascii=False)}"


def _records(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) and "tag" in each for each in value)


def _by_tag(value: Any) -> Fields:
    return {each["tag"]: each for each in value}


def main(sources: tuple[Source, ...], what: str) -> int:
    """Renew the tables of some sources by the words of the command line, and give the exit status.

    0: written, or nothing to write; 1: --check found differences; 3: the index did not answer, nothing was written.
    """
    options = _options(what, sorted({source.package for source in sources}))
    index = Index(options.client, options.cache)
    wish = Wish(options.limit, options.all, tuple(options.only))
    tables: dict[str, tuple[str, list[Fields]]] = {}
    before: dict[str, str] = {}
    changed: set[str] = set()
    try:
        for source in sources:
            if options.package and source.package not in options.package:
                continue
            if source.table not in tables:
                path = options.tables / f"{source.table}.json"
                before[source.table] = path.read_text(encoding="utf-8")
                tables[source.table] = read(path)
            title, rows = tables[source.table]
            renewal = renew(source, rows, index, wish)
            tables[source.table] = title, renewal.rows
            changed |= {source.table} if renewal.changes else set()
            _tell(source, renewal)
        if not options.check:
            _write(options.tables, {table: text(*whole) for table, whole in tables.items()}, before)
    except (NoAnswer, EnvdoctorError, OSError) as problem:
        print(f"{Path(sys.argv[0]).name}: {problem}; no table was changed", file=sys.stderr)
        return NO_ANSWER
    facts = f"facts {'would change' if options.check else 'changed'} in {', '.join(sorted(changed)) or 'no table'}"
    dates = "nothing was written" if options.check else "rows that were looked at have a new date"
    print(f"{facts}; {dates}; pip was asked {index.questions} times")
    return DIFFERS if options.check and changed else FINE


def _write(folder: Path, texts: dict[str, str], before: dict[str, str]) -> None:
    """Write the tables that are new, all or none.

    Raises:
        NoAnswer: somebody else wrote one of them meanwhile.
        EnvdoctorError: the folder cannot be written to.
    """
    stale = {table: content for table, content in texts.items() if content != before[table]}
    for table in stale:
        if (folder / f"{table}.json").read_text(encoding="utf-8") != before[table]:
            raise NoAnswer(f"{table}.json was changed by somebody else meanwhile")
    write(
        tuple(Artifact(path=f"{table}.json", text=content) for table, content in stale.items()), str(folder), force=True
    )


def _tell(source: Source, renewal: Renewal) -> None:
    for line in renewal.changes:
        print(line)
    if not renewal.changes:
        print(f"= {_name(source, source.package)}: nothing new")
    for line in renewal.notes:
        print(f"  {_name(source, source.package)}: {line}")
    for line in source.elsewhere:
        print(f"  could not be renewed, the package index does not say it: {source.table}: {line}")


def _options(what: str, packages: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=f"{what} The index is the one that pip is configured for; further indexes, local folders "
        "(extra-index-url, find-links) and constraints are left out, because they are not what was published."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a fact would change")
    parser.add_argument("--limit", type=_count, default=2, metavar="N", help="new releases to ask for (default: 2)")
    parser.add_argument(
        "--only", action="append", default=[], type=_version, metavar="VERSION", help="ask for this release alone"
    )
    parser.add_argument("--package", action="append", default=[], choices=packages, help="ask for this package alone")
    parser.add_argument("--all", action="store_true", help="ask for every row and every new release; many requests")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keep answers there, and take them from there")
    parser.add_argument("--client", default=sys.executable, metavar="PYTHON", help="the interpreter whose pip asks")
    parser.add_argument("--tables", type=Path, default=TABLES, metavar="FOLDER", help=argparse.SUPPRESS)
    return parser.parse_args()


def _count(word: str) -> int:
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"not a number: {word!r}")
    return int(word)


def _version(word: str) -> str:
    try:
        return str(Version(word))
    except InvalidVersion as problem:
        raise argparse.ArgumentTypeError(f"not a version: {word!r}") from problem
