"""Causes as software announces them, each in a few of the surroundings in which people paste such lines.

`tests/reports/announcements/<cause>.txt` holds the texts, one after each line "=== name". They are written from what
the programs print, in all their releases, and from facts as forms, lists and prose tell them.
"""

from __future__ import annotations

import re
import textwrap
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from envdoctor.knowledge.load import Knowledge
from envdoctor.readers import read
from envdoctor.rules.registry import evaluate

FACTS = Knowledge()
FOLDER = Path(__file__).parent.parent / "reports" / "announcements"


def _announcements() -> list[tuple[str, str, str]]:
    every = []
    for path in sorted(FOLDER.glob("*.txt"), key=lambda path: path.name):
        for part in f"\n{path.read_text(encoding='utf-8')}".split("\n=== ")[1:]:
            name, _, text = part.partition("\n")
            every.append((path.stem, name, text))
    return every


def _table(text: str) -> bool:
    """Tell whether a text has rows, or answers, whose place in the line or below another line matters."""
    return any(mark in text for mark in ("   ", "\n>>>", "\n==", "| "))


def _timestamped(text: str) -> str:
    if _table(text):
        return text
    return "\n".join(f"2024-05-06T10:11:12.123456789Z {line}" for line in text.split("\n"))


def _wrapped(text: str) -> str:
    """Break long lines as a narrow window does, where a sentence goes on."""
    return text if _table(text) else re.sub(r"([^\n]{80,110}\w) (?=[a-z]{2})", r"\1\n", text)


SURROUNDINGS: dict[str, Callable[[str], str]] = {
    "fenced": lambda text: f"### Describe the bug\n\nIt fails like this:\n\n```\n{text}\n```\n\nThanks in advance!\n",
    "quoted": lambda text: "\n".join(f"> {line}" for line in text.split("\n")),
    "details": lambda text: f"<details>\n<summary>Output</summary>\n\n<pre>\n{text}\n</pre>\n</details>\n",
    "escaped": lambda text: text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"),
    "coloured": lambda text: "\n".join(f"\x1b[31;1m{line}\x1b[0m" for line in text.split("\n")),
    "indented": lambda text: textwrap.indent(text, "    "),
    "windows": lambda text: text.replace("\n", "\r\n"),
    "timestamped": _timestamped,
    "wrapped": _wrapped,
    "after a log": lambda text: (
        "".join(f"step {number}: loss {1 / (number + 1):.3f}\n" for number in range(400)) + text
    ),
    "chinese": lambda text: f"各位好，运行程序的时候出现下面的问题，请问怎么解决？\n{text}\n谢谢！\n",
    "tensorflow form": lambda text: (
        "### Issue type\n\nBug\n\n### Have you reproduced the bug with TensorFlow Nightly?\n\nNo\n\n"
        f"### Mobile device\n\n_No response_\n\n### Current behavior?\n\n{text}\n\n"
        "### Relevant log output\n\n_No response_\n"
    ),
}
# Forms put headings of their own around a text; a text that is a form already stays as it is.
_FORMS = ("fenced", "tensorflow form")
ANNOUNCEMENTS = _announcements()


def _judged(cause: str, text: str) -> None:
    diagnosis = evaluate(read(text), FACTS)
    if cause == "healthy":
        assert [finding.title for finding in diagnosis.findings if finding.severity == "error"] == []
    else:
        assert [finding.rule for finding in diagnosis.findings][:1] == [cause]


@pytest.mark.parametrize(("cause", "name", "text"), ANNOUNCEMENTS, ids=lambda value: value[:40].replace("\n", " "))
def test_the_cause_comes_first(cause: str, name: str, text: str) -> None:
    _judged(cause, text)
    # Two surroundings for each text, other ones for its neighbour, so that all of them are met by every kind of text.
    offset = zlib.crc32(f"{cause} {name}".encode())
    for step in (0, 5):
        surrounding = list(SURROUNDINGS)[(offset + step) % len(SURROUNDINGS)]
        if "### " in text and surrounding in _FORMS:
            continue
        _judged(cause, SURROUNDINGS[surrounding](text))


def test_there_are_texts_for_every_surrounding() -> None:
    assert len(ANNOUNCEMENTS) > 400
    assert len({cause for cause, _, _ in ANNOUNCEMENTS}) > 35
