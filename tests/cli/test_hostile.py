"""Whatever is put in: one line that says what to do, the right exit status, no traceback, nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ENVDOCTOR = (sys.executable, "-m", "envdoctor")


def run(*words: str, stdin: bytes = b"", **changes: str | None) -> subprocess.CompletedProcess[bytes]:
    environ = {**os.environ, **{name: value for name, value in changes.items() if value is not None}}
    for name, value in changes.items():
        if value is None:
            environ.pop(name, None)
    return subprocess.run((*ENVDOCTOR, *words), input=stdin, capture_output=True, env=environ, timeout=120, check=False)


def one_line(done: subprocess.CompletedProcess[bytes], status: int, *words: str) -> None:
    said = done.stderr.decode()
    assert done.returncode == status, said
    assert "Traceback" not in said
    assert said.startswith("envdoctor: "), said
    assert len(said.rstrip("\n").split("\n")) <= 2, said  # what happened, and what to do
    for word in words:
        assert word in said, said
    assert done.stdout == b""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of this machine."""
    path = tmp_path_factory.mktemp("saved") / "machine.json"
    done = run("snapshot", "-o", str(path))
    assert done.returncode == 0, done.stderr
    return path


def test_from_a_folder(tmp_path: Path) -> None:
    one_line(run("diagnose", "--from", str(tmp_path)), 3, "is a folder")


def test_from_nothing(tmp_path: Path) -> None:
    one_line(run("diagnose", "--from", str(tmp_path / "absent.json")), 3, "there is no file")


@pytest.mark.parametrize("content", [b"", b" \n\n", b"\0" * 1000])
def test_from_an_empty_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "empty.json").write_bytes(content)
    one_line(run("diagnose", "--from", str(tmp_path / "empty.json")), 3, "is empty")


def test_from_a_hundred_megabytes_of_zeros(tmp_path: Path) -> None:
    path = tmp_path / "zeros.json"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    one_line(run("diagnose", "--from", str(path)), 3, "zeros.json")


def test_from_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.write(b'{"schema_version": 1}')
        file.truncate(100 << 20)
    one_line(run("diagnose", "--from", str(path)), 3, "larger than 32 MiB")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"\xff\xfe\xfa", "is not a text"),
        (bytes(range(128, 256)) * 40, "is not a text"),
        (b'{"schema_version": 1, "tool": "\xff\xfe"}', "damaged"),
        (b"hello", "nothing in"),
        (b'{"name": "somebody\'s package.json"}', "not a snapshot"),
        (b"[1, 2, 3]", "not a snapshot"),
        (b"null", "not a snapshot"),
        (b'{"schema_version": "1"}', "not a snapshot"),
        (b'{"schema_version": 99}', "has schema 99"),
        (b'{"schema_version": 1, "memory": {"total_bytes": "many"}}', "damaged"),
        (b'{"schema_version": 1, "gpus": 7}', "damaged"),
        (b'{"schema_version": 1, "snapshot": {"gpus": 7}}', "damaged"),
        (b"[" * 100_000, "nothing in"),
    ],
)
def test_from_what_is_no_snapshot(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "other.json"
    path.write_bytes(content)
    one_line(run("diagnose", "--from", str(path)), 3, word)
    one_line(run("diagnose", "--from", "-", stdin=content), 3, word)


def test_from_an_unreadable_file(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        done = run("diagnose", "--from", "/proc/self/mem")  # root may open it, but nothing is mapped at its start
        one_line(done, 3, "cannot be read")
    else:
        path = tmp_path / "secret.json"
        path.write_text("{}")
        path.chmod(0)
        one_line(run("diagnose", "--from", str(path)), 3, "cannot be read")


def test_from_is_for_files_only(saved: Path) -> None:
    one_line(run("diagnose", "--from", str(saved), "--python", sys.executable), 2, "--from judges a file")


def test_python_that_is_none(tmp_path: Path) -> None:
    one_line(run("diagnose", "--python", str(tmp_path / "python")), 2)
    text = tmp_path / "text"
    text.write_text("hello")
    one_line(run("diagnose", "--python", str(text)), 2)


@pytest.mark.parametrize(
    "words",
    [
        ("provision", "--cuda", "eleven"),
        ("provision", "--cuda", "11.8; rm -rf /"),
        ("provision", "--python", "$(id)"),
        ("provision", "--driver", "new"),
        ("provision", "--gpu", "RTX 9999"),
        ("provision", "--framework-version", "2.*"),
        ("onboard", "--cuda", "11,8"),
        ("explain", "NOPE42"),
    ],
)
def test_words_that_do_not_fit(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = subprocess.run((*ENVDOCTOR, *words), capture_output=True, cwd=tmp_path, timeout=120, check=False)
    one_line(done, 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [("diagnos",), ("diagnose", "--no-such-option"), ("diagnose", "--timeout", "soon")])
def test_words_that_click_refuses(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_without_a_home(saved: Path) -> None:
    done = run("diagnose", "--format", "json", HOME=None, USER=None, LOGNAME=None)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["snapshot"]["system"]["os"] == "linux"


def test_without_anything_in_the_environment() -> None:
    done = subprocess.run((*ENVDOCTOR, "diagnose"), capture_output=True, env={}, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert b"System" in done.stdout


def test_a_closed_pipe() -> None:
    process = subprocess.Popen(
        (*ENVDOCTOR, "diagnose", "--format", "json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 0
    assert said == b""


def test_a_closed_pipe_behind_help() -> None:
    process = subprocess.Popen((*ENVDOCTOR, "--help"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 0
    assert said == b""


@pytest.mark.parametrize("words", [("diagnose",), ("--help",), ("explain",)])
def test_a_full_disk(words: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run((*ENVDOCTOR, *words), stdout=full, stderr=subprocess.PIPE, timeout=120, check=False)
    said = done.stderr.decode()
    assert done.returncode == 3, said
    assert said == "envdoctor: No space left on device\n"


def test_snapshot_never_replaces_another_file(tmp_path: Path, saved: Path) -> None:
    path = tmp_path / "thesis.txt"
    path.write_text("years of work")
    one_line(run("snapshot", "-o", str(path)), 3, "thesis.txt")
    assert path.read_text() == "years of work"
    path.write_bytes(saved.read_bytes())
    assert run("snapshot", "-o", str(path)).returncode == 0  # a snapshot may be renewed


def test_snapshot_into_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert run("snapshot", "-o", str(tmp_path / "new" / "machine.json")).returncode == 0
    assert json.loads((tmp_path / "new" / "machine.json").read_text())["schema_version"] == 1


def test_a_snapshot_comes_back_as_it_was(saved: Path) -> None:
    done = run("diagnose", "--from", str(saved), "--format", "json", "--fail-on", "never")
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    assert again["snapshot"] == json.loads(saved.read_text())
    document = run("diagnose", "--from", "-", "--format", "json", "--fail-on", "never", stdin=done.stdout)
    assert json.loads(document.stdout) == again


def test_an_ascii_terminal() -> None:
    done = run("diagnose", PYTHONIOENCODING="ascii", LC_ALL="C", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
