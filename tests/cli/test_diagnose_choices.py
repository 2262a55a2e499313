"""`--only`, `--ignore`, settings files, `--list-rules`: what is not shown is said, and never lost."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from envdoctor.cli import run
from envdoctor.rules.registry import rules

MACHINES = Path(__file__).parents[1] / "machines"
OLD_DRIVER = str(MACHINES / "cuda118-on-451-windows-wsl2")  # DRV007
NO_GPU = str(MACHINES / "container-without-gpus")  # CTR001, which explains others; TORCH013 is a note
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in a folder below which nobody has settings, with a home that has none."""
    (tmp_path / "home").mkdir()
    (tmp_path / "project" / "deep").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(tmp_path / "project" / "deep")


def project(text: str) -> None:
    Path("..", "pyproject.toml").write_text(text, encoding="utf-8")


def own(text: str) -> None:
    folder = Path(os.environ["HOME"], ".config", "envdoctor")
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(text, encoding="utf-8")


def diagnosed(capsys: Capture, *words: str, source: str = OLD_DRIVER, status: int = 0) -> dict[str, Any]:
    assert run(["diagnose", "--from", source, "--format", "json", *words]) == status
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def ids(document: dict[str, Any], part: str = "findings") -> list[str]:
    return [each["id"] for each in document[part]]


def test_without_a_wish_nothing_is_ignored(capsys: Capture) -> None:
    project('[project]\nname = "envdoctor-user"\n')
    document = diagnosed(capsys, status=1)
    assert (ids(document), document["ignored"], document["summary"]["ignored"]) == (["DRV007"], [], 0)


@pytest.mark.parametrize("name", ["DRV007", "drv007", "driver-too-old", "DISK001, DRV007"])
def test_an_ignored_finding_is_listed_and_fails_nothing(name: str, capsys: Capture) -> None:
    document = diagnosed(capsys, "--ignore", name)
    assert ids(document) == []
    assert document["summary"]["errors"] == 0
    assert [(each["id"], each["reason"], each["source"]) for each in document["ignored"]] == [
        ("DRV007", None, "--ignore")
    ]


