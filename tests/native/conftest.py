"""The user half of a driver of our own, compiled once a run: libnvidia-ml, and a libcuda that does nothing."""

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
    """Give the folder of the libraries, and by True that of an old driver's."""
    source = Path(__file__).with_name("fake_nvml.c")
    folders = {}
    for old in (False, True):
        folder = tmp_path_factory.mktemp("old_driver" if old else "driver")
        (folder / "cuda.c").write_text("int cuInit(unsigned flags) { return flags ? 1 : 100; }\n")
        _compile(compiler, source, folder / "libnvidia-ml.so.1", *(["-DOLD_DRIVER"] if old else []))
        _compile(compiler, folder / "cuda.c", folder / "libcuda.so.1")
        folders[old] = str(folder)
    return folders


def _compile(compiler: str, source: Path, target: Path, *options: str) -> None:
    shape = ("-shared", "-fPIC", "-fvisibility=hidden", f"-Wl,-soname,{target.name}")
    warnings = ("-O1", "-Wall", "-Wextra", "-Werror")
    subprocess.run([compiler, *warnings, *options, *shape, "-o", str(target), str(source)], check=True)


@pytest.fixture
def fake_nvml(fake_libraries: dict[bool, str], tmp_path: Path) -> FakeNvml:
    """Give a function that writes a script for the library and returns the environment in which it is found."""

    def prepare(script: str, *, old: bool = False) -> dict[str, str]:
        path = tmp_path / "fake_nvml.txt"
        path.write_text(script)
        return {"LD_LIBRARY_PATH": fake_libraries[old], "FAKE_NVML": str(path)}

    return prepare
