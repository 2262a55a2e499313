"""Measuring this processor, remembering it, and doing without."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
import pytest

from envdoctor.app import calibrating
from envdoctor.app.calibrating import cache_path, copied, processor_speed, read
from envdoctor.estimate import peaks
from envdoctor.host.local import LocalHost
from envdoctor.host.recorded import RecordedHost, Recording

FIGURES = dict.fromkeys(("fp32", "convolution", "bf16", "fp16", "stream", "fresh", "cached", "calls"), 1e10)


def stand_in(folder: Path, prints: str, *, status: int = 0) -> str:
    """Write a program that answers as an interpreter would, and counts how often it was asked."""
    program = folder / "env" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text(
        f"#!{sys.executable}\nopen({str(folder / 'asked')!r}, 'a').write('x')\n"
        f"print({prints!r})\nraise SystemExit({status})\n"
    )
    program.chmod(0o755)
    return str(program)


def asked(folder: Path) -> int:
    file = folder / "asked"
    return len(file.read_text()) if file.exists() else 0


def host(folder: Path) -> LocalHost:
    return LocalHost(environ={"XDG_CACHE_HOME": str(folder / "cache"), "PATH": "/usr/bin:/bin"})


def answer() -> str:
    found = peaks.Calibration(library="torch 9.9", threads=1, alone=FIGURES, together=FIGURES)
    return msgspec.json.encode(found).decode()


def test_it_measures_and_remembers(tmp_path: Path) -> None:
    python = stand_in(tmp_path, f"a warning of a .pth file\n{answer()}")
    first = processor_speed(host(tmp_path), python)
    second = calibrating.remembered(host(tmp_path))
    assert asked(tmp_path) == 1
    assert first == second
    assert "torch 9.9 on 1 thread" in first.basis
    assert first.fp32.low < 1e10 < first.fp32.high
    processor_speed(host(tmp_path), python)
    assert asked(tmp_path) == 2
    kept = read(str(tmp_path / "cache" / "envdoctor" / "processor-speed.json"))
    assert [each.library for each in kept.values()] == ["torch 9.9"]


@pytest.mark.parametrize(
    ("prints", "status"),
    [("", 0), ("no JSON", 0), ("[]", 0), ('{"library": "torch"}', 0), ("torch cannot be imported", 1)],
)
def test_what_answers_nothing_useful_is_not_remembered(tmp_path: Path, prints: str, status: int) -> None:
    python = stand_in(tmp_path, prints, status=status)
    assert "not a measurement" in processor_speed(host(tmp_path), python).basis
    assert not (tmp_path / "cache").exists()


def test_figures_that_cannot_be_are_not_used(tmp_path: Path) -> None:
    zeros = dict.fromkeys(FIGURES, 0.0)
    found = peaks.Calibration(library="torch 9.9", threads=1, alone=zeros, together=zeros)
    python = stand_in(tmp_path, msgspec.json.encode(found).decode())
    assert "not a measurement" in processor_speed(host(tmp_path), python).basis


def test_there_need_be_no_such_program(tmp_path: Path) -> None:
    assert "not a measurement" in processor_speed(host(tmp_path), str(tmp_path / "nothing")).basis
    assert "not a measurement" in processor_speed(host(tmp_path), None).basis


def test_another_machine_is_not_measured(tmp_path: Path) -> None:
    python = stand_in(tmp_path, answer())
    recorded = RecordedHost(Recording())
    assert "not a measurement" in processor_speed(recorded, python).basis
    mounted = LocalHost(root=str(tmp_path))
    assert "not a measurement" in processor_speed(mounted, python).basis
    assert asked(tmp_path) == 0


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"schema": 2, "measured": {}}', b'{"measured": 3}'])
def test_a_broken_cache_is_measured_again(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "cache" / "envdoctor" / "processor-speed.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    python = stand_in(tmp_path, answer())
    assert "torch 9.9" in processor_speed(host(tmp_path), python).basis
    assert len(read(str(file))) == 1


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    python = stand_in(tmp_path, answer())
    assert "torch 9.9" in processor_speed(host(tmp_path), python).basis


def test_the_cache_stands_where_the_system_wants_it() -> None:
    name = "envdoctor/processor-speed.json"
    assert cache_path({"XDG_CACHE_HOME": "/x", "HOME": "/h"}) == f"/x/{name}"
    assert cache_path({"LOCALAPPDATA": "/local", "HOME": "/h"}) == f"/local/{name}"
    assert cache_path({"HOME": "/h"}) == f"/h/.cache/{name}"
    # A relative folder is to be ignored: https://specifications.freedesktop.org/basedir-spec/latest/
    assert cache_path({"XDG_CACHE_HOME": "x", "HOME": "/h"}) == f"/h/.cache/{name}"
    assert cache_path({}) is None


def test_copying_is_measured_without_a_framework() -> None:
    assert 1e8 < copied() < 1e13


@pytest.mark.torch
def test_the_script_measures_a_real_torch(torch_python: str) -> None:
    done = LocalHost().run((torch_python, calibrating.SCRIPT), 120)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    found = msgspec.json.decode(done.stdout, type=peaks.Calibration)
    assert found.library.startswith("torch ")
    assert set(found.alone) >= {"fp32", "convolution", "stream", "fresh", "cached", "calls"}
    on = peaks.measured(found, None)
    assert 1e9 < on.fp32.low < 1e14
    assert 1e8 < on.stream.low < 1e13
    assert json.loads(done.stdout)["threads"] >= 1


def test_the_script_says_that_there_is_no_torch(bare_python: str) -> None:
    done = LocalHost().run((bare_python, calibrating.SCRIPT), 60)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "torch cannot be imported" in done.stderr
