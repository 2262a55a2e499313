"""What the estimator says that a workload of `verify` holds at the most, to stand beside what was measured.

The workloads do several things one after the other: a pass of the whole network beside a float64 copy on the CPU, the
training of a small one, and a loop for speed. Each is a workload of the estimator; the highest counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from envdoctor.estimate import models
from envdoctor.estimate.host_memory import KERNELS, OPTIMIZER, TORCH, UNSEEN
from envdoctor.estimate.walk import walk
from envdoctor.model.estimate import Workload

if TYPE_CHECKING:
    from envdoctor.model.estimate import Memory

_BATCHES = 32  # of the training, all of which are made before it


def predicted_bytes(
    workload: str, device: str, *, quick: bool, framework: str = "torch", thorough: bool = False
) -> int | None:
    """Predict the peak: of what torch allocates on a card, or of the whole process on a CPU; None: not predicted."""
    if thorough or framework != "torch" or device not in ("cuda", "xpu", "cpu") or workload not in _STAGES:
        return None
    cpu = device == "cpu"
    stages_of, model = _STAGES[workload]
    stages = stages_of(model, cpu, quick)
    return int((max(stages) + TORCH + KERNELS + OPTIMIZER) * UNSEEN) if cpu else max(stages)


def _cnn(model: str, cpu: bool, quick: bool) -> tuple[int, ...]:
    """Whole with 2 images, whole with a batch for speed, and trained on small images beside that."""
    whole = Workload(model=model, batch=2, image_size=224, device="cpu" if cpu else "cuda")
    side, steps = (32, 20) if quick else (64, 32)
    trained = replace(whole, mode="training", optimizer="sgd", batch=_BATCHES, image_size=side, foreach=not cpu)
    passed, fast, step = (_walked(each) for each in (whole, replace(whole, batch=8 if cpu else 64), trained))
    weights = passed.parts.weights + passed.parts.buffers
    batches = steps * _BATCHES * 3 * side * side * 4
    exact = 2 * passed.allocated_bytes if cpu else 0  # in float64, which is always on the CPU
    twice = 4 * weights if cpu else 0  # the small network in float64, with its gradients
    return passed.allocated_bytes + exact, fast.allocated_bytes, weights + step.allocated_bytes + batches + twice


def _gpt2(model: str, cpu: bool, quick: bool) -> tuple[int, ...]:
    """One pass over 64 tokens and a generation with a cache; what it trains is far smaller."""
    del quick
    whole = Workload(model=model, seq_len=64, device="cpu" if cpu else "cuda")
    return _walked(whole).allocated_bytes, _walked(replace(whole, kv_cache=True)).allocated_bytes


_STAGES: dict[str, tuple[Callable[[str, bool, bool], tuple[int, ...]], str]] = {
    "cnn": (_cnn, "resnet18"),
    "resnet18": (_cnn, "resnet18"),
    "resnet50": (_cnn, "resnet50"),
    "gpt2": (_gpt2, "gpt2"),
    "gpt2-medium": (_gpt2, "gpt2-medium"),
}


def _walked(workload: Workload) -> Memory:
    return walk(workload, models.named(workload.model))
