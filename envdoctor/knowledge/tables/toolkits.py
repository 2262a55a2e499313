"""Rows about what NVIDIA ships: toolkits, cuDNN, TensorRT, compatibility packages. Imported when one is asked for."""

from __future__ import annotations

from typing import Literal

from envdoctor.knowledge.tables import Row


class CudaToolkit(Row):
    """A release of the CUDA toolkit and the driver that came with it.

    The drivers are those of NVIDIA's release notes; where the installer's file name says another one, it stands in
    `installer_*` and in the doubt. Which drivers run the toolkit's programs is in `cuda_families`.
    """

    version: str  # 12.8.1
    cuda: str  # 12.8
    release: str | None  # GA, RC, Update 1
    driver_linux: str | None
    driver_windows: str | None
    installer_linux: str | None  # by the name of the run file
    installer_windows: str | None
    branch: int | None  # of the driver that it came with, or that prints its version
    bundles_driver: bool  # the Linux installer holds a driver


class CudaToolkitPackage(Row):
    """The package cuda-toolkit, and the component wheels that it pins; those of CUDA 13 bear no -cuXX suffix."""

    version: str
    components: dict[str, str]  # nvidia-cublas -> 13.8.0.4.*


class CudaCompat(Row):
    """The drivers whose user-mode part the cuda-compat packages of a CUDA version hold."""

    cuda: str  # 12.4, or 13.0 for all its updates
    drivers: tuple[str, ...]


class ImageDigest(Row):
    """What an image's tag stood for when it was looked up; the digest of its list over all architectures."""

    tag: str  # nvidia/cuda:12.8.1-base-ubuntu24.04
    digest: str  # sha256:…


class CudaCompatBase(Row):
    """The driver branches that a cuda-compat package runs on with a data-centre GPU, as NVIDIA's image declares them.

    An image with the package inside names in NVIDIA_REQUIRE_CUDA, for `brand=tesla`, each older branch that it accepts.
    Branches that the CUDA family serves anyway are in the list too.
    """

    cuda: str  # 12.4
    branches: tuple[int, ...]


class ForwardCompatibility(Row):
    """A condition of running a newer CUDA on an older kernel driver with a cuda-compat package."""

    topic: str
    works: tuple[str, ...]  # what it is offered for
    fails: tuple[str, ...]  # what it is known not to work for
    fact: str


class CudaError(Row):
    """An error of CUDA that says which side of the compatibility rules was left."""

    code: int
    name: str
    means: str


class CudnnSupport(Row):
    """One line of cuDNN's support matrix: releases of cuDNN with some versions of CUDA.

    A release has several such lines. Releases without one were not read: 8.3, 8.6 to 8.8, most from 9.11 on.
    """

    first: str  # cuDNN releases, both ends included
    last: str
    cuda: tuple[str, ...]  # "12.4"; a bare major, "12", where the page says no more than that
    capabilities: tuple[str, ...] | None  # None: the list was not read
    capability_min: str | None
    capability_max: str | None
    driver_linux: str | None  # oldest, as the page says: a version, or a branch
    driver_windows: str | None


class CudnnLibraries(Row):
    """The shared libraries of a major version of cuDNN on Linux, the entry point first."""

    major: int
    sonames: tuple[str, ...]


class CudnnPackage(Row):
    """A cuDNN wheel on the package index."""

    package: Literal["nvidia-cudnn-cu11", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13"]
    version: str  # the release and a build number, 9.10.2.21
    cuda: int  # major version that it is built for


class Tensorrt(Row):
    """A release of TensorRT and the CUDA versions it is for."""

    version: str
    cuda: tuple[str, ...] | None  # None: only what was added or dropped is known
    added: tuple[str, ...]
    dropped: tuple[str, ...]
    cudnn: str | None
    capability_min: str | None
