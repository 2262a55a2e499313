"""What really happened when a workload ran."""

from __future__ import annotations

from typing import Literal

from envdoctor.model import Record
from envdoctor.model.estimate import Change

Status = Literal["passed", "failed", "out-of-memory", "timeout", "crashed", "not-run"]
Where = Literal["weights", "activations", "optimizer", "fragmentation", "another-process", "unknown"]


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
    losses: tuple[float, ...] | None = None  # of every step; the two above are means of its ends
    max_abs_error: float | None = None  # against a float64 CPU reference
    tolerance: float | None = None
    throughput: float | None = None
    unit: str | None = None  # images/s, tokens/s
    peak_memory_bytes: int | None = None
    predicted_memory_bytes: int | None = None
    seconds: float | None = None


class Shortage(Record):
    """Where the memory was when it ran out, and what would fit. The workload itself says the first three."""

    moment: str | None = None  # what Python was doing: weights, forward, backward, optimizer
    words: str | None = None  # the allocator's
    limit_bytes: int | None = None  # what the system allows this process (RLIMIT_DATA, RLIMIT_AS)
    killed: bool = False  # from outside
    where: Where = "unknown"
    room_bytes: int | None = None  # what there was for the process
    needed_bytes: int | None = None  # what it needs in this stage, the upper end
    changes: tuple[Change, ...] = ()  # each of them fits, the least intrusive first


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
    answer: str | None = None  # what a trained network said
    shortage: Shortage | None = None  # where memory ran out
    log: str | None = None  # path of the full output
