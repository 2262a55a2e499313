"""conda and its kin: making an environment from environment.yml."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from envdoctor import errors
from envdoctor.environments.conda_failures import failure
from envdoctor.environments.running import run
from envdoctor.model.speech import say

# The faster solvers first.
PROGRAMS = ("micromamba", "mamba", "conda")


def found() -> str | None:
    """Give the path of a conda program; None: there is none."""
    for name in (os.environ.get("MAMBA_EXE"), os.environ.get("CONDA_EXE"), *PROGRAMS):
        path = name and shutil.which(name)
        if path:
            return path
    return None


def python_of(folder: str) -> str:
    """Give the interpreter of an environment's folder; conda puts it elsewhere than venv on Windows."""
    return os.path.join(folder, "python.exe") if os.name == "nt" else os.path.join(folder, "bin", "python")


def create(conda: str, file: str, folder: str, line: Callable[[str], None], timeout: float, cuda: str | None) -> None:
    """Make the environment that the file describes, in that folder, which must not be there yet.

    `cuda` is what the target's driver offers; conda would else ask this machine, which may have no GPU.

    Raises:
        errors.EnvdoctorError: it could not be made; the message says why.
    """
    words = ("create",) if os.path.basename(conda).startswith("micromamba") else ("env", "create")
    environ = {**os.environ, **({"CONDA_OVERRIDE_CUDA": cuda} if cuda else {})}
    try:
        command = (conda, *words, "--yes", "--prefix", folder, "--file", file)
        status, said = run(command, line, timeout=timeout, environ=environ)
    except TimeoutError as late:
        raise errors.NotVerified(
            say("conda took longer than {timeout:g} s", timeout=timeout), say("the log has the whole output")
        ) from late
    if status != 0 or not os.path.exists(python_of(folder)):
        raise failure(said, say("this machine"), making=True)
