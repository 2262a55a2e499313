"""A libnvidia-ml of our own, compiled once a run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

FakeNvml = Callable[..., dict[str, str]]


@pytest.fixture(scope="session")
def compiler() -> str:
    """Give the C compiler."""
    found = next((path for name in (os.environ.get("CC", "cc"), "gcc", "clang") if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no C compiler (cc, gcc or clang) is on PATH")
    return found


@pytest.fixture(scope="session")
def fake_libraries(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, str]:
    """Give the folder of the library, and by True that of one as an old driver has it."""
    source = Path(__file__).with_name("fake_nvml.c")
    folders = {}
    for old in (False, True):
        folder = tmp_path_factory.mktemp("old_nvml" if old else "nvml")
        defines = ["-DOLD_DRIVER"] if old else []
        shape = ["-shared", "-fPIC", "-fvisibility=hidden", "-Wl,-soname,libnvidia-ml.so.1"]
        target = str(folder / "libnvidia-ml.so.1")
        subprocess.run(
            [compiler, "-O1", "-Wall", "-Wextra", "-Werror", *defines, *shape, "-o", target, str(source)], check=True
        )
        folders[old] = str(folder)
    return folders


@pytest.fixture
def fake_nvml(fake_libraries: dict[bool, str], tmp_path: Path) -> FakeNvml:
    """Give a function that writes a script for the library and returns the environment in which it is found."""

    def prepare(script: str, *, old: bool = False) -> dict[str, str]:
        path = tmp_path / "fake_nvml.txt"
        path.write_text(script)
        return {"LD_LIBRARY_PATH": fake_libraries[old], "FAKE_NVML": str(path)}

    return prepare
