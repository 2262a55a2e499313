"""Ask NVML on Windows, where it is nvml.dll of the driver: in a process of its own, as on Linux."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

from envdoctor.host import NvmlAnswer
from envdoctor.host.nvml import answer_of, command
from envdoctor.model.speech import say

DLL = "nvml.dll"
# How long the pipe of a process that was ended may take to close.
_FAREWELL_SECONDS = 1.0


def ask(environ: Mapping[str, str], timeout: float) -> NvmlAnswer:
    """Give what nvml.dll says within `timeout` seconds; `incomplete` says why the answer stops early.

    Raises:
        FileNotFoundError, TimeoutError, ChildProcessError: as `nvml.ask`.
    """
    library = next((path for path in _places(environ) if os.path.isfile(path)), None)
    if library is None:
        raise FileNotFoundError(2, say("the driver's folders hold no such library"), DLL)
    return answer_of(library, _run(command(library), environ, timeout), timeout)


def _places(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Give where drivers put it, the newer way first; pynvml looks in the same order."""
    # Windows does not tell capital letters apart in the names of variables, and a mapping does.
    known = {name.upper(): value for name, value in environ.items()}
    system = known.get("WINDIR") or known.get("SYSTEMROOT") or "C:/Windows"
    programs = known.get("PROGRAMFILES") or "C:/Program Files"
    return f"{system}/System32/{DLL}", f"{programs}/NVIDIA Corporation/NVSMI/{DLL}"


def _run(argv: list[str], environ: Mapping[str, str], timeout: float) -> tuple[bytes, bool, int | None]:
    """Run to the end or to the deadline: the output, whether it was late, and the exit status; None: it was ended.

    A pipe of Windows cannot be waited for with others, so that a thread of `communicate` reads it.
    """
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environ),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError as problem:  # a FileNotFoundError would say that there is no library
        raise ChildProcessError(
            say("no process could be started to ask {library}: {strerror}", library=DLL, strerror=problem.strerror)
        ) from problem
    try:
        return process.communicate(timeout=timeout)[0], False, process.returncode
    except subprocess.TimeoutExpired:
        process.kill()
    try:
        return process.communicate(timeout=_FAREWELL_SECONDS)[0], True, None
    except subprocess.TimeoutExpired as stuck:
        process.returncode = 1  # left behind on purpose; without this Python warns that it still runs
        return stuck.output or b"", True, None
