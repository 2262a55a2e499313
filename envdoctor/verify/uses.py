"""What measured speeds mean for a person who has this machine, and the lines that make a program run as it was found.

Where a grade ends is said once, in `estimate/speed.py`, for training and for a first try; here for many users at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envdoctor.estimate.speed import EPOCHS, IMAGES, READING, TOKENS, duration, middle, verdict
from envdoctor.model.estimate import Range, Speed
from envdoctor.model.speech import message, say
from envdoctor.model.tuning import Use

if TYPE_CHECKING:
    from typing import Literal

    from envdoctor.model.tuning import Attempt, Settings, Tuning

    Grade = Literal["fine", "slow", "hopeless"]

# Rules of thumb of ours: whoever offers a service wants an image back within a tenth of a second and some of them a
# second, and a text for several readers at once.
FINE_LATENCY, SLOW_LATENCY = 0.1, 1.0  # seconds
FINE_IMAGES, SLOW_IMAGES = 30.0, 2.0  # a second
FINE_READERS, SLOW_READERS = 8.0, 1.0
SECONDS_A_DAY = 86400

_GPU = message("Use a GPU.")
_LARGER = message("Use a larger GPU, or several.")


def uses(tuning: Tuning, other: Range | None) -> tuple[Use, ...]:
    """Judge each use by what was measured; `other` is the predicted speed of the goal that was not tuned."""
    best = tuning.best
    if best is None:
        return ()
    if tuning.goal == "training":
        found = [_training(tuning, _exactly(best.throughput or 0.0), measured=True)]
        if other is not None:
            found.insert(0, _prototype(tuning, middle(other), measured=False))
        return tuple(found)
    alone = _alone(tuning, best)
    found = [_prototype(tuning, alone, measured=True), _production(tuning, alone, best)]
    if other is not None:
        found.append(_training(tuning, other, measured=False))
    return tuple(found)


def _alone(tuning: Tuning, best: Attempt) -> float:
    """Give the speed that one sample sees: of a batch each gets its share, and waits for all of it."""
    size = best.settings.size
    ran = [each for each in tuning.attempts if each.status == "ran" and each.settings.size == size]
    same = [each for each in ran if not each.settings.pruned and each.settings.precision != "int8"]
    return max((each.throughput or 0.0) / each.settings.batch for each in (*same, best))


def _exactly(speed: float) -> Range:
    return Range(low=speed, high=speed)


def _device(tuning: Tuning) -> str:
    return "CPU" if tuning.device == "cpu" else "GPU"


def _prototype(tuning: Tuning, speed: float, *, measured: bool) -> Use:
    """Judge a person who tries it alone."""
    if tuning.kind == "tokens":
        grade: Grade = "fine" if speed >= READING else "slow" if speed >= 1.0 else "hopeless"
        said = {
            "fine": message("{model} generates {speed:.3g} tokens/s on this {device}: fine for trying out."),
            "slow": message(
                "{model} generates {speed:.3g} tokens/s on this {device}, slower than people read: a patient try."
            ),
            "hopeless": message(
                "{model} generates {speed:.2g} tokens/s on this {device}: too slow even for trying out."
            ),
        }[grade]
    else:
        grade = "fine" if speed >= 1 else "slow" if speed >= 0.1 else "hopeless"
        said = {
            "fine": message("{model} takes {wait} for an image on this {device}: fine for trying out."),
            "slow": message("{model} takes {wait} for an image on this {device}: a patient try."),
            "hopeless": message("{model} takes {wait} for an image on this {device}: too slow even for trying out."),
        }[grade]
    words = say(
        said,
        model=tuning.model,
        speed=speed,
        wait=duration(1 / speed),
        device=_device(tuning),
    )
    return Use(use="prototype", grade=grade, words=_advised(tuning, words, grade, always=False), measured=measured)


def _production(tuning: Tuning, alone: float, best: Attempt) -> Use:
    """Judge a service: how long one waits, and how many are served."""
    together = best.throughput or 0.0
    if tuning.kind == "tokens":
        readers = together / READING
        each = together / best.settings.batch
        grade = _grade(readers, FINE_READERS, SLOW_READERS) if each >= READING or alone < READING else "slow"
        said = {
            "fine": message(
                "{total:,.3g} tokens/s with {batch} texts at a time, enough for {readers:.0f} readers: fine."
            ),
            "slow": message("{total:,.3g} tokens/s with {batch} texts at a time, enough for {readers:.1f} readers."),
            "hopeless": message("{total:,.2g} tokens/s, less than one person reads: not for a service."),
        }[grade]
        words = say(said, total=together, batch=best.settings.batch, readers=readers)
    else:
        wait = 1 / alone
        by_wait = _grade(-wait, -FINE_LATENCY, -SLOW_LATENCY)
        by_count = _grade(together, FINE_IMAGES, SLOW_IMAGES)
        order = ("fine", "slow", "hopeless")
        grade = max(by_wait, by_count, key=order.index)
        said = {
            "fine": message("an image comes back after {wait}, and {day:,.0f} a day are possible: fine."),
            "slow": message("an image comes back after {wait}, and {day:,.0f} a day are possible."),
            "hopeless": message("an image comes back after {wait}, and {day:,.0f} a day are possible."),
        }[grade]
        words = say(said, wait=duration(wait), day=together * SECONDS_A_DAY)
    return Use(use="production", grade=grade, words=_advised(tuning, words, grade), measured=True)


def _training(tuning: Tuning, speed: Range, *, measured: bool) -> Use:
    """Judge the training on a data set of usual size."""
    items = IMAGES if tuning.kind == "image" else TOKENS
    seconds = items / middle(speed)
    known = Speed(
        throughput=speed,
        unit=tuning.unit,
        step_seconds=Range(low=seconds, high=seconds),
        bound="compute",
        basis="",
        stage="training",
    )
    grade = verdict(known).grade
    said = {
        ("image", True): message("one epoch of {items:,} images takes {one}, {epochs} of them {all}: fine."),
        ("image", False): message("one epoch of {items:,} images takes {one}, {epochs} of them {all}."),
        ("tokens", True): message("one epoch of {items:,} tokens takes {one}, {epochs} of them {all}: fine."),
        ("tokens", False): message("one epoch of {items:,} tokens takes {one}, {epochs} of them {all}."),
    }[tuning.kind, grade == "fine"]
    words = say(said, items=items, one=duration(seconds), epochs=EPOCHS, all=duration(seconds * EPOCHS))
    return Use(use="training", grade=grade, words=_advised(tuning, words, grade), measured=measured)


def _advised(tuning: Tuning, words: str, grade: Grade, *, always: bool = True) -> str:
    """Add the sentence that says what would do, where this does not."""
    if grade == "hopeless" or (grade == "slow" and always):
        return f"{words} {say(_GPU if tuning.device == 'cpu' else _LARGER)}"
    return words


def _grade(value: float, fine: float, slow: float) -> Grade:
    return "fine" if value >= fine else "slow" if value >= slow else "hopeless"


def recipe(settings: Settings, goal: str, device: str) -> tuple[str, ...]:
    """Write the lines of Python that make a program run with these settings; code, the same in every language."""
    return tuple(_lines(settings, goal, device))


def _lines(settings: Settings, goal: str, device: str) -> Iterator[str]:
    if settings.threads is not None:
        yield f"torch.set_num_threads({settings.threads})"
    yield f"batch_size, size = {settings.batch}, {settings.size}"
    if settings.precision in ("bf16", "fp16"):
        yield f"model = model.to(torch.{_TYPES[settings.precision]})  # and the images too"
    elif settings.precision == "int8":
        yield "model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)"
    if settings.channels_last:
        yield "model = model.to(memory_format=torch.channels_last)"
        yield "images = images.contiguous(memory_format=torch.channels_last)"
    if settings.checkpointing:
        yield "# in forward(): hidden = torch.utils.checkpoint.checkpoint(layer, hidden, use_reentrant=False)"
    if settings.runtime == "compile":
        yield "model = torch.compile(model)"
    elif settings.runtime == "tensorrt":
        yield 'import torch_tensorrt; model = torch.compile(model, backend="tensorrt")'
    elif settings.runtime == "onnxruntime":
        yield 'torch.onnx.export(model, images, "model.onnx")'
        yield 'session = onnxruntime.InferenceSession("model.onnx")'
    if goal == "inference":
        yield "with torch.inference_mode(): ..."
        return
    if settings.precision in ("amp-bf16", "amp-fp16"):
        yield f'with torch.autocast("{device}", dtype=torch.{_TYPES[settings.precision]}): loss = ...'
    if settings.precision == "amp-fp16":
        yield "scaler = torch.amp.GradScaler(); scaler.scale(loss).backward(); scaler.step(optimizer); scaler.update()"
    if settings.accumulation > 1:
        yield f"(loss / {settings.accumulation}).backward()  # {settings.accumulation} times, then optimizer.step()"


_TYPES = {"bf16": "bfloat16", "fp16": "float16", "amp-bf16": "bfloat16", "amp-fp16": "float16"}
