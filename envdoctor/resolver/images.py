"""The container image that a stack is built on."""

from __future__ import annotations

from typing import NamedTuple

from envdoctor.knowledge.fit import wheel_glibc, wheel_pythons
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.tables import CudaImage, Ubuntu
from envdoctor.model.stack import Reason
from envdoctor.model.version import at_least, minor, numbers
from envdoctor.resolver.candidates import Build

_LAYERS = "https://www.alibabacloud.com/help/doc-detail/2850550.html"
_PYTHON_IMAGES = "https://hub.docker.com/_/python"


class _Base(NamedTuple):
    image: CudaImage
    ubuntu: Ubuntu


def cuda_pythons(build: Build, facts: Knowledge) -> tuple[str, ...]:
    """Name the Pythons that the nvidia/cuda images of a build's CUDA bring."""
    return tuple(sorted({base.ubuntu.python for base in _bases(build, facts)}, key=numbers))


def image_for(build: Build, python: str, arch: str, facts: Knowledge) -> tuple[str, str, Reason]:
    """Choose an image for a build and a Python: its tag, the Python it brings, and why.

    torch's wheels carry CUDA themselves, so `base` is enough
    (the driver comes from the host); `runtime` would bring a second copy.
    """
    bases = _bases(build, facts)
    pythons = wheel_pythons(build.release, "linux", arch)
    if not bases:
        because = {
            "cuda": f"no nvidia/cuda image of CUDA {build.cuda} is known; the wheel carries CUDA itself, and the "
            "container toolkit brings the driver",
            "rocm": "the wheel carries ROCm's libraries, and the host has the kernel driver",
        }.get(build.kind, "without CUDA a plain Python image is enough")
        tag = slim(python)
        return tag, python, Reason(choice=tag, because=because, source=_PYTHON_IMAGES)
    chosen = max(
        bases,
        key=lambda base: (
            base.ubuntu.python == python,
            base.ubuntu.python in pythons,
            numbers(base.ubuntu.version),
            numbers(base.image.cuda),
        ),
    )
    image, ubuntu = chosen
    because = f"the wheels carry CUDA's libraries, so the smallest flavour is enough; Ubuntu {ubuntu.version} brings "
    because += f"Python {ubuntu.python}"
    if ubuntu.python != python:
        because += f", not {python}: no image of CUDA {build.cuda} brings that one, so the Dockerfile's Python differs"
        if ubuntu.python not in pythons:
            because += f", and torch {build.release.version} has no wheels for it: Python {python} must be added"
    return image.tag, ubuntu.python, Reason(choice=image.tag, because=because, source=_LAYERS)


def slim(python: str) -> str:
    """Name the small official image of a Python version.

    Debian 12 images begin with Python 3.7, which was still maintained when Debian 12 came out.

    >>> slim("3.12")
    'python:3.12-slim-bookworm'
    """
    return f"python:{python}-slim-{'bookworm' if at_least(python, '3.7') else 'bullseye'}"


def _bases(build: Build, facts: Knowledge) -> tuple[_Base, ...]:
    if build.cuda is None:
        return ()
    floor = wheel_glibc(build.release, build.variant, "x86_64")
    by_version = {ubuntu.version: ubuntu for ubuntu in facts.ubuntu_releases}
    return tuple(
        _Base(image, by_version[image.ubuntu])
        for image in facts.cuda_images
        if image.flavour == "base"
        and minor(image.cuda) == build.cuda
        and (floor is None or at_least(by_version[image.ubuntu].glibc, floor))
    )
