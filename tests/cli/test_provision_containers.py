"""`provision --builder`, `--build` and `--tag`, and `verify --image`, where no engine is needed to see what they do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from envdoctor import errors
from envdoctor.cli import run

STACK = ("provision", "--cuda", "cpu", "--framework-version", "2.13", "--python", "3.11")


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = run(list(arguments))
    return status, capsys.readouterr().err


def test_the_builder_decides_the_form_and_a_second_run_changes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "a b $(touch x)"
    command = (*STACK, "-o", str(folder), "--builder", "buildkit")
    assert said(capsys, *command)[0] == errors.FINE
    assert "RUN --mount=type=cache" in (folder / "Dockerfile").read_text()
    assert {"compose.yaml", "health.py", ".devcontainer"} <= set(os.listdir(folder))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert said(capsys, *command)[0] == errors.FINE
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert said(capsys, *STACK, "-o", str(folder))[0] == errors.FINE
    assert "--mount" not in (folder / "Dockerfile").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*STACK, "--tag", "x"), "goes with --build"),
        ((*STACK, "--build", "--dry-run"), "--dry-run makes nothing"),
        ((*STACK, "--build", "--tag", "A b; $(id)"), "not the name of an image"),
        ((*STACK, "--builder", "kaniko"), "kaniko"),
        (("verify", "--image", "x", "--python", "y"), "give one of them"),
        (("verify", "--image", "x", "--conda-env", "y"), "give one of them"),
    ],
)
def test_words_that_do_not_fit(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str) -> None:
    status, err = said(capsys, *arguments)
    assert status == errors.USAGE
    assert words in err


def test_without_an_engine_nothing_is_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    status, err = said(capsys, *STACK, "--build", "-o", str(tmp_path / "out"))
    assert status == errors.UNREADABLE
    assert err.startswith("envdoctor: Docker's client, the program docker, is not here\n  install it: https://")
    assert not (tmp_path / "out").exists()
