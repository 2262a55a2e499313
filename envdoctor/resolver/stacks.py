"""A chosen build becomes a Stack: its packages, how to install them, and why each of them."""

from __future__ import annotations

from typing import NamedTuple

from envdoctor.knowledge.builds import Build, Candidate, torchaudio_for
from envdoctor.knowledge.fit import wheel_pythons
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.speech import say
from envdoctor.model.stack import Reason, Request, Stack, Target
from envdoctor.model.version import compare
from envdoctor.resolver.commands import with_commands
from envdoctor.resolver.companions import Together, together
from envdoctor.resolver.conda import EMPTY_NOTE, CondaStack, conda_stack
from envdoctor.resolver.drivers import min_driver
from envdoctor.resolver.images import cuda_pythons, digest_of, image_for

_PREVIOUS = "https://pytorch.org/get-started/previous-versions/"
_NUMPY = "https://github.com/pytorch/pytorch/issues/132179"
_NUMPY_WINDOWS = "https://github.com/pytorch/pytorch/issues/131668"
# Wheels of older releases carry a local tag on PyTorch's index only for some of their builds.
_TAGGED_SINCE = "1.9.0"


class Built(NamedTuple):
    """A stack and the reasons of its parts."""

    stack: Stack
    reasons: tuple[Reason, ...]


def build_stack(candidate: Candidate, request: Request, target: Target, facts: Knowledge) -> Built:
    """Put a stack together from a build that fits."""
    build = candidate.build
    python, why_python = _python(candidate, request, target, facts)
    packages, why_packages = _packages(build, target, facts)
    image, image_python, why_image = image_for(build, python, target.arch, facts)
    digest, why_digest = digest_of(image, facts)
    conda = conda_stack(candidate, python, packages["numpy"], request, target, facts)
    if request.companions:
        conda = CondaStack(
            {},
            say(
                "pip's torch was chosen for {companions}; {empty_note}.",
                companions=", ".join(request.companions),
                empty_note=say(EMPTY_NOTE),
            ),
        )
    index = None if target.os == "macos" else build.index_url
    beside = together(request.companions, build, python, target, facts)
    assert isinstance(beside, Together), beside  # a build that a companion excludes is no candidate
    tagged = _is_tagged(build, target)
    if beside.packages and not tagged:
        index = None  # the companions are not there, and without a tag pip could not tell the builds apart
    reasons = [why_python, *why_packages, *beside.reasons, why_image, *why_digest]
    if index:
        reasons.append(_why_index(build, target, index))
    stack = Stack(
        framework="torch",
        framework_version=build.release.version,
        variant=build.tag,
        cuda=build.cuda,
        cudnn=build.variant.cudnn if build.variant else None,
        python=python,
        index_url=index,
        packages={**packages, **beside.packages},
        conda_packages=conda.packages,
        pip_command=(),
        base_image=image,
        base_digest=digest,
        image_python=image_python,
        min_driver=min_driver(build.cuda, target, facts, jit=candidate.jit),
        conda_note=conda.note,
        build_command=beside.build_command,
    )
    return Built(with_commands(stack, beside=bool(beside.packages)), tuple(reasons))


def _python(candidate: Candidate, request: Request, target: Target, facts: Knowledge) -> tuple[str, Reason]:
    release = candidate.build.release
    have = say(
        "torch {version} has wheels for Python {oldest} to {newest}",
        version=release.version,
        oldest=candidate.pythons[0],
        newest=candidate.pythons[-1],
    )
    if request.python:
        python, because = candidate.pythons[0], say("it was asked for")
    elif target.python in candidate.pythons:
        python, because = target.python or "", say("it is the Python at hand, and torch has wheels for it")
    else:
        settled = _settled(candidate, target)
        python, because = (
            settled[-1],
            say("{have}; the newest one is left out, because other packages follow later", have=have),
        )
        # One version older is no loss where it makes the container's Python the same.
        in_image = [each for each in settled[-2:] if each in cuda_pythons(candidate.build, facts)]
        if in_image and in_image[-1] != python:
            python, because = (
                in_image[-1],
                say("{have}; {in_image} is what the CUDA image's Ubuntu brings", have=have, in_image=in_image[-1]),
            )
        if len(candidate.pythons) == 1:
            because = say("it is the only Python at hand that torch has wheels for")
        if target.python:
            because = say(
                "{reason}; there are none for the Python at hand, {python}", reason=because, python=target.python
            )
    return python, Reason(choice=say("Python {python}", python=python), because=because, source=release.source)


def _settled(candidate: Candidate, target: Target) -> tuple[str, ...]:
    """Leave out the newest Python a release has wheels for, whose other packages often lag; oldest first."""
    newest = wheel_pythons(candidate.build.release, target.os, target.arch)[-1]
    return tuple(python for python in candidate.pythons if python != newest) or candidate.pythons


def _packages(build: Build, target: Target, facts: Knowledge) -> tuple[dict[str, str], list[Reason]]:
    release = build.release
    tag = f"+{build.tag}" if _is_tagged(build, target) else ""
    packages = {"torch": release.version + tag}
    reasons = []
    if release.torchvision:
        packages["torchvision"] = release.torchvision + tag
    audio = torchaudio_for(build, facts)
    if audio:
        packages["torchaudio"] = audio + tag
    elif release.torchaudio:
        because = say(
            "torchaudio {torchaudio}, the newest one, was published before there was a {tag} index",
            torchaudio=release.torchaudio,
            tag=build.tag,
        )
        reasons.append(Reason(choice=say("no torchaudio"), because=because, source=_PREVIOUS))
    pairs = ", ".join(f"{name} {version}" for name, version in packages.items() if name != "torch")
    if pairs:
        because = say("the newest ones that go with torch {version}", version=release.version)
        reasons.append(Reason(choice=pairs, because=because, source=release.source))
    numpy2 = release.numpy2_windows if target.os == "windows" else release.numpy2
    packages["numpy"] = "<3" if numpy2 else "<2"
    if not numpy2:
        because = say(
            "torch {version} was built for numpy 1 and cannot convert arrays of numpy 2", version=release.version
        )
        source = _NUMPY if not release.numpy2 else _NUMPY_WINDOWS
        reasons.append(Reason(choice=say("numpy below 2"), because=because, source=source))
    return packages, reasons


def _is_tagged(build: Build, target: Target) -> bool:
    if target.os == "macos" or (build.kind == "cpu" and target.arch == "aarch64"):
        return False
    return compare(build.release.version, _TAGGED_SINCE) >= 0


def _why_index(build: Build, target: Target, index: str) -> Reason:
    plain = "cpu" if target.os == "windows" else build.release.default_linux
    if target.arch == "aarch64":
        because = say("what the plain package index has for aarch64 differs from release to release")
    elif plain == build.tag:
        because = say("the plain package index has this build today; naming PyTorch's index keeps it so")
    else:
        because = say(
            "the plain package index has the {plain} build under this version; PyTorch's index has {tag}, "
            "and numpy too",
            plain=plain,
            tag=build.tag,
        )
    return Reason(choice=index, because=because, source=_PREVIOUS)
