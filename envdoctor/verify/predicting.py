"""What the estimator says that a workload of `verify` holds at the most, to stand beside what was measured.

The workloads do several things one after the other: a pass of the whole network beside a float64 copy on the CPU, the
training of a small one, and a loop for speed. Each is a workload of the estimator; the highest counts. TensorFlow and
JAX compile what they run: what their compilers and graphs take has terms of its own (`_Compiled`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from envdoctor.estimate import models
from envdoctor.estimate.host_memory import KERNELS, OFF, OPTIMIZER, TORCH, TRANSFORMERS, UNSEEN, host_bytes
from envdoctor.estimate.walk import walk
from envdoctor.model.estimate import Range, Workload

if TYPE_CHECKING:
    from envdoctor.estimate.models import Architecture
    from envdoctor.model.estimate import Memory

MIB = 1 << 20
_BATCHES = 32  # pictures of each batch of the training; all batches are made before it
_MODELS = {
    "cnn": "resnet18",
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "mobilenetv2": "mobilenetv2",
    "gpt2": "gpt2",
    "gpt2-medium": "gpt2-medium",
}
_CONVOLUTIONS = {"resnet18": 20, "resnet50": 53, "mobilenetv2": 52}
_COPIED = 1.43  # of GPT-2's weights; measured with torch 2.13.0+cpu: 1551 MiB, and 849 without --thorough
_SLOW = "mobilenetv2"  # is trained for longer, and by Adam


class _Compiled(NamedTuple):
    """What a framework that compiles takes beside its arrays, MiB; the factors are of the estimator's figures.

    Measured on Linux, x86-64, Python 3.11: tensorflow-cpu 2.21.0 and jax 0.10.2, five networks each, quick runs; full
    runs, which nothing was fitted to, lie within three percent (tests/verify/test_predicting.py).
    """

    started: int  # the interpreter with the framework and one calculation
    training: int  # the first compiled step, whatever the network: threads, kernels, the compiler itself
    convolution: float  # what compiling forward and backward leaves, each
    activations: float  # of what torch would keep for backward
    states: int  # copies of the weights while training: drawn, placed, trained, two of the optimizer
    copies: float  # of the weights in one pass: drawn by numpy, placed, and what the compiled function packs
    embeddings: float  # of the table of words, which the reference turns into float64
    passing: int  # compiling one pass


_COMPILED = {
    "jax": _Compiled(
        started=206,
        training=237,
        convolution=11.7,
        activations=2.6,
        states=5,
        copies=2.0,
        embeddings=2.0,
        passing=150,
    ),
    "tensorflow": _Compiled(
        started=504,
        training=222,
        convolution=2.7,
        activations=0.9,
        states=5,
        copies=3.0,
        embeddings=0.0,
        passing=100,
    ),
}


def predicted_bytes(
    workload: str, device: str, *, quick: bool, framework: str = "torch", thorough: bool = False
) -> int | None:
    """Predict the peak: of what torch allocates on a card, or of the whole process on a CPU; None: not predicted."""
    if device not in ("cuda", "xpu", "cpu") or workload not in _MODELS:
        return None
    model, cpu = _MODELS[workload], device == "cpu"
    if framework in _COMPILED:
        # On a card they take what their allocators like to reserve; what a thorough run compiles was not measured.
        return int(_compiled(model, _COMPILED[framework], quick) * MIB) if cpu and not thorough else None
    if framework != "torch":
        return None
    stages = _gpt2(model, cpu, thorough) if model.startswith("gpt2") else _cnn(model, cpu, quick, thorough)
    return int((max(stages) + TORCH + KERNELS + OPTIMIZER) * UNSEEN) if cpu else max(stages)


def stage_of(workload: str, stage: str, device: str, *, quick: bool) -> Workload | None:
    """Give what a stage of a workload does as a workload of the estimator; None: it is none of the estimator's."""
    model = _MODELS.get(workload)
    if model is None or device not in ("cpu", "cuda", "xpu"):
        return None
    cpu = device == "cpu"
    if model.startswith("gpt2"):
        cached = stage in ("generate", "speed")
        return Workload(model=model, seq_len=64, kv_cache=cached, device="cpu" if cpu else "cuda")
    if stage == "train":
        return _trained(model, cpu, quick)[0]
    batch = (8 if cpu else 64) if stage == "speed" else 2
    return Workload(model=model, batch=batch, image_size=224, device="cpu" if cpu else "cuda")


