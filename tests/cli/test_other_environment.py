"""envdoctor judges the environment that is active, wherever it is installed itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def judged(environ: dict[str, str], *words: str) -> dict[str, Any]:
    done = subprocess.run(
        (sys.executable, "-m", "envdoctor", "diagnose", "--format", "json", *words),
        capture_output=True,
        env={**os.environ, **environ},
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    python: dict[str, Any] = json.loads(done.stdout)["snapshot"]["pythons"][0]
    return python


@pytest.mark.torch
@pytest.mark.parametrize("way", ["VIRTUAL_ENV", "--python"])
def test_the_torch_of_the_active_environment(torch_python: str, way: str) -> None:
    prefix = Path(torch_python).parent.parent
    asked = subprocess.run(
        (str(torch_python), "-c", "import torch; print(torch.__version__)"), capture_output=True, text=True, check=True
    ).stdout.strip()
    python = judged({"VIRTUAL_ENV": str(prefix)}) if way == "VIRTUAL_ENV" else judged({}, "--python", str(torch_python))
    assert python["selected_by"] == way
    assert not Path(sys.prefix).samefile(python["prefix"])
    (torch,) = (each for each in python["frameworks"] if each["name"] == "torch")
    assert torch["version"] == asked == "2.13.0+cpu"
    assert torch["cuda"] is None
    assert torch["gpu_build"] is False


def test_a_recording_is_made_and_replays(tmp_path: Path) -> None:
    done = subprocess.run(
        (sys.executable, "-m", "envdoctor", "snapshot", "--record", str(tmp_path / "mine")),
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": "/home/zaphod", "USER": "zaphod", "HF_TOKEN": "hf_thisIsASecretOfMine"},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "mine" / "machine.json").read_text()
    assert "zaphod" not in text
    assert "thisIsASecretOfMine" not in text
    assert json.loads(text)["release"] == os.uname().release
    again = subprocess.run(
        (sys.executable, "-m", "envdoctor", "diagnose", "--from", str(tmp_path / "mine"), "--format", "json"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert again.returncode in (0, 1), again.stderr
    assert json.loads(again.stdout)["snapshot"]["system"]["kernel"] == os.uname().release
