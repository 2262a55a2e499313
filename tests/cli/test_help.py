"""The first page is kept as a file, because drawing it costs more than a person notices but a budget does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import envdoctor
from envdoctor.cli.commands import COMMANDS

HELP = Path(envdoctor.__file__).parent / "cli" / "help.txt"


def test_the_page_is_as_click_draws_it() -> None:
    tool = Path(__file__).parents[2] / "tools" / "refresh_help.py"
    drawn = subprocess.run(
        (sys.executable, "-c", f"import runpy; print(runpy.run_path({str(tool)!r})['page'](), end='')"),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert drawn == HELP.read_text(), "run python tools/refresh_help.py"


@pytest.mark.parametrize("words", [("--help",), ("-h",)])
def test_it_is_what_is_shown(words: tuple[str, ...]) -> None:
    done = subprocess.run((sys.executable, "-m", "envdoctor", *words), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, HELP.read_text(), "")


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_shows_an_example(command: str) -> None:
    done = subprocess.run(
        (sys.executable, "-m", "envdoctor", command, "--help"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"envdoctor {command}" in done.stdout.partition("Example")[2]
