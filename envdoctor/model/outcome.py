"""What really happened when a workload ran."""

from __future__ import annotations

from typing import Literal

from envdoctor.model import Record

Status = Literal["passed", "failed", "out-of-memory", "timeout", "crashed", "not-run"]


class Check(Record):
    """One thing that had to be true, with the two values that were compared."""

    name: str
    passed: bool
    expected: str
    actual: str


class Trial(Record):
    """Something that a thorough run tried beside the main proof, or left out and why; no failure either way."""

    name: str  # bf16 inference, torch.compile
    ran: bool
    throughput: float | None = None
    unit: str | None = None
    reason: str | None = None  # why it was left out


class Metrics(Record):
    """What was measured; bytes and seconds. None: not measured here."""

    parameters: int | None = None
    loss_first: float | None = None
    loss_last: float | None = None
    max_abs_error: float | None = None  # against a float64 CPU reference
    tolerance: float | None = None
    throughput: float | None = None
    unit: str | None = None  # images/s, tokens/s
    peak_memory_bytes: int | None = None
    predicted_memory_bytes: int | None = None
    seconds: float | None = None


class Outcome(Record):
    """The result of one workload; a crash or a lack of memory is a result with a reason, not an exception."""

    workload: str
    framework: str
    device: str
    status: Status
    reason: str | None = None
    hint: str | None = None
    framework_version: str | None = None
    device_name: str | None = None
    metrics: Metrics = Metrics()
    checks: tuple[Check, ...] = ()
    trials: tuple[Trial, ...] = ()
    log: str | None = None  # path of the full output
