"""Progress on standard error, of everything that takes long: what is under way, how far it is, how long it has taken.

On a terminal it is live; elsewhere, and on a terminal that cannot move its cursor, it is a line for each step.
"""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from envdoctor.model.speech import say

if TYPE_CHECKING:
    from rich.progress import Progress as Live
    from rich.progress import TaskID

    from envdoctor.verify.runner import Progress as Stage


def _started() -> Live | None:
    """Start a display that moves; None where it would only leave marks."""
    if not sys.stderr.isatty() or os.environ.get("TERM", "").lower() in ("dumb", "unknown"):
        return None
    from rich import progress  # 60 ms; only for a terminal
    from rich.console import Console

    display = progress.Progress(
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    display.start()
    return display


class Progress:
    """Shows the step that is running and the last thing it said; keeps everything said in a log, if one is named."""

    def __init__(self, log: str | None = None) -> None:
        self._log_path = log
        self._log: TextIO | None = None
        self._display: Live | None = None
        self._task: TaskID | None = None
        self._step = ""
        self._number, self._all = 0, 0
        self._started = time.monotonic()

    def __enter__(self) -> Progress:
        self._display = _started()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._display:
            self._display.stop()
        if self._log:
            self._log.close()

    def expect(self, steps: int) -> None:
        """Learn that so many steps follow, from which on each says how far it all is."""
        self._all = self._number + steps

    def step(self, text: str) -> None:
        """Begin a step."""
        self._step = text
        self._number += 1
        self.line(f"== {text}")
        seconds = f"{time.monotonic() - self._started:6.1f}"
        far = f"{self._number}/{self._all} {text}" if self._number <= self._all else text
        said = say("[{seconds} s] {step}", seconds=seconds, step=far)
        if self._display is None:
            print(said, file=sys.stderr, flush=True)  # noqa: T201
            return
        self._display.console.print(said, markup=False, highlight=False)
        if self._task is not None:
            self._display.remove_task(self._task)
        # How far it is nobody knows, so that the bar only says that something goes on; the time is this step's.
        self._task = self._display.add_task(text, total=None)

    def line(self, text: str) -> None:
        """Take a line that a program printed."""
        self._write(text)
        if self._display and self._task is not None and text.strip():
            self._display.update(self._task, description=_short(f"{self._step}: {text.strip()}", self._display))

    def _write(self, text: str) -> None:
        if self._log_path is None:
            return
        if self._log is None:
            if not os.path.isdir(os.path.dirname(self._log_path)):
                return  # the folder is made by the step that may write in it
            self._log = open(self._log_path, "a", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._log.write(text + "\n")
        self._log.flush()


class Bars:
    """Shows how far each workload has come, and in which stage it is."""

    def __init__(self) -> None:
        self._display: Live | None = None
        self._bars: dict[str, TaskID] = {}
        self._last: tuple[str, str] | None = None

    def __enter__(self) -> Bars:
        self._display = _started()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._display:
            self._display.stop()

    def show(self, step: Stage) -> None:
        """Take a report of the runner."""
        text = f"{step.workload}: {step.stage}"
        if self._display is None:
            if (step.workload, step.stage) != self._last:
                print(text, file=sys.stderr, flush=True)  # noqa: T201
            self._last = (step.workload, step.stage)
            return
        if step.workload not in self._bars:
            self._bars[step.workload] = self._display.add_task(text, total=step.total)
        self._display.update(
            self._bars[step.workload], description=text, completed=min(step.done, step.total), total=step.total
        )


def _short(text: str, display: Live) -> str:
    """Cut a line so that the bar and the time stay beside it; what a terminal would obey is spelt out."""
    from envdoctor.cli.options import harmless

    # Spinner, bar, share and time take 60 columns.
    room = max(20, display.console.width - 60)
    text = harmless(text.replace("\x1b", "\\u001b"))
    return text if len(text) <= room else f"{text[: room - 1]}…"