def architecture(model: str) -> Architecture:
    """Give the architecture of a workload's network."""
    return models.named(model)


def alone_bytes(workload: Workload, network: Architecture, framework: str) -> Range:
    """Predict the host memory of a program that does nothing but this workload, in the framework alone."""
    found = host_bytes(workload, network)
    extra = TRANSFORMERS * UNSEEN if network.kind == "tokens" else 0.0
    low, high = found.low - extra * OFF.low, found.high - extra * OFF.high
    terms = _COMPILED.get(framework)
    if terms is None:
        return Range(low=low, high=high)
    # The same arrays in another framework, and one more copy of the weights for what it packs.
    training = workload.mode == "training"
    more = (terms.started + (terms.training if training else terms.passing)) * MIB - TORCH - KERNELS
    more += int((terms.copies - 1) * _walked(replace(workload, device="cpu")).parts.weights)
    return Range(low=low + OFF.low * more, high=high + OFF.high * more)


def _trained(model: str, cpu: bool, quick: bool, framework: str = "torch") -> tuple[Workload, int]:
    """Give the training of a small copy, and how many batches are made for it."""
    slow = model == _SLOW
    steps, side = ((24, 64) if slow else (20, 32)) if quick else (32, 64)
    if slow and framework in _COMPILED:
        steps = 40
    workload = Workload(
        model=model,
        mode="training",
        optimizer="adam" if slow else "sgd",
        batch=_BATCHES,
        image_size=side,
        foreach=not cpu,
        device="cpu" if cpu else "cuda",
    )
    return workload, steps


def _cnn(model: str, cpu: bool, quick: bool, thorough: bool) -> tuple[int, ...]:
    """Whole with 2 images, whole with a batch for speed, and trained on small images beside that."""
    whole = Workload(model=model, batch=2, image_size=224, device="cpu" if cpu else "cuda")
    trained, steps = _trained(model, cpu, quick)
    passed, fast, step = (_walked(each) for each in (whole, replace(whole, batch=8 if cpu else 64), trained))
    weights = passed.parts.weights + passed.parts.buffers
    exact = 2 * passed.allocated_bytes if cpu else 0  # in float64, which is always on the CPU
    twice = 4 * weights if cpu else 0  # the small network in float64, with its gradients
    step_bytes = weights + step.allocated_bytes + _pictures(trained, steps) + twice
    copied = _copied(weights, cpu) if thorough else 0
    return passed.allocated_bytes + exact, fast.allocated_bytes + copied, step_bytes


def _copied(weights: int, cpu: bool) -> int:
    """Give what a thorough run holds beside a network: its copy, which becomes bf16 or int8.

    On a CPU kernels keep the weights in an order of their own, and int8 lies beside what it came from.
    """
    return int(_COPIED * weights) if cpu else weights


def _pictures(trained: Workload, batches: int) -> int:
    return batches * _BATCHES * 3 * (trained.image_size or 0) ** 2 * 4


def _gpt2(model: str, cpu: bool, thorough: bool) -> tuple[int, ...]:
    """One pass over 64 tokens and a generation with a cache; what it trains is far smaller."""
    whole = Workload(model=model, seq_len=64, device="cpu" if cpu else "cuda")
    passed, cached = _walked(whole), _walked(replace(whole, kv_cache=True))
    copied = _copied(passed.parts.weights, cpu) if thorough else 0
    return passed.allocated_bytes + copied, cached.allocated_bytes + copied


def _compiled(model: str, terms: _Compiled, quick: bool) -> float:
    """Give the peak in MiB of a workload in a framework that compiles."""
    if model.startswith("gpt2"):
        parts = _walked(Workload(model=model, seq_len=64, device="cpu")).parts
        table = 50257 * (1024 if model == "gpt2-medium" else 768) * 4
        return terms.started + terms.passing + (terms.copies * parts.weights + terms.embeddings * table) / MIB
    workload, batches = _trained(model, True, quick, "jax")
    parts = _walked(workload).parts
    arrays = terms.states * parts.weights + terms.activations * parts.activations + _pictures(workload, batches)
    return terms.started + terms.training + terms.convolution * _CONVOLUTIONS[model] + arrays / MIB


def _walked(workload: Workload) -> Memory:
    return walk(workload, models.named(workload.model))
