"""How fast a device can be: from a measurement on it, its maker's figures, or the kind of processor it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envdoctor.model import Record
from envdoctor.model.estimate import Peaks, Range
from envdoctor.model.speech import say, say_number
from envdoctor.model.version import numbers

if TYPE_CHECKING:
    from envdoctor.knowledge.tables import GpuModel
    from envdoctor.model.snapshot import Cpu

# What is left of a figure when the same thing is measured again on a machine that others use too (20 runs).
MEASURED = Range(low=0.9, high=1.1)

# Shares of a maker's figures that were reached in NVIDIA's measurements of ResNet-50 on V100, T4 and A100, as this
# package's roofline reads them: https://github.com/NVIDIA/DeepLearningExamples
# (PyTorch/Classification/ConvNets/resnet50v1.5, container 21.03). benchmarks/speed.py prints each of them again.
COMPUTE_SHARE = Range(low=0.35, high=0.95)
BANDWIDTH_SHARE = Range(low=0.5, high=0.95)
# Seconds from one operation's start to the next that Python gives to a GPU: the same source has 10.4 ms for a batch of
# one through 174 operations on servers of 2018; a present desktop takes about a third of it.
GPU_DISPATCH = Range(low=15e-6, high=60e-6)

# Single-precision operations a cycle and core, from the width of its vectors and one or two units for multiply-add.
CYCLE = {"avx512f": Range(low=32, high=64), "avx2": Range(low=16, high=32), "avx": Range(low=8, high=16)}
OTHER_CYCLE = Range(low=4, high=16)  # SSE2 to NEON with two units
CLOCK = Range(low=2.0e9, high=4.5e9)
PRODUCT_SHARE = 0.6  # of that peak, at the least, in a large matrix product
CACHED_BY_CORE = Range(low=5e9, high=25e9)
STREAM = Range(low=6e9, high=60e9)  # one channel of DDR3 to two of DDR5
FRESH = Range(low=0.5e9, high=5e9)
CPU_DISPATCH = Range(low=2e-6, high=10e-6)


class Calibration(Record):
    """What verify/workloads/processor/calibrate.py prints: units a second on one thread, and on all of them."""

    library: str
    threads: int
    alone: dict[str, float]
    together: dict[str, float]


def measured(found: Calibration, name: str | None) -> Peaks:
    """Give a processor's peaks from a measurement on it; where others disturbed it, one thread speaks for all.

    Raises:
        ValueError: a figure is missing or is none.
    """
    figures = _settled(found)
    disturbed = any(_disturbed(found, piece) for piece in ("fp32", "convolution"))
    by = say_number(
        "{library} on {number} thread", "{library} on {number} threads", found.threads, library=found.library
    )
    if disturbed:
        by = say("{measure}, while other programs used the processor: one thread's figure stands for all", measure=by)
    return Peaks(
        device="cpu",
        name=name,
        fp32=_around(figures["fp32"]),
        convolution=_around(figures["convolution"]),
        fp16=_around(figures["fp16"]) if "fp16" in figures else None,
        bf16=_around(figures["bf16"]) if "bf16" in figures else None,
        stream=_around(figures["stream"]),
        stream_bf16=_around(figures["stream_bf16"]) if "stream_bf16" in figures else None,
        cached=_around(figures["cached"]),
        fresh=_around(figures["fresh"]),
        dispatch=_around(1 / figures["calls"]),
        basis=say("measured with {measure}", measure=by),
    )


def _settled(found: Calibration) -> dict[str, float]:
    figures = {}
    for piece, alone in found.alone.items():
        together = found.together.get(piece, 0.0)
        both = max(alone, together)
        figures[piece] = alone * found.threads * 0.9 if _scales(piece) and _disturbed(found, piece) else both
    needed = ("fp32", "convolution", "stream", "cached", "fresh", "calls")
    wrong = [piece for piece in needed if not 0 < figures.get(piece, 0.0) < float("inf")]
    if wrong:
        raise ValueError(f"no figure for {', '.join(wrong)}")
    return figures


def _scales(piece: str) -> bool:
    return piece in ("fp32", "bf16", "fp16", "convolution", "cached")


def _disturbed(found: Calibration, piece: str) -> bool:
    """Tell whether all threads did so little more than one that somebody else had the processor."""
    least = 1 + min(2.0, 0.25 * (found.threads - 1))
    return found.threads > 1 and found.together.get(piece, 0.0) < least * found.alone.get(piece, 0.0)


def _around(figure: float) -> Range:
    return Range(low=figure * MEASURED.low, high=figure * MEASURED.high)


def likely(cpu: Cpu, copied: float | None = None) -> Peaks:
    """Give what a processor of this kind can do, when no framework is there to measure it with: a wide range.

    `copied` is the bytes a second that one thread was measured to copy; None: not measured.
    """
    cores = cpu.usable or 1.0
    features = cpu.features or ()
    width = next((CYCLE[name] for name in CYCLE if name in features), OTHER_CYCLE)
    # Two logical processors may be one core; torch starts a thread for each core.
    fp32 = Range(
        low=width.low * CLOCK.low * PRODUCT_SHARE * max(1.0, cores / 2), high=width.high * CLOCK.high * max(1.0, cores)
    )
    gain = 8.0 if "amx_bf16" in features else 2.0 if "avx512_bf16" in features else None
    return Peaks(
        device="cpu",
        name=cpu.model,
        fp32=fp32,
        convolution=fp32,
        # Without instructions for it, torch 2.13 was measured to multiply float16 at 1/36 to 1/100 of float32's speed.
        fp16=Range(low=fp32.low / 100, high=fp32.high / 20),
        bf16=Range(low=fp32.low * gain / 2, high=fp32.high * gain)
        if gain
        else Range(low=fp32.low / 20, high=fp32.high),
        stream_bf16=None,
        stream=STREAM if copied is None else Range(low=copied * 0.7, high=copied * 3),
        cached=Range(low=CACHED_BY_CORE.low * max(1.0, cores / 2), high=CACHED_BY_CORE.high * max(1.0, cores)),
        fresh=FRESH,
        dispatch=CPU_DISPATCH,
        basis=say(
            "the processor's instructions and number of cores, not a measurement: the range is wide; `--speed` measures"
        ),
    )


def of_gpu(row: GpuModel) -> Peaks | None:
    """Give a card's peaks from its maker's figures; None: they are not known.

    From Ampere on, convolutions take TF32 by default and matrix products do not: TF32 has half of the tensor cores'
    fp16 speed. https://docs.pytorch.org/docs/stable/notes/cuda.html#tf32-on-ampere
    """
    if row.fp32_tflops is None or not row.bandwidth_gb_s:
        return None
    ampere = row.vendor == "nvidia" and row.capability is not None and numbers(row.capability) >= (8, 0)
    half = row.fp16_tensor_tflops or row.fp16_tflops
    tensor = row.fp16_tensor_tflops or 0.0
    bandwidth = Range(low=min(row.bandwidth_gb_s) * 1e9, high=max(row.bandwidth_gb_s) * 1e9)
    stream = _share(bandwidth, BANDWIDTH_SHARE)
    return Peaks(
        device="cuda",
        name=row.name,
        fp32=_peak(row.fp32_tflops),
        convolution=_peak(max(row.fp32_tflops, tensor / 2 if ampere else 0.0)),
        fp16=None if half is None else _peak(half),
        bf16=_peak(half) if half is not None and (ampere or row.vendor != "nvidia") else None,
        stream=stream,
        stream_bf16=None,
        cached=stream,
        fresh=None,
        dispatch=GPU_DISPATCH,
        basis=say(
            "its maker's figures ({source}) and the shares of them that were reached in published measurements",
            source=row.source,
        ),
    )


def _peak(tflops: float) -> Range:
    return _share(Range(low=tflops * 1e12, high=tflops * 1e12), COMPUTE_SHARE)


def _share(figure: Range, share: Range) -> Range:
    return Range(low=figure.low * share.low, high=figure.high * share.high)
