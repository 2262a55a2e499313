"""Rows about the packages that people install beside a framework. Imported when one is asked for."""

from __future__ import annotations

from typing import Literal

from envdoctor.knowledge.tables import Row


class Xformers(Row):
    """An xformers release and the torch that its metadata asks for."""

    version: str
    torch: str  # specifier
    requires_python: str | None
    tag: str  # of the wheel that CPython 3.11 gets
    glibc: str
    any_python: bool  # one wheel for every Python; otherwise each has its own, and only 3.11 was looked at
    capability_min: str | None
    capability_source: str | None


class FlashAttention(Row):
    """A generation of flash-attn; its package index has sources only, which nvcc compiles."""

    generation: int
    capability_min: str | None
    gpus: tuple[str, ...]
    cuda_min: str | None
    torch_min: str | None
    rocm_min: str | None
    dtypes: tuple[str, ...]
    head_dim_max: int | None
    newest: str | None  # on the package index
    wheels: bool | None  # the package index has wheels
    prebuilt: str | None  # where others publish wheels, and what for


class BitsandbytesRelease(Row):
    """A bitsandbytes release and the torch that its metadata asks for."""

    version: str
    torch: str | None  # specifier, "" for any; None: it asks for none
    requires_python: str | None


class BitsandbytesHardware(Row):
    """The GPUs that some releases of bitsandbytes are for."""

    first: str
    last: str
    capability_min: str
    int8_capability_min: str | None  # LLM.int8()
    cuda_first: str | None
    cuda_last: str | None
    torch_min: str | None
    python_min: str | None
    glibc: str | None


class BitsandbytesBuild(Row):
    """The capabilities that a bitsandbytes wheel has machine code for, by platform and CUDA."""

    version: str
    platform: Literal["linux_x86_64", "linux_aarch64", "windows_x86_64", "windows_arm64"]
    cuda_first: str
    cuda_last: str
    capabilities: tuple[str, ...]


class Transformers(Row):
    """A transformers release and the torch that its extra accepts, which is not what it installs."""

    version: str
    requires_python: str
    torch: str  # specifier, "" for any


class OnnxruntimeGpu(Row):
    """An onnxruntime-gpu release on the package index: the CUDA and cuDNN that its wheel is built for."""

    version: str
    requires_python: str | None
    cuda: int
    cudnn: int
    pins: tuple[str, ...]  # of its extras cuda and cudnn; none: it has no such extra


class OnnxruntimeCuda(Row):
    """The CUDA and cuDNN that older releases of onnxruntime-gpu were built with."""

    first: str
    last: str
    cuda: tuple[str, ...]
    cudnn_linux: str
    cudnn_windows: str


class Vllm(Row):
    """A vllm release and what it pins; it is for Linux only."""

    version: str
    torch: str  # specifiers; those that are None it does not ask for
    torchvision: str | None
    torchaudio: str | None
    xformers: str | None  # on Linux x86_64
    transformers: str | None
    flashinfer: str | None
    requires_python: str
    tag: str
    glibc: str


class VllmHardware(Row):
    """The GPUs that some releases of vllm are for, and the CUDA that its wheels are built with."""

    first: str
    last: str | None  # None: and later
    capability_min: str
    cuda: str
