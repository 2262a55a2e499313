"""What was tried on a machine to run a model there well, and what came of it; bytes, seconds, items a second."""

from __future__ import annotations

from typing import Literal

from envdoctor.model import Record
from envdoctor.model.estimate import Mode, Range
from envdoctor.model.speech import say, say_number

Precision = Literal["fp32", "bf16", "fp16", "amp-bf16", "amp-fp16", "int8"]
Runtime = Literal["eager", "compile", "onnxruntime", "tensorrt"]
Purpose = Literal["base", "option", "size", "batch", "wanted", "confirm"]
AttemptStatus = Literal["ran", "out-of-memory", "timeout", "failed"]
UseName = Literal["prototype", "production", "training"]


class Settings(Record):
    """One way to run a model; everything that tuning turns."""

    batch: int = 1  # samples a step; with accumulation, of each part
    precision: Precision = "fp32"
    size: int = 224  # pixels of a side, or tokens of a sample (of the prompt, where text is generated)
    threads: int | None = None  # of the CPU; None: as many as torch takes by itself
    accumulation: int = 1
    checkpointing: bool = False
    channels_last: bool = False
    runtime: Runtime = "eager"
    pruned: bool = False  # a quarter of the layers that can be left out is left out


def called(settings: Settings) -> str:
    """Name settings in one line.

    >>> called(Settings(batch=8, size=160, channels_last=True))
    'batch 8, 160, fp32, channels_last'
    """
    batch = say("batch {batch}", batch=settings.batch)
    return ", ".join((batch, str(settings.size), settings.precision, *changes(settings)))


def changes(settings: Settings) -> tuple[str, ...]:
    """Name what is not as it is by default, besides batch, size and precision."""
    threads, parts = settings.threads or 0, settings.accumulation
    said = {
        "channels_last": settings.channels_last,
        say_number("one thread", "{number} threads", threads): threads > 0,
        say_number("one part", "{number} parts", parts): parts > 1,
        say("checkpointing"): settings.checkpointing,
        settings.runtime: settings.runtime != "eager",
        say("pruned"): settings.pruned,
    }
    return tuple(word for word, so in said.items() if so)


class Prediction(Record):
    """What the estimator says of some settings before they run; None: it does not know such settings."""

    memory: Range | None = None  # of the process on a CPU, of the card otherwise
    throughput: Range | None = None


class Attempt(Record):
    """Settings that were run, and what was measured; None: not measured."""

    settings: Settings
    purpose: Purpose
    status: AttemptStatus
    seconds: float = 0.0  # of the whole process, its start included
    reason: str | None = None  # why it did not run to its end
    throughput: float | None = None
    step_seconds: float | None = None
    peak_memory_bytes: int | None = None
    file_bytes: int | None = None  # of the weights when they are saved
    agreement: float | None = None  # share of outputs whose first choice is that of the unchanged model in fp32
    difference: float | None = None  # how far outputs moved, as a share of how far apart they lie
    predicted: Prediction = Prediction()


class LeftOut(Record):
    """Settings that were not tried, and why."""

    what: str
    reason: str


class Use(Record):
    """What a person can do with the model here."""

    use: UseName
    grade: Literal["fine", "slow", "hopeless"]
    words: str
    measured: bool  # False: predicted


class Tuning(Record):
    """The whole of a tuning."""

    model: str
    goal: Mode
    kind: Literal["image", "tokens"]
    unit: Literal["images/s", "tokens/s"]
    framework: str = "torch"
    framework_version: str | None = None
    device: str = "auto"
    device_name: str | None = None
    room_bytes: int | None = None  # what a process may hold here; None: not known
    budget_seconds: float = 0.0
    seconds: float = 0.0
    interrupted: bool = False
    attempts: tuple[Attempt, ...] = ()  # in the order they ran
    left_out: tuple[LeftOut, ...] = ()
    best: Attempt | None = None  # the fastest that keeps the model and its precision's meaning; None: nothing ran
    largest_batch: int | None = None  # that survived with the settings of `batch_settings`
    failed_batch: int | None = None  # the next larger one that was tried and did not; None: none failed
    batch_settings: Settings | None = None
    wanted_batch: int | None = None
    wanted: Attempt | None = None  # how the wanted batch is trained here
    recipe: tuple[str, ...] = ()  # lines of Python to copy
    uses: tuple[Use, ...] = ()
