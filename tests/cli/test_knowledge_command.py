from __future__ import annotations

import json
import subprocess
import sys
from datetime import date

import pytest

from envdoctor.knowledge.catalogue import CATALOGUE


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "envdoctor", "knowledge", *words),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_without_a_table_it_lists_them_all() -> None:
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.split("\n")
    assert [line.split()[0] for line in lines[1 : len(CATALOGUE) + 1]] == list(CATALOGUE)
    assert any(line.split()[:2] == ["cuda_toolkits", "72"] for line in lines)


def test_the_list_as_json() -> None:
    listed = json.loads(run("--format", "json").stdout)
    assert [each["name"] for each in listed["tables"]] == list(CATALOGUE)
    for each in listed["tables"]:
        assert each["old"] == (each["age_days"] > 120)
        assert each["age_days"] == (date.today() - date.fromisoformat(each["newest"])).days


def test_a_table_lists_its_rows() -> None:
    done = run("cuda-toolkits")
    assert done.returncode == 0
    rows = [line.split() for line in done.stdout.split("\n")[3:75]]
    assert rows[0][0] == "13.5.0"
    assert ["12.4.1", "Update", "1", "550.54.15", "551.78", "550", "yes"] in rows
    assert rows[-1][:5] == ["9.0.76", "GA", "384.81", "385.54", "384"]


def test_a_row_shows_its_provenance() -> None:
    done = run("torch", "2.7.1")
    assert done.returncode == 0
    assert done.stdout.startswith("torch 2.7.1\n")
    for words in ("source:  pkg:pypi/torch@2.7.1", "how:     read in", "checked: 2026-", "doubt:   none known"):
        assert words in done.stdout


def test_the_words_of_a_name_need_no_quotes() -> None:
    shown = json.loads(run("gpus", "NVIDIA", "GeForce", "RTX", "3060", "--format", "json").stdout)
    assert [row["capability"] for row in shown["rows"]] == ["8.6"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tensorfow",), "envdoctor: there is no table tensorfow\n  did you mean: tensorflow, tensorrt?\n"),
        (("zzzz",), "envdoctor: there is no table zzzz\n  `envdoctor knowledge` lists what there is\n"),
        (("torch", "2.7.9"), "envdoctor: torch has no row 2.7.9\n  did you mean: 2.7.1, 2.7.0,"),
        (("torch", "zz"), "envdoctor: torch has no row zz\n  `envdoctor knowledge torch` lists what there is\n"),
        (("../torch",), "envdoctor: there is no table ../torch\n"),
    ],
)
def test_what_is_not_there_is_said_with_what_is_near(words: tuple[str, ...], said: str) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 2


@pytest.mark.parametrize("table", CATALOGUE)
def test_every_table_can_be_shown(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    from envdoctor.cli import run as run_here

    assert run_here(["knowledge", table]) == 0
    assert " rows" in capsys.readouterr().out
    assert run_here(["knowledge", table, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["table"]["name"] == table
