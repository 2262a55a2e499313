"""The Pythons of this machine that an environment can be made from."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import NamedTuple

_NAME = re.compile(r"python3(\.\d+)?$")
_ASK = "import sys, venv; print(f'{sys.version_info[0]}.{sys.version_info[1]}')"


class Interpreter(NamedTuple):
    """A Python that starts and can make virtual environments."""

    path: str
    version: str  # 3.12


def interpreters(first: str | None, path: str) -> tuple[Interpreter, ...]:
    """Find every Python version that can be had here, one interpreter each, the preferred ones first.

    `first` is the Python of the environment at hand; `path` the PATH. Names on PATH may be shims that start nothing, so
    each is started once, under a deadline.
    """
    candidates = [name for name in (first, getattr(sys, "_base_executable", None), sys.executable) if name]
    for folder in path.split(os.pathsep):
        try:
            names = sorted(os.listdir(folder or "."))
        except OSError:
            continue
        candidates += [os.path.join(folder, name) for name in names if _NAME.match(name)]
    found: dict[str, Interpreter] = {}
    seen: set[str] = set()
    for candidate in candidates:
        real = os.path.realpath(candidate)
        if real in seen or not os.access(candidate, os.X_OK):
            continue
        seen.add(real)
        version = _version(candidate)
        if version and version not in found:
            found[version] = Interpreter(candidate, version)
    return tuple(found.values())


def _version(path: str) -> str | None:
    try:
        done = subprocess.run(
            (path, "-I", "-c", _ASK), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 and re.fullmatch(r"\d+\.\d+\n?", done.stdout) else None
