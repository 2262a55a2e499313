"""Rows about TensorFlow and JAX, and about where frameworks are published. Imported when one is asked for."""

from __future__ import annotations

from typing import Literal

from envdoctor.knowledge.tables import Row
from envdoctor.model import Record


class TensorflowRelease(Row):
    """A TensorFlow release: its wheels, and the CUDA and cuDNN that its makers tested it with.

    Requirements are as its metadata has them. Which capabilities a wheel holds code for is published for none.
    """

    version: str
    pythons: tuple[str, ...]  # of its Linux x86_64 wheels
    requires_python: str | None
    tags: tuple[str, ...]  # platform tags of its Linux x86_64 wheels
    glibc: str  # oldest that these tags accept
    cuda: str
    cudnn: str
    tested: str  # the row of the table of tested builds: that of 2.10.0 also stands for 2.10.1
    tested_pythons: str  # 3.9-3.12
    tested_source: str
    cuda_doubt: str | None
    and_cuda: dict[str, str] | None  # what tensorflow[and-cuda] brings, package -> specifier; None: no such extra
    keras_major: int
    keras: tuple[str, ...]
    numpy: tuple[str, ...]
    protobuf: tuple[str, ...]
    ml_dtypes: tuple[str, ...]
    h5py: tuple[str, ...]
    windows_gpu: bool  # native Windows, not WSL 2
    windows_wheel: bool
    avx: bool  # its wheels need a processor with AVX


class JaxCuda(Record):
    """What jax[cuda12] or jax[cuda13] needs."""

    plugin: bool  # the plugin of this release is on the package index
    cuda_min: str | None  # oldest CUDA, where it is not brought by pip
    cudnn: str | None  # requirement, nvidia-cudnn-cu12<10.0,>=9.8
    nvcc: str | None
    runtime: str | None
    driver: str  # oldest driver branch, Linux
    capability_min: str
    capability_doubt: str | None
    jaxlib: str | None = None  # that the extra pins, where it is not the release's own


class JaxRelease(Row):
    """A JAX release. Releases between these rows exist and were not read."""

    version: str
    released: str | None
    requires_python: str | None  # None: not read
    numpy: tuple[str, ...] | None
    extras: tuple[str, ...] | None
    cuda11: bool | None
    cuda12: JaxCuda | None  # None: not read
    cuda13: JaxCuda | None  # None: not read, or no such extra
    windows_gpu: bool
    floors_source: str  # of driver and capability
    note: str | None
    python_max: str | None = None  # newest Python that jaxlib has wheels for, by the changelog; None: not read


class TorchPins(Row):
    """The NVIDIA packages that the plain torch wheel of the package index pins on Linux."""

    version: str
    variant: str  # cu126
    cuda: str  # version of the CUDA runtime, as exact as is known: 12.6.77
    pins: tuple[str, ...]  # requirements; none: the wheel bundles its libraries


class PipIndex(Row):
    """An index of PyTorch wheels for one kind of machine. Which releases are there is in the table of torch."""

    tag: str  # cu118, rocm6.4, xpu
    url: str
    kind: Literal["cpu", "cuda", "rocm", "xpu"]
    driver_linux: str | None  # oldest NVIDIA driver for which uv picks this index
    driver_windows: str | None


class OtherIndex(Row):
    """A page of wheels beside PyTorch's own indexes. Words in <> stand for a tag."""

    url: str
    holds: str
    jetson: tuple[str, ...] = ()  # compute capabilities of the Jetson modules that its wheels are for


class MirrorPart(Row):
    """What one mirror has a copy of, and where; without an address it is known, or thought, to have none."""

    mirror: str  # tuna
    kind: Literal["pip", "torch", "conda", "ubuntu", "debian", "hub"]
    url: str | None  # torch: the folder above cu118; conda: the channel conda-forge
    links: bool = False  # it has pages of links to files (--find-links) in place of an index


class FrameworkImage(Row):
    """A Docker image of a framework, or the pattern of its tags."""

    tag: str
    framework: Literal["torch", "tensorflow"]
    version: str | None
    cuda: str | None
    flavour: str | None


class PytorchChannel(Row):
    """How CUDA was chosen in the conda channel `pytorch`, which ends with 2.5.1."""

    first: str
    last: str
    package: str  # cudatoolkit, pytorch-cuda
    cuda: tuple[str, ...] | None  # versions of that package there; None: not listed
    channels: tuple[str, ...]
    command: str | None
