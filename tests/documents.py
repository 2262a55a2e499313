"""The examples of a Markdown document: its blocks of code with what is said of them, and its words of code.

A comment on the line before a block says what a test does with it:
`<!-- example: only parsed, REASON -->`, `<!-- example: ends with 0 or 1 -->`, `<!-- file: report.txt -->`.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
from markdown_it import MarkdownIt

from envdoctor.cli.commands import envdoctor

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    *(ROOT / name for name in ("README.md", "README.zh.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
)
_ENDS = frozenset(("|", "||", "&&", ";", "&", ">", ">>", "<", "2>"))
_SAYS = re.compile(r"<!-- (?P<kind>example|file|command): (?P<text>.+?) -->")


class Block(NamedTuple):
    """A fenced block; `note` is the comment's text where the comment is an `example`."""

    language: str
    content: str
    kind: str
    note: str

    @property
    def runs(self) -> bool:
        return self.language in ("bash", "console", "python") and not self.note.startswith("only parsed, ")

    @property
    def statuses(self) -> frozenset[int]:
        """Exit statuses that each of its lines may end with."""
        if not self.note:
            return frozenset((0,))
        assert re.fullmatch(r"ends with \d+( or \d+)*", self.note), self.note
        return frozenset(map(int, re.findall(r"\d+", self.note)))


def blocks(text: str) -> Iterator[Block]:
    """Give the fenced blocks in their order."""
    kind = note = ""
    for token in MarkdownIt().parse(text):
        if token.type == "html_block":
            said = _SAYS.search(token.content)
            kind, note = (said["kind"], said["text"]) if said else ("", "")
        elif token.type == "fence":
            yield Block(token.info, token.content, kind, note)
            kind = note = ""


def lines(block: Block) -> list[str]:
    """Give the shell's lines of a block, those that a backslash continues in one."""
    whole = block.content.replace("\\\n", " ").splitlines()
    if block.language == "console":
        return [line[2:] for line in whole if line.startswith("$ ")]
    return [line for line in whole if line.strip() and not line.lstrip().startswith("#")]


def inline(text: str) -> list[str]:
    """Give what stands between backticks in running text."""
    tokens = [child for token in MarkdownIt().enable("table").parse(text) for child in token.children or ()]
    return [token.content for token in tokens if token.type == "code_inline"]


def calls(line: str) -> Iterator[list[str]]:
    """Give the words of each call of envdoctor in a line, without its own name."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[str] = []
    for word in (*lexer, ";"):
        if word not in _ENDS:
            words.append(word)
            continue
        at = next((at for at, each in enumerate(words) if os.path.basename(each) == "envdoctor"), None)
        # `pip install ./envdoctor` names a folder, `~/.local/envdoctor` another: only what is called counts.
        if at is not None and all("=" in each or each in ("HEALTHCHECK", "CMD") for each in words[:at]):
            yield words[at + 1 :]
        words = []


def parse(words: list[str]) -> None:
    """Let click parse the words of a call, and run nothing.

    Raises:
        click.UsageError: they do not fit.
    """
    if words[:1] == ["--lang"]:
        words = words[2:]
    if not words or words[0].startswith("-"):
        return
    command = envdoctor.get_command(click.Context(envdoctor), words[0])
    if command is None:
        raise click.UsageError(f"no command {words[0]}")
    try:
        command.make_context(words[0], words[1:])
    except click.exceptions.Exit:  # an option that shows something and leaves
        pass
    except click.MissingParameter:
        if words[1:]:  # a command's bare name speaks of the command
            raise


def options() -> frozenset[str]:
    """Name every option of every command."""
    context = click.Context(envdoctor)
    found = {"--lang", "--version", "--help"}
    for name in envdoctor.list_commands(context):
        command = envdoctor.get_command(context, name)
        assert command is not None
        found.update(each for option in command.params for each in (*option.opts, *option.secondary_opts))
    return frozenset(found)
