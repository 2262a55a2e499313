"""conda and its kin: making an environment from environment.yml."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from envdoctor import errors
from envdoctor.environments.running import run

# The faster solvers first.
PROGRAMS = ("micromamba", "mamba", "conda")


def program() -> str:
    """Find a conda program.

    Raises:
        errors.MissingPart: there is none.
    """
    for name in (os.environ.get("MAMBA_EXE"), os.environ.get("CONDA_EXE"), *PROGRAMS):
        found = name and shutil.which(name)
        if found:
            return found
    raise errors.MissingPart(
        "there is no conda, mamba or micromamba here", "install Miniforge, or leave out --manager conda"
    )


def create(file: str, folder: str, line: Callable[[str], None], timeout: float) -> str:
    """Make the environment that the file describes, in that folder, and give its interpreter.

    Raises:
        errors.MissingPart: there is no conda.
        errors.NotVerified: it could not be made; the log has the whole output.
    """
    conda = program()
    shutil.rmtree(folder, ignore_errors=True)
    words = ("create",) if os.path.basename(conda).startswith("micromamba") else ("env", "create")
    try:
        status, said = run((conda, *words, "--yes", "--prefix", folder, "--file", file), line, timeout=timeout)
    except TimeoutError as late:
        raise errors.NotVerified(f"conda took longer than {timeout:g} s", "the log has the whole output") from late
    python = os.path.join(folder, "python.exe") if os.name == "nt" else os.path.join(folder, "bin", "python")
    if status != 0 or not os.path.exists(python):
        last = next((text for text in reversed(said) if text.strip()), "it said nothing")
        raise errors.NotVerified(f"conda could not make the environment: {last}", "the log has the whole output")
    return python
