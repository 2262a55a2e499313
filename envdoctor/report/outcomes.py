"""Outcomes as text for a person: what was proved, with the numbers, or why it was not."""

from __future__ import annotations

from envdoctor.model.outcome import Metrics, Outcome, Trial
from envdoctor.report.quantities import size
from envdoctor.report.text import Style

_TITLES = {
    "cnn": "CNN (ResNet-18)",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "mobilenetv2": "MobileNetV2",
    "gpt2": "GPT-2 (124M)",
    "gpt2-medium": "GPT-2 medium (355M)",
}
_SPEEDS = {"images/s": "recognizing 224x224 images", "tokens/s": "generating text, one at a time"}
_STATES = {
    "passed": "passed",
    "failed": "failed",
    "out-of-memory": "ran out of memory",
    "timeout": "took too long",
    "crashed": "crashed",
    "not-run": "did not run",
}
_INDENT = " " * 16


def text(outcomes: tuple[Outcome, ...], style: Style | None = None) -> str:
    """Write one block for each workload."""
    style = style or Style(colour=False, width=100)
    return "\n\n".join("\n".join(_block(outcome, style)) for outcome in outcomes) + "\n"


def _block(outcome: Outcome, style: Style) -> list[str]:
    passed = outcome.status == "passed"
    mark = style.paint("+" if passed else "x", "good" if passed else "error")
    version = f" {outcome.framework_version}" if outcome.framework_version else ""
    device = f" on {outcome.device}" if outcome.device != "auto" else ""
    name = f" ({outcome.device_name})" if outcome.device_name else ""
    title = f"{_TITLES.get(outcome.workload, outcome.workload)} {_STATES[outcome.status]}"
    lines = [style.wrap(f"{title}: {outcome.framework}{version}{device}{name}", "  ", f"{mark} ")]
    if outcome.reason:
        lines.append(_row("why", outcome.reason, style))
    if outcome.hint:
        lines.append(_row("what to do", outcome.hint, style))
    lines += [_row(label, value, style) for label, value in _numbers(outcome, outcome.metrics)]
    if outcome.log:
        lines.append(_row("full output", outcome.log, style))
    return lines


def _row(label: str, value: str, style: Style) -> str:
    return style.wrap(value, _INDENT, f"  {label:<13} ")


def _numbers(outcome: Outcome, metrics: Metrics) -> list[tuple[str, str]]:
    rows = []
    if metrics.parameters is not None:
        rows.append(("parameters", f"{metrics.parameters:,}{_as_published(outcome)}"))
    if metrics.loss_first is not None and metrics.loss_last is not None:
        rows.append(("loss", f"{metrics.loss_first:.3g} -> {metrics.loss_last:.3g} while training a small one"))
    if metrics.max_abs_error is not None and metrics.tolerance is not None:
        rows.append(
            ("largest error", f"{metrics.max_abs_error:.2g} against the reference; {metrics.tolerance:.2g} is allowed")
        )
    if metrics.throughput is not None:
        what = _SPEEDS.get(metrics.unit or "")
        rows.append(("speed", f"{metrics.throughput:.3g} {metrics.unit or ''}{f', {what}' if what else ''}"))
    if metrics.peak_memory_bytes is not None:
        predicted = metrics.predicted_memory_bytes
        also = f"; {size(predicted)} were predicted" if predicted is not None else ""
        rows.append(("peak memory", f"{size(metrics.peak_memory_bytes)} {_kind_of_memory(outcome)}{also}"))
    rows += [("tried" if each.ran else "not tried", _tried(each)) for each in outcome.trials]
    if metrics.seconds is not None:
        rows.append(("took", f"{metrics.seconds:.0f} s"))
    return rows


def _tried(trial: Trial) -> str:
    if not trial.ran:
        return f"{trial.name}: {trial.reason}"
    return (
        trial.name if trial.throughput is None else f"{trial.name}: {trial.throughput:.3g} {trial.unit or ''}".rstrip()
    )


def _as_published(outcome: Outcome) -> str:
    equal = any(check.name == "parameter count" and check.passed for check in outcome.checks)
    return ", as published" if equal else ""


def _kind_of_memory(outcome: Outcome) -> str:
    # A workload that could not speak for itself was watched from outside, where only host memory is seen.
    if outcome.device in ("cuda", "xpu", "mps") and outcome.framework_version:
        return "on the device"
    return "of host memory, Python and the framework included"
