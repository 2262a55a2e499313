"""A chosen set of wheels of TensorFlow or JAX becomes a Stack: Python, numpy, image, commands, and why each."""

from __future__ import annotations

from envdoctor.knowledge.builds import pythons_among
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.tables import CudaImage, Ubuntu
from envdoctor.model.speech import say
from envdoctor.model.stack import Reason, Request, Stack, Target
from envdoctor.model.version import at_least, compare, major, numbers
from envdoctor.resolver.commands import with_commands
from envdoctor.resolver.drivers import min_driver
from envdoctor.resolver.images import PYTHON_IMAGES, slim
from envdoctor.resolver.options import NAMES, Option, specifier
from envdoctor.resolver.tensorflow import PIP_PAGE, numpy_one

_NUMPY_TF = "https://github.com/tensorflow/tensorflow/releases/tag/v2.18.0"
_JAX_NUMPY2 = "0.4.26"
_CHANGES_JAX = "https://docs.jax.dev/en/latest/changelog.html"


def build_stack(option: Option, request: Request, target: Target, facts: Knowledge) -> tuple[Stack, tuple[Reason, ...]]:
    """Put a stack together from wheels that fit, with the reasons of its parts."""
    image = None if option.brings_cuda or option.cuda is None else _cuda_image(option, facts)
    python, why_python = _python(option, request, target, image)
    numpy, why_numpy = _numpy(option, python)
    base, image_python, why_image = _image(option, python, image)
    stack = Stack(
        framework=option.framework,
        framework_version=option.version,
        variant=option.tag,
        cuda=option.cuda,
        cudnn=option.cudnn,
        python=python,
        index_url=None,
        packages={**option.packages, "numpy": numpy},
        conda_packages={},
        pip_command=(),
        base_image=base,
        image_python=image_python,
        min_driver=min_driver(option.cuda, target, facts, jit=option.capability_jit),
        conda_note=say(
            "what conda-forge builds of {names} is not in the tables; conda brings Python only, and pip brings the "
            "rest.",
            names=NAMES[option.framework],
        ),
        brings_cuda=option.brings_cuda,
    )
    reasons = [*option.reasons, *_why_libraries(option), why_python, *why_numpy, why_image]
    return with_commands(stack), tuple(reasons)


def _why_libraries(option: Option) -> list[Reason]:
    if option.cuda is None:
        return []
    name = NAMES[option.framework]
    if option.brings_cuda:
        extra = next(iter(option.packages))
        because = say(
            "the extra brings {brought} as packages; the machine needs its driver and nothing else",
            brought=option.brought,
        )
        return [Reason(choice=extra, because=because, source=option.source)]
    because = say(
        "{name} {version} has no extra that brings them: its wheel loads the libraries of a CUDA toolkit {cuda} and "
        "of cuDNN {cudnn} that is installed",
        name=name,
        version=option.version,
        cuda=option.cuda,
        cudnn=option.cudnn,
    )
    return [
        Reason(
            choice=say("CUDA {cuda} and cuDNN {cudnn} on the machine", cuda=option.cuda, cudnn=option.cudnn),
            because=because,
            source=PIP_PAGE,
        )
    ]


def _python(
    option: Option, request: Request, target: Target, image: tuple[CudaImage, Ubuntu] | None
) -> tuple[str, Reason]:
    pythons = pythons_among(option.pythons, target, request.python)
    name = f"{NAMES[option.framework]} {option.version}"
    if request.python:
        python, because = pythons[0], say("it was asked for")
    elif target.python in pythons:
        python, because = target.python or "", say("it is the Python at hand, and {name} has wheels for it", name=name)
    elif image and target.os != "windows" and image[1].python in pythons:  # Windows itself runs no Linux image
        python, because = (
            image[1].python,
            say("it is what the CUDA image's Ubuntu brings, and {name} has wheels for it", name=name),
        )
    else:
        newest = option.newest_python or option.pythons[-1]
        settled = tuple(each for each in pythons if each != newest) or pythons
        python = settled[-1]
        because = say(
            "{name} has wheels for Python {oldest} to {newest}",
            name=name,
            oldest=option.pythons[0],
            newest=option.pythons[-1],
        )
        if newest in pythons and python != newest:
            because = say("{have}; the newest one is left out, because other packages follow later", have=because)
        if target.python:
            because = say(
                "{reason}; there are none for the Python at hand, {python}", reason=because, python=target.python
            )
    return python, Reason(choice=say("Python {python}", python=python), because=because, source=option.source)


