"""Progress and colours on terminals that can and cannot: real pseudo-terminals."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from envdoctor.cli import options
from envdoctor.cli.progress import Bars, Progress
from envdoctor.verify.runner import Progress as Stage

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")

PROGRAM = """
import time
from envdoctor.cli.progress import Bars, Progress
from envdoctor.verify.runner import Progress as Stage
with Progress() as progress:
    progress.step("installing [bold]")
    progress.line("Collecting \\x1b[2Jtorch [red]" + "x" * 300)
    time.sleep(0.3)
with Bars() as bars:
    bars.show(Stage(workload="cnn", stage="train", done=3, total=8))
    time.sleep(0.3)
"""


def shown(**environ: str) -> str:
    """Run the program on a terminal, and give all that it wrote there."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "COLUMNS": "100", "TERM": "xterm", **environ},
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:
            break
        if not piece:
            break
        said += piece
    os.close(ours)
    assert process.wait() == 0, said
    return said.decode()


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_cannot_move_its_cursor_gets_lines(term: str) -> None:
    said = shown(TERM=term)
    assert re.fullmatch(r"\[ +\d\.\d s\] installing \[bold\]\r\ncnn: train\r\n", said)


def test_a_terminal_sees_what_runs_how_far_it_is_and_how_long() -> None:
    said = shown()
    assert "\x1b[2Jtorch" not in said  # what a program prints is not obeyed
    assert "installing [bold]: Collecting" in said
    assert "38%" in said and "0:00:00" in said
    assert "cnn: train" in said


def test_without_colours_it_still_moves() -> None:
    said = shown(NO_COLOR="1")
    assert "38%" in said
    assert not re.search(r"\x1b\[3\dm", said)


def test_elsewhere_it_is_a_line_a_step_and_all_in_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(str(tmp_path / "all.log")) as progress:
        progress.step("one")
        progress.line("said")
        progress.expect(2)
        for step in ("two", "three", "more than was thought"):
            progress.step(step)
    with Bars() as bars:
        for done in (1, 2):
            bars.show(Stage(workload="gpt2", stage="train", done=done, total=8))
    said = re.sub(r"\[ +\d\.\d s\]", "[t]", capsys.readouterr().err)
    assert said == "[t] one\n[t] 2/3 two\n[t] 3/3 three\n[t] more than was thought\ngpt2: train\n"
    log = (tmp_path / "all.log").read_text(encoding="utf-8")
    assert log == "== one\nsaid\n== two\n== three\n== more than was thought\n"


class Screen(io.StringIO):
    """A stream that says it is a terminal, and cannot tell how wide."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "colour"),
    [
        (Screen(), {}, True),
        (Screen(), {"NO_COLOR": "1"}, False),
        (Screen(), {"NO_COLOR": ""}, True),
        (Screen(), {"TERM": "dumb"}, False),
        (Screen(), {"TERM": "dumb", "FORCE_COLOR": "1"}, True),
        (Screen(), {"NO_COLOR": "1", "FORCE_COLOR": "0"}, False),
        (io.StringIO(), {}, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True),
        (io.StringIO(), {"FORCE_COLOR": "0"}, False),
    ],
)
def test_who_gets_colours(
    stream: io.StringIO, environ: dict[str, str], colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert options.style(stream).colour is colour


@pytest.mark.parametrize(("columns", "width"), [("60", 60), ("10", 40), ("999", 100), ("wide", 100)])
def test_how_wide(columns: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert options.style(io.StringIO()).width == width
