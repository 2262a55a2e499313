"""Ask libnvidia-ml in a process of its own: it may hang in the kernel or crash, and envdoctor may not."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping

import msgspec

from envdoctor.host import NvmlAnswer, NvmlGpu, loader
from envdoctor.host.local import LocalHost
from envdoctor.model.speech import say

SONAME = "libnvidia-ml.so.1"

# How long a process that was killed may take to go away before it is left behind: one that waits in the kernel for
# the driver goes away when that call returns, or never.
_FAREWELL_SECONDS = 0.2


class _System(msgspec.Struct):
    """The line that holds for all GPUs."""

    driver: str | None = None
    cuda: str | None = None


class _Line(msgspec.Struct):
    """One line of the child; exactly one field is set."""

    status: int | None = None
    system: _System | None = None
    count: int | None = None
    gpu: NvmlGpu | None = None
    missing: tuple[str, ...] | None = None
    problem: str | None = None


def ask(environ: Mapping[str, str], timeout: float) -> NvmlAnswer:
    """Give what libnvidia-ml says within `timeout` seconds; `incomplete` says why the answer stops early.

    Raises:
        FileNotFoundError: there is no such library, and no process was started.
        TimeoutError: not even the initialisation returned in time.
        ChildProcessError: the process died before it, or the Python package nvidia-ml-py is not usable.
    """
    library = loader.find(LocalHost(environ=environ), SONAME, also=loader.DRIVER_FOLDERS)
    if library is None:
        raise FileNotFoundError(2, say("the loader finds no such library"), SONAME)
    return answer_of(library, _run(command(library), environ, timeout), timeout)


def answer_of(library: str, ran: tuple[bytes, bool, int | None], timeout: float) -> NvmlAnswer:
    """Give what the lines of the process say: its output, whether it was late, and its exit status.

    Raises:
        TimeoutError, ChildProcessError: as `ask`.
    """
    output, late, status = ran
    answer = _read(output, library)
    stopped = say("no answer within {timeout:g} s", timeout=timeout) if late else _ending(status)
    if answer is None:
        raise (
            TimeoutError(say("{soname} gave {stopped}", soname=SONAME, stopped=stopped))
            if late
            else ChildProcessError(stopped)
        )
    if answer.incomplete:
        answer = msgspec.structs.replace(answer, incomplete=stopped, crashed=not late)
    return answer


def command(library: str, *options: str) -> list[str]:
    """Give the command that asks the library at this path."""
    # Isolated (-I) and without site (-S), the child starts in half the time, and no variable of the environment
    # changes what it imports. Our own path is handed over, so that it finds pynvml wherever we do: in a venv, a user's
    # site folder, an editable or a --target installation.
    child = os.path.join(os.path.dirname(__file__), "nvml_child.py")
    return [sys.executable, "-I", "-S", child, *options, library, *(entry for entry in sys.path if entry)]


def _run(argv: list[str], environ: Mapping[str, str], timeout: float) -> tuple[bytes, bool, int | None]:
    """Run to the end or to the deadline: the output, whether it was late, and the exit status; None: still there."""
    deadline = time.monotonic() + timeout
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environ),
            start_new_session=True,
        )
    except OSError as problem:  # a FileNotFoundError would say that there is no library
        raise ChildProcessError(
            say("no process could be started to ask libnvidia-ml: {strerror}", strerror=problem.strerror)
        ) from problem
    assert process.stdout is not None
    parts: list[bytes] = []
    with process.stdout as pipe, selectors.DefaultSelector() as waiting:
        waiting.register(pipe, selectors.EVENT_READ)
        late = True
        while (left := deadline - time.monotonic()) > 0 and waiting.select(left):
            part = os.read(pipe.fileno(), 1 << 16)
            if not part:
                late = False
                break
            parts.append(part)
    if late:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it ended in this very moment
    try:
        return b"".join(parts), late, process.wait(_FAREWELL_SECONDS)
    except subprocess.TimeoutExpired:
        process.returncode = -signal.SIGKILL  # left behind on purpose; without this Python warns that it still runs
        return b"".join(parts), late, None


def _read(output: bytes, library: str) -> NvmlAnswer | None:
    """Put the lines together; None: it did not even say whether the library could be initialised."""
    status: int | None = None
    system = _System()
    count: int | None = None
    gpus: list[NvmlGpu] = []
    missing: tuple[str, ...] | None = None
    for text in output.splitlines(keepends=True):
        if not text.endswith(b"\n"):
            break  # the process ended while it wrote this line
        line = msgspec.json.decode(text, type=_Line)
        if line.problem is not None:
            raise ChildProcessError(line.problem)
        status = status if line.status is None else line.status
        system = line.system or system
        count = count if line.count is None else line.count
        missing = missing if line.missing is None else line.missing
        if line.gpu:
            gpus.append(line.gpu)
    if status is None:
        return None
    return NvmlAnswer(
        status=status,
        library=library,
        driver=system.driver,
        cuda=system.cuda,
        count=count,
        gpus=tuple(gpus),
        missing=missing or (),
        incomplete=say("it stopped early") if missing is None else None,
    )


def _ending(status: int | None) -> str:
    if status is not None and status < 0:
        try:
            return say("libnvidia-ml ended the process with {name}", name=signal.Signals(-status).name)
        except ValueError:  # a real-time signal has no name
            return say("libnvidia-ml ended the process with signal {status}", status=-status)
    return say("the process that asks libnvidia-ml ended with status {status}", status=status)
