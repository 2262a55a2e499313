"""What a process takes of a device beside its tensors, and what is left of a device for a process.

The context and the libraries that CUDA loads are a range: they depend on the driver, the card and the release of torch.
Where a figure comes from is said beside it; MiB are 2^20 bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from envdoctor.model import Record
from envdoctor.model.speech import say
from envdoctor.model.version import numbers

if TYPE_CHECKING:
    from envdoctor.knowledge.tables import GpuModel
    from envdoctor.model.estimate import Verdict, Workload

MIB = 1 << 20


class Device(Record):
    """What a workload shall run on. `free_bytes` is what one process may take; None: not known."""

    kind: Literal["cuda", "cpu"] = "cuda"
    name: str | None = None
    capability: str | None = None  # compute capability, "8.6"; None: not known, or not NVIDIA's
    free_bytes: int | None = None
    torch: str | None = None  # release; None: a present one
    assumptions: tuple[str, ...] = ()


class Need(Record):
    """What the process takes of the device; bytes. `likely` is the best single figure between the two others."""

    low: int
    likely: int
    high: int


class Overhead(Record):
    """Context and libraries, in MiB."""

    low: int
    likely: int
    high: int


# Since torch 1.13 with CUDA 11.7 kernels are loaded when they are first used. Measured: 274 MiB against 636 MiB loaded
# at once (https://github.com/pytorch/pytorch/pull/86509); 300 to 400 MB (https://github.com/pytorch/pytorch/issues/109888);
# RTX 6000 Ada 426 MiB (https://github.com/unslothai/unsloth-zoo/pull/1053); A100 481 MiB, torch 2.1.1
# (https://github.com/stas00/ml-engineering/blob/master/training/performance/README.md); A10G 619 MiB beside the
# allocator's segments (https://huggingface.co/datasets/optimum-benchmark/cuda).
_LAZY = Overhead(low=270, likely=460, high=650)
# Before: A100 942 MiB (torch 1.13.1), 1823 MiB (1.10.2; both stas00), and 1767 MiB as the intercept of 30 runs of
# CNNs (https://github.com/itu-rad/GPUMemNet).
_EAGER_AMPERE = Overhead(low=600, likely=1760, high=1900)
# 200 to 700 MB by card (https://github.com/pytorch/pytorch/issues/28113).
_EAGER_OLDER = Overhead(low=200, likely=600, high=1000)
_FIRST_LAZY = (1, 13)

# A cuBLAS handle's workspace is 8,519,680 bytes (https://discuss.pytorch.org/t/178671), 32 MiB from Hopper on; cuBLASLt
# takes 1, 4 or 32 MiB more (https://github.com/pytorch/pytorch/pull/120925). Forward and backward have a handle each.
_BLAS_BYTES = 8_519_680
_BLAS_HOPPER = 32 * MIB
_LT_BYTES = 4 * MIB

# What a name is sold with is not what a process gets. GDDR6 with error correction keeps a sixteenth for it (a T4 of
# 16 GiB shows 15360 MiB, an L4 of 24 GiB 23034 MiB); the driver keeps 1 to 1.5 % of every card (an RTX 3090 of
# 24576 MiB has 24,268 MiB free when idle).
_DRIVER_LEAVES = 0.985
_ECC_LEAVES = 15 / 16
_INLINE_ECC = ("7.5", "8.6", "8.9")
# Cards that are two devices, each with half of the memory.
_PAIRS = ("AMD Instinct MI250", "AMD Instinct MI250X")
# Where the GPU shares the host's memory, the system and the desktop live in it too; a rule of thumb of ours.
_SHARED_LEAVES = 0.85


def of_model(row: GpuModel, torch: str | None = None) -> tuple[Device, ...]:
    """Give the devices that are sold under a card's name, the smallest memory first; none where no size is known."""
    made = []
    for gib in sorted(row.memory_gib):
        size = gib / 2 if row.name in _PAIRS else gib
        share, why = _share(row)
        notes: tuple[str, ...] = (say("{size:g} GiB are {name}'s; {why}", size=size, name=row.name, why=why),)
        if row.name in _PAIRS:
            notes = (*notes, say("the card is two devices, and a process uses one of them"))
        if len(row.memory_gib) > 1:
            sizes = " and ".join(f"{each:g}" for each in sorted(row.memory_gib))
            notes = (*notes, say("it is sold with {sizes} GiB; --memory says which", sizes=sizes))
        free = int(size * (1 << 30) * share)
        made.append(Device(name=row.name, capability=row.capability, free_bytes=free, torch=torch, assumptions=notes))
    return tuple(made)


