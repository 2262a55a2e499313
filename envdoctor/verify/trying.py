"""Trying: run a model once with given settings, in a process of the target, and survive whatever it does."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping

import msgspec

from envdoctor import errors
from envdoctor.host.watching import Ended, watch
from envdoctor.model import Record
from envdoctor.model.speech import say
from envdoctor.model.tuning import Attempt, AttemptStatus, Prediction, Purpose, Settings
from envdoctor.verify.runner import SCRIPTS, Listener, Progress
from envdoctor.verify.targets import VerifyTarget, variables
from envdoctor.verify.verdicts import Asked, verdict

# What libraries say when memory cannot be had, of which not all say it in an exception that is called so.
_NO_MEMORY = re.compile(
    r"bad_alloc|cannot allocate memory|can't allocate memory|out of memory|MemoryError|could not create a (memory|primi"
    r"tive)|thread creation failed|failed to map segment|DefaultCPUAllocator",
    re.IGNORECASE,
)


class _Metrics(msgspec.Struct):
    """The measurements of a trial."""

    throughput: float | None = None
    step_seconds: float | None = None
    peak_memory_bytes: int | None = None
    file_bytes: int | None = None
    agreement: float | None = None
    difference: float | None = None


class Said(msgspec.Struct):
    """The result of a trial, in its own words."""

    status: str
    reason: str | None = None
    device: str = "auto"
    device_name: str | None = None
    framework_version: str | None = None
    threads: int | None = None  # that torch takes by itself
    abilities: dict[str, str | None] = {}  # choice -> why it cannot be made here
    metrics: _Metrics = msgspec.field(default_factory=_Metrics)


class Trying(Record):
    """What is the same in every trial of a tuning. `memory_cap` in bytes; None: no cap."""

    target: VerifyTarget
    model: str
    goal: str
    device: str
    memory_cap: int | None
    environ: Mapping[str, str]
    scripts: str = SCRIPTS


def attempt(
    trying: Trying,
    settings: Settings,
    purpose: Purpose,
    predicted: Prediction,
    timeout: float,
    report: Callable[[Progress], None],
) -> tuple[Attempt, Said | None]:
    """Run the trial; gives what came of it, and its own words where it could say them.

    Raises:
        errors.UsageProblem: the interpreter cannot be started.
    """
    listener = Listener(trying.model, report)
    script = os.path.join(trying.scripts, "torch", "trial.py")
    said_settings = msgspec.json.encode(settings).decode()
    options = ("--model", trying.model, "--device", trying.device, "--goal", trying.goal, "--settings", said_settings)
    try:
        ended = watch(
            (trying.target.executable, script, *options),
            variables(trying.target, trying.environ),
            timeout=timeout,
            memory_cap=trying.memory_cap,
            line=listener.line,
        )
    except OSError as problem:
        raise errors.UsageProblem(
            say("{program} cannot be started: {why}", program=trying.target.executable, why=problem.strerror)
        ) from problem
    said = _said(listener)
    status, reason = _judge(trying, timeout, listener, ended, said)
    metrics = said.metrics if said is not None else _Metrics()
    ran = status == "ran"
    done = Attempt(
        settings=settings,
        purpose=purpose,
        status=status,
        reason=reason,
        seconds=round(ended.seconds, 3),
        throughput=metrics.throughput if ran else None,
        step_seconds=metrics.step_seconds if ran else None,
        peak_memory_bytes=metrics.peak_memory_bytes or ended.peak_bytes or None,
        file_bytes=metrics.file_bytes,
        agreement=metrics.agreement,
        difference=metrics.difference,
        predicted=predicted,
    )
    return done, said


def _said(listener: Listener) -> Said | None:
    if not listener.outcomes:
        return None
    try:
        return msgspec.json.decode(listener.outcomes[0], type=Said)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _judge(
    trying: Trying, timeout: float, listener: Listener, ended: Ended, said: Said | None
) -> tuple[AttemptStatus, str | None]:
    """Say how it ended; what only looks like a success is none."""
    asked = Asked(
        workload=trying.model,
        framework="torch",
        device=trying.device,
        timeout=timeout,
        memory_cap=trying.memory_cap,
    )
    if said is None or ended.cause != "itself":
        found = verdict(asked, listener.heard(), ended)
        status: AttemptStatus = "timeout" if found.status == "timeout" else "failed"
        lacking = found.status == "out-of-memory" or _NO_MEMORY.search(f"{ended.tail[-4000:]} {found.reason}")
        return ("out-of-memory" if lacking and status == "failed" else status), found.reason
    if said.status == "passed" and ended.returncode == 0:
        held, cap = said.metrics.peak_memory_bytes or 0, trying.memory_cap
        if said.device == "cpu" and cap is not None and held > cap:
            # It was above for a shorter time than lies between two looks.
            return "out-of-memory", say("it held {held} MiB; {cap} MiB were allowed", held=held >> 20, cap=cap >> 20)
        if said.metrics.throughput is None or said.metrics.throughput <= 0:
            return "failed", say("it says that it passed, but measured no speed")
        return "ran", None
    lacking = said.status == "out-of-memory" or _NO_MEMORY.search(said.reason or "")
    return ("out-of-memory" if lacking else "failed"), said.reason or say("it ended without saying why")
