"""What to change so that a workload fits, each with the bytes that it then needs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from envdoctor.errors import UsageProblem
from envdoctor.estimate.device import leading
from envdoctor.estimate.weighing import Scales, Walked
from envdoctor.model.estimate import Change
from envdoctor.model.speech import say

if TYPE_CHECKING:
    from envdoctor.estimate.device import Device
    from envdoctor.model.estimate import Dtype, Workload

# A saving that is smaller than this share is lost in the range of the figure.
_WORTH = 0.02
_SIDES = (320, 224, 160)
_LORA_RANK = 16
# fp16 arithmetic gives NaN on these (https://github.com/pytorch/pytorch/issues/58123).
_NO_HALF = ("GTX 16",)


def changes(workload: Workload, scales: Scales, device: Device) -> tuple[Change, ...]:
    """Give the changes that make it fit, the least intrusive first, then those that help but do not suffice.

    Where none suffices alone, those that keep the model and its data are taken together. Every change was weighed as
    the workload it leads to.
    """
    if device.free_bytes is None:
        return ()
    before = scales.need(workload, device).high
    found = []
    for what, other in _candidates(workload, scales, device):
        change = _weighed(what, other, scales, device, before)
        if change is not None:
            found.append(change)
    room = device.free_bytes
    fitting = [each for each in found if each.device_bytes <= room]
    helping = sorted((each for each in found if each.device_bytes > room), key=lambda each: -each.saved_bytes)
    if before > room and not any(_same_model(each, workload) for each in fitting):
        together = _together(workload, scales, device, before)
        fitting[:0] = [together] if together is not None else []
    return (*fitting, *helping)


def cheaper_inference(workload: Workload, scales: Scales, device: Device) -> Change | None:
    """Give the change to half weights, where autocast keeps a second copy of each; None: it would save nothing."""
    if workload.mode != "inference" or not workload.dtype.startswith("amp"):
        return None
    half = replace(workload, dtype=_half(device))
    what = say(
        "{dtype} weights (model.half() or .bfloat16()) instead of autocast, which keeps both copies",
        dtype=_word(half.dtype),
    )
    return _weighed(what, half, scales, device, scales.need(workload, device).high)


def _weighed(what: str, other: Workload, scales: Scales, device: Device, before: int) -> Change | None:
    try:
        weighing = scales if other.model == scales.model.name else _other(other.model)
        least = weighing.too_much(other, device)
        after = weighing.need(other, device).high if least is None else least
    except UsageProblem:  # the model cannot be run in that way
        return None
    if before - after < before * _WORTH:
        return None
    saved = before - after
    return Change(what=what, workload=other, device_bytes=after, saved_bytes=saved, at_least=least is not None)


def _other(name: str) -> Scales:
    from envdoctor.estimate.models import named

    return Scales(Walked(named(name)))


def _same_model(change: Change, workload: Workload) -> bool:
    return change.workload.model == workload.model


def _candidates(workload: Workload, scales: Scales, device: Device) -> Iterator[tuple[str, Workload]]:
    """Give what can be changed: first what changes nothing of the result, at last what changes all of it."""
    yield from _harmless(workload, scales, device)
    if workload.mode == "training":
        yield from _training(workload, scales, device)
    else:
        yield from _quantized(workload, scales)
    yield from _smaller_data(workload, scales, device)
    for name in _smaller_models(scales.model.name):
        yield say("the smaller {name}", name=name), replace(workload, model=name)


def _harmless(workload: Workload, scales: Scales, device: Device) -> Iterator[tuple[str, Workload]]:
    if workload.attention == "eager" and scales.model.kind == "tokens":
        yield (
            say("attention by scaled_dot_product_attention (attn_implementation='sdpa')"),
            replace(workload, attention="sdpa"),
        )
    if workload.mode == "inference":
        if scales.model.kind == "tokens" and workload.logits == "all":
            yield say("logits of the last token only (logits_to_keep=1)"), replace(workload, logits="last")
        if workload.dtype in ("fp32", "amp-fp16", "amp-bf16"):
            half = _half(device)
            yield say("{dtype} weights (model.half() or .bfloat16())", dtype=_word(half)), replace(workload, dtype=half)
    elif workload.dtype == "fp32" and not _without_half(device):
        mixed: Dtype = "amp-bf16" if _half(device) == "bf16" else "amp-fp16"
        yield say("mixed precision ({mixed} autocast)", mixed=mixed[4:]), replace(workload, dtype=mixed)
    if workload.mode == "training" and not workload.checkpointing:
        yield say("activation checkpointing (a third more time)"), replace(workload, checkpointing=True)


def _training(workload: Workload, scales: Scales, device: Device) -> Iterator[tuple[str, Workload]]:
    yield from _accumulated(workload, scales, device)
    # What foreach makes for a moment counts only where the step is the highest point.
    if workload.foreach and workload.optimizer != "none" and scales.memory(workload).peak_in == "step":
        yield (
            say("an optimizer that takes one weight at a time (foreach=False; slower)"),
            replace(workload, foreach=False),
        )
    if workload.optimizer in ("adam", "adamw"):
        yield say("SGD with momentum instead of Adam (other learning rate)"), replace(workload, optimizer="sgd")
    if scales.model.kind == "tokens" and workload.lora_rank is None:
        yield (
            say("LoRA of rank {lora_rank} instead of training every weight", lora_rank=_LORA_RANK),
            replace(workload, lora_rank=_LORA_RANK),
        )


def _accumulated(workload: Workload, scales: Scales, device: Device) -> Iterator[tuple[str, Workload]]:
    """Split the batch so that each part fits; with the gradients that are then kept."""
    room = device.free_bytes
    if workload.batch < 2 or room is None:
        return
    summed = replace(workload, accumulation=2)
    # With gradients that are kept, no batch fits that does not without them.
    most = scales.largest_batch(workload, device) or 0
    parts = [size for size in range(1, min(most, workload.batch // 2) + 1) if workload.batch % size == 0]

    def needs(size: int) -> int:
        other = replace(summed, batch=size)
        return scales.too_much(other, device) or scales.need(other, device).high

    fitting = bisect_right(parts, room, key=needs)
    part = parts[fitting - 1] if fitting else None
    if part is not None:
        steps = workload.batch // part * workload.accumulation
        what = say(
            "batch {part} with {steps} accumulation steps, which train as batch {batch} does",
            part=part,
            steps=steps,
            batch=workload.batch,
        )
        yield what, replace(workload, batch=part, accumulation=steps)


def _quantized(workload: Workload, scales: Scales) -> Iterator[tuple[str, Workload]]:
    if scales.model.kind != "tokens":
        return
    if workload.kv_cache and workload.kv_dtype == "same":
        yield say("a key-value cache of int8"), replace(workload, kv_dtype="int8")
    if workload.dtype not in ("int8", "int4"):
        yield say("int8 weights (bitsandbytes or the like)"), replace(workload, dtype="int8")
    if workload.dtype != "int4":
        yield say("int4 weights (bitsandbytes, AWQ or GPTQ)"), replace(workload, dtype="int4")


def _smaller_data(workload: Workload, scales: Scales, device: Device) -> Iterator[tuple[str, Workload]]:
    size = scales.model.default_size
    if scales.model.kind == "image":
        if workload.mode == "inference":
            yield from _smaller_batches(workload, scales, device)
        for side in _SIDES:
            if side < (workload.image_size or size):
                smaller = replace(workload, image_size=side)
                yield say("images of {side}x{side}", side=side), smaller
                if _fits(smaller, scales, device):
                    break
        return
    tokens = workload.seq_len or size
    for shorter in (tokens // 2, tokens // 4):
        if shorter >= 64:
            smaller = replace(workload, seq_len=shorter)
            yield say("sequences of {shorter} tokens", shorter=shorter), smaller
            if _fits(smaller, scales, device):
                break
    if workload.batch > 1 and workload.mode == "inference":
        yield say("batch {batch}", batch=workload.batch // 2), replace(workload, batch=workload.batch // 2)


def _fits(workload: Workload, scales: Scales, device: Device) -> bool:
    return scales.too_much(workload, device) is None and scales.verdict(workload, device) == "fits"


def _smaller_batches(workload: Workload, scales: Scales, device: Device) -> Iterator[tuple[str, Workload]]:
    """Halve the batch until it fits, and give what that comes to."""
    smaller = workload
    while smaller.batch > 1:
        smaller = replace(smaller, batch=smaller.batch // 2)
        if scales.verdict(smaller, device) == "fits":
            yield say("batch {batch}", batch=smaller.batch), smaller
            return


def _smaller_models(name: str) -> tuple[str, ...]:
    """Name the next smaller models of the family, largest first."""
    from envdoctor.estimate.models import HOMES

    if name not in HOMES:
        return ()
    family = [each for each, home in HOMES.items() if home == HOMES[name]]
    return tuple(reversed(family[: family.index(name)]))


def _together(workload: Workload, scales: Scales, device: Device, before: int) -> Change | None:
    """Take what keeps the model, its data and its training, one after the other, until it fits; None: it never does."""
    assert device.free_bytes is not None
    words: list[str] = []
    current, need = workload, before
    while need > device.free_bytes:
        ways = (*_harmless(current, scales, device), *_split(current, scales, device))
        weighed = (_weighed(what, other, scales, device, need) for what, other in ways)
        change = next((each for each in weighed if each is not None), None)
        if change is None:
            return None
        words.append(change.what)
        current, need = change.workload, change.device_bytes
    return Change(what=" + ".join(words), workload=current, device_bytes=need, saved_bytes=before - need)


def _split(workload: Workload, scales: Scales, device: Device) -> Iterator[tuple[str, Workload]]:
    if workload.mode == "training":
        yield from _accumulated(workload, scales, device)


def _half(device: Device) -> Dtype:
    """Name the half type of the device: bfloat16 needs no loss scaling, and Ampere or a CPU to be fast."""
    newer = device.kind == "cpu" or (device.capability is not None and leading(device.capability) >= (8,))
    return "bf16" if newer else "fp16"


def _without_half(device: Device) -> bool:
    return device.name is not None and any(each in device.name for each in _NO_HALF)


def _word(dtype: Dtype) -> str:
    return {"fp16": "float16", "bf16": "bfloat16"}.get(dtype, dtype)
