"""The process: hands the words to the command line and leaves with its exit status."""

from __future__ import annotations

import gc
import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line of this process and leave with its exit status."""
    # What a short command allocates stays until it ends; looking for cycles in it costs a thirtieth of the whole.
    gc.set_threshold(100_000)
    if sys.argv[1:] in (["--help"], ["-h"]):
        from envdoctor.language import preferred

        if preferred(os.environ) == "en":
            _leave(_help())
    from envdoctor.cli import run

    _leave(run(sys.argv[1:]))


def _help() -> int:
    # People meet this page first and often. Importing click to draw it costs three bare interpreters, so it is kept
    # as click draws it (tools/refresh_help.py; a test compares).
    with open(__file__.rpartition("__main__.py")[0] + "cli/help.txt", encoding="utf-8") as page:
        text = page.read()
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # `envdoctor --help | head -3`
        pass
    except OSError as problem:
        sys.stderr.write(f"envdoctor: {problem.strerror}\n")
        return 3
    return 0


def _leave(status: int) -> NoReturn:
    """End the process at once, when everything is said.

    Taking the interpreter apart costs as much as a bare one does, and a probe that hangs in a worker thread must not
    keep the process from ending.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # closed by its reader, or not there; what could not be written was said where it was written
    os._exit(status)


if __name__ == "__main__":
    main()
