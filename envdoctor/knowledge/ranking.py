"""Which of several builds that fit is the better one."""

from __future__ import annotations

from collections.abc import Iterable

from envdoctor.knowledge.builds import Candidate
from envdoctor.knowledge.fit import driver_compiles
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.stack import Target
from envdoctor.model.version import numbers

Rank = tuple[bool, int, bool, tuple[int, ...], bool, bool, tuple[int, ...]]


def rank(candidate: Candidate, target: Target, facts: Knowledge) -> Rank:
    """Give what orders candidates, the best one highest.

    A build that uses the GPU comes before one that does not; certain facts before doubted ones; machine code before
    code that the driver must compile; then the newest release. Inside a release the highest CUDA that the driver
    offers itself comes first, and where it offers none of them, the one nearest to it. Without a driver to go by,
    the build that is the release's default comes first.
    """
    build = candidate.build
    native = covers(candidate, target, facts)
    closeness = numbers(build.cuda) if build.cuda else ()
    if native is False:
        closeness = tuple(-number for number in closeness)
    return (
        build.kind != "cpu",
        -len(candidate.doubts),
        not candidate.jit,
        numbers(build.release.version),
        native is not False,
        native is None and build.tag == build.release.default_linux,
        closeness if build.kind == "cuda" else numbers(build.tag) if build.kind == "rocm" else (),
    )


def covers(candidate: Candidate, target: Target, facts: Knowledge) -> bool | None:
    """Tell whether the driver itself offers the build's CUDA, so that nothing rests on minor-version compatibility.

    None: there is no driver to go by, or no CUDA.
    """
    cuda = candidate.build.cuda
    return None if cuda is None or target.driver is None else driver_compiles(facts, cuda, target.driver)


def best(candidates: Iterable[Candidate], target: Target, facts: Knowledge) -> Candidate | None:
    """Give the best candidate, or None of none."""
    return max(candidates, key=lambda each: rank(each, target, facts), default=None)
