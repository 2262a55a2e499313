"""How NVML is asked on Windows, as far as another system shows it: its folders, the process and its end.

What is not shown is the DLL itself: pynvml opens it by its own path there, and libnvidia-ml.so.1 here.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from envdoctor.host import nvml_windows
from native.conftest import FakeNvml
from native.test_nvml import MIXED, PLENTY, RTX_3060

pytestmark = pytest.mark.compiler

PLACES = ("windows/System32/nvml.dll", "programs/NVIDIA Corporation/NVSMI/nvml.dll")


def environ(fake_nvml: FakeNvml, folder: Path, script: str, *dlls: str) -> dict[str, str]:
    for each in dlls:
        (folder / each).parent.mkdir(parents=True)
        (folder / each).touch()
    return fake_nvml(script) | {"SystemRoot": str(folder / "windows"), "ProgramFiles": str(folder / "programs")}


@pytest.mark.parametrize("dlls", [PLACES, PLACES[:1], PLACES[1:]])
def test_the_library_of_the_drivers_folder(fake_nvml: FakeNvml, tmp_path: Path, dlls: tuple[str, ...]) -> None:
    answer = nvml_windows.ask(environ(fake_nvml, tmp_path, RTX_3060, *dlls), PLENTY)
    assert answer.library == str(tmp_path / dlls[0])
    assert [card.name for card in answer.gpus] == ["NVIDIA GeForce RTX 3060"]
    assert answer.incomplete is None


def test_without_a_library_no_process_is_started(
    fake_nvml: FakeNvml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(FileNotFoundError):
        nvml_windows.ask(environ(fake_nvml, tmp_path, RTX_3060), PLENTY)
    with pytest.raises(ChildProcessError, match="no process could be started"):
        nvml_windows.ask(environ(fake_nvml, tmp_path, RTX_3060, *PLACES), PLENTY)


def test_a_call_that_hangs_loses_only_what_comes_after_it(fake_nvml: FakeNvml, tmp_path: Path) -> None:
    hangs = environ(fake_nvml, tmp_path, MIXED.format(fault="fail nvmlDeviceGetName hang"), *PLACES)
    answer = nvml_windows.ask(hangs, 4.0)
    assert (answer.status, answer.incomplete, answer.crashed) == (0, "no answer within 4 s", False)
    with pytest.raises(TimeoutError, match="no answer within 1 s"):
        nvml_windows.ask({**hangs, **fake_nvml("fail nvmlInitWithFlags hang")}, 1.0)


def test_a_library_that_crashes(fake_nvml: FakeNvml, tmp_path: Path) -> None:
    answer = nvml_windows.ask(
        environ(fake_nvml, tmp_path, MIXED.format(fault="fail nvmlDeviceGetName crash"), *PLACES), PLENTY
    )
    assert (answer.status, answer.crashed) == (0, True)
