"""Interpreters to verify: one with a real torch, and one with nothing.

The one with torch is made once and kept in pytest's cache; ENVDOCTOR_TEST_TORCH_PYTHON names another.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

REQUIREMENTS = ("torch==2.13.0", "numpy")


@pytest.fixture(scope="session")
def torch_python(request: pytest.FixtureRequest) -> str:
    """Give the path of an interpreter whose environment has torch; installed the way pip is configured here."""
    named = os.environ.get("ENVDOCTOR_TEST_TORCH_PYTHON")
    if named:
        return named
    cache = request.config.cache
    assert cache is not None
    folder = Path(cache.mkdir("torch")) / f"{sys.version_info[0]}.{sys.version_info[1]}"
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.fail(f"torch could not be installed; `-m 'not torch'` leaves these tests out\n{done.stderr}")
        ready.write_text(" ".join(REQUIREMENTS))
    return str(python)


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give the interpreter of a virtual environment with nothing in it."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    venv.create(folder, with_pip=False)
    return str(folder / "bin" / "python")
