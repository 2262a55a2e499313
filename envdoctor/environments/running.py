"""Running the programs that make an environment, with their output passed on line by line."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from envdoctor.host.watching import watch
from envdoctor.model.speech import say


def run(
    argv: tuple[str, ...], line: Callable[[str], None], *, timeout: float, environ: Mapping[str, str] | None = None
) -> tuple[int, list[str]]:
    """Run a program, pass each line of its output on, and give its status and all it said.

    Raises:
        TimeoutError: it ran longer than `timeout` seconds; it and its children were ended.
        OSError: it could not be started.
    """
    said: list[str] = []

    def take(raw: bytes) -> None:
        said.append(raw.decode("utf-8", "replace").rstrip("\r"))
        line(said[-1])

    ended = watch(
        argv, os.environ if environ is None else environ, timeout=timeout, memory_cap=None, line=take, merged=True
    )
    if ended.cause == "deadline":
        raise TimeoutError(say("{argv} was ended after {timeout:g} s", argv=argv[0], timeout=timeout))
    return (1 if ended.returncode is None else ended.returncode), said
