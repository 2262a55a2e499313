"""Verdicts: what a workload's own words and its end amount to. Nothing is believed that can be worked out again."""

from __future__ import annotations

import math
import signal

import msgspec

from envdoctor.host.watching import Ended
from envdoctor.model import Record
from envdoctor.model.outcome import Metrics, Outcome


class Expected(Record):
    """What must be true of a workload that passed. The script says the same; a script may be wrong."""

    parameters: int  # published
    loss_ratio: float  # last loss at most this share of the first
    checks: tuple[str, ...]  # names that must be among the checks


_SLOPES = "gradient agrees with finite differences"
_CACHE = "generation with a cache agrees with a whole pass"
_FIRST = ("parameter count", "output agrees with float64")
_LAST = ("gradients are finite", "loss falls")
_TORCH = {
    "cnn": (*_FIRST, "gradient of the first layer agrees with float64", *_LAST),
    "gpt2": (*_FIRST, "one layer agrees with float64", _CACHE, "gradient agrees with float64", *_LAST),
}
_ARRAYS = {"cnn": (*_FIRST, _SLOPES, *_LAST), "gpt2": (*_FIRST, _CACHE, _SLOPES, *_LAST)}
# https://docs.pytorch.org/vision/stable/models.html, https://huggingface.co/docs/transformers/model_doc/gpt2
_PUBLISHED = {
    "cnn": ("cnn", 11_689_512),
    "resnet18": ("cnn", 11_689_512),
    "resnet50": ("cnn", 25_557_032),
    "mobilenetv2": ("cnn", 3_504_872),
    "gpt2": ("gpt2", 124_439_808),
    "gpt2-medium": ("gpt2", 354_823_168),
}
_LOSS_RATIO = 0.6
EXPECTED = {
    (framework, workload): Expected(parameters=parameters, loss_ratio=_LOSS_RATIO, checks=checks[family])
    for framework, checks in (("torch", _TORCH), ("tensorflow", _ARRAYS), ("jax", _ARRAYS))
    for workload, (family, parameters) in _PUBLISHED.items()
}

_SIGNALS: dict[int, tuple[str, str | None]] = {
    signal.SIGILL: (
        "it used an instruction that this processor does not have (SIGILL)",
        "most builds need AVX2; `envdoctor diagnose` lists what this processor has",
    ),
    signal.SIGSEGV: (
        "it crashed inside compiled code (SIGSEGV)",
        "often two copies of one library: `envdoctor diagnose` looks for them",
    ),
    signal.SIGBUS: (
        "memory that it had mapped was not there (SIGBUS)",
        "often /dev/shm is full or too small, or a file was cut short on a full disk",
    ),
    signal.SIGABRT: ("it gave up inside compiled code (SIGABRT)", "the log has what it said"),
    signal.SIGFPE: ("it divided by zero inside compiled code (SIGFPE)", None),
    signal.SIGTERM: ("somebody asked it to end (SIGTERM)", None),
}


class Asked(Record):
    """Which workload was started, and how."""

    workload: str
    framework: str
    device: str
    timeout: float
    memory_cap: int | None


class Heard(Record):
    """What the workload said on stdout."""

    outcomes: tuple[bytes, ...] = ()
    stage: str = "start"
    done: int = 0
    total: int = 0
    other: str | None = None  # first line that was no message


def verdict(asked: Asked, heard: Heard, ended: Ended) -> Outcome:
    """Give the outcome of a workload; it is `passed` only if everything that can be checked again holds."""
    if ended.cause == "deadline":
        return _deadline(asked, heard, ended)
    if ended.cause == "memory":
        assert asked.memory_cap is not None
        return _own(
            asked,
            ended,
            "out-of-memory",
            f"it was ended {_where(heard)} because it held {_size(ended.peak_bytes)}; "
            f"{_size(asked.memory_cap)} were allowed",
            "end other programs that hold memory, or allow more with --memory-cap",
        )
    if not heard.outcomes:
        return _silent(asked, heard, ended)
    try:
        said = msgspec.json.decode(heard.outcomes[0], type=Outcome)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        return _own(asked, ended, "crashed", f"its result cannot be read: {problem}")
    if said.status == "passed":
        doubts = _doubts(asked, heard, said)
        if doubts:
            return _with(said, asked, status="failed", reason="it says that it passed, but " + "; ".join(doubts))
        if ended.returncode != 0:
            how, hint = _end(ended, heard)
            return _with(said, asked, status="crashed", reason=f"the work passed, but then {how}", hint=hint)
        return _with(said, asked, reason=None, hint=None)
    return _with(said, asked, reason=said.reason or f"it says `{said.status}` and gives no reason")


