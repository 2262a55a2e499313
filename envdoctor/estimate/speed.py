"""How fast a workload will be: a roofline over every operation of the walk, and what that means for a person."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Literal

import msgspec

from envdoctor.estimate.host_memory import fresh_bytes
from envdoctor.model.estimate import Outlook, Range, Speed
from envdoctor.model.speech import message, say

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from envdoctor.estimate.tape import Work
    from envdoctor.estimate.walk import Walk
    from envdoctor.model.estimate import Peaks, Workload

    Operation = tuple[Work, int, int]
    Stage = Literal["inference", "prefill", "decode", "training"]
    Section = Literal["pass", "step", "token"]

CACHED = 8 << 20  # bytes that an operation may move and still find most of them in a processor's caches
# Measured seconds, as shares of what is predicted for a processor that was measured: benchmarks/speed.py.
CPU_OFF = Range(low=0.8, high=1.5)
CALL = 3.0  # dispatches that a module's operation costs on a CPU, with Python, autograd and the threads' barrier


class _Rates:
    """The rates at one end of the ranges."""

    def __init__(self, peaks: Peaks, dtype: str, end: Literal["low", "high"]) -> None:
        self.cpu = peaks.device == "cpu"
        fp32, convolution = getattr(peaks.fp32, end), getattr(peaks.convolution, end)
        half = _half(peaks, dtype)
        product = fp32 if half is None else getattr(half, end)
        # A half type's convolution is measured nowhere; it gains what the matrix product gains.
        gain = product / fp32 if self.cpu else max(1.0, product / convolution)
        self.flops = {"product": product, "convolution": convolution * gain, "elements": fp32, "in place": fp32}
        self.stream = getattr(peaks.stream, end)
        read = peaks.stream_bf16 if "bf16" in dtype else None
        self.weights = self.stream if read is None else getattr(read, end)
        self.cached = getattr(peaks.cached, end)
        self.fresh = None if peaks.fresh is None else getattr(peaks.fresh, end)
        self.dispatch = getattr(peaks.dispatch, "high" if end == "low" else "low")

    def seconds(self, operations: Iterable[Operation], fresh: int) -> tuple[float, float]:
        """Give the seconds of operations bound by computing, and of those bound by memory or by their number.

        `fresh` are the bytes that the system has to hand out for them.
        """
        computing = moving = 0.0
        count = 0
        for kind, flops, moved in operations:
            count += 1
            compute = flops / self.flops[kind]
            if kind == "product":
                bandwidth = self.weights
            else:
                bandwidth = self.cached if kind == "elements" and moved <= CACHED else self.stream
            memory = moved / bandwidth
            if compute > memory:
                computing += compute
            else:
                moving += memory
        waiting = count * self.dispatch
        if self.fresh is not None:
            moving += fresh / self.fresh
        if self.cpu:
            return computing, moving + CALL * waiting
        # A GPU works while the next operations are being started.
        return computing, max(moving, waiting - computing)


def _half(peaks: Peaks, dtype: str) -> Range | None:
    """Give the rate of the type that is computed in; None: fp32. Packed weights are unpacked, on a GPU to fp16."""
    if "bf16" in dtype:
        return peaks.bf16
    packed = dtype in ("int8", "int4") and peaks.device == "cuda"
    return peaks.fp16 if packed or "fp16" in dtype else None


def generating(workload: Workload) -> Workload:
    """Give the workload whose walk tells all speeds: with a cache, one that goes on to make tokens."""
    if workload.kv_cache and workload.mode == "inference":
        return msgspec.structs.replace(workload, logits="last")
    return workload


def speeds(walk: Walk, peaks: Peaks) -> tuple[Speed, ...]:
    """Predict the speed of a walked workload; with a cache, of reading the prompt and of writing."""
    workload, architecture = walk.workload, walk.architecture
    image = architecture.kind == "image"
    tokens = 1 if image else workload.seq_len or architecture.default_size
    fresh = fresh_bytes(walk) if peaks.device == "cpu" and "token" not in walk.work else 0
    return predicted(workload, peaks, walk.work, fresh, tokens, "images/s" if image else "tokens/s")


def predicted(
    workload: Workload,
    peaks: Peaks,
    work: Mapping[Section, list[Operation]],
    fresh: int,
    parts: int,
    unit: Literal["images/s", "tokens/s", "sequences/s"],
    doubt: float = 1.0,
) -> tuple[Speed, ...]:
    """Predict from the operations of each stage; `fresh` bytes are handed out anew for each pass.

    A sample is so many `parts` of the unit. `doubt` makes the range that many times wider at both ends.
    """
    items = workload.batch * parts
    step = work["pass"]
    written = work.get("token")

    def speed(operations: list[Operation], items: int, stage: Stage, fresh: int) -> Speed:
        slow = _Rates(peaks, workload.dtype, "low").seconds(operations, fresh)
        fast = _Rates(peaks, workload.dtype, "high").seconds(operations, fresh)
        off = CPU_OFF if peaks.device == "cpu" else Range(low=1.0, high=1.0)
        off = Range(low=off.low / doubt, high=off.high * doubt)
        seconds = Range(low=sum(fast) * off.low, high=sum(slow) * off.high)
        return Speed(
            throughput=Range(low=items / seconds.high, high=items / seconds.low),
            unit=unit,
            step_seconds=seconds,
            bound="compute" if slow[0] + fast[0] > slow[1] + fast[1] else "memory",
            basis=peaks.basis,
            stage=stage,
        )

    if workload.mode == "training":
        times = workload.accumulation
        return (speed(step * times + work["step"], items * times, "training", fresh * times),)
    if written:
        return speed(step, items, "prefill", fresh), speed(written, workload.batch, "decode", 0)
    return (speed(step, items, "inference", fresh),)


def middle(figure: Range) -> float:
    """Give the figure that is as many times above the low end as it is below the high one."""
    return sqrt(figure.low * figure.high)


def epoch_seconds(speed: Speed, items: int) -> Range:
    """Give the time for `items` images or tokens, whatever the unit counts."""
    return Range(low=items / speed.throughput.high, high=items / speed.throughput.low)


# Where a grade ends. People read 238 words a minute (Brysbaert 2019, https://doi.org/10.1016/j.jml.2019.104047), at
# about 4 tokens for 3 words: 5.3 tokens a second.
READING = 5.3  # tokens a second
HOPELESS_TOKENS = 1.0  # a page of text in ten minutes
FINE_WAIT, HOPELESS_WAIT = 3.0, 60.0  # seconds until the first token, or for one batch
FINE_TRAINING, HOPELESS_TRAINING = 12 * 3600.0, 7 * 86400.0  # seconds: over night; a week
IMAGES = 50_000  # as many as CIFAR-10 has for training
TOKENS = 1_000_000  # about ten books; tiny Shakespeare has a third of it
EPOCHS = 10


def verdict(speed: Speed, items: int | None = None, epochs: int = EPOCHS) -> Outlook:
    """Say what a speed means for a person: fine, slow or hopeless, with the number.

    `items` is the size of the training data in images or tokens; None: 50,000 images or a million tokens.
    """
    middle_speed = middle(speed.throughput)
    if speed.stage == "training":
        return _training(speed, items or (IMAGES if speed.unit == "images/s" else TOKENS), epochs)
    seconds = middle(speed.step_seconds)
    if speed.stage == "decode":
        alone = 1 / seconds  # each text of a batch grows by one token a step
        grade = _grade(-alone, -READING, -HOPELESS_TOKENS)
        return Outlook(
            stage=speed.stage,
            grade=grade,
            words=say(
                "writing is {grade}: about {speed:.3g} tokens a second, {ratio:.2g} times as fast as people read",
                grade=_words(grade),
                speed=alone,
                ratio=alone / READING,
            ),
        )
    grade = _grade(seconds, FINE_WAIT, HOPELESS_WAIT)
    what = say("reading the prompt") if speed.stage == "prefill" else say("inference")
    return Outlook(
        stage=speed.stage,
        grade=grade,
        words=say(
            "{stage} is {grade}: about {duration} a step, {speed:,.3g} {unit}",
            stage=what,
            grade=_words(grade),
            duration=duration(seconds),
            speed=middle_speed,
            unit=speed.unit,
        ),
    )


def _training(speed: Speed, items: int, epochs: int) -> Outlook:
    seconds = middle(epoch_seconds(speed, items))
    grade = _grade(seconds * epochs, FINE_TRAINING, HOPELESS_TRAINING)
    kind = speed.unit.partition("/")[0]
    return Outlook(
        stage="training",
        grade=grade,
        words=say(
            "training is {grade}: about {epoch} for an epoch of {items:,} {kind}, {whole} for {epochs} of them",
            grade=_words(grade),
            epoch=duration(seconds),
            items=items,
            kind=kind,
            whole=duration(seconds * epochs),
            epochs=epochs,
        ),
    )


def _grade(cost: float, fine: float, hopeless: float) -> Literal["fine", "slow", "hopeless"]:
    return "fine" if cost <= fine else "slow" if cost <= hopeless else "hopeless"


def _words(grade: str) -> str:
    return {"fine": say("fine"), "slow": say("slow but possible"), "hopeless": say("hopeless")}[grade]


def duration(seconds: float) -> str:
    """Write a time as people say it.

    >>> [duration(s) for s in (0.0234, 41.2, 600, 7200, 200000, 4e8)]
    ['23 ms', '41 s', '10 minutes', '2 hours', '2.3 days', '13 years']
    """
    for limit, size, words in (
        (1, 0.001, message("{time} ms")),
        (90, 1, message("{time} s")),
        (5400, 60, message("{time} minutes")),
        (129600, 3600, message("{time} hours")),
        (86400 * 730, 86400, message("{time} days")),
    ):
        if seconds < limit:
            return say(words, time=f"{seconds / size:.2g}" if seconds < 100 * size else f"{seconds / size:.0f}")
    return say("{seconds:.0f} years", seconds=seconds / (365.25 * 86400))
