"""A program that was run under watch, as text: what it held at the most, and why it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envdoctor.model.run import Run
from envdoctor.model.speech import say
from envdoctor.report.quantities import size
from envdoctor.report.text import Style, findings

if TYPE_CHECKING:
    from envdoctor.model.finding import Diagnosis

_CLOSE = 0.1  # of a file system: less than this was free


def text(done: Run, judged: Diagnosis | None, style: Style) -> str:
    """Write one line of what it held, and where it failed how it ended and what explains that."""
    lines = [style.wrap(say("envdoctor: {held}", held=_held(done)), "  ", "")]
    if judged is not None:
        lines += ["", style.paint(style.wrap(ending(done)), "bold")]
        lines += findings(judged, style)
        if not judged.findings:
            lines.append(style.wrap(_silence(done)))
    return "\n".join(lines) + "\n"


def ending(done: Run) -> str:
    """Say how it ended in a line."""
    program, seconds = done.argv[0], f"{done.seconds:.1f}"
    if done.signal:
        return say(
            "{program} was ended by {signal} after {seconds} s", program=program, signal=done.signal, seconds=seconds
        )
    return say(
        "{program} ended with status {status} after {seconds} s", program=program, status=done.status, seconds=seconds
    )


def _silence(done: Run) -> str:
    if done.signal == "SIGKILL" and 0 in (done.oom_kills, done.machine_oom_kills):
        return say(
            "Somebody or something else killed it: the kernel counted no process that it ended for lack of memory. "
            "Batch systems and container engines do so at a time limit."
        )
    return say("Its last words are none that a rule knows: they are above, as it wrote them.")


def _held(done: Run) -> str:
    parts = [
        say("{seconds} s", seconds=f"{done.seconds:.1f}"),
        say("at most {size} of memory", size=size(done.peak_bytes)),
    ]
    if done.group_peak_bytes is not None and done.group_limit_bytes is not None:
        peak, limit = size(done.group_peak_bytes), size(done.group_limit_bytes)
        parts.append(say("{peak} of {limit} of its cgroup", peak=peak, limit=limit))
    for gpu in done.gpus:
        held = size(gpu.peak_bytes)
        if gpu.total_bytes:
            held = say("{size} of {total}", size=held, total=size(gpu.total_bytes))
        if gpu.own_bytes is not None:
            held = say("{held} ({own} by itself)", held=held, own=size(gpu.own_bytes))
        parts.append(say("GPU {index}: {held}", index=gpu.index, held=held))
    parts += [
        say(
            "{path}: {least} of {total} free",
            path=room.path,
            least=size(room.least_free_bytes),
            total=size(room.total_bytes),
        )
        for room in done.rooms
        if room.least_free_bytes < room.total_bytes * _CLOSE
    ]
    return "; ".join(parts)
