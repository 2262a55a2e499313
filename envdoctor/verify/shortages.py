"""Shortages: where the memory was when a workload ran out of it, and what would fit, with what it then needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from envdoctor.estimate.device import Device
from envdoctor.estimate.weighing import Scales, Walked
from envdoctor.model.estimate import Change, Range
from envdoctor.model.outcome import Outcome, Shortage, Where
from envdoctor.model.speech import say
from envdoctor.verify import predicting

if TYPE_CHECKING:
    from envdoctor.estimate.models import Architecture
    from envdoctor.model.estimate import Workload
    from envdoctor.rules.messages.allocations import Allocation
    from envdoctor.verify.verdicts import Asked

_MOST = 3  # changes that are named
_EARLY = frozenset(("start", "import", "build", "weights", "fetch", "checkpoint"))  # no layer has given anything yet
_OF_MOMENTS: dict[str | None, Where] = {
    "weights": "weights",
    "forward": "activations",
    "backward": "activations",
    "optimizer": "optimizer",
}


class _Alone(Walked):
    """A model as a program of one's own runs it, in the framework that was proved and without what a proof adds."""

    def __init__(self, architecture: Architecture, framework: str) -> None:
        super().__init__(architecture)
        self.framework = framework

    def host(self, workload: Workload) -> Range:
        """Give the host memory of its process."""
        return predicting.alone_bytes(workload, self.architecture, self.framework)


def explained(outcome: Outcome, asked: Asked, stage: str, *, quick: bool) -> Outcome:
    """Say of a workload that ran out of memory where that was and which changes make it fit; others stay as they are.

    `stage` is the last that it spoke of.
    """
    if outcome.status != "out-of-memory":
        return outcome
    said = outcome.shortage or Shortage()
    device = outcome.device if outcome.device in ("cuda", "xpu") else "cpu"
    message = _message(said.words) if device != "cpu" else None
    room = _room(outcome, asked, said, message)
    base = predicting.stage_of(asked.workload, stage, device, quick=quick)
    if base is None or room is None:
        return replace(outcome, shortage=replace(said, where=_of_message(message) or _by_moment(said, stage)))
    scales = Scales(_Alone(predicting.architecture(base.model), asked.framework))
    place = Device(kind="cpu" if device == "cpu" else "cuda", name=outcome.device_name, free_bytes=room)
    needed = scales.need(base, place).high
    where = _of_message(message) or _others(outcome, asked, said, needed) or _by_room(said, stage, base, scales, room)
    shortage = replace(
        said,
        where=where,
        room_bytes=room,
        needed_bytes=needed,
        changes=_changes(base, scales, place, needed),
    )
    return replace(outcome, shortage=shortage)


def _changes(base: Workload, scales: Scales, place: Device, needed: int) -> tuple[Change, ...]:
    """Give the cheapest changes that make it fit, the least intrusive first."""
    from envdoctor.estimate import advice

    assert place.free_bytes is not None
    bare: tuple[Change, ...] = ()
    if needed <= place.free_bytes:
        what = say("the same in a program of your own, without what the proof holds beside it (a float64 copy)")
        bare = (Change(what=what, workload=base, device_bytes=needed, saved_bytes=0),)
    fitting = (each for each in advice.changes(base, scales, place) if each.device_bytes <= place.free_bytes)
    return (*bare, *fitting)[:_MOST]


def _room(outcome: Outcome, asked: Asked, said: Shortage, message: Allocation | None) -> int | None:
    """Give the bytes that the process could have; None: nothing tells."""
    if message is not None:
        return max(0, int(message.total - message.others))
    if said.limit_bytes is not None and asked.memory_cap is not None:
        return min(said.limit_bytes, asked.memory_cap)
    # Killed from outside, it could have what it held, and not much more.
    held = outcome.metrics.peak_memory_bytes
    if said.killed and held is not None:
        return min(held, asked.granted or held)
    return said.limit_bytes or asked.memory_cap or held


def _others(outcome: Outcome, asked: Asked, said: Shortage, needed: int) -> Where | None:
    """Tell whether other processes had taken what this one was allowed, or what the machine has; None: no."""
    if outcome.device in ("cuda", "xpu", "mps") or said.limit_bytes is not None:
        return None
    held, cap, granted = outcome.metrics.peak_memory_bytes, asked.memory_cap, asked.granted
    allowed = min((each for each in (cap, granted) if each is not None), default=None)
    if said.killed:
        return "another-process" if held is not None and allowed is not None and held < allowed // 2 else None
    if cap is None or granted is None or asked.chosen:
        return None
    return "another-process" if cap < needed <= granted else None


def _by_moment(said: Shortage, stage: str) -> Where:
    return _OF_MOMENTS.get(said.moment) or ("weights" if stage in _EARLY else "unknown")


def _by_room(said: Shortage, stage: str, base: Workload, scales: Scales, room: int) -> Where:
    """Find what no longer had room, in the order in which a program makes it: weights, activations, optimizer."""
    known = _OF_MOMENTS.get(said.moment)
    if known is not None or stage in _EARLY:
        return known or "weights"
    parts = scales.memory(base).parts
    rest = scales.need(base, Device(kind="cpu" if base.device == "cpu" else "cuda", free_bytes=room)).likely
    rest -= sum(getattr(parts, name) for name in parts.__struct_fields__)  # what no part explains: the framework
    weights = parts.weights + parts.buffers
    if rest + weights > room:
        return "weights"
    if base.mode == "training" and rest + weights + parts.activations <= room < (
        rest + weights + parts.activations + parts.gradients + parts.optimizer
    ):
        return "optimizer"
    return "activations"


def _message(words: str | None) -> Allocation | None:
    """Read the allocator's own words."""
    from envdoctor.model.snapshot import Problem, Snapshot
    from envdoctor.rules.messages.allocations import allocation

    return allocation(Snapshot(problems=(Problem(text=words, source="its output"),))) if words else None


def _of_message(message: Allocation | None) -> Where | None:
    if message is None:
        return None
    return "another-process" if message.held_by_others else "fragmentation" if message.fragmented else None
