"""The shape of each table's rows. A row carries its source, when it was checked, and how."""

from __future__ import annotations

from typing import Literal

from envdoctor.model import Record

How = Literal["documented", "measured", "metadata", "derived"]


class Row(Record):
    """A fact that can be looked up again. `doubt` says why it is not certain; such a row is never the only reason."""

    source: str  # https URL or package URL
    checked: str  # ISO date
    how: How
    doubt: str | None


class CudaFamily(Row):
    """Oldest driver that runs any CUDA of one major version (minor-version compatibility)."""

    cuda: str  # major, "12"; before 11 each minor has its own row, "10.2"
    linux: str
    windows: str | None


class CudaToolkit(Row):
    """A CUDA toolkit release and the driver that ships with it."""

    version: str  # 11.8.0
    linux: str | None
    windows: str | None


class DriverBranch(Row):
    """The newest CUDA that a driver branch offers."""

    branch: int  # 570
    cuda: str  # "12.8"


class Architecture(Row):
    """A compute capability."""

    capability: str  # "8.6"
    name: str  # Ampere
    first_cuda: str | None
    last_cuda: str | None
    first_driver: int | None = None  # oldest branch that knows these GPUs
    last_driver: int | None = None  # newest branch that still does; None: no end known
    bf16: bool = False
    fp16_fast: bool = False
    integrated: bool = False  # Tegra: its code does not interchange with discrete cards


class GpuModel(Row):
    """A GPU as NVML names it."""

    name: str
    pattern: str  # regular expression for the names tools print
    vendor: Literal["nvidia", "amd", "intel"]
    capability: str | None
    target: str | None  # AMD gfx
    memory_gib: tuple[float, ...]
    kind: str | None = None


class TorchVariant(Record):
    """A build of a torch release."""

    tag: str  # cu118
    cuda: str | None
    index_url: str
    cudnn: str | None = None
    sm: tuple[str, ...] | None = None  # capabilities with machine code, Linux x86_64: "8.6"; None: not read
    ptx: tuple[str, ...] = ()
    aarch64_sm: tuple[str, ...] | None = None
    linux_only: bool = False
    doubt: str | None = None


class TorchRelease(Row):
    """A torch release and everything published with it."""

    version: str
    released: str | None
    python_min: str
    python_max: str
    glibc: str  # oldest glibc of its Linux wheels
    variants: tuple[TorchVariant, ...]
    rocm: tuple[str, ...]
    default_linux: str | None  # variant of the plain wheel of the package index
    pythons_aarch64: tuple[str, ...]
    torchvision: str | None
    torchaudio: str | None
    torchaudio_pinned: bool
    triton: str | None
    numpy2: bool


class CondaBuild(Row):
    """A pytorch release on conda-forge and the CUDA it was built with there."""

    pytorch: str
    cuda: tuple[str, ...]  # 11.8, 12.6 …


class CudaImage(Row):
    """An nvidia/cuda tag."""

    cuda: str  # 11.8.0
    ubuntu: str  # 22.04
    flavour: Literal["base", "runtime", "devel", "cudnn-runtime", "cudnn-devel"]
    tag: str  # nvidia/cuda:11.8.0-cudnn8-runtime-ubuntu22.04
