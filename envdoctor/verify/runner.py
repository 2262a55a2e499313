"""Runner: start each workload in the target, follow it, and collect the outcomes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext

import msgspec

from envdoctor import errors
from envdoctor.host.watching import watch
from envdoctor.model import Record
from envdoctor.model.outcome import Outcome
from envdoctor.model.speech import say
from envdoctor.verify import shortages
from envdoctor.verify.predicting import predicted_bytes
from envdoctor.verify.targets import VerifyTarget, variables
from envdoctor.verify.verdicts import Asked, Heard, verdict

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "workloads")
SHARED = "proving"  # what the workloads of all frameworks share stands beside theirs
# Name -> script and the model that it is told to take; the plain names take ResNet-18 and GPT-2 small.
WORKLOADS: dict[str, tuple[str, str | None]] = {
    "cnn": ("cnn", None),
    "gpt2": ("gpt2", None),
    "resnet18": ("cnn", "resnet18"),
    "resnet50": ("cnn", "resnet50"),
    "mobilenetv2": ("cnn", "mobilenetv2"),
    "gpt2-medium": ("gpt2", "gpt2-medium"),
    "pretrained-cnn": ("pretrained_cnn", None),
    "pretrained-gpt2": ("pretrained_gpt2", None),
}
PRETRAINED = ("pretrained-cnn", "pretrained-gpt2")  # torch's


class Progress(Record):
    """How far a workload has come: `done` of `total` in its present stage."""

    workload: str
    stage: str
    done: int
    total: int

    def __str__(self) -> str:
        if self.total > 1:
            return say(
                "{workload}: {stage} {done} of {total}",
                workload=self.workload,
                stage=self.stage,
                done=self.done,
                total=self.total,
            )
        return f"{self.workload}: {self.stage}"


class _Step(Record):
    """The inside of a progress message."""

    stage: str
    done: int
    total: int


class _Message(Record):
    """A line of a workload's stdout."""

    progress: _Step | None = None
    outcome: msgspec.Raw = msgspec.Raw()  # read later, so that a bad one can be told from no message


