"""Verdicts: what a workload's own words and its end amount to. Nothing is believed that can be worked out again."""

from __future__ import annotations

import math
import signal

import msgspec

from envdoctor.host.watching import Ended
from envdoctor.model import Record
from envdoctor.model.outcome import Metrics, Outcome, Shortage
from envdoctor.model.speech import message, say


class Expected(Record):
    """What must be true of a workload that passed. The script says the same; a script may be wrong."""

    parameters: int | None  # published; None: of several networks one is taken
    loss_ratio: float | None  # last loss at most this share of the first; None: it is trained already
    checks: tuple[str, ...]  # names that must be among the checks


_SLOPES = message("gradient agrees with finite differences")
_CACHE = message("generation with a cache agrees with a whole pass")
_FIRST = (message("parameter count"), message("output agrees with float64"))
_LAST = (message("gradients are finite"), message("loss falls"))
_TORCH = {
    "cnn": (*_FIRST, message("gradient of the first layer agrees with float64"), *_LAST),
    "gpt2": (
        *_FIRST,
        message("one layer agrees with float64"),
        _CACHE,
        message("gradient agrees with float64"),
        *_LAST,
    ),
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
_PRETRAINED = (
    ("cnn", None, (*_FIRST, message("a cup of espresso is recognized"))),
    (
        "gpt2",
        124_439_808,
        (
            message("text becomes GPT-2's tokens"),
            message("parameter count"),
            message("one layer agrees with float64"),
            message("plain English is likely"),
        ),
    ),
)
EXPECTED = {
    **{
        (framework, workload): Expected(parameters=parameters, loss_ratio=_LOSS_RATIO, checks=checks[family])
        for framework, checks in (("torch", _TORCH), ("tensorflow", _ARRAYS), ("jax", _ARRAYS))
        for workload, (family, parameters) in _PUBLISHED.items()
    },
    **{
        ("torch", f"pretrained-{family}"): Expected(parameters=parameters, loss_ratio=None, checks=checks)
        for family, parameters, checks in _PRETRAINED
    },
}

_SIGNALS: dict[int, tuple[str, str | None]] = {
    signal.SIGILL: (
        message("it used an instruction that this processor does not have (SIGILL)"),
        message("most builds need AVX2; `envdoctor diagnose` lists what this processor has"),
    ),
    signal.SIGSEGV: (
        message("it crashed inside compiled code (SIGSEGV)"),
        message("often two copies of one library: `envdoctor diagnose` looks for them"),
    ),
    signal.SIGBUS: (
        message("memory that it had mapped was not there (SIGBUS)"),
        message("often /dev/shm is full or too small, or a file was cut short on a full disk"),
    ),
    signal.SIGABRT: (message("it gave up inside compiled code (SIGABRT)"), message("the log has what it said")),
    signal.SIGFPE: (message("it divided by zero inside compiled code (SIGFPE)"), None),
    signal.SIGTERM: (message("somebody asked it to end (SIGTERM)"), None),
}


class Asked(Record):
    """Which workload was started, and how."""

    workload: str
    framework: str
    device: str
    timeout: float
    memory_cap: int | None
    granted: int | None = None  # what it could have if it were alone; None: not known
    chosen: bool = False  # a person set the cap; otherwise it is what others leave free


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
            say(
                "it was ended {where} because it held {held}; {allowed} were allowed",
                where=_where(heard),
                held=_size(ended.peak_bytes),
                allowed=_size(asked.memory_cap),
            ),
            say("end other programs that hold memory, or allow more with --memory-cap"),
        )
    if not heard.outcomes:
        return _silent(asked, heard, ended)
    try:
        said = msgspec.json.decode(heard.outcomes[0], type=Outcome)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        return _own(asked, ended, "crashed", say("its result cannot be read: {problem}", problem=problem))
    if said.status == "passed":
        doubts = _doubts(asked, heard, said)
        if doubts:
            reason = say("it says that it passed, but {doubts}", doubts="; ".join(doubts))
            return _with(said, asked, status="failed", reason=reason)
        if ended.returncode != 0:
            how, hint = _end(ended, heard)
            return _with(
                said, asked, status="crashed", reason=say("the work passed, but then {how}", how=how), hint=hint
            )
        return _with(said, asked, reason=None, hint=None)
    return _with(said, asked, reason=said.reason or say("it says `{status}` and gives no reason", status=said.status))


def _deadline(asked: Asked, heard: Heard, ended: Ended) -> Outcome:
    done = say("it had its result but did not end") if heard.outcomes else say("it was {where}", where=_where(heard))
    reason = (
        say("not finished after {timeout:g} s: {done}", timeout=asked.timeout, done=done)
        if ended.returncode is not None
        else say(
            "not finished after {timeout:g} s: {done}; it hangs inside the kernel and could not be ended",
            timeout=asked.timeout,
            done=done,
        )
    )
    return _own(
        asked, ended, "timeout", reason, say("allow more with --timeout, if the machine is merely slow or busy")
    )


