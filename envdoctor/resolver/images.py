"""The container image that a stack is built on."""

from __future__ import annotations

from typing import NamedTuple

from envdoctor.knowledge.builds import Build
from envdoctor.knowledge.fit import wheel_glibc, wheel_pythons
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.tables import CudaImage, Ubuntu
from envdoctor.model.speech import say
from envdoctor.model.stack import Reason
from envdoctor.model.version import at_least, minor, numbers

_FLAVOURS = "https://hub.docker.com/r/nvidia/cuda"
PYTHON_IMAGES = "https://hub.docker.com/_/python"


class _Base(NamedTuple):
    image: CudaImage
    ubuntu: Ubuntu


def cuda_pythons(build: Build, facts: Knowledge) -> tuple[str, ...]:
    """Name the Pythons that the nvidia/cuda images of a build's CUDA bring."""
    return tuple(sorted({base.ubuntu.python for base in _bases(build, facts)}, key=numbers))


def image_for(build: Build, python: str, arch: str, facts: Knowledge) -> tuple[str, str, Reason]:
    """Choose an image for a build and a Python: its tag, the Python it brings, and why.

    torch's wheels carry CUDA themselves, so `base` is enough (the driver comes from the host); `runtime` would bring a
    second copy. A CUDA image whose Ubuntu has a Python without wheels is of no use: a plain Python image serves then.
    """
    bases = _bases(build, facts)
    pythons = wheel_pythons(build.release, "linux", arch)
    with_wheels = [base for base in bases if base.ubuntu.python in pythons]
    if not with_wheels:
        tag = slim(python)
        return tag, python, Reason(choice=tag, because=_why_slim(build, bases), source=PYTHON_IMAGES)
    image, ubuntu = max(
        with_wheels,
        key=lambda base: (base.ubuntu.python == python, numbers(base.ubuntu.version), numbers(base.image.cuda)),
    )
    because = say(
        "the wheels carry CUDA's libraries, so the smallest flavour is enough; Ubuntu {version} brings Python {python}",
        version=ubuntu.version,
        python=ubuntu.python,
    )
    if ubuntu.python != python:
        because = say(
            "the wheels carry CUDA's libraries, so the smallest flavour is enough; Ubuntu {version} brings Python "
            "{python}, not {wanted}: no image of CUDA {cuda} brings that one, so the Dockerfile's Python differs",
            version=ubuntu.version,
            python=ubuntu.python,
            wanted=python,
            cuda=build.cuda,
        )
    return image.tag, ubuntu.python, Reason(choice=image.tag, because=because, source=_FLAVOURS)


def digest_of(image: str, facts: Knowledge) -> tuple[str | None, tuple[Reason, ...]]:
    """Give the digest of an image, and a word about where it is from; None: it is not known.

    A tag that moves on by itself (python:3.12-slim-bookworm) has none: it would keep out the distribution's updates.
    """
    for row in facts.image_digests:
        if row.tag == image:
            because = say("so that the base is the same a year later; {doubt}", doubt=row.doubt)
            return row.digest, (Reason(choice=row.digest[:19], because=because, source=row.source),)
    return None, ()


def slim(python: str) -> str:
    """Name the small official image of a Python version.

    Debian 12 images begin with Python 3.7, which was still maintained when Debian 12 came out.

    >>> slim("3.12")
    'python:3.12-slim-bookworm'
    """
    return f"python:{python}-slim-{'bookworm' if at_least(python, '3.7') else 'bullseye'}"


def _why_slim(build: Build, bases: tuple[_Base, ...]) -> str:
    carries = say("the wheels carry CUDA themselves, and the container toolkit brings the driver")
    if bases:
        brought = sorted({base.ubuntu.python for base in bases}, key=numbers)
        return say(
            "the images of CUDA {cuda} bring Python {brought}, for which torch {version} has no wheels; {carries}",
            cuda=build.cuda,
            brought=", ".join(brought),
            version=build.release.version,
            carries=carries,
        )
    return {
        "cuda": say("no nvidia/cuda image of CUDA {cuda} is known; {carries}", cuda=build.cuda, carries=carries),
        "rocm": say("the wheel carries ROCm's libraries, and the host has the kernel driver"),
        "xpu": say(
            "the wheel carries the SYCL runtime; Intel's compute runtime must be added to the image to use the GPU"
        ),
    }.get(build.kind, say("without CUDA a plain Python image is enough"))


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
