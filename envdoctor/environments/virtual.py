"""Virtual environments."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from envdoctor import errors
from envdoctor.environments.running import run
from envdoctor.model.speech import say


def python_of(folder: str) -> str:
    """Give the interpreter of an environment's folder."""
    return os.path.join(folder, "Scripts", "python.exe") if os.name == "nt" else os.path.join(folder, "bin", "python")


def create(interpreter: str, folder: str, line: Callable[[str], None]) -> str:
    """Make a virtual environment with pip in it, and give its interpreter.

    uv makes it where uv is installed, since it needs no ensurepip, which Debian packs apart; else venv does.

    Raises:
        errors.NotVerified: it cannot be made; the message says why.
    """
    shutil.rmtree(folder, ignore_errors=True)
    uv = shutil.which("uv")
    commands: list[tuple[str, ...]] = [(interpreter, "-m", "venv", folder)]
    if uv:
        commands.insert(0, (uv, "venv", "--quiet", "--seed", "--no-project", "--python", interpreter, folder))
    said: list[str] = []
    for command in commands:
        try:
            status, said = run(command, line, timeout=300)
        except (OSError, TimeoutError) as problem:
            said = [str(problem)]
            continue
        if status == 0 and os.path.exists(python_of(folder)):
            return python_of(folder)
        shutil.rmtree(folder, ignore_errors=True)
    hint = say("the log has the whole output")
    if "ensurepip" in " ".join(said):
        hint = say("install it: sudo apt install python3-venv")
    raise errors.NotVerified(
        say(
            "no virtual environment could be made with {interpreter}: {said}",
            interpreter=interpreter,
            said=" ".join(said[-1:]),
        ),
        hint,
    )
