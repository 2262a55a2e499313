"""`diff` and `check` as a person and a script meet them: what they print, and their exit status."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from envdoctor.cli import run

MACHINES = Path(__file__).parents[1] / "machines"
WELL, BROKEN = str(MACHINES / "workstation-cuda12"), str(MACHINES / "driver-upgraded-no-reboot")
Capture = pytest.CaptureFixture[str]


def test_diff_names_the_change_that_explains_first(capsys: Capture) -> None:
    assert run(["diff", WELL, BROKEN]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Most likely because of this"
    assert said[1] == "  driver.version: 570.133.07 → 550.54.14  [DRV006]"
    assert any(line.startswith("  error[DRV006]") for line in said)


def test_diff_as_json(capsys: Capture) -> None:
    assert run(["diff", WELL, BROKEN, "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [each["finding"]["id"] for each in found["findings"]["came"]] == ["DRV006"]
    assert found["changes"][0]["explains"] == ["DRV006"]
    assert found["summary"]["came"] == 1
    assert {each["kind"] for each in found["changes"]} >= {"changed", "gone", "appeared"}


def test_a_finding_that_went_is_no_failure(capsys: Capture) -> None:
    assert run(["diff", BROKEN, WELL]) == 0
    assert "Findings that are gone" in capsys.readouterr().out
    assert run(["diff", WELL, BROKEN, "--fail-on", "never"]) == 0


def test_diff_with_this_machine(tmp_path: Path, capsys: Capture) -> None:
    saved = tmp_path / "now.json"
    assert run(["snapshot", "-o", str(saved)]) == 0
    capsys.readouterr()
    for words in (["diff", str(saved)], ["diff", str(saved), "-"], ["diff", "-", str(saved)]):
        assert run([*words, "--format", "json"]) == 0
        assert json.loads(capsys.readouterr().out)["findings"]["came"] == []


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["diff"], 2, "Missing argument"),
        (["diff", "-"], 2, "both sides are this machine"),
        (["diff", WELL, BROKEN, "--python", sys.executable], 2, "--python is for this machine"),
        (["diff", WELL, "/absent.json"], 3, "there is no file /absent.json"),
        (["check"], 2, "nothing is required"),
        (["check", "--require-cuda", "twelve"], 2, "twelve is not a version"),
        (["check", "--require-cuda", "9" * 5000], 2, "is not a version"),
        (["check", "--require-memory", "lots"], 2, "lots is not a size"),
        (["check", "--require-disk", "1GiB:"], 2, "names no folder"),
        (["check", "--require-gpu", "-1"], 2, "-1 is not in the range"),
        (["check", "--framework", "torch; rm -rf /"], 2, "is not a framework with versions"),
        (["check", "--framework", "keras"], 2, "is not a framework with versions"),
        (["check", "--framework", "torch>=*"], 2, "is not a range of versions"),
        (["check", "--require-ram", "1GiB", "--python", "x"], 2, "--python names whose --framework"),
        (["check", "--framework", "torch", "--python", "/absent"], 2, "there is no such file"),
    ],
)
def test_words_that_do_not_fit(words: list[str], status: int, said: str, capsys: Capture) -> None:
    assert run(words) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert "Traceback" not in shown.err


def test_check_of_what_every_machine_has(tmp_path: Path, capsys: Capture) -> None:
    assert run(["check", "--require-ram", "1MiB", "--require-disk", f"1KiB:{tmp_path}", "--require-gpu", "0"]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "ok       gpu",
        "ok       ram",
        "ok       disk",
    ]


def test_check_of_what_no_machine_has(capsys: Capture) -> None:
    assert run(["check", "--require-gpu", "999", "--require-ram", "1MiB", "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [(each["requirement"], each["state"]) for each in found["checks"]] == [("gpu", "not met"), ("ram", "ok")]
    assert found["summary"] == {"ok": 1, "not_met": 1, "unknown": 0}


def test_what_could_not_be_looked_at_is_a_status_of_its_own(tmp_path: Path, capsys: Capture) -> None:
    slow = tmp_path / "env" / "bin" / "python"
    slow.parent.mkdir(parents=True)
    (tmp_path / "env" / "lib" / "python3.12" / "site-packages").mkdir(parents=True)
    (tmp_path / "env" / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.12.4\n")
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    words = ["check", "--framework", "torch", "--python", str(slow), "--timeout", "0.5"]
    assert run(words) == 3
    assert capsys.readouterr().out.startswith("unknown  framework: torch; could not look: importing torch took longer")
    assert run([*words, "--allow-unknown"]) == 0
    assert run([*words, "--require-gpu", "999", "--allow-unknown"]) == 1
