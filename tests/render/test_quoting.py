from __future__ import annotations

import doctest
import shlex
import shutil
import subprocess

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from envdoctor.formats import markdown
from envdoctor.render import artifacts, quoting

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
LINE_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"


@pytest.mark.parametrize("module", [quoting, artifacts])
def test_examples_of_the_docstrings_hold(module: object) -> None:
    failed, tried = doctest.testmod(module)  # type: ignore[arg-type]
    assert failed == 0
    assert tried > 0


@given(TEXT)
def test_yaml_reads_back_what_was_quoted(text: str) -> None:
    assert yaml.safe_load(f"- {quoting.yaml(text)}\n") == [text]


@given(st.text(max_size=20))
def test_yaml_can_always_be_read(text: str) -> None:
    assert isinstance(yaml.safe_load(quoting.yaml(text)), str)


@given(TEXT)
def test_a_posix_shell_reads_one_word(text: str) -> None:
    assert shlex.split(f"x {quoting.shell(text)}") == ["x", text]


@given(TEXT)
def test_every_line_of_a_comment_is_one(text: str) -> None:
    for line in quoting.comment(text + " and more words, so that it has to be wrapped, " * 4).splitlines():
        assert line.startswith("#")
        assert not line.endswith("\\")


@given(TEXT)
def test_a_label_is_one_line_that_fills_nothing_in(text: str) -> None:
    label = quoting.docker_label(text)
    assert not set(label) & set(LINE_BREAKS)
    inside = label[1:-1].replace("\\\\", "").replace('\\"', "").replace("\\$", "")
    assert not set(inside) & set('"$\\')


@given(TEXT)
def test_markdown_opens_no_tag_no_link_and_no_cell(text: str) -> None:
    shown = markdown.escaped(text)
    assert "<" not in shown
    assert not set(shown) & set(LINE_BREAKS)
    unescaped = shown.replace("\\\\", "")
    for mark in "`*[]|":
        assert unescaped.count(mark) == unescaped.count("\\" + mark)


@pytest.mark.skipif(shutil.which("pwsh") is None, reason="no PowerShell here")
def test_powershell_reads_each_as_one_word() -> None:
    words = ["it's", "$(1+1)", "`n", "a b", "<3", ">=2,<3", "é 漢"]
    line = f"[Console]::Out.Write(({', '.join(map(quoting.powershell, words))}) -join '|')"
    done = subprocess.run(["pwsh", "-NoProfile", "-Command", line], capture_output=True, text=True, check=True)
    assert done.stdout.split("|") == words


@pytest.mark.parametrize(
    ("text", "quoted"),
    [("it's", "'it''s'"), ("$(1+1)", "'$(1+1)'"), ("<3", "'<3'"), ("a,b", "'a,b'"), ("@x", "'@x'"), ("", "''")],
)
def test_powershell_words_with_a_meaning_are_quoted(text: str, quoted: str) -> None:
    assert quoting.powershell(text) == quoted