def _share(row: GpuModel) -> tuple[float, str]:
    kind = row.kind or ""
    if "jetson" in kind or "integrated" in kind:
        return _SHARED_LEAVES, say("85 % of them, shared with the system, are taken as free")
    if "datacenter" in kind and row.capability in _INLINE_ECC:
        return (
            _ECC_LEAVES * _DRIVER_LEAVES,
            say("92 % of them are free: error correction takes a sixteenth, the driver 1.5 %"),
        )
    return _DRIVER_LEAVES, say("98.5 % of them are free, with nothing else running on it")


def overhead(device: Device) -> Overhead:
    """Give what context and libraries take of that device with that release of torch."""
    if device.torch is None or leading(device.torch) >= _FIRST_LAZY:
        return _LAZY
    newer = device.capability is None or leading(device.capability) >= (8, 0)
    return _EAGER_AMPERE if newer else _EAGER_OLDER


def need(workload: Workload, allocated: int, reserved: int, device: Device, borrowed: Borrowed) -> Need:
    """Give what the process takes of a GPU: context, libraries, the allocator's segments, and what convolutions borrow.

    The lower end is what cannot be avoided: when the card is full the allocator gives its unused segments back, and
    cuDNN falls back to algorithms that borrow nothing.
    """
    fixed = overhead(device)
    hopper = device.capability is not None and leading(device.capability) >= (9, 0)
    blas = _BLAS_HOPPER if hopper else _BLAS_BYTES
    handles = 2 if workload.mode == "training" else 1
    return Need(
        low=fixed.low * MIB + allocated + blas,
        likely=fixed.likely * MIB + reserved + handles * blas + borrowed.likely * workload.batch,
        high=fixed.high * MIB + reserved + handles * blas + _LT_BYTES + borrowed.high * workload.batch,
    )


class Borrowed(Record):
    """What convolutions borrow for one image beside the tensors, bytes."""

    likely: int = 0
    high: int = 0


# MiB for an image of 224x224 in fp32, beside the replayed segments: fitted to the 30 runs of GPUMemNet on an A100,
# whose whole memory nvidia-smi showed (https://github.com/itu-rad/GPUMemNet). Pointwise and depthwise convolutions
# borrow little, and a network of attention nothing.
_BORROWED_DENSE = (10, 20)
_BORROWED_DEPTHWISE = (2, 10)
_DEPTHWISE = ("mobilenet", "efficientnet")
_ATTENTION = ("vit",)


def borrowed(name: str, side: int, dtype: str) -> Borrowed:
    """Give what one image of `side` pixels makes an image network's convolutions borrow."""
    if name.startswith(_ATTENTION):
        return Borrowed()
    likely, high = _BORROWED_DEPTHWISE if name.startswith(_DEPTHWISE) else _BORROWED_DENSE
    share = (side / 224) ** 2 * (1.0 if dtype == "fp32" else 0.5) * MIB
    return Borrowed(likely=int(likely * share), high=int(high * share))


def verdict(needed: Need, free_bytes: int | None) -> Verdict:
    """Judge: it fits if the upper end does, it is out of memory if not even the lower end does."""
    if free_bytes is None:
        return "unknown"
    if needed.high <= free_bytes:
        return "fits"
    return "out-of-memory" if needed.low > free_bytes else "tight"


def leading(version: str) -> tuple[int, ...]:
    """Give the first two numbers of a release or a capability; empty where there is none: a report may hold anything.

    >>> leading("2.7.1+cu118"), leading("nightly")
    ((2, 7), ())
    """
    try:
        return numbers(version)[:2]
    except ValueError:
        return ()
