"""`run` beside a simulated driver: the GPU's memory is really asked for while the program runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from native.conftest import FakeNvml

pytestmark = pytest.mark.compiler

GIB = 1 << 30
CARD = """
driver 550.54.14
cuda 12040
gpu
    name NVIDIA GeForce RTX 4090
    capability 8.9
    memory 24576 {used} 0
    {fault}
"""


def watched(environ: dict[str, str], code: str, folder: Path) -> tuple[int, str, list[dict[str, object]]]:
    report = folder / "run.json"
    argv = [sys.executable, "-m", "envdoctor", "run", "--interval", "0.1", "--report", str(report), "--"]
    done = subprocess.run(
        [*argv, sys.executable, "-c", code],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stderr, json.loads(report.read_text())["run"]["gpus"]


def test_the_most_that_a_gpu_held_is_told(fake_nvml: FakeNvml, tmp_path: Path) -> None:
    environ = fake_nvml(CARD.format(used=6144, fault="process 4711 6144"))
    status, said, gpus = watched(environ, "import time; time.sleep(1.5)", tmp_path)
    assert status == 0
    assert gpus == [
        {
            "index": 0,
            "name": "NVIDIA GeForce RTX 4090",
            "total_bytes": 24 * GIB,
            "before_bytes": 6 * GIB,
            "peak_bytes": 6 * GIB,
            "own_bytes": None,  # process 4711 is not of this program
        }
    ]
    assert "GPU 0: 6 GiB of 24 GiB" in said


@pytest.mark.parametrize("fault", ["fail nvmlDeviceGetMemoryInfo_v2 hang", "fail nvmlDeviceGetMemoryInfo_v2 crash"])
def test_a_driver_that_hangs_or_crashes_does_not_hold_the_program(
    fault: str, fake_nvml: FakeNvml, tmp_path: Path
) -> None:
    environ = fake_nvml(CARD.format(used=1, fault=fault))
    status, said, gpus = watched(environ, "import time; time.sleep(0.5); raise SystemExit(0)", tmp_path)
    assert (status, gpus) == (0, [])
    assert "GPU" not in said
