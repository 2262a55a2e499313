"""Progress of workloads on standard error: bars on a terminal, one line for each stage elsewhere."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import TYPE_CHECKING

from envdoctor.verify.runner import Progress

if TYPE_CHECKING:
    import rich.progress


class Bars:
    """Shows how far each workload has come."""

    def __init__(self) -> None:
        self._live: rich.progress.Progress | None = None
        self._bars: dict[str, rich.progress.TaskID] = {}
        self._last: tuple[str, str] | None = None

    def __enter__(self) -> Bars:
        if sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
            from rich import progress  # 60 ms; only for a terminal
            from rich.console import Console

            self._live = progress.Progress(
                progress.TextColumn("{task.fields[workload]:<6} {task.description:<10}", markup=False),
                progress.BarColumn(),
                progress.TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, step: Progress) -> None:
        """Take a report of the runner."""
        if self._live is None:
            if (step.workload, step.stage) != self._last:
                print(f"{step.workload}: {step.stage}", file=sys.stderr, flush=True)  # noqa: T201
            self._last = (step.workload, step.stage)
            return
        if step.workload not in self._bars:
            self._bars[step.workload] = self._live.add_task(step.stage, total=step.total, workload=step.workload)
        self._live.update(
            self._bars[step.workload], description=step.stage, completed=min(step.done, step.total), total=step.total
        )