@pytest.mark.parametrize(
    "table",
    [
        '[tool.envdoctor]\nignore = [{rule = "DRV007", reason = "new one in March"}]\n',
        '[[tool.envdoctor.ignore]]\nrule = "driver-too-old"\nreason = "new one in March"\n',
        '[tool]\nenvdoctor = {ignore = [{rule = "DRV007", reason = "new one in March"}]}\n',
        '[ tool . "envdoctor" ]\nignore = [{rule = "DRV007", reason = "new one in March"}]\n',
        '[tool]\nenvdoctor.ignore = [{rule = "DRV007", reason = "new one in March"}]\n',
    ],
)
def test_the_nearest_project_says_why(table: str, capsys: Capture) -> None:
    project(table)
    (ignored,) = diagnosed(capsys)["ignored"]
    assert ignored["reason"] == "new one in March"
    assert ignored["source"].endswith("/project/pyproject.toml")
    assert diagnosed(capsys, "--isolated", status=1)["ignored"] == []
    assert run(["diagnose", "--from", OLD_DRIVER]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "ignored: error[DRV007]" in said
    assert "pyproject.toml: new one in March" in said
    assert said.endswith("Nothing to fix (1 ignored).")


def test_a_person_has_settings_too(capsys: Capture) -> None:
    own('ignore = [{rule = "DRV007", reason = "mine"}]\n')
    assert [each["reason"] for each in diagnosed(capsys, "--ignore", "DRV007")["ignored"]] == ["mine"]


def test_what_an_ignored_cause_explains_stays_explained(capsys: Capture) -> None:
    (cause, *_) = diagnosed(capsys, source=NO_GPU, status=1)["findings"]
    document = diagnosed(capsys, "--ignore", "CTR001", source=NO_GPU)
    assert cause["id"] == "CTR001"
    assert ids(document) == ["TORCH013"]
    assert document["ignored"][0]["supersedes"] == cause["supersedes"]


def test_only_asks_for_rules_and_is_never_silent_for_another_cause(capsys: Capture) -> None:
    whole = diagnosed(capsys, source=NO_GPU, status=1)
    assert diagnosed(capsys, "--only", "TORCH013", source=NO_GPU)["findings"] == whole["findings"][1:]
    hidden = whole["findings"][0]["supersedes"]
    for code in hidden:
        assert ids(diagnosed(capsys, "--only", code, "--fail-on", "never", source=NO_GPU)) == [code]
    assert ids(diagnosed(capsys, "--only", "CTR001", "--only", "TORCH013", "--ignore", "CTR001", source=NO_GPU)) == [
        "TORCH013"
    ]
    report = Path("report.txt")
    report.write_text("PyTorch version: 2.8.0\nOS: Ubuntu 22.04\n")
    assert set(ids(diagnosed(capsys, "--only", "DRV007", source=str(report)), "not_checked")) <= {"DRV007"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ignore", "DRV07"], "did you mean DRV0"),
        (["--only", "driver-to-old"], "did you mean driver-too-old"),
        (["--only", "zzz"], "--list-rules"),
        (["--ignore", ","], "--ignore names no rule"),
    ],
)
def test_a_rule_that_is_not_there(words: list[str], said: str, capsys: Capture) -> None:
    assert run(["diagnose", *words]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err


@pytest.mark.parametrize(
    ("table", "status", "said"),
    [
        ("[tool.envdoctor]\nignore = [\n", 3, "is not valid TOML"),
        ('[tool.envdoctor]\nignore = ["DRV007"]\n', 3, "is not as it should be"),
        ('[tool.envdoctor]\nignore = [{rule = "DRV007"}]\n', 3, "missing required field `reason`"),
        ('[tool.envdoctor]\nignore = [{rule = "DRV007", reason = " "}]\n', 3, "ignores DRV007 without a reason"),
        ("[tool.envdoctor]\nignored = []\n", 3, "unknown field `ignored`"),
        ('tool.envdoctor = "x"\n', 3, "is not as it should be"),
        ('[tool.envdoctor]\nignore = [{rule = "DRV07", reason = "x"}]\n', 2, "there is no rule DRV07"),
        ("[tool.envdoctor]\nx = " + "[" * 100_000, 3, "is not valid TOML"),
        ("# tool.envdoctor\n" + "#" * (2 << 20), 3, "larger than 1 MiB"),
    ],
)
def test_a_broken_settings_file_is_one_clear_line(table: str, status: int, said: str, capsys: Capture) -> None:
    project(table)
    assert run(["diagnose", "--from", OLD_DRIVER]) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert "pyproject.toml" in shown.err
    assert len(shown.err.splitlines()) <= 2


def test_a_broken_project_that_says_nothing_to_us_is_not_our_business(capsys: Capture) -> None:
    project("[project\nname =")
    assert ids(diagnosed(capsys, status=1)) == ["DRV007"]


def test_bytes_that_are_no_text(capsys: Capture) -> None:
    Path("pyproject.toml").write_bytes(b"[tool.envdoctor]\n# \xff\n")
    assert run(["diagnose", "--from", OLD_DRIVER]) == 3
    assert "is not UTF-8" in capsys.readouterr().err


def test_the_list_of_rules(capsys: Capture) -> None:
    assert run(["diagnose", "--list-rules", "--format", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)["rules"]
    assert [each["id"] for each in listed] == [each.id for each in rules()]
    assert set(listed[0]) == {"id", "slug", "severity", "certainty", "title"}
    assert run(["diagnose", "--list-rules"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(listed)


def test_a_slug_that_only_some_findings_of_a_rule_have(capsys: Capture) -> None:
    assert diagnosed(capsys, "--ignore", "docker-from-snap", status=1)["ignored"] == []
