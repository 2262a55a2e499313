"""Write docs/envdoctor.1, the page of `man envdoctor`, from the commands themselves and the README's exit statuses.

    python tools/refresh_man.py

Installed, it is share/man/man1/envdoctor.1 (pyproject.toml). The language of the page: man(7) of groff and mandoc.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from envdoctor import __version__
from envdoctor.cli.commands import COMMANDS, envdoctor

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "envdoctor.1"


def page() -> str:
    """Draw the page."""
    purpose, *more = _paragraphs(envdoctor)
    lines = [
        f'.TH ENVDOCTOR 1 "" "envdoctor {__version__}" "User Commands"',
        ".nh",  # an option that is broken over two lines cannot be copied
        ".ad l",
        ".SH NAME",
        f"envdoctor \\- {escaped(purpose[0].lower() + purpose[1:].rstrip('.'))}",
        ".SH SYNOPSIS",
        ".B envdoctor",
        "COMMAND [OPTIONS] [ARGUMENTS]",
        ".SH DESCRIPTION",
        *(line for each in more for line in (".PP", escaped(each))),
        ".SH COMMANDS",
    ]
    for name in COMMANDS:
        lines += _command(name)
    lines += [".SH EXIT STATUS", *_statuses()]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    r"""Write a text so that roff shows it as it is: an option's hyphens stay hyphens, and no line is a request.

    >>> escaped("a\\b --fix"), escaped(".so x"), escaped("it's …")
    ('a\\eb \\-\\-fix', '\\&.so x', 'it\\(aqs \\[u2026]')
    """
    line = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    line = line.replace("^", "\\(ha").replace("~", "\\(ti")
    line = "".join(each if each.isascii() else f"\\[u{ord(each):04X}]" for each in line)
    return "\\&" + line if line.startswith(".") else line


def _command(name: str) -> Iterator[str]:
    command = envdoctor.get_command(click.Context(envdoctor), name)
    assert command is not None
    context = click.Context(command, info_name=f"envdoctor {name}")
    yield f'.SS "envdoctor {name}"'
    yield escaped(" ".join(("envdoctor", name, *command.collect_usage_pieces(context))))
    for each in _paragraphs(command):
        yield ".PP"
        yield escaped(each)
    for parameter in command.params:
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None:
            yield ".TP"
            yield f".B {escaped(record[0])}"
            yield escaped(record[1])
    for block in inspect.cleandoc(command.epilog or "").split("\b\n"):
        if block.strip():
            # As it stands: commands to copy. A paragraph's first line names it.
            yield ".PP"
            yield ".nf"
            yield from map(escaped, block.strip("\n").split("\n"))
            yield ".fi"


def _paragraphs(command: click.Command) -> list[str]:
    return [" ".join(each.split()) for each in inspect.cleandoc(command.help or "").split("\n\n")]


def _statuses() -> Iterator[str]:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for status, meaning in re.findall(r"^\| (\d+) \| (.+) \|$", readme, re.MULTILINE):
        yield ".TP"
        yield f".B {status}"
        yield escaped(meaning.replace("`", ""))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
