"""Estimates as text for a person: what it needs and what for, whether it fits, and what would make it fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envdoctor.model.speech import message, say
from envdoctor.report.quantities import figures, size
from envdoctor.report.text import Style, padded

if TYPE_CHECKING:
    from envdoctor.model.estimate import Capacity, Change, Estimate, Workload

_PHASES = {
    "forward": message("at its peak, in the forward pass"),
    "backward": message("at its peak, in the backward pass"),
    "step": message("at its peak, in the optimizer's step"),
}
_BOUNDS = {
    "compute": message("{low} to {high} {unit}, bound by arithmetic"),
    "memory": message("{low} to {high} {unit}, bound by memory bandwidth"),
}
_STAGES = {
    "inference": message("inference"),
    "prefill": message("prefill"),
    "decode": message("decode"),
    "training": message("training"),
}
PARTS = {
    "weights": message("weights"),
    "buffers": message("buffers"),
    "gradients": message("gradients"),
    "optimizer": message("optimizer"),
    "activations": message("activations"),
    "temporary": message("temporary"),
    "inputs": message("inputs"),
}
_VERDICTS = {
    "fits": message("It fits: {free}."),
    "tight": message("It is tight: {free}, which lies between the two ends."),
    "out-of-memory": message("It does not fit: {free}, and not even the lower end does."),
}
_LABEL = 16
_BAR = 24
_COLOURS = {"fits": "good", "tight": "warning", "out-of-memory": "error", "unknown": "unknown"}
_MARKS = {"fits": "+", "tight": "!", "out-of-memory": "x", "unknown": "?"}


def text(estimate: Estimate, style: Style | None = None) -> str:
    """Write an estimate."""
    style = style or Style(colour=False, width=100)
    lines = [
        style.paint(style.wrap(title(estimate.workload), "  ", ""), "bold"),
        *_needs(estimate, style),
        "",
        *_verdict(estimate, style),
    ]
    lines += _changes(estimate, style)
    lines += _speeds(estimate, style)
    if estimate.assumptions:
        lines += ["", *(style.row(say("assuming"), each, _LABEL) for each in estimate.assumptions[:1])]
        lines += [style.row("", each, _LABEL) for each in estimate.assumptions[1:]]
    return "\n".join(lines) + "\n"


def title(workload: Workload, *, batch: bool = True) -> str:
    """Say in one line what runs and how; without the batch where several are shown together.

    >>> from envdoctor.model.estimate import Workload
    >>> title(Workload(model="gpt2", mode="training", batch=8, seq_len=512, dtype="amp-bf16", optimizer="adamw"))
    'gpt2, training, batch 8, 512 tokens, amp-bf16, adamw'
    """
    words = [workload.model, workload.mode]
    words += [say("batch {number}", number=workload.batch)] if batch else []
    words += [f"{workload.image_size}x{workload.image_size}"] if workload.image_size else []
    words += [say("{number} tokens", number=workload.seq_len)] if workload.seq_len else []
    words += [workload.dtype]
    words += [workload.optimizer] if workload.optimizer != "none" else []
    said = {
        say("checkpointing"): workload.checkpointing,
        say("eager attention"): workload.attention == "eager",
        say("KV cache"): workload.kv_cache,
        say("{number} accumulation steps", number=workload.accumulation): workload.accumulation > 1,
        say("LoRA rank {rank}", rank=workload.lora_rank): workload.lora_rank is not None,
        say("{number} shards", number=workload.shards): workload.shards > 1,
    }
    return ", ".join((*words, *(word for word, so in said.items() if so)))


def _needs(estimate: Estimate, style: Style) -> list[str]:
    memory = estimate.memory
    parts = {name: getattr(memory.parts, name) for name in memory.parts.__struct_fields__}
    most = max(parts.values(), default=0) or 1
    lines = [f"  {padded(say('parameters'), _LABEL)}{memory.parameters:,}"]
    for name, count in parts.items():
        if count:
            bar = "#" * max(1, round(_BAR * count / most))
            lines.append(f"  {padded(say(PARTS[name]), _LABEL)}{size(count):>9}  {bar}")
    lines.append(_amount(say("allocated"), memory.allocated_bytes, say(_PHASES[memory.peak_in]), style))
    cpu = estimate.workload.device == "cpu"
    if not cpu:
        kept = say("with what torch's allocator keeps")
        lines.append(_amount(say("reserved"), memory.reserved_bytes, kept, style))
    where = say("the process") if cpu else say("the device")
    said = say(
        "{low} to {high} in all, most likely {likely}",
        low=size(estimate.device_bytes_low),
        high=size(estimate.device_bytes_high),
        likely=size(estimate.device_bytes_likely),
    )
    return [*lines, style.row(where, said, _LABEL)]


def _amount(label: str, count: int, text: str, style: Style) -> str:
    """Write what an amount of bytes is, beside it."""
    return style.wrap(text, " " * (_LABEL + 2), f"  {padded(label, _LABEL)}{size(count):>9}  ")


def _verdict(estimate: Estimate, style: Style) -> list[str]:
    mark = style.paint(_MARKS[estimate.verdict], _COLOURS[estimate.verdict])
    return [style.wrap(verdict(estimate), "  ", f"{mark} ")]


def verdict(estimate: Estimate) -> str:
    """Say whether it fits, and the largest batch that does."""
    amount = size(estimate.free_bytes)
    free = (
        say("{size} are free on {device}", size=amount, device=estimate.device_name)
        if estimate.device_name
        else say("{size} are free", size=amount)
    )
    if estimate.verdict == "unknown":
        said = [say("Whether it fits is not known: name a card with --gpu, or its memory with --memory.")]
    else:
        said = [say(_VERDICTS[estimate.verdict], free=free)]
    if estimate.max_batch == 0:
        said.append(say("Not even a batch of 1 surely fits."))
    elif estimate.max_batch is not None:
        said.append(say("The largest batch that surely fits is {number}.", number=estimate.max_batch))
    return " ".join(said)


def _changes(estimate: Estimate, style: Style) -> list[str]:
    if not estimate.changes:
        return []
    free = estimate.free_bytes
    fitting = [each for each in estimate.changes if free is not None and each.device_bytes <= free]
    helping = [each for each in estimate.changes if each not in fitting]
    first = say("cheaper") if estimate.verdict == "fits" else say("makes it fit")
    return _listed(first, fitting, style) + _listed(say("helps"), helping, style)


def _speeds(estimate: Estimate, style: Style) -> list[str]:
    rows = speeds(estimate)
    return [""] * bool(rows) + [style.row(label, words, _LABEL) for label, words in rows]


def speeds(estimate: Estimate) -> list[tuple[str, str]]:
    """Say how fast each stage will be and what that means, and whose figures it rests on, each with its label."""
    rows = []
    for each, outlook in zip(estimate.speeds, estimate.outlooks, strict=True):
        low, high = figures(each.throughput.low), figures(each.throughput.high)
        bound = say(_BOUNDS[each.bound], low=low, high=high, unit=each.unit)
        rows.append((say(_STAGES[each.stage]), f"{bound}; {outlook.words}"))
    if estimate.speeds:
        rows.append((say("basis"), estimate.speeds[0].basis))
    return rows


def _listed(label: str, changes: list[Change], style: Style) -> list[str]:
    lines = [""] if changes else []
    for place, each in enumerate(changes):
        lines.append(style.row(label if place == 0 else "", change(each), _LABEL))
    return lines


def change(each: Change) -> str:
    """Say what can be changed, and what it then needs."""
    amount, saved = size(each.device_bytes), size(each.saved_bytes)
    if each.at_least:
        return say(
            "{change}: at least {needed}, at the most {saved} less", change=each.what, needed=amount, saved=saved
        )
    return say("{change}: {needed}, {saved} less", change=each.what, needed=amount, saved=saved)


def capacities(workload: Workload, found: tuple[Capacity, ...], style: Style | None = None) -> str:
    """Write the largest batch on each card, the cards with least memory first."""
    style = style or Style(colour=False, width=100)
    widest = max((len(each.device_name) for each in found), default=0)
    lines = [style.paint(say("The largest batch that surely fits: {workload}", workload=title(workload)), "bold")]
    for each in found:
        batch = str(each.max_batch) if each.max_batch else "-"
        free = say("{size} free", size=f"{size(each.free_bytes):>8}")
        lines.append(f"  {each.device_name:<{widest}}  {free}  {batch:>7}")
    return "\n".join(lines) + "\n"
