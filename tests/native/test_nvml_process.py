"""How libnvidia-ml and nvidia-ml-py are found, and what is said where they are not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from envdoctor.host import loader, nvml
from native.conftest import FakeNvml
from native.test_nvml import PLENTY, RTX_3060

pytestmark = pytest.mark.compiler


def test_no_library_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "find", lambda *_, **__: None)
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(FileNotFoundError):
        nvml.ask({}, PLENTY)


def test_file_that_is_no_library_is_return_code_12(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_text("not a library")
    answer = nvml.ask({"LD_LIBRARY_PATH": str(tmp_path)}, PLENTY)

    assert (answer.status, answer.library) == (12, str(tmp_path / "libnvidia-ml.so.1"))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("def nvmlInit(): pass", "is not that of nvidia-ml-py: it has no NVMLError"),
        ("raise RuntimeError('another pynvml')", "cannot be imported: another pynvml"),
    ],
)
def test_another_pynvml_is_named(
    fake_nvml: FakeNvml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, message: str
) -> None:
    (tmp_path / "pynvml.py").write_text(module)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(ChildProcessError, match=message):
        nvml.ask(fake_nvml(RTX_3060), PLENTY)


def test_missing_pynvml_is_named(fake_nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(ChildProcessError, match="nvidia-ml-py is not installed"):
        nvml.ask(fake_nvml(RTX_3060), PLENTY)


def test_python_that_is_gone_is_no_missing_library(fake_nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(ChildProcessError, match="no process could be started"):
        nvml.ask(fake_nvml(RTX_3060), PLENTY)


def test_library_in_a_folder_the_loader_does_not_know(
    fake_nvml: FakeNvml, fake_libraries: dict[bool, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in WSL without ld.wsl.conf, or on NixOS: found by its folder, and pynvml then finds it by name."""
    environ = fake_nvml(RTX_3060)
    del environ["LD_LIBRARY_PATH"]
    monkeypatch.setattr(loader, "DRIVER_FOLDERS", (fake_libraries[False],))

    assert [card.name for card in nvml.ask(environ, PLENTY).gpus] == ["NVIDIA GeForce RTX 3060"]


def test_python_variables_do_not_reach_the_child(fake_nvml: FakeNvml, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')")
    environ = fake_nvml(RTX_3060) | {"PYTHONPATH": str(tmp_path), "PYTHONHOME": "/nonexistent"}

    assert len(nvml.ask(environ, PLENTY).gpus) == 1


def test_diagnosis_of_a_real_process_reads_the_fake(fake_nvml: FakeNvml) -> None:
    """The whole way: LocalHost of a process that was started in this environment."""
    environ = {**os.environ, **fake_nvml(RTX_3060)}
    program = (
        "from envdoctor.host.local import LocalHost; from envdoctor.probes import nvidia;"
        "machine = nvidia.PROBE.read(LocalHost(), None);"
        "print(machine.driver.cuda, [gpu.name for gpu in machine.gpus if gpu.capability])"
    )
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "12.2 ['NVIDIA GeForce RTX 3060']\n"
