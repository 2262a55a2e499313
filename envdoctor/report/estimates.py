"""Estimates as text for a person: what it needs and what for, whether it fits, and what would make it fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envdoctor.report.quantities import figures, size
from envdoctor.report.text import Style

if TYPE_CHECKING:
    from envdoctor.model.estimate import Capacity, Change, Estimate, Workload

_PHASES = {"forward": "the forward pass", "backward": "the backward pass", "step": "the optimizer's step"}
_BOUNDS = {"compute": "arithmetic", "memory": "memory bandwidth"}
_LABEL = 16
_BAR = 24
_ROW = " " * (_LABEL + 2)
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
        lines += ["", *(style.wrap(each, _ROW, f"  {'assuming':<{_LABEL}}") for each in estimate.assumptions[:1])]
        lines += [style.wrap(each, _ROW, _ROW) for each in estimate.assumptions[1:]]
    return "\n".join(lines) + "\n"


def title(workload: Workload) -> str:
    """Say in one line what runs and how.

    >>> from envdoctor.model.estimate import Workload
    >>> title(Workload(model="gpt2", mode="training", batch=8, seq_len=512, dtype="amp-bf16", optimizer="adamw"))
    'gpt2, training, batch 8, 512 tokens, amp-bf16, adamw'
    """
    words = [workload.model, workload.mode, f"batch {workload.batch}"]
    words += [f"{workload.image_size}x{workload.image_size}"] if workload.image_size else []
    words += [f"{workload.seq_len} tokens"] if workload.seq_len else []
    words += [workload.dtype]
    words += [workload.optimizer] if workload.optimizer != "none" else []
    said = {
        "checkpointing": workload.checkpointing,
        "eager attention": workload.attention == "eager",
        "KV cache": workload.kv_cache,
        f"{workload.accumulation} accumulation steps": workload.accumulation > 1,
        f"LoRA rank {workload.lora_rank}": workload.lora_rank is not None,
        f"{workload.shards} shards": workload.shards > 1,
    }
    return ", ".join((*words, *(word for word, so in said.items() if so)))


def _needs(estimate: Estimate, style: Style) -> list[str]:
    memory = estimate.memory
    parts = {name: getattr(memory.parts, name) for name in memory.parts.__struct_fields__}
    most = max(parts.values(), default=0) or 1
    lines = [f"  {'parameters':<{_LABEL}}{memory.parameters:,}"]
    for name, count in parts.items():
        if count:
            bar = "#" * max(1, round(_BAR * count / most))
            lines.append(f"  {name:<{_LABEL}}{size(count):>9}  {bar}")
    at = f"at its peak, in {_PHASES[memory.peak_in]}"
    lines.append(style.wrap(at, _ROW, f"  {'allocated':<{_LABEL}}{size(memory.allocated_bytes):>9}  "))
    cpu = estimate.workload.device == "cpu"
    if not cpu:
        reserved = f"  {'reserved':<{_LABEL}}{size(memory.reserved_bytes):>9}  "
        lines.append(style.wrap("with what torch's allocator keeps", _ROW, reserved))
    where = "the process" if cpu else "the device"
    ends = f"{size(estimate.device_bytes_low)} to {size(estimate.device_bytes_high)}"
    likely = f"most likely {size(estimate.device_bytes_likely)}"
    lines.append(style.wrap(f"{ends} in all, {likely}", _ROW, f"  {where:<{_LABEL}}"))
    return lines


def _verdict(estimate: Estimate, style: Style) -> list[str]:
    free = f"{size(estimate.free_bytes)} are free" + (f" on {estimate.device_name}" if estimate.device_name else "")
    said = {
        "fits": f"It fits: {free}.",
        "tight": f"It is tight: {free}, which lies between the two ends.",
        "out-of-memory": f"It does not fit: {free}, and not even the lower end does.",
        "unknown": "Whether it fits is not known: name a card with --gpu, or its memory with --memory.",
    }[estimate.verdict]
    most = {None: "", 0: " Not even a batch of 1 surely fits."}.get(
        estimate.max_batch, f" The largest batch that surely fits is {estimate.max_batch}."
    )
    mark = style.paint(_MARKS[estimate.verdict], _COLOURS[estimate.verdict])
    return [style.wrap(said + most, "  ", f"{mark} ")]


def _changes(estimate: Estimate, style: Style) -> list[str]:
    if not estimate.changes:
        return []
    free = estimate.free_bytes
    fitting = [each for each in estimate.changes if free is not None and each.device_bytes <= free]
    helping = [each for each in estimate.changes if each not in fitting]
    first = "cheaper" if estimate.verdict == "fits" else "makes it fit"
    return _listed(first, fitting, style) + _listed("helps", helping, style)


def _speeds(estimate: Estimate, style: Style) -> list[str]:
    lines = [""] if estimate.speeds else []
    for each, outlook in zip(estimate.speeds, estimate.outlooks, strict=True):
        ends = f"{figures(each.throughput.low)} to {figures(each.throughput.high)} {each.unit}"
        words = f"{ends}, bound by {_BOUNDS[each.bound]}; {outlook.words}"
        lines.append(style.wrap(words, _ROW, f"  {each.stage:<{_LABEL}}"))
    if estimate.speeds:
        lines.append(style.wrap(estimate.speeds[0].basis, _ROW, f"  {'basis':<{_LABEL}}"))
    return lines


def _listed(label: str, changes: list[Change], style: Style) -> list[str]:
    lines = [""] if changes else []
    for place, each in enumerate(changes):
        words = f"{each.what}: {size(each.device_bytes)}, {size(each.saved_bytes)} less"
        lines.append(style.wrap(words, _ROW, f"  {label if place == 0 else '':<{_LABEL}}"))
    return lines


def capacities(workload: Workload, found: tuple[Capacity, ...], style: Style | None = None) -> str:
    """Write the largest batch on each card, the cards with least memory first."""
    style = style or Style(colour=False, width=100)
    widest = max((len(each.device_name) for each in found), default=0)
    lines = [style.paint(f"The largest batch that surely fits: {title(workload)}", "bold")]
    for each in found:
        batch = str(each.max_batch) if each.max_batch else "-"
        lines.append(f"  {each.device_name:<{widest}}  {size(each.free_bytes):>8} free  {batch:>7}")
    return "\n".join(lines) + "\n"
