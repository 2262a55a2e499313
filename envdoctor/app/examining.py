"""From a host, or a file, to a Snapshot."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from functools import partial
from threading import Condition, Thread
from typing import TypeVar

from envdoctor import __version__, errors
from envdoctor.host import Host
from envdoctor.model.snapshot import Gap, GapKind, Snapshot, merge
from envdoctor.model.speech import say
from envdoctor.probes import AREAS, Place, Probe

# When no probe has ended for this long, one is slow: another worker goes on with the rest. Healthy probes take a few
# milliseconds each, so that usually one worker does it all, which costs the least CPU.
PATIENCE_SECONDS = 0.25

_Answer = TypeVar("_Answer")


def examine(
    host: Host,
    python: str | None = None,
    timeout: float = 20.0,
    areas: tuple[str, ...] = AREAS,
    *,
    network: bool = False,
) -> Snapshot:
    """Look at a machine; whatever cannot be seen within `timeout` seconds becomes a Gap, and the rest still answers.

    `python` names the interpreter or environment to judge; without it the active one is taken. With `areas` only those
    are looked at, and nothing is said of the others. `network` also connects to the package index and the proxy.

    Raises:
        errors.UsageProblem: `python` is not a Python.
    """
    deadline = time.monotonic() + timeout
    # Never wait longer for one question than leaves the others a chance, nor so long that its answer comes too late.
    host.patience = max(timeout * 0.8 - 0.2, timeout * 0.5)
    place, lost = _locate(host, python, deadline)
    probes = tuple(importlib.import_module(f"envdoctor.probes.{area}").PROBE for area in areas)
    parts = _read_all(host, place, probes, deadline)
    stamp = Snapshot(taken_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), tool=__version__, gaps=lost)
    machine = merge((stamp, *parts))
    if network:
        from envdoctor.probes.network import asked

        machine = asked(host, machine)
    return machine


def locate(host: Host, python: str | None) -> Place | None:
    """Find the Python environment that is to be judged or verified; None: there is no Python.

    Raises:
        errors.UsageProblem: `python` is not a Python.
    """
    from envdoctor.probes import place

    return place.locate(host, python)


def _locate(host: Host, python: str | None, deadline: float) -> tuple[Place | None, tuple[Gap, ...]]:
    def failed(kind: GapKind, detail: str) -> tuple[Gap, ...]:
        return (Gap(probe="place", fact="pythons", kind=kind, detail=detail),)

    try:
        answers = _in_workers([partial(locate, host, python)], deadline)
    except errors.EnvdoctorError:
        raise
    except Exception as problem:
        return None, failed(*_reason(problem))
    return (answers[0], ()) if answers else (None, failed("timeout", say("finding the active Python took too long")))


def _read_all(host: Host, place: Place | None, probes: tuple[Probe, ...], deadline: float) -> list[Snapshot]:
    answers = _in_workers([partial(_read, probe, host, place) for probe in probes], deadline)
    late = [
        Snapshot(gaps=_gaps(probe, "timeout", say("no answer within {patience:.1f} s", patience=host.patience)))
        for number, probe in enumerate(probes)
        if number not in answers
    ]
    return [answers[number] for number in sorted(answers)] + late


def _read(probe: Probe, host: Host, place: Place | None) -> Snapshot:
    try:
        return probe.read(host, place)
    except Exception as problem:  # a probe that fails costs its own answers and nobody else's
        return Snapshot(gaps=_gaps(probe, *_reason(problem)))


def _gaps(probe: Probe, kind: GapKind, detail: str) -> tuple[Gap, ...]:
    return tuple(Gap(probe=probe.name, fact=fact, kind=kind, detail=detail) for fact in probe.facts)


def _reason(problem: Exception) -> tuple[GapKind, str]:
    if isinstance(problem, PermissionError):
        return "denied", say(
            "no permission to read {filename}", filename=problem.filename
        ) if problem.filename else str(problem)
    if isinstance(problem, TimeoutError):
        return "timeout", str(problem)
    return "crashed", f"{type(problem).__name__}: {problem}"


def _in_workers(questions: list[Callable[[], _Answer]], deadline: float) -> dict[int, _Answer]:
    """Ask in threads, and give the answers that came before the deadline by the question's number.

    A thread that hangs in the kernel cannot be ended; it is left behind and dies with the process. The first
    exception of a question is raised.
    """
    waiting = list(enumerate(questions))[::-1]
    answers: dict[int, _Answer] = {}
    problems: list[Exception] = []
    moved = Condition()

    def work() -> None:
        while True:
            with moved:
                if not waiting:
                    return
                number, question = waiting.pop()
            try:
                answer = question()
            except Exception as problem:
                with moved:
                    problems.append(problem)
                    moved.notify()
                return
            with moved:
                answers[number] = answer
                moved.notify()

    Thread(target=work, daemon=True).start()
    with moved:
        while len(answers) < len(questions) and not problems and (left := deadline - time.monotonic()) > 0:
            before = len(answers)
            moved.wait(min(left, PATIENCE_SECONDS))
            if len(answers) == before and waiting:
                Thread(target=work, daemon=True).start()
        if problems:
            raise problems[0]
        return dict(answers)