def _deadline(asked: Asked, heard: Heard, ended: Ended) -> Outcome:
    stuck = "" if ended.returncode is not None else "; it hangs inside the kernel and could not be ended"
    done = "it had its result but did not end" if heard.outcomes else f"it was {_where(heard)}"
    reason = f"not finished after {asked.timeout:g} s: {done}{stuck}"
    return _own(asked, ended, "timeout", reason, "allow more with --timeout, if the machine is merely slow or busy")


def _silent(asked: Asked, heard: Heard, ended: Ended) -> Outcome:
    if ended.returncode == -signal.SIGKILL:
        return _own(
            asked,
            ended,
            "out-of-memory",
            f"it was killed from outside (SIGKILL) {_where(heard)}, most likely by the kernel because memory ran out; "
            f"it held {_size(ended.peak_bytes)} when last seen",
            "`dmesg` or `journalctl -k` names the process if the kernel did it; end other programs or add swap",
        )
    how, hint = _end(ended, heard)
    if heard.other is not None:
        how += f"; on stdout it wrote {heard.other[:80]!r}"
    return _own(asked, ended, "crashed", f"{how}, without a result", hint)


def _end(ended: Ended, heard: Heard) -> tuple[str, str | None]:
    code = ended.returncode or 0
    if code < 0:
        words, hint = _SIGNALS.get(-code, (f"it was ended by signal {-code}", None))
        return f"{words} {_where(heard)}", hint
    last = next((line.strip() for line in reversed(ended.tail.splitlines()) if line.strip()), "")
    return f"it ended with status {code} {_where(heard)}" + (f" ({last[:300]})" if last and code else ""), None


def _where(heard: Heard) -> str:
    return f"in the stage '{heard.stage}'" + (f" ({heard.done} of {heard.total})" if heard.total > 1 else "")


def _doubts(asked: Asked, heard: Heard, said: Outcome) -> list[str]:
    """Name everything that speaks against a pass."""
    doubts = []
    metrics = said.metrics
    if len(heard.outcomes) > 1:
        doubts.append(f"it gave {len(heard.outcomes)} results")
    if (said.workload, said.framework) != (asked.workload, asked.framework):
        doubts.append(f"it is the result of {said.framework} {said.workload}")
    if asked.device not in ("auto", said.device):
        doubts.append(f"it ran on {said.device} in place of {asked.device}")
    doubts += [
        f"the check '{each.name}' failed: expected {each.expected}, got {each.actual}"
        for each in said.checks
        if not each.passed
    ]
    expected = EXPECTED.get((asked.framework, asked.workload))
    names = {each.name for each in said.checks}
    if not names:
        doubts.append("it checked nothing")
    if expected is not None:
        doubts += [f"the check '{name}' is missing" for name in expected.checks if name not in names]
        if metrics.parameters != expected.parameters:
            doubts.append(f"it has {metrics.parameters} parameters; published are {expected.parameters}")
        first, last = metrics.loss_first, metrics.loss_last
        if not (_above_zero(first) and last is not None and 0 <= last <= expected.loss_ratio * (first or 0)):
            doubts.append(f"the loss did not fall enough ({first} -> {last})")
    error, tolerance = metrics.max_abs_error, metrics.tolerance
    if error is None or not (_above_zero(tolerance) and 0 <= error <= (tolerance or 0)):
        doubts.append(f"the largest error is {error}, allowed is {tolerance}")
    if not _above_zero(metrics.throughput):
        doubts.append(f"the throughput is {metrics.throughput}")
    if metrics.peak_memory_bytes is not None and metrics.peak_memory_bytes <= 0:
        doubts.append(f"the peak memory is {metrics.peak_memory_bytes}")
    return doubts


def _above_zero(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and value > 0


def _own(asked: Asked, ended: Ended, status: str, reason: str, hint: str | None = None) -> Outcome:
    """Make an outcome for a workload that could not speak for itself."""
    return msgspec.convert(
        {
            "workload": asked.workload,
            "framework": asked.framework,
            "device": asked.device,
            "status": status,
            "reason": reason,
            "hint": hint,
            "metrics": Metrics(peak_memory_bytes=ended.peak_bytes or None, seconds=round(ended.seconds, 3)),
        },
        type=Outcome,
    )


def _with(said: Outcome, asked: Asked, **changes: str | None) -> Outcome:
    names = {"workload": asked.workload, "framework": asked.framework, "log": None}
    return msgspec.structs.replace(said, **{**names, **changes})


def _size(count: int) -> str:
    return f"{count / (1 << 30):.2f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MiB"
