"""Collect every message that a person may read into the catalogues, and compile them: envdoctor/locale/*/LC_MESSAGES.

    python tools/refresh_language.py            # after text was changed; new messages stand there untranslated
    python tools/refresh_language.py --missing  # write what has no translation yet, as JSON {message: ""}
    python tools/refresh_language.py --fill FILE.json ...  # take translations from such files

Messages come from say(…), say_number(…) and message(…) in the code, the same in the page templates, the pages of rules,
the help of commands, and what click itself says.
"""

from __future__ import annotations

import inspect
import io
import json
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import click
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from jinja2.ext import babel_extract

from envdoctor.cli.commands import COMMANDS, envdoctor
from envdoctor.language import DOMAIN, FOLDER, LANGUAGES

ROOT = Path(__file__).resolve().parent.parent
# What of click is said on the command lines of this program.
CLICK = ("core.py", "decorators.py", "exceptions.py", "formatting.py", "parser.py", "types.py", "termui.py")
KEYWORDS: dict[str, tuple[int, ...] | None] = {"say": None, "say_number": (1, 2), "message": None}
Said = str | tuple[str, ...]


def messages() -> dict[Said, str]:
    """Collect every message and where it is said first; plurals are pairs."""
    found: dict[Said, str] = {}
    for message, where in (*_code(), *_templates(), *_rules(), *_commands(), *_click()):
        if message:
            found.setdefault(message, where)
    return found


def refreshed(language: str) -> Catalog:
    """Give the kept catalogue of a language with exactly the messages of today; a translation that exists stays."""
    kept = read(language)
    # A date of the day would make every run a difference.
    catalog = Catalog(
        locale=language,
        domain=DOMAIN,
        project=DOMAIN,
        version="",
        header_comment=f"# Messages of {DOMAIN}; tools/refresh_language.py keeps them.",
        creation_date=_DAY,
        revision_date=_DAY,
        fuzzy=False,
    )
    for message, where in sorted(messages().items(), key=lambda each: (each[1], str(each[0]))):
        before = kept.get(message if isinstance(message, str) else message[0])
        same = before is not None and before.id == message
        catalog.add(message, before.string if before and same else "", locations=[(where, 0)])
    return catalog


_DAY = datetime(2026, 11, 24, tzinfo=timezone.utc)


def read(language: str) -> Catalog:
    """Read the kept catalogue; an empty one where there is none."""
    path = place(language)
    return read_po(io.BytesIO(path.read_bytes()), locale=language) if path.exists() else Catalog(locale=language)


def place(language: str) -> Path:
    """Say where the catalogue of a language is kept."""
    return Path(FOLDER) / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def written(catalog: Catalog) -> tuple[bytes, bytes]:
    """Give the catalogue as it is kept, for people and for gettext."""
    text, compiled = io.BytesIO(), io.BytesIO()
    write_po(text, catalog, width=0, sort_by_file=True, omit_header=False, include_lineno=False)
    write_mo(compiled, catalog)
    return text.getvalue(), compiled.getvalue()


def _code() -> Iterator[tuple[Said, str]]:
    for path in sorted((ROOT / "envdoctor").rglob("*.py")):
        if "workloads" in path.parts:
            continue  # they run in a person's environment, without this package, and their `say` is another one
        yield from _said(path, path.relative_to(ROOT).as_posix(), "python", KEYWORDS)


def _templates() -> Iterator[tuple[Said, str]]:
    for path in sorted((ROOT / "templates").rglob("*")):
        if path.is_file() and b"say(" in path.read_bytes():
            yield from _said(path, path.relative_to(ROOT).as_posix(), babel_extract, KEYWORDS)


def _click() -> Iterator[tuple[Said, str]]:
    folder = Path(inspect.getfile(click)).parent
    for name in CLICK:
        if (folder / name).exists():
            yield from _said(folder / name, f"click/{name}", "python", {"_": None, "ngettext": (1, 2)})


def _said(
    path: Path, where: str, method: object, keywords: dict[str, tuple[int, ...] | None]
) -> Iterator[tuple[Said, str]]:
    with path.open("rb") as file:
        for _, message, _, _ in extract(method, file, keywords=keywords):
            yield message, where


def _rules() -> Iterator[tuple[Said, str]]:
    from envdoctor.rules.registry import rules

    for rule in rules():
        for paragraph in rule.paragraphs:
            yield paragraph, f"{rule.judge.__module__.replace('.', '/')}.py"


def _commands() -> Iterator[tuple[Said, str]]:
    for name, command in (("envdoctor", envdoctor), *((name, _command(name)) for name in COMMANDS)):
        where = f"envdoctor/cli/{name}"
        for text in (command.help, command.epilog):
            yield from ((each, where) for each in inspect.cleandoc(text or "").split("\n\n"))
        for option in command.params:
            yield getattr(option, "help", None) or "", where


def _command(name: str) -> click.Command:
    found = envdoctor.get_command(click.Context(envdoctor), name)
    assert found is not None
    return found


def _fill(catalog: Catalog, files: list[str]) -> None:
    entries = {_key(each): each for each in catalog if each.id}
    for name in files:
        for message, text in json.loads(Path(name).read_text(encoding="utf-8")).items():
            if message in entries and text:
                found = entries[message]
                found.string = (text,) * catalog.num_plurals if isinstance(found.id, tuple) else text


def _key(entry: Message) -> str:
    """Name a message in the files of --missing and --fill: its English, of a pair the plural."""
    return entry.id if isinstance(entry.id, str) else entry.id[-1]


def main(words: list[str]) -> None:
    """Write the catalogues."""
    for language in filter(None, LANGUAGES.values()):
        catalog = refreshed(language)
        if words[:1] == ["--fill"]:
            _fill(catalog, words[1:])
        if words[:1] == ["--missing"]:
            left = {_key(one): "" for one in catalog if one.id and not any(one.string)}
            print(json.dumps(left, ensure_ascii=False, indent=0))
            continue
        text, compiled = written(catalog)
        place(language).parent.mkdir(parents=True, exist_ok=True)
        place(language).write_bytes(text)
        place(language).with_suffix(".mo").write_bytes(compiled)


if __name__ == "__main__":
    main(sys.argv[1:])
