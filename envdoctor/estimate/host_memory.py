"""Memory of the host: what a process takes that runs a workload on the CPU, and what loading a checkpoint takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from envdoctor.estimate.heap import Heap
from envdoctor.estimate.walk import Walk
from envdoctor.model.estimate import Range

if TYPE_CHECKING:
    from envdoctor.estimate.models import Architecture
    from envdoctor.model.estimate import Workload

MIB = 1 << 20

# Measured on Linux, x86-64, torch 2.13.0+cpu, Python 3.11; the rows of tests/estimate/memory_truth.json under cpu_rss.
TORCH = 224 * MIB  # the interpreter after `import torch`
TRANSFORMERS = 113 * MIB  # what `import transformers` adds
KERNELS = 17 * MIB  # machine code that oneDNN makes, and its threads
OPTIMIZER = 83 * MIB  # what making an optimizer imports, and autograd's own
UNSEEN = 1.03  # what is not in the model: the median of measured / predicted
OFF = Range(low=0.9, high=1.1)  # every measured row lies between these, as shares of what is predicted

STEADY = 3  # steps until a process has taken what it will take


def host_bytes(workload: Workload, architecture: Architecture) -> Range:
    """Predict the peak resident bytes of a process that runs a workload on the CPU, whatever device it names.

    On the CPU optimizers go weight by weight, a dropout on attention makes torch compute all scores, and in training
    the C library's heap is left with holes. glibc is assumed; other C libraries return memory in other ways.

    Raises:
        errors.UsageProblem: the model cannot be run in that way.
    """
    walk = Walk(replace(workload, device="cpu", foreach=False), architecture)
    fixed = TORCH + KERNELS + (TRANSFORMERS if architecture.kind == "tokens" else 0)
    if workload.mode == "training":
        taken = OPTIMIZER + heap_of(walk, STEADY).highest
    else:
        # A loop keeps the last result until the next one is there.
        taken = max(walk.run.live()) + walk.output_bytes
    likely = (fixed + taken) * UNSEEN
    return Range(low=likely * OFF.low, high=likely * OFF.high)


def heap_of(walk: Walk, steps: int) -> Heap:
    """Replay so many steps of a walk on the heap of the C library."""
    run, heap = walk.run, Heap()
    deltas, mates, end = run.deltas, run.mates, len(run.deltas)
    heap.replay(deltas, mates, 0, walk.made)
    if walk.workload.mode == "training":
        # The optimizer makes its states in the first step.
        step = run.marks[-1][1]
        heap.replay(deltas, mates, walk.ready, step)
        heap.replay(deltas, mates, walk.made, walk.ready)
        heap.replay(deltas, mates, step, end)
        steps -= 1
    for _ in range(steps):
        heap.replay(deltas, mates, walk.ready, end)
    return heap


def fresh_bytes(walk: Walk) -> int:
    """Give the bytes that the system has to hand out anew in each step, when the process has settled."""
    heap = heap_of(walk, STEADY - 1)
    before = heap.fresh
    heap.replay(walk.run.deltas, walk.run.mates, walk.ready, len(walk.run.deltas))
    return heap.fresh - before


def loading_bytes(checkpoint_bytes: int, kind: str = "tokens") -> Range:
    """Predict the peak of loading a checkpoint: the model, and beside it what is read.

    A file that is mapped (safetensors, or torch.load with mmap=True) is read piece by piece into a model that was made
    without memory; otherwise the model and the whole file are there at one time.
    """
    fixed = TORCH + (TRANSFORMERS if kind == "tokens" else 0)
    return Range(low=fixed + checkpoint_bytes, high=fixed + 2 * checkpoint_bytes)
