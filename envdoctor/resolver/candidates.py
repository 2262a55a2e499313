"""Which published builds of torch fit a request and a machine, and why each of the others does not."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from envdoctor.knowledge.builds import (
    Build,
    Candidate,
    Kind,
    Objection,
    builds_of,
    candidate_of,
    objections,
    pythons_for,
)
from envdoctor.knowledge.fit import wheel_pythons
from envdoctor.knowledge.load import Knowledge
from envdoctor.model import Record
from envdoctor.model.speech import say
from envdoctor.model.stack import Request, Target
from envdoctor.model.version import major, minor, numbers, public
from envdoctor.resolver.companions import pythons_together


class Rejected(Record):
    """A build that does not fit, and everything that stands against it."""

    build: Build
    objections: tuple[Objection, ...]


def goal_of(request: Request, target: Target) -> Kind:
    """Tell what the stack should compute on.

    `auto` takes the GPU at hand: NVIDIA before AMD before Intel, and Apple's. A driver without a named GPU counts as an
    NVIDIA GPU of unknown model, since somebody described a machine by its driver.
    """
    vendors = {gpu.vendor for gpu in target.gpus}
    if target.os == "macos":
        apple = target.arch == "aarch64" and request.cuda == "auto"
        return "cuda" if request.cuda not in ("auto", "cpu") else "mps" if apple else "cpu"
    if request.cuda != "auto":
        return "cpu" if request.cuda == "cpu" else "cuda"
    if "nvidia" in vendors or (not vendors and target.driver):
        return "cuda"
    if "amd" in vendors and target.os == "linux":
        return "rocm"
    return "xpu" if "intel" in vendors else "cpu"


def judge(request: Request, target: Target, facts: Knowledge) -> tuple[tuple[Candidate, ...], tuple[Rejected, ...]]:
    """Judge every published build that could answer the request: those that fit, and why the others do not.

    Under `auto` the CPU builds are judged too, for a machine whose GPU nothing serves.
    """
    fitting: list[Candidate] = []
    rejected: list[Rejected] = []
    kinds = {goal_of(request, target)} | ({"cpu"} if request.cuda == "auto" else set())
    for build in (build for release in facts.torch_releases for build in builds_of(release) if build.kind in kinds):
        against = (*_unwanted(build, request), *objections(build, target, facts, request.python))
        excluded = companion_objection(build, request, target, facts)
        against = (*against, excluded) if excluded else against
        candidate = None if against else fitted(build, request, target, facts)
        if candidate is None:
            rejected.append(Rejected(build=build, objections=against))
        else:
            fitting.append(candidate)
    return tuple(fitting), tuple(rejected)


def fitted(build: Build, request: Request, target: Target, facts: Knowledge) -> Candidate | None:
    """Describe a build that fits, with what its companions leave of its Pythons; None: they leave nothing."""
    candidate = candidate_of(build, target, facts, request.python)
    if not request.companions:
        return candidate
    pythons, doubts, _ = pythons_together(request.companions, build, candidate.pythons, target, facts)
    return replace(candidate, pythons=pythons, doubts=(*candidate.doubts, *doubts)) if pythons else None


def companion_objection(build: Build, request: Request, target: Target, facts: Knowledge) -> Objection | None:
    """Say which companion goes with a build on no Python that could be had; None: all go."""
    if not request.companions:
        return None
    every = wheel_pythons(build.release, target.os, target.arch)
    pythons = pythons_for(build, target, request.python) or every
    return pythons_together(request.companions, build, pythons, target, facts)[2]


def wants_cuda(request: Request, cuda: str) -> bool:
    """Tell whether a CUDA version is the one that was asked for: 11.8 is itself, 12 is any of that major.

    >>> wants_cuda(Request(cuda="11.8.0"), "11.8"), wants_cuda(Request(cuda="12"), "12.6")
    (True, True)
    """
    wanted = request.cuda
    return major(wanted) == major(cuda) if "." not in wanted else minor(wanted) == minor(cuda)


def wants_version(request: Request, version: str) -> bool:
    """Tell whether a release is the one that was asked for: 2.7 is any of 2.7.0, 2.7.1."""
    if request.framework_version is None:
        return True
    wanted = numbers(public(request.framework_version))
    return numbers(version)[: len(wanted)] == wanted


def _unwanted(build: Build, request: Request) -> Iterator[Objection]:
    release = build.release
    if not wants_version(request, release.version):
        yield Objection(
            constraint="version",
            because=say("torch {framework_version} was asked for", framework_version=request.framework_version),
        )
    if build.cuda and request.cuda != "auto" and not wants_cuda(request, build.cuda):
        yield Objection(
            constraint="cuda", because=say("CUDA {cuda} was asked for", cuda=request.cuda), source=release.source
        )
