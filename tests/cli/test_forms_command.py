"""`diagnose --format … --output FILE --redact`: the same exit status, whole files, nothing private."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from envdoctor.cli import run
from envdoctor.host.local import LocalHost

MACHINES = Path(__file__).parents[1] / "machines"
OLD_DRIVER = str(MACHINES / "cuda118-on-451-windows-wsl2")  # DRV007
FORMS = ("text", "json", "html", "markdown", "sarif", "junit", "github", "prometheus")
Capture = pytest.CaptureFixture[str]


def diagnose(*words: str) -> int:
    return run(["diagnose", "--isolated", *words])


@pytest.mark.parametrize("form", FORMS)
def test_a_file_holds_what_is_printed_and_an_earlier_report_makes_room(
    form: str, capsys: Capture, tmp_path: Path
) -> None:
    snapshot = tmp_path / "machine.json"
    snapshot.write_text('{"schema_version": 1}')
    file = tmp_path / "report"
    words = ("--format", form, "--from", str(snapshot))
    assert diagnose(*words, "-o", str(file)) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", f"written to {file}\n")
    written = file.read_text()
    assert diagnose(*words) == 0
    assert capsys.readouterr().out.split() == written.split()
    before = file.stat().st_ino
    file.write_text(written + " ")
    again = diagnose(*words, "-o", str(file))
    if form == "github":  # nothing in it says whose it is
        assert again == 3
        assert diagnose(*words, "-o", str(file), "--force") == 0
    else:
        assert again == 0
    assert file.read_text() == written
    assert file.stat().st_ino != before
    assert sorted(os.listdir(tmp_path)) == ["machine.json", "report"]


@pytest.mark.parametrize("form", FORMS)
def test_findings_decide_the_status_in_every_form(form: str, capsys: Capture, tmp_path: Path) -> None:
    assert diagnose("--from", OLD_DRIVER, "--format", form) == 1
    assert "DRV007" in capsys.readouterr().out
    assert diagnose("--from", OLD_DRIVER, "--format", form, "--fail-on", "never", "-o", str(tmp_path / "x")) == 0


@pytest.mark.parametrize("mine", ['{"name": "envdoctor"}', "my notes on envdoctor 1", "", "<!doctype html>"])
@pytest.mark.parametrize("form", ["json", "prometheus"])
def test_a_persons_file_is_kept(form: str, mine: str, capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_text(mine)
    assert diagnose("--from", OLD_DRIVER, "--format", form, "--output", str(file)) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"not written by envdoctor and therefore kept: {file}" in shown.err
    assert file.read_text() == mine
    assert diagnose("--from", OLD_DRIVER, "--format", form, "--output", str(file), "--force") == 1
    assert file.read_text() != mine


def test_a_file_that_cannot_be_written(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    assert diagnose("--from", OLD_DRIVER, "--format", "sarif", "-o", str(file / "below.sarif")) == 3
    assert len(capsys.readouterr().err.splitlines()) <= 2
    assert diagnose("--from", OLD_DRIVER, "--format", "sarif", "-o", str(tmp_path)) == 3
    assert "is a folder" in capsys.readouterr().err


def test_a_terminals_colours_stay_out_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    file = tmp_path / "report.txt"
    assert diagnose("--from", OLD_DRIVER, "-o", str(file)) == 1
    assert "\x1b" not in file.read_text()


@pytest.mark.parametrize("form", FORMS)
def test_redaction_reaches_every_form(
    form: str, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SUDO_USER", "LOGNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("USER", "annabella")
    monkeypatch.setenv("HOME", "/home/annabella")
    hostname = LocalHost().read("/proc/sys/kernel/hostname").decode().strip()
    file = tmp_path / "private.json"
    python = {"executable": "/home/annabella/dl/bin/python", "prefix": "/home/annabella/dl", "version": "3.7.1"}
    index = {"name": "PIP_INDEX_URL", "value": f"https://ann:secret@pip.{hostname}/simple"}
    path = {"name": "LD_LIBRARY_PATH", "value": "/home/annabella/cuda/lib64/stubs"}
    system = {"os": "linux", "machine": "x86_64", "kernel": "6.1"}
    driver = {"version": "535.183.01", "module_loaded": True}
    file.write_text(
        json.dumps(
            {
                "schema_version": 1,
                "system": system,
                "driver": driver,
                "gpus": [{"vendor": "nvidia", "uuid": "GPU-8f6b3c1e-1111-2222-3333-444455556666"}],
                "pythons": [python],
                "variables": [index, path],
            }
        )
    )
    words = ("--from", str(file), "--format", form, "--fail-on", "never")
    assert diagnose(*words) == 0
    open_text = capsys.readouterr().out
    assert diagnose(*words, "--redact") == 0
    hidden = capsys.readouterr().out
    for private in ("annabella", "secret", "8f6b3c1e"):
        assert private not in hidden
    if form in ("text", "json", "html", "markdown"):  # the others show what a finding rests on, and nothing else
        assert "annabella" in open_text
        assert "~/dl/bin/python" in hidden


def test_what_is_pasted_into_an_issue(capsys: Capture) -> None:
    assert diagnose("--from", OLD_DRIVER, "--format", "markdown", "--redact") == 1
    text = capsys.readouterr().out
    assert text.startswith("<!-- GENERATED by envdoctor")
    assert "#### error `DRV007`: " in text
    assert "<details><summary>snapshot.json</summary>" in text


def test_junit_has_the_rules_that_were_asked(capsys: Capture) -> None:
    words = ("--from", OLD_DRIVER, "--format", "junit")
    assert diagnose(*words, "--only", "driver-too-old,DISK001") == 1
    names = [each.get("name") for each in ElementTree.fromstring(capsys.readouterr().out).iter("testcase")]
    assert sorted(str(each).split()[0] for each in names) == ["DISK001", "DRV007"]
    assert diagnose(*words, "--fail-on", "never") == 0
    assert "<failure" not in capsys.readouterr().out


def test_annotations_stand_at_the_line_of_a_file(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("Dockerfile").write_text("FROM nvidia/cuda:12.8.1-base-ubuntu22.04\nRUN pip install torch==2.7.1\n")
    words = ("--dockerfile", "Dockerfile", "--from", OLD_DRIVER, "--gpu", "RTX 3060", "--driver", "450.80.02")
    assert diagnose(*words, "--os", "linux", "--format", "github") == 1
    assert re.match(r"::error file=Dockerfile,line=\d,title=[A-Z]+\d+%3A ", capsys.readouterr().out)
    assert diagnose(*words, "--os", "linux", "--format", "sarif") == 1
    (result, *_) = json.loads(capsys.readouterr().out)["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "Dockerfile"


@pytest.mark.parametrize("form", ["markdown", "sarif", "junit", "github", "prometheus"])
def test_the_list_of_rules_has_no_other_form(form: str, capsys: Capture) -> None:
    assert diagnose("--list-rules", "--format", form) == 2
    assert "it prints --format text and json" in capsys.readouterr().err


def test_force_alone_means_nothing(capsys: Capture) -> None:
    assert diagnose("--from", OLD_DRIVER, "--force") == 2
    assert "--force belongs to --output" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("-o", "x.txt"), ("--redact",)])
def test_fixing_prints_as_it_goes(words: tuple[str, ...], capsys: Capture) -> None:
    assert diagnose("--fix", "--dry-run", *words) == 2
    assert "--fix changes this machine" in capsys.readouterr().err
