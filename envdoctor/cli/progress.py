"""Progress on standard error: a live line on a terminal, one line a step elsewhere."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.status import Status


class Progress:
    """Shows the step that is running and the last thing it said; keeps everything said in a log, if one is named."""

    def __init__(self, log: str | None = None) -> None:
        self._log_path = log
        self._log: TextIO | None = None
        self._status: Status | None = None
        self._step = ""
        self._started = time.monotonic()

    def __enter__(self) -> Progress:
        if sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
            from rich.console import Console  # 30 ms; only for a terminal

            self._status = Console(stderr=True).status("")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status:
            self._status.stop()
        if self._log:
            self._log.close()

    def step(self, text: str) -> None:
        """Begin a step."""
        self._step = text
        self.line(f"== {text}")
        if self._status:
            self._status.console.print(
                f"[{time.monotonic() - self._started:6.1f} s] {text}", markup=False, highlight=False
            )
        else:
            print(f"[{time.monotonic() - self._started:6.1f} s] {text}", file=sys.stderr, flush=True)  # noqa: T201

    def line(self, text: str) -> None:
        """Take a line that a program printed."""
        self._write(text)
        if self._status and text.strip():
            from rich.text import Text

            self._status.update(Text(f"{self._step}: {text.strip()}"[:200], no_wrap=True, overflow="ellipsis"))

    def _write(self, text: str) -> None:
        if self._log_path is None:
            return
        if self._log is None:
            if not os.path.isdir(os.path.dirname(self._log_path)):
                return  # the folder is made by the step that may write in it
            self._log = open(self._log_path, "a", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._log.write(text + "\n")
        self._log.flush()
