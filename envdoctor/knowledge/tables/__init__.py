"""The shape of each table's rows. A row carries its source, when it was checked, and how.

Here are the rows that `diagnose` reads; a class costs CPU time to define, so the others are in modules of their own.
"""

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
    windows_doubt: str | None = None  # where only the Windows number is not certain


class DriverBranch(Row):
    """The newest CUDA that a driver branch offers."""

    branch: int  # 570
    cuda: str  # "12.8"
    first: str  # first release of the branch that shipped with a toolkit


class Architecture(Row):
    """A compute capability."""

    capability: str  # "8.6"
    name: str  # Ampere
    first_cuda: str | None
    last_cuda: str | None
    first_driver: int | None = None  # oldest branch that knows these GPUs; None: no source says
    last_driver: int | None = None  # newest branch that still does; None: no end known
    bf16: bool = False
    fp16_fast: bool = False
    integrated: bool = False  # Tegra: its code does not interchange with discrete cards
    cudnn_dropped: str | None = None  # first cuDNN that no longer serves it
    cudnn_source: str | None = None
    tensor_cores: bool = False  # half precision
    tf32: bool = False
    fp8: bool = False
    fp4: bool = False
    int8_tensor_cores: bool = False
    flash_attention_2: bool | None = None  # None: not known
    flash_attention_doubt: str | None = None


class GpuModel(Row):
    """A GPU as NVML names it; speeds are its maker's figures at boost clock."""

    name: str
    pattern: str  # regular expression for the names tools print
    vendor: Literal["nvidia", "amd", "intel"]
    capability: str | None
    target: str | None  # AMD gfx
    memory_gib: tuple[float, ...]
    kind: str | None = None
    bandwidth_gb_s: tuple[float, ...] = ()  # of each board sold under this name
    fp32_tflops: float | None = None
    fp16_tflops: float | None = None  # vector units
    fp16_tensor_tflops: float | None = None  # tensor cores, dense


class TorchVariant(Record):
    """A build of a torch release."""

    tag: str  # cu118
    cuda: str | None
    index_url: str
    cudnn: str | None = None
    sm: tuple[str, ...] | None = None  # capabilities with machine code, Linux x86_64: "8.6"; None: not read
    ptx: tuple[str, ...] = ()
    windows_sm: tuple[str, ...] | None = None
    windows_ptx: tuple[str, ...] = ()
    aarch64_sm: tuple[str, ...] | None = None
    aarch64_ptx: tuple[str, ...] = ()
    sm_source: str | None = None
    linux_only: bool = False
    glibc: str | None = None  # where it differs from the release's
    doubt: str | None = None  # of its existence or its machine code
    ptx_doubt: str | None = None


class TorchRelease(Row):
    """A torch release and everything published with it. Its Pythons are those of the package index's wheels."""

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
    torchaudio_pinned: bool  # torchaudio's metadata names this torch
    triton: str | None
    numpy2: bool
    numpy2_windows: bool = True
    pythons_windows: tuple[str, ...] = ()
    pythons_macos_arm64: tuple[str, ...] = ()
    pythons_macos_x86_64: tuple[str, ...] = ()
    free_threaded: tuple[str, ...] = ()
    glibc_aarch64: str | None = None
    variants_source: str | None = None
    xpu: bool | None = None  # there is a build for Intel GPUs; None: not known
    rocm_doubts: dict[str, str] = {}  # tag -> why it is not certain that this build was published

    def variant(self, tag: str) -> TorchVariant | None:
        """Give the build of that tag (`cu118`, `cpu`), or None."""
        return next((each for each in self.variants if each.tag == tag), None)


class CondaCuda(Record):
    """The CUDA of a conda-forge build, and its machine code."""

    cuda: str
    sm: tuple[str, ...] | None  # None: not read
    ptx: tuple[str, ...] = ()
    glibc: str | None = None  # oldest; None: not read


class CondaBuild(Row):
    """The pytorch releases on conda-forge, `first` to `pytorch`, that were built with the same CUDA versions there."""

    first: str
    pytorch: str
    builds: tuple[CondaCuda, ...]  # Linux x86_64
    cuda_windows: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()  # releases in between that were never built there

    @property
    def cuda(self) -> tuple[str, ...]:
        """The CUDA versions of the Linux builds: 11.8, 12.6 …."""
        return tuple(build.cuda for build in self.builds)


class CudaImage(Row):
    """An nvidia/cuda tag."""

    cuda: str  # 11.8.0
    ubuntu: str  # 22.04
    flavour: Literal["base", "runtime", "devel", "cudnn-runtime", "cudnn-devel"]
    tag: str  # nvidia/cuda:11.8.0-cudnn8-runtime-ubuntu22.04


class Ubuntu(Row):
    """An Ubuntu release, as images and WSL distributions bring it."""

    version: str  # 22.04
    glibc: str
    python: str  # of its python3 package


class RocmIndex(Row):
    """The AMD GPUs that PyTorch's wheels of one ROCm version are built for."""

    tag: str  # rocm6.4
    targets: tuple[str, ...]  # gfx1100
