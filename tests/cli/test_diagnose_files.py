"""`diagnose --dockerfile`, `--environment`, `--requirements`: a person's own files, for this machine or another."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from envdoctor import errors
from envdoctor.cli import run

MACHINES = Path(__file__).parents[1] / "machines"
OLD_DRIVER = str(MACHINES / "cuda118-on-451-windows-wsl2")
Capture = pytest.CaptureFixture[str]

FILES = {
    "Dockerfile": "FROM nvidia/cuda:12.6.3-base-ubuntu22.04\nCOPY *.txt ./\nRUN pip install -r requirements.txt\n",
    "requirements.txt": "torch==2.9.1+cu118\n",
    "environment.yml": "channels: [conda-forge, defaults]\ndependencies: [numpy]\n",
    "pyproject.toml": '[project]\ndependencies = ["tensorflow-gpu"]\n',
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(tmp_path)


def diagnosed(capsys: Capture, *words: str, status: int = 0) -> dict[str, Any]:
    assert run(["diagnose", "--from", OLD_DRIVER, "--isolated", "--format", "json", *words]) == status
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def found(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["id"], each["evidence"][0]["source"]) for each in document["findings"]]


def test_files_are_judged_and_the_machine_is_not(capsys: Capture) -> None:
    """Its driver is too old for its own environment (DRV007), which is another question."""
    words = (
        "--environment",
        "environment.yml",
        "--requirements",
        "requirements.txt",
        "--requirements",
        "pyproject.toml",
    )
    document = diagnosed(capsys, *words, status=1)
    assert found(document) == [
        ("FILE013", "line 1 of requirements.txt"),
        ("FILE042", "line 2 of pyproject.toml"),
        ("FILE031", "line 1 of environment.yml"),
    ]
    assert document["summary"] == {"errors": 2, "warnings": 1, "notes": 0, "ignored": 0}


def test_a_dockerfile_is_judged_with_the_requirements_beside_it(capsys: Capture) -> None:
    document = diagnosed(capsys, "--dockerfile", "Dockerfile", "--gpu", "RTX 3060", "--driver", "550.54.14", status=1)
    assert found(document) == [("FILE002", "line 1 of Dockerfile"), ("FILE013", "line 1 of requirements.txt")]
    assert document["snapshot"]["gpus"][0]["name"] == "NVIDIA GeForce RTX 3060"
    assert document["snapshot"]["origins"]["driver"] == "--driver"


def test_what_was_diagnosed_can_be_judged_again(capsys: Capture, tmp_path: Path) -> None:
    document = diagnosed(capsys, "--requirements", "requirements.txt", status=1)
    (tmp_path / "again.json").write_text(json.dumps(document), encoding="utf-8")
    assert run(["diagnose", "--from", "again.json", "--isolated", "--only", "FILE013", "--format", "json"]) == 1
    assert found(json.loads(capsys.readouterr().out)) == [("FILE013", "line 1 of requirements.txt")]


def test_rules_can_be_chosen(capsys: Capture) -> None:
    words = ("--environment", "environment.yml", "--requirements", "requirements.txt")
    assert [code for code, _ in found(diagnosed(capsys, *words, "--only", "conda-channels-mixed"))] == ["FILE031"]
    document = diagnosed(capsys, *words, "--ignore", "FILE013")
    assert [each["id"] for each in document["ignored"]] == ["FILE013"]


def test_the_text_shows_the_line_and_what_it_becomes(capsys: Capture) -> None:
    assert run(["diagnose", "--from", OLD_DRIVER, "--isolated", "--requirements", "requirements.txt"]) == 1
    shown = capsys.readouterr().out
    assert "found:     “torch==2.9.1+cu118” (line 1 of requirements.txt)" in shown
    assert "Line 1 of requirements.txt becomes: torch==2.7.1+cu118" in shown


@pytest.mark.parametrize(
    ("option", "name", "content", "words"),
    [
        ("--dockerfile", "absent", None, "there is no file absent"),
        ("--dockerfile", ".", None, ". is a folder"),
        ("--dockerfile", "empty", b" \n", "empty is empty"),
        ("--requirements", "binary", b"\x7fELF\xff\xfe\x00", "not a text in UTF-8"),
        ("--requirements", "nul", b"a\0b", "not a text"),
        ("--requirements", "huge", b"#" * (3 << 20), "larger than 1024 KiB"),
        ("--dockerfile", "huge", b"FROM a\n" * 50_000, "larger than 256 KiB"),
        ("--requirements", "long", b"numpy\n" * 30_000, "more than 20000 things"),
        ("--dockerfile", "requirements.txt", None, "no line FROM"),
        ("--environment", "bad.yml", b"a: [", "bad.yml is no environment file of conda's: line 1"),
        ("--environment", "deep.yml", b"[" * 9000, "nested too deeply"),
        ("--environment", "Dockerfile", None, "no environment file"),
        ("--requirements", "bad.toml", b"[project", "bad.toml is no TOML"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_clear_line(
    capsys: Capture, option: str, name: str, content: bytes | None, words: str
) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    assert run(["diagnose", "--from", OLD_DRIVER, option, name]) == errors.UNREADABLE
    shown = capsys.readouterr()
    assert (shown.out, words in shown.err, "Traceback" in shown.err) == ("", True, False), shown.err


def test_a_missing_library_is_named_with_what_brings_it(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert run(["diagnose", "--from", OLD_DRIVER, "--environment", "environment.yml"]) == errors.UNREADABLE
    assert "envdoctor[files]" in capsys.readouterr().err


def test_two_dockerfiles_of_one_name_are_told_apart(capsys: Capture) -> None:
    for folder in ("a", "b"):
        os.mkdir(folder)
        Path(folder, "Dockerfile").write_text("FROM python:3.12\nFROM nvidia/cuda:12.6.3-base-ubuntu22.04\n")
    words = (
        "--dockerfile",
        "a/Dockerfile",
        "--dockerfile",
        "b/Dockerfile",
        "--gpu",
        "RTX 3060",
        "--driver",
        "550.54.14",
    )
    document = diagnosed(capsys, *words, status=1)
    assert found(document) == [("FILE002", "line 2 of a/Dockerfile"), ("FILE002", "line 2 of b/Dockerfile")]


def test_a_pipe_is_no_file(capsys: Capture) -> None:
    os.mkfifo("pipe")
    assert run(["diagnose", "--from", OLD_DRIVER, "--requirements", "pipe"]) == errors.UNREADABLE


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--gpu", "8.6"), "describe the machine that a file is for"),
        (("--requirements", "requirements.txt", "--gpu", "RTX 9999 Ultra"), "no GPU called RTX 9999 Ultra is known"),
        (("--requirements", "requirements.txt", "--driver", "$(id)"), "--driver $(id) is not a version"),
    ],
)
def test_a_description_that_cannot_be_meant(capsys: Capture, words: tuple[str, ...], said: str) -> None:
    assert run(["diagnose", "--from", OLD_DRIVER, *words]) == errors.USAGE
    assert said in capsys.readouterr().err


def test_text_of_a_file_is_never_run_nor_obeyed(capsys: Capture, tmp_path: Path) -> None:
    hostile = (
        'FROM a\nRUN pip install torch==2.9.1+cu118 $(touch x) `touch y` \x1b[2J ; touch "z"\n'
        "RUN pip install -r ../../etc/passwd\n"
    )
    Path("Dockerfile").write_text(hostile, encoding="utf-8")
    assert run(["diagnose", "--from", OLD_DRIVER, "--isolated", "--dockerfile", "Dockerfile"]) == 1
    shown = capsys.readouterr().out
    assert "FILE013" in shown
    assert ("\x1b" in shown, "u001b[2J" in shown) == (False, True)
    assert sorted(os.listdir(tmp_path)) == sorted(FILES)


def test_an_index_password_is_not_shown(capsys: Capture) -> None:
    Path("requirements.txt").write_text(
        "--extra-index-url https://ann:secret@pip.example.com/simple\ntorch==2.9.1+cu118\n"
    )
    document = diagnosed(capsys, "--requirements", "requirements.txt", status=1)
    assert "secret" not in json.dumps(document)
