"""What each of several devices holds of weights, gradients and optimizer states.

No row of the measured truth covers these; the arithmetic is that of the ZeRO paper (https://arxiv.org/abs/1910.02054)
and of DeepSpeed's and FSDP's defaults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envdoctor.estimate.tape import GRADIENTS, TEMPORARY, Storage

if TYPE_CHECKING:
    from envdoctor.estimate.tape import Parameter, Run
    from envdoctor.model.estimate import Workload

MASTER = 4  # bytes of an fp32 copy of a weight's element, and of each moment beside it
REDUCED = 500_000_000  # elements that are reduced at a time at the most (DeepSpeed: reduce_bucket_size)


class Shards:
    """How one workload divides its states over devices: stage 1 the optimizer's, 2 gradients too, 3 weights too.

    Stage 0 with several devices is data parallel: everything everywhere, and gradients once more in the buckets that
    are sent. From stage 1 on, autocast is what DeepSpeed makes of it: the model itself in half precision, with an fp32
    copy of each weight among the optimizer's states.
    """

    def __init__(self, workload: Workload) -> None:
        several = workload.mode == "training" and workload.shards > 1
        self.devices = workload.shards if several else 1
        self.stage = workload.zero_stage if several else 0
        self.mixed = self.stage > 0 and workload.dtype.startswith("amp")

    def part(self, size: int, stage: int) -> int:
        """Return this device's part of what is divided from a stage on."""
        return -(-size // self.devices) if self.stage >= stage else size

    def states(self, parameter: Parameter, moments: int) -> list[int]:
        """Return the bytes of each of the optimizer's tensors for one weight."""
        if not self.mixed:
            return [self.part(parameter.size, 1)] * moments
        return [self.part(parameter.count * MASTER, 1)] * (moments + 1)

    def divide(self, run: Run) -> list[Storage]:
        """Make the weights this device's part, and return what is held beside them; before anything else is made."""
        trained = [p for p in run.parameters if p.trained]
        size = sum(p.size for p in trained)
        if self.devices == 1:
            return []
        before, run.kind = run.kind, GRADIENTS if self.stage == 0 else TEMPORARY
        if self.stage == 0:
            held = [Storage(run, size)]
        elif self.stage < 3:
            item = max((p.item for p in trained), default=0)
            held = [Storage(run, min(size, REDUCED * item))]
        else:
            held = [Storage(run, _gathered(run))]
            for parameter in run.parameters:
                parameter.storage.shrink(self.part(parameter.storage.size, 3))
        if self.stage >= 2:
            run.gradient_shards = self.devices
        run.kind = before
        return held


def _gathered(run: Run) -> int:
    """Return the bytes of weights that are whole at a time: this layer's, the next one's, and what is in no layer."""
    sizes = [p.storage.size for p in run.parameters]
    units = [sum(sizes[first:last]) for first, last in zip(run.units, run.units[1:], strict=False)]
    if not units:
        return sum(sizes)
    largest = max(units)
    return sum(sizes) - largest * len(run.units) + 2 * largest