class Listener:
    """Understands a workload's lines, and passes its progress on."""

    def __init__(self, workload: str, report: Callable[[Progress], None]) -> None:
        self.workload = workload
        self.report = report
        self.step = _Step(stage="start", done=0, total=0)
        self.outcomes: list[bytes] = []
        self.other: str | None = None

    def line(self, line: bytes) -> None:
        """Take a line of its stdout."""
        try:
            message = msgspec.json.decode(line, type=_Message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            # Something that Python runs at its start, such as a .pth file, may print before the script takes over.
            self.other = self.other or line.decode("utf-8", "replace").strip() or None
            return
        if outcome := bytes(message.outcome):
            self.outcomes.append(outcome)
        if message.progress is not None:
            self.step = message.progress
            self.report(
                Progress(
                    workload=self.workload, stage=self.step.stage, done=self.step.done, total=max(1, self.step.total)
                )
            )

    def heard(self) -> Heard:
        """Sum up what it said."""
        step = self.step
        return Heard(
            outcomes=tuple(self.outcomes), stage=step.stage, done=step.done, total=step.total, other=self.other
        )


# Trained networks need a picture and the hub, and tuning needs what decides of the next trial.
_RUN_FROM_HERE = (
    *("pretrained_cnn.py", "pretrained_gpt2.py", "hub.py", "tokens.py"),
    *("trial.py", "subjects.py", "settling.py"),
)


def scripts(framework: str) -> dict[str, str]:
    """Give the texts of a framework's workloads by file name, so that they can be handed over with an environment.

    None for a framework that has no workloads.
    """
    folder = os.path.join(SCRIPTS, framework)
    if not os.path.isdir(folder):
        return {}
    texts = {}
    for part in (os.path.join(SCRIPTS, SHARED), folder):
        for name in sorted(os.listdir(part)):
            if name.endswith(".py") and name not in _RUN_FROM_HERE:
                with open(os.path.join(part, name), encoding="utf-8") as file:
                    texts[name] = file.read()
    return texts


def script_of(workload: str) -> str:
    """Name the script of a workload."""
    return f"{WORKLOADS.get(workload, (workload, None))[0]}.py"


def words(workload: str, device: str, *, quick: bool, thorough: bool) -> tuple[str, ...]:
    """Give what the script of a workload is started with."""
    model = WORKLOADS.get(workload, (workload, None))[1]
    found = ["--device", device, "--seed", "0", *(["--model", model] if model else [])]
    return (*found, *(["--quick"] if quick else []), *(["--thorough"] if thorough else []))


def refuse_unknown(framework: str, workloads: tuple[str, ...], scripts: str = SCRIPTS) -> None:
    """Raise errors.UsageProblem where a framework has no workload of such a name."""
    for name in workloads:
        if not os.path.isfile(os.path.join(scripts, framework, script_of(name))):
            raise errors.UsageProblem(
                say("{framework} has no workload {name}", framework=framework, name=name),
                say("there are: {workloads}", workloads=", ".join(WORKLOADS)),
            )


def log_path(logs: str | None, framework: str, workload: str) -> str | None:
    """Name the file in the folder of logs that keeps a workload's output."""
    return None if logs is None else os.path.join(logs, f"{framework}-{workload}.log")


def run(
    target: VerifyTarget,
    workloads: tuple[str, ...],
    device: str,
    timeout: float,
    memory_cap: int | None,
    report: Callable[[Progress], None],
    *,
    framework: str = "torch",
    logs: str | None = None,
    quick: bool = False,
    thorough: bool = False,
    scripts: str = SCRIPTS,
    environ: Mapping[str, str] | None = None,
    granted: int | None = None,
    chosen: bool = False,
) -> tuple[Outcome, ...]:
    """Run workloads in the target one after the other, and give the outcome of each.

    `timeout` (seconds) and `memory_cap` (bytes; None: no cap) hold for each workload. With `logs` its full output is
    kept in that folder. `quick` takes fewer steps, `thorough` tries more things. `scripts` is
    the folder of the workloads' folders. `granted` is what it could have alone; `chosen`: a person set the cap.

    Raises:
        errors.UsageProblem: there is no such workload, or the target cannot be started.
        OSError: a log cannot be written.
    """
    folder = os.path.join(scripts, framework)
    refuse_unknown(framework, workloads, scripts)
    if logs is not None:
        os.makedirs(logs, exist_ok=True)
    environ = variables(target, os.environ if environ is None else environ)
    outcomes = []
    for name in workloads:
        asked = Asked(
            workload=name,
            framework=framework,
            device=device,
            timeout=timeout,
            memory_cap=memory_cap,
            granted=granted,
            chosen=chosen,
        )
        said = words(name, device, quick=quick, thorough=thorough)
        log = log_path(logs, framework, name)
        listener = Listener(name, report)
        outcome = _one(asked, (target.executable, os.path.join(folder, script_of(name)), *said), environ, log, listener)
        outcome = beside_prediction(outcome, asked, listener.step.stage, quick=quick, thorough=thorough)
        outcomes.append(msgspec.structs.replace(outcome, log=log))
    return tuple(outcomes)


def beside_prediction(outcome: Outcome, asked: Asked, stage: str, *, quick: bool, thorough: bool) -> Outcome:
    """Set what was predicted beside what was measured, and explain a lack of memory; `stage` is the last it told."""
    # Whoever was ended from outside could not say where it ran; without a GPU's name that was the CPU.
    predicted = predicted_bytes(
        asked.workload, outcome.device, quick=quick, framework=asked.framework, thorough=thorough
    )
    metrics = msgspec.structs.replace(outcome.metrics, predicted_memory_bytes=predicted)
    return shortages.explained(msgspec.structs.replace(outcome, metrics=metrics), asked, stage, quick=quick)


def _one(
    asked: Asked,
    argv: tuple[str, ...],
    environ: Mapping[str, str],
    log: str | None,
    listener: Listener,
) -> Outcome:
    with nullcontext() if log is None else open(log, "wb") as file:
        try:
            ended = watch(
                argv,
                environ,
                timeout=asked.timeout,
                memory_cap=asked.memory_cap,
                line=listener.line,
                log=file,
            )
        except OSError as problem:
            if problem.filename != argv[0]:
                raise
            raise errors.UsageProblem(
                say("{argv} cannot be started: {strerror}", argv=argv[0], strerror=problem.strerror)
            ) from problem
    return verdict(asked, listener.heard(), ended)
