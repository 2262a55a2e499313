"""Programs that run for a while: their lines as they come, a deadline, and no child left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping


def stream(
    argv: tuple[str, ...], line: Callable[[str], None], *, timeout: float, environ: Mapping[str, str] | None = None
) -> int:
    """Run a program without a shell and without input, give each line of its output to `line`, and give its status.

    Raises:
        TimeoutError: it ran longer than `timeout` seconds; it and its children were ended.
        OSError: it could not be started.
    """
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=None if environ is None else dict(environ),
        start_new_session=True,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    late = threading.Event()

    def expire() -> None:
        late.set()
        end(process)

    clock = threading.Timer(timeout, expire)
    clock.daemon = True
    clock.start()
    try:
        assert process.stdout is not None
        for text in process.stdout:
            line(text.rstrip("\r\n"))
        status = process.wait()
    except BaseException:
        end(process)
        raise
    finally:
        clock.cancel()
        process.stdout and process.stdout.close()
    if late.is_set():
        raise TimeoutError(f"{argv[0]} was ended after {timeout:g} s")
    return status


def end(process: subprocess.Popen[str]) -> None:
    """End a process that leads its own group, and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
