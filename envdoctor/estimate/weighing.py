"""Weigh workloads of one model on devices, each of them once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from msgspec.structs import replace

from envdoctor.estimate.batch import largest
from envdoctor.estimate.device import Borrowed, Device, Need, borrowed, need, verdict

if TYPE_CHECKING:
    from envdoctor.estimate.models import Architecture
    from envdoctor.estimate.walk import Short, Walk
    from envdoctor.model.estimate import Memory, Peaks, Range, Speed, Verdict, Workload


class Model(Protocol):
    """What can be weighed: a model that is known, or one that was traced."""

    name: str
    kind: Literal["image", "tokens"]
    default_size: int  # pixels of a side, or tokens, where the workload does not say

    def memory(self, workload: Workload) -> Memory:
        """Walk a step of it."""

    def least(self, workload: Workload) -> int | None:
        """Give a lower bound of the bytes it allocates; None: there is none that costs less than to walk it."""

    def host(self, workload: Workload) -> Range:
        """Give the host memory that a process takes which runs it on the CPU, bytes."""

    def speeds(self, workload: Workload, peaks: Peaks) -> tuple[Speed, ...]:
        """Predict how fast it runs; nothing where its operations are not known."""


class Walked:
    """A model that is written down here."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        self.name = architecture.name
        self.kind = architecture.kind
        self.default_size = architecture.default_size
        self._last: Walk | None = None
        self._short: tuple[Workload, Short | None] | None = None

    def walk(self, workload: Workload) -> Walk:
        """Walk a step of it, unless that is what was walked last."""
        from envdoctor.estimate.walk import walked

        if self._last is None or self._last.workload != workload:
            self._last = walked(workload, self.architecture, self._walked_short(workload))
        return self._last

    def _walked_short(self, workload: Workload) -> Short | None:
        from envdoctor.estimate.walk import short

        if self._short is None or self._short[0] != workload:
            self._short = workload, short(workload, self.architecture)
        return self._short[1]

    def memory(self, workload: Workload) -> Memory:
        """Walk a step of it."""
        return self.walk(workload).memory()

    def least(self, workload: Workload) -> int | None:
        """Give a lower bound of the bytes it allocates; None: there is none that costs less than to walk it."""
        from envdoctor.estimate.walk import bounded

        few = self._walked_short(workload) if bounded(workload, self.architecture) else None
        return None if few is None else few.least()

    def host(self, workload: Workload) -> Range:
        """Give the host memory that a process takes which runs it on the CPU, bytes."""
        from envdoctor.estimate.host_memory import host_bytes

        return host_bytes(workload, self.architecture)

    def speeds(self, workload: Workload, peaks: Peaks) -> tuple[Speed, ...]:
        """Predict how fast it runs."""
        from envdoctor.estimate import speed

        return speed.speeds(self.walk(speed.generating(workload)), peaks)


class Scales:
    """Remembers what each workload of a model needs, whatever the device."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._memories: dict[Workload, Memory] = {}
        self._leasts: dict[Workload, int | None] = {}
        self._hosts: dict[Workload, Need] = {}

    def memory(self, workload: Workload) -> Memory:
        """Give what one step needs of the device's allocator."""
        found = self._memories.get(workload)
        if found is None:
            found = self._memories[workload] = self.model.memory(workload)
        return found

    def need(self, workload: Workload, device: Device) -> Need:
        """Give what the process needs of the device."""
        if device.kind == "cpu":
            return self._host(workload)
        memory = self._memories.get(workload) or self.memory(_summed(workload))
        return need(workload, memory.allocated_bytes, memory.reserved_bytes, device, self._borrowed(workload))

    def too_much(self, workload: Workload, device: Device) -> int | None:
        """Give less than `need` has for the upper end where even that is more than is free; None: it has to be asked.

        It costs a fraction of what `need` does, for a model with many layers.
        """
        if device.kind == "cpu" or device.free_bytes is None or workload in self._memories:
            return None
        summed = _summed(workload)
        if summed not in self._leasts:
            self._leasts[summed] = self.model.least(summed)
        least = self._leasts[summed]
        if least is None:
            return None
        bytes_needed = need(workload, least, least, device, self._borrowed(workload)).high
        return bytes_needed if bytes_needed > device.free_bytes else None

    def verdict(self, workload: Workload, device: Device) -> Verdict:
        """Judge whether it fits there."""
        return verdict(self.need(workload, device), device.free_bytes)

    def largest_batch(self, workload: Workload, device: Device) -> int | None:
        """Give the largest batch that surely fits; None: what the device has is not known."""
        if device.free_bytes is None:
            return None

        def needs(batch: int) -> int:
            other = replace(workload, batch=batch)
            return self.too_much(other, device) or self.need(other, device).high

        if device.kind == "cuda":
            # What stays whatever the batch: where that alone is too much, no other batch has to be walked.
            if self.too_much(replace(workload, batch=1), device) is not None:
                return 0
            if self.too_much(workload, device) is None:
                stays = self.memory(workload).parts
                if stays.weights + stays.buffers + stays.optimizer > device.free_bytes:
                    return 0
        return largest(needs, device.free_bytes, workload.batch)

    def _host(self, workload: Workload) -> Need:
        found = self._hosts.get(workload)
        if found is None:
            ends = self.model.host(workload)
            low, high = int(ends.low), int(ends.high)
            found = self._hosts[workload] = Need(low=low, likely=(low + high) // 2, high=high)
        return found

    def _borrowed(self, workload: Workload) -> Borrowed:
        if self.model.kind != "image":
            return Borrowed()
        return borrowed(self.model.name, workload.image_size or self.model.default_size, workload.dtype)


def _summed(workload: Workload) -> Workload:
    """Give what needs the same memory: however often gradients are summed, the second time they are there."""
    return replace(workload, accumulation=2) if workload.accumulation > 2 else workload