def _numpy(option: Option, python: str) -> tuple[str, list[Reason]]:
    asked = specifier(option.numpy or (), python)
    bounded = asked is not None and any(sign in asked for sign in ("<", "~="))
    if option.framework == "tensorflow" and numpy_one(option.version) and not bounded:
        because = say(
            "TensorFlow {version} sets no limit, and 2.18 is the first that is built for numpy 2",
            version=option.version,
        )
        return f"{asked},<2" if asked else "<2", [
            Reason(choice=say("numpy below 2"), because=because, source=_NUMPY_TF)
        ]
    if option.framework == "jax" and not at_least(option.version, _JAX_NUMPY2) and not bounded:
        because = say(
            "JAX {version} sets no limit, and {first_version} is the first that works with numpy 2",
            version=option.version,
            first_version=_JAX_NUMPY2,
        )
        return f"{asked},<2" if asked else "<2", [
            Reason(choice=say("numpy below 2"), because=because, source=_CHANGES_JAX)
        ]
    return asked or ">=1.22", []


def _image(option: Option, python: str, image: tuple[CudaImage, Ubuntu] | None) -> tuple[str, str, Reason]:
    if image is not None:
        row, ubuntu = image
        because = say(
            "the wheel takes CUDA and cuDNN from the image; Ubuntu {version} brings Python {python}",
            version=ubuntu.version,
            python=ubuntu.python,
        )
        if not row.cuda.startswith(f"{option.cuda}."):
            because = say(
                "{reason}; CUDA {cuda} has the same library names as {wanted}, of which no image is known",
                reason=because,
                cuda=row.cuda,
                wanted=option.cuda,
            )
        return row.tag, ubuntu.python, Reason(choice=row.tag, because=because, source=row.source)
    tag = slim(python)
    because = say("without CUDA a plain Python image is enough")
    if option.cuda and option.brings_cuda:
        because = say("the packages bring CUDA themselves, and the container toolkit brings the driver")
    elif option.cuda:
        because = say(
            "no nvidia/cuda image with CUDA {cuda} is known, so that the container computes on the CPU",
            cuda=option.cuda,
        )
    return tag, python, Reason(choice=tag, because=because, source=PYTHON_IMAGES)


def _cuda_image(option: Option, facts: Knowledge) -> tuple[CudaImage, Ubuntu] | None:
    """Choose an image with the CUDA and cuDNN that wheels load from outside; None: none is known.

    CUDA keeps the names of its libraries within a major version, from 11.2 on; the lowest release that is not below
    the wanted one is nearest to it. The image's Ubuntu must have a Python with wheels.
    """
    assert option.cuda and option.cudnn
    by_version = {ubuntu.version: ubuntu for ubuntu in facts.ubuntu_releases}
    found = [
        (row, by_version[row.ubuntu])
        for row in facts.cuda_images
        if row.flavour == "cudnn-runtime"
        and f"-cudnn{major(option.cudnn)}-" in row.tag
        and major(row.cuda) == major(option.cuda)
        and compare(row.cuda, option.cuda) >= 0
        and at_least(option.cuda, "11.2")
        and by_version[row.ubuntu].python in option.pythons
    ]
    return min(
        found, key=lambda each: (numbers(each[0].cuda), tuple(-n for n in numbers(each[1].version))), default=None
    )
