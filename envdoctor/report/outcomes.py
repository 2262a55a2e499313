"""Outcomes as text for a person: what was proved, with the numbers, or why it was not."""

from __future__ import annotations

from envdoctor.model.outcome import Outcome, Shortage, Trial
from envdoctor.model.speech import message, say
from envdoctor.report.quantities import figures, size
from envdoctor.report.text import Style

_TITLES = {
    "cnn": "CNN (ResNet-18)",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "mobilenetv2": "MobileNetV2",
    "gpt2": "GPT-2 (124M)",
    "gpt2-medium": "GPT-2 medium (355M)",
    "pretrained-cnn": message("Trained CNN"),
    "pretrained-gpt2": message("Trained GPT-2 (124M)"),
}
_SPEEDS = {"images/s": message("recognizing 224x224 images"), "tokens/s": message("generating text, one at a time")}
_STATES = {
    "passed": message("{workload} passed: {where}"),
    "failed": message("{workload} failed: {where}"),
    "out-of-memory": message("{workload} ran out of memory: {where}"),
    "timeout": message("{workload} took too long: {where}"),
    "crashed": message("{workload} crashed: {where}"),
    "not-run": message("{workload} did not run: {where}"),
}
_WHERE = {
    "weights": message("the weights of the network found no room"),
    "activations": message("what the layers give found no room beside the weights"),
    "optimizer": message("what the optimizer keeps for each weight found no room"),
    "fragmentation": message("the allocator had enough, but in pieces that were too small (fragmentation)"),
    "another-process": message("other processes hold the memory that it needs"),
    "unknown": message("it is not known what found no room"),
}
_LABEL = 14


def text(outcomes: tuple[Outcome, ...], style: Style | None = None) -> str:
    """Write one block for each workload."""
    style = style or Style(colour=False, width=100)
    return "\n\n".join("\n".join(_block(outcome, style)) for outcome in outcomes) + "\n"


def _block(outcome: Outcome, style: Style) -> list[str]:
    passed = outcome.status == "passed"
    mark = style.paint("+" if passed else "x", "good" if passed else "error")
    lines = [style.wrap(title(outcome), "  ", f"{mark} ")]
    if outcome.reason:
        lines.append(style.row(say("why"), outcome.reason, _LABEL))
    if outcome.hint:
        lines.append(style.row(say("what to do"), outcome.hint, _LABEL))
    if outcome.shortage:
        lines += [style.row(label, value, _LABEL) for label, value in shortage(outcome.shortage)]
    if outcome.answer:
        lines.append(style.row(say("answer"), outcome.answer, _LABEL))
    lines += [style.row(label, value, _LABEL) for label, value in numbers(outcome)]
    if outcome.log:
        lines.append(style.row(say("full output"), outcome.log, _LABEL))
    return lines


def shortage(found: Shortage) -> list[tuple[str, str]]:
    """Say where memory ran out, and what would fit, each with its label."""
    rows = [(say("where"), say(_WHERE[found.where]))]
    if found.room_bytes is not None and found.needed_bytes is not None:
        sizes = {"room": size(found.room_bytes), "needed": size(found.needed_bytes)}
        rows.append((say("room"), say("{room}; a program that does just this needs up to {needed}", **sizes)))
    rows += [
        (say("would fit"), say("{size}: {change}", size=size(each.device_bytes), change=each.what))
        for each in found.changes
    ]
    if found.needed_bytes is not None and not found.changes:
        rows.append((say("would fit"), say("nothing that is known: take a larger device, or a smaller network")))
    return rows


def title(outcome: Outcome) -> str:
    """Say in one line what ran where, and what came of it."""
    version = f" {outcome.framework_version}" if outcome.framework_version else ""
    where = f"{outcome.framework}{version}"
    if outcome.device != "auto":
        where = say("{framework} on {device}", framework=where, device=outcome.device)
    where += f" ({outcome.device_name})" if outcome.device_name else ""
    return say(_STATES[outcome.status], workload=say(_TITLES.get(outcome.workload, outcome.workload)), where=where)


def numbers(outcome: Outcome) -> list[tuple[str, str]]:
    """Give what was measured, each with its label; what was not measured is left out."""
    metrics, rows = outcome.metrics, []
    if metrics.parameters is not None:
        count = f"{metrics.parameters:,}"
        rows.append((say("parameters"), say("{count}, as published", count=count) if _as_published(outcome) else count))
    if metrics.loss_first is not None and metrics.loss_last is not None:
        ends = {"first": f"{metrics.loss_first:.3g}", "last": f"{metrics.loss_last:.3g}"}
        rows.append((say("loss"), say("{first} -> {last} while training a small one", **ends)))
    if metrics.max_abs_error is not None and metrics.tolerance is not None:
        errors = {"error": f"{metrics.max_abs_error:.2g}", "tolerance": f"{metrics.tolerance:.2g}"}
        rows.append((say("largest error"), say("{error} against the reference; {tolerance} is allowed", **errors)))
    if metrics.throughput is not None:
        what = _SPEEDS.get(metrics.unit or "")
        speed = f"{figures(metrics.throughput)} {metrics.unit or ''}"
        rows.append((say("speed"), ", ".join((speed, say(what))) if what else speed))
    if metrics.peak_memory_bytes is not None:
        predicted = metrics.predicted_memory_bytes
        peak = _peak(outcome, size(metrics.peak_memory_bytes))
        if predicted is not None:
            peak = say("{peak}; {predicted} were predicted", peak=peak, predicted=size(predicted))
        rows.append((say("peak memory"), peak))
    rows += [(say("tried") if each.ran else say("not tried"), _tried(each)) for each in outcome.trials]
    if metrics.seconds is not None:
        rows.append((say("took"), say("{seconds} s", seconds=f"{metrics.seconds:.0f}")))
    return rows


def _tried(trial: Trial) -> str:
    if not trial.ran:
        return f"{trial.name}: {trial.reason}"
    return (
        trial.name
        if trial.throughput is None
        else f"{trial.name}: {figures(trial.throughput)} {trial.unit or ''}".rstrip()
    )


def _as_published(outcome: Outcome) -> bool:
    return any(check.name == "parameter count" and check.passed for check in outcome.checks)


def _peak(outcome: Outcome, peak: str) -> str:
    # A workload that could not speak for itself was watched from outside, where only host memory is seen.
    if outcome.device in ("cuda", "xpu", "mps") and outcome.framework_version:
        return say("{size} on the device", size=peak)
    return say("{size} of host memory, Python and the framework included", size=peak)
