"""The whole of `envdoctor diagnose`, as a process, on a machine whose libnvidia-ml is ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from native.conftest import FakeNvml
from native.test_nvml import MIXED, RTX_3060

pytestmark = pytest.mark.compiler


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that holds what a torch 2.8.0 for CUDA 12.8 leaves on disk of its version."""
    folder = tmp_path_factory.mktemp("environment") / "env"
    venv.create(folder, with_pip=False)
    site = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    (site / "torch").mkdir()
    (site / "torch" / "version.py").write_text("__version__ = '2.8.0+cu128'\ncuda = '12.8'\nhip = None\nxpu = None\n")
    (site / "torch-2.8.0+cu128.dist-info").mkdir()
    (site / "torch-2.8.0+cu128.dist-info" / "METADATA").write_text("Name: torch\nVersion: 2.8.0+cu128\n")
    return folder


def diagnose(environ: dict[str, str], folder: Path, *words: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        (sys.executable, "-m", "envdoctor", "diagnose", "--python", str(folder), "--format", "json", *words),
        capture_output=True,
        env={**os.environ, **environ},
        timeout=60,
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def raised(document: dict[str, Any], severity: str = "error") -> dict[str, str]:
    return {f["id"]: f["title"] for f in document["findings"] if f["severity"] == severity}


def test_one_card(fake_nvml: FakeNvml, environment: Path) -> None:
    status, document = diagnose(fake_nvml(RTX_3060), environment)
    (gpu,) = document["snapshot"]["gpus"]
    assert (gpu["name"], gpu["capability"], gpu["memory_bytes"]) == ("NVIDIA GeForce RTX 3060", "8.6", 12288 << 20)
    assert document["snapshot"]["driver"]["version"] == "535.183.01"
    assert document["snapshot"]["driver"]["cuda"] == "12.2"
    assert raised(document) == {}  # CUDA 12.8 runs on a driver of 12.2: the same major version
    assert status == 0


def test_an_old_card_beside_a_new_one(fake_nvml: FakeNvml, environment: Path) -> None:
    status, document = diagnose(fake_nvml(MIXED.format(fault="")), environment)
    assert [gpu["name"] for gpu in document["snapshot"]["gpus"]] == [
        "NVIDIA GeForce RTX 4090",
        "NVIDIA GeForce GTX 1080 Ti",
    ]
    assert status == 1
    assert set(raised(document)) == {"TORCH002"}  # only the 1080 Ti: 8.9 runs what was built for 8.6
    assert "1080 Ti" in raised(document)["TORCH002"]
    assert "4090" not in raised(document)["TORCH002"]


def test_driver_and_library_of_two_releases(fake_nvml: FakeNvml, environment: Path) -> None:
    status, document = diagnose(fake_nvml("init 18\n"), environment)
    assert status == 1
    assert "DRV006" in raised(document)
    assert document["findings"][0]["id"] == "DRV006"
    assert document["findings"][0]["rule"] == "driver-library-mismatch"


def test_a_lost_card(fake_nvml: FakeNvml, environment: Path) -> None:
    status, document = diagnose(fake_nvml(MIXED.format(fault="fail * 15")), environment)
    assert status == 1
    assert "DRV020" in raised(document)
    assert [gpu["lost"] for gpu in document["snapshot"]["gpus"]] == [False, True]


def test_a_call_that_never_returns(fake_nvml: FakeNvml, environment: Path) -> None:
    script = MIXED.format(fault="fail nvmlDeviceGetName hang")
    _, document = diagnose(fake_nvml(script), environment, "--timeout", "3")
    snapshot = document["snapshot"]
    assert any(gap["kind"] == "timeout" and gap["fact"].startswith("gpus") for gap in snapshot["gaps"])
    assert snapshot["system"]["os"] == "linux"  # the rest has answered
    assert snapshot["pythons"][0]["frameworks"][0]["version"] == "2.8.0+cu128"
    assert snapshot["driver"]["version"] == "550.54.14"  # and so has NVML, before that call
    assert "TORCH002" in {each["id"] for each in document["not_checked"]}


def test_a_library_that_crashes(fake_nvml: FakeNvml, environment: Path) -> None:
    _, document = diagnose(fake_nvml(MIXED.format(fault="fail nvmlDeviceGetName crash")), environment)
    assert any(gap["kind"] == "crashed" for gap in document["snapshot"]["gaps"])
    assert document["snapshot"]["system"]["os"] == "linux"


def test_a_library_of_an_old_driver(fake_nvml: FakeNvml, environment: Path) -> None:
    _, document = diagnose(fake_nvml(RTX_3060, old=True), environment)
    (gpu,) = document["snapshot"]["gpus"]
    assert gpu["name"] == "NVIDIA GeForce RTX 3060"
    assert gpu["memory_bytes"] == 12288 << 20
