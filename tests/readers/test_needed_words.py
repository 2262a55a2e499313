"""Patterns are compiled only for a report that holds one of their words; nothing that would match may be left out."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from envdoctor.readers import lines, read
from envdoctor.rules import told

ROOT = Path(__file__).parents[2]
REPORTS = sorted((ROOT / "tests" / "reports").glob("*/*.txt"))


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("refresh_words", ROOT / "tools" / "refresh_words.py")
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def test_the_words_are_those_of_the_patterns() -> None:
    tool = _tool()
    assert tool.table() == tool.TABLE.read_text(encoding="utf-8"), "run python tools/refresh_words.py"
    assert len(told._words()) > 600


def test_with_and_without_the_words_every_pattern_matches_the_same_reports() -> None:
    texts = [told.everything(read(path.read_text(encoding="utf-8"))) for path in REPORTS]
    for pattern in told._words():
        compiled = re.compile(pattern, re.IGNORECASE)
        missed = [text for text in texts if not told.possible(pattern, told.in_small_letters(text))]
        assert not any(compiled.search(text) for text in missed), pattern


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (r"(?i)CUDA out of memory", ("cuda out of memory",)),
        (r"abcd|(?:efgh|ijkl)\d", ("abcd", "efgh", "ijkl")),
        (r"abcd|\d+", ()),
        (r"(?:long words)?xy", ("xy",)),
        (r"(?:long words){0,3}", ()),
        (r"(?!long words)[ab]", ()),
        (r"显存不足", ("显存不足",)),
    ],
)
def test_words_that_a_match_must_hold(pattern: str, words: tuple[str, ...]) -> None:
    assert _tool().words_of(pattern) == words


def test_signs_that_count_as_letters() -> None:
    assert told.in_small_letters("K\u0130\u0131\u017fK") == "kiisk"


def test_a_long_text_tells_each_kind_of_line_once_and_a_table_whole() -> None:
    table = [f"| GPU {number} |" for number in range(8)]
    calm = [f"step {number} loss 0.{number}" for number in range(9_000)]
    paste = [*table, *calm, "pip install torch==2.1.0", "loss", *calm[:1000], "pip install torch==2.5.1", *table]
    kept = lines.once("\n".join(paste))
    told_lines = [paste[number] for number in kept]
    assert told_lines == [*table, *calm[:64], "pip install torch==2.1.0", "loss", "pip install torch==2.5.1"]
    short = "\n".join(paste[:200])
    assert lines.once(short) == list(range(200))


def test_a_line_behind_what_was_left_out_keeps_its_number() -> None:
    paste = "".join(f"step {number} loss 0.{number}\n" for number in range(9_000)) + "RuntimeError: CUDA out of memory"
    assert [problem.line for problem in read(paste).problems if "memory" in problem.text] == [9001]


def test_lines_that_hold_a_word() -> None:
    assert lines.holding("a\nb x\nc\nx x\nd", "x") == "b x\nx x"
    assert lines.holding("a\nb x\nc\nd x", "x", "q", after=1) == "b x\nc\nd x"
    assert lines.holding("", "x") == ""