def _silent(asked: Asked, heard: Heard, ended: Ended) -> Outcome:
    if ended.returncode == -signal.SIGKILL:
        return _own(
            asked,
            ended,
            "out-of-memory",
            say(
                "it was killed from outside (SIGKILL) {where}, most likely by the kernel because memory ran out; it "
                "held {size} when last seen",
                where=_where(heard),
                size=_size(ended.peak_bytes),
            ),
            say("`dmesg` or `journalctl -k` names the process if the kernel did it; end other programs or add swap"),
        )
    how, hint = _end(ended, heard)
    if heard.other is not None:
        how = say("{how}; on stdout it wrote {other!r}", how=how, other=heard.other[:80])
    return _own(asked, ended, "crashed", say("{how}, without a result", how=how), hint)


def _end(ended: Ended, heard: Heard) -> tuple[str, str | None]:
    code = ended.returncode or 0
    if code < 0:
        known = _SIGNALS.get(-code)
        words = say(known[0]) if known else say("it was ended by signal {code}", code=-code)
        hint = say(known[1]) if known and known[1] else None
        return f"{words} {_where(heard)}", hint
    last = next((line.strip() for line in reversed(ended.tail.splitlines()) if line.strip()), "")
    if last and code:
        return say(
            "it ended with status {code} {where} ({message})", code=code, where=_where(heard), message=last[:300]
        ), None
    return say("it ended with status {code} {where}", code=code, where=_where(heard)), None


def _where(heard: Heard) -> str:
    if heard.total > 1:
        return say("in the stage '{stage}' ({done} of {total})", stage=heard.stage, done=heard.done, total=heard.total)
    return say("in the stage '{stage}'", stage=heard.stage)


def _doubts(asked: Asked, heard: Heard, said: Outcome) -> list[str]:
    """Name everything that speaks against a pass."""
    doubts = []
    metrics = said.metrics
    if len(heard.outcomes) > 1:
        doubts.append(say("it gave {outcomes_count} results", outcomes_count=len(heard.outcomes)))
    if (said.workload, said.framework) != (asked.workload, asked.framework):
        doubts.append(
            say("it is the result of {framework} {workload}", framework=said.framework, workload=said.workload)
        )
    if asked.device not in ("auto", said.device):
        doubts.append(
            say("it ran on {device} in place of {asked_device}", device=said.device, asked_device=asked.device)
        )
    doubts += [
        say(
            "the check '{name}' failed: expected {expected}, got {actual}",
            name=say(each.name),
            expected=each.expected,
            actual=each.actual,
        )
        for each in said.checks
        if not each.passed
    ]
    expected = EXPECTED.get((asked.framework, asked.workload))
    names = {each.name for each in said.checks}
    if not names:
        doubts.append(say("it checked nothing"))
    if expected is not None:
        doubts += [
            say("the check '{name}' is missing", name=say(name)) for name in expected.checks if name not in names
        ]
        if expected.parameters is not None and metrics.parameters != expected.parameters:
            doubts.append(
                say(
                    "it has {parameters} parameters; published are {expected_parameters}",
                    parameters=metrics.parameters,
                    expected_parameters=expected.parameters,
                )
            )
        first, last = metrics.loss_first, metrics.loss_last
        ratio = expected.loss_ratio
        if ratio is not None and not (_above_zero(first) and last is not None and 0 <= last <= ratio * (first or 0)):
            doubts.append(say("the loss did not fall enough ({first} -> {last})", first=first, last=last))
    error, tolerance = metrics.max_abs_error, metrics.tolerance
    if error is None or not (_above_zero(tolerance) and 0 <= error <= (tolerance or 0)):
        doubts.append(say("the largest error is {error}, allowed is {tolerance}", error=error, tolerance=tolerance))
    if not _above_zero(metrics.throughput):
        doubts.append(say("the throughput is {throughput}", throughput=metrics.throughput))
    if metrics.peak_memory_bytes is not None and metrics.peak_memory_bytes <= 0:
        doubts.append(say("the peak memory is {peak_memory_bytes}", peak_memory_bytes=metrics.peak_memory_bytes))
    return doubts


def _above_zero(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and value > 0


def _own(asked: Asked, ended: Ended, status: str, reason: str, hint: str | None = None) -> Outcome:
    """Make an outcome for a workload that could not speak for itself."""
    killed = Shortage(killed=True) if status == "out-of-memory" and ended.cause == "itself" else None
    return msgspec.convert(
        {
            "workload": asked.workload,
            "framework": asked.framework,
            "device": asked.device,
            "status": status,
            "reason": reason,
            "hint": hint,
            "shortage": killed,
            "metrics": Metrics(peak_memory_bytes=ended.peak_bytes or None, seconds=round(ended.seconds, 3)),
        },
        type=Outcome,
    )


def _with(said: Outcome, asked: Asked, **changes: str | None) -> Outcome:
    names = {"workload": asked.workload, "framework": asked.framework, "log": None}
    return msgspec.structs.replace(said, **{**names, **changes})


def _size(count: int) -> str:
    return (
        say("{count:.2f} GiB", count=count / (1 << 30))
        if count >= 1 << 30
        else say("{count:.0f} MiB", count=count / (1 << 20))
    )
