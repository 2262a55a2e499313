"""A program that was run under watch, as text: what it held at the most, and why it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envdoctor.model.run import Run
from envdoctor.report.quantities import size
from envdoctor.report.text import Style, findings

if TYPE_CHECKING:
    from envdoctor.model.finding import Diagnosis

_CLOSE = 0.1  # of a file system: less than this was free


def text(done: Run, judged: Diagnosis | None, style: Style) -> str:
    """Write one line of what it held, and where it failed how it ended and what explains that."""
    lines = [style.wrap(f"envdoctor: {_held(done)}", "  ", "")]
    if judged is not None:
        lines += ["", style.paint(style.wrap(ending(done)), "bold")]
        lines += findings(judged, style)
        if not judged.findings:
            lines.append(style.wrap(_silence(done)))
    return "\n".join(lines) + "\n"


def ending(done: Run) -> str:
    """Say how it ended in a line."""
    how = f"was ended by {done.signal}" if done.signal else f"ended with status {done.status}"
    return f"{done.argv[0]} {how} after {done.seconds:.1f} s"


def _silence(done: Run) -> str:
    if done.signal == "SIGKILL" and 0 in (done.oom_kills, done.machine_oom_kills):
        return (
            "Somebody or something else killed it: the kernel counted no process that it ended for lack of memory. "
            "Batch systems and container engines do so at a time limit."
        )
    return "Its last words are none that a rule knows: they are above, as it wrote them."


def _held(done: Run) -> str:
    parts = [f"{done.seconds:.1f} s", f"at most {size(done.peak_bytes)} of memory"]
    if done.group_peak_bytes is not None and done.group_limit_bytes is not None:
        parts.append(f"{size(done.group_peak_bytes)} of {size(done.group_limit_bytes)} of its cgroup")
    for gpu in done.gpus:
        own = f" ({size(gpu.own_bytes)} by itself)" if gpu.own_bytes is not None else ""
        total = f" of {size(gpu.total_bytes)}" if gpu.total_bytes else ""
        parts.append(f"GPU {gpu.index}: {size(gpu.peak_bytes)}{total}{own}")
    parts += [
        f"{room.path}: {size(room.least_free_bytes)} of {size(room.total_bytes)} free"
        for room in done.rooms
        if room.least_free_bytes < room.total_bytes * _CLOSE
    ]
    return "; ".join(parts)
