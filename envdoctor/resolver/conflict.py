"""Why nothing fits: the fewest constraints that together exclude every build, and the nearest stacks that do fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import Protocol

from msgspec.structs import replace

from envdoctor.knowledge.builds import CONSTRAINTS, Build, Candidate, Constraint, Objection, pythons_for
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.ranking import rank
from envdoctor.model.speech import say
from envdoctor.model.stack import Conflict, Reason, Request, Stack, Target
from envdoctor.model.version import numbers
from envdoctor.resolver.candidates import Rejected, fitted, goal_of, judge
from envdoctor.resolver.stacks import build_stack

SHOWN = 3


class _Against(Protocol):
    """Whatever was judged, with what stands against it."""

    @property
    def objections(self) -> tuple[Objection, ...]:
        """What stands against it."""


def minimal(rejected: Iterable[_Against]) -> tuple[Constraint, ...]:
    """Find the fewest constraints such that each build is excluded by at least one of them."""
    against = {frozenset(objection.constraint for objection in each.objections) for each in rejected}
    for size in range(1, len(CONSTRAINTS) + 1):
        for chosen in combinations(CONSTRAINTS, size):
            if all(not each.isdisjoint(chosen) for each in against):
                return chosen
    return ()


def why_none(
    rejected: tuple[Rejected, ...], constraints: tuple[Constraint, ...], request: Request, facts: Knowledge
) -> tuple[Reason, ...]:
    """Say what each of the constraints excludes, in facts."""
    reasons = []
    for constraint in constraints:
        if constraint in ("cuda", "version"):
            reasons.append(_wish(constraint, rejected, request, facts))
            continue
        reasons += said(constraint, rejected, constraints)
    return tuple(reasons)


def conflict(request: Request, target: Target, facts: Knowledge, rejected: tuple[Rejected, ...]) -> Conflict:
    """Explain that nothing fits, and offer up to three stacks that do once one wish is dropped."""
    constraints = minimal(rejected)
    # A person with a GPU is told what stands against builds for it, and not that those for the CPU are none.
    told = tuple(each for each in rejected if each.build.kind == goal_of(request, target))
    told = told if "companion" in constraints and told else rejected
    names = [name_of(constraint, request, target) for constraint in constraints]
    together = (
        say("{name} together with {others}", name=names[0], others=say(" and ").join(names[1:]))
        if len(names) > 1
        else "".join(names)
    )
    return Conflict(
        summary=say("No published build of torch fits {together}.", together=together),
        reasons=why_none(told, constraints, request, facts),
        alternatives=_alternatives(request, target, facts, rejected),
    )


def said(constraint: Constraint, rejected: Sequence[_Against], constraints: tuple[Constraint, ...]) -> list[Reason]:
    """Say what stands against the builds that come nearest: those that nothing else excludes."""
    against = [each for each in rejected if any(o.constraint == constraint for o in each.objections)]
    near = [each for each in against if {o.constraint for o in each.objections} <= set(constraints)] or against
    fewest = min(len(each.objections) for each in near)
    every = list(
        {
            o.because: o
            for each in near
            if len(each.objections) == fewest
            for o in each.objections
            if o.constraint == constraint
        }.values()
    )
    if constraint in ("driver", "gpu"):
        every.sort(key=lambda objection: objection.source is None)
        return [_reason(objection) for objection in every[:SHOWN]]
    # Every release says the same of a platform or a Python; the oldest one asks least of glibc.
    return [_reason(every[-1] if constraint == "glibc" else every[0])]


def _reason(objection: Objection) -> Reason:
    choice = {
        "platform": "platform",
        "processor": "processor",
        "libc": say("C library"),
        "glibc": say("C library"),
        "python": "Python",
        "companion": say("packages beside torch"),
        "driver": "driver",
        "gpu": "GPU",
    }[objection.constraint]
    return Reason(choice=choice, because=objection.because, source=objection.source)


def _wish(constraint: Constraint, rejected: tuple[Rejected, ...], request: Request, facts: Knowledge) -> Reason:
    source = facts.torch_releases[0].source
    met = [each.build for each in rejected if all(o.constraint != constraint for o in each.objections)]
    builds = sorted(met or (each.build for each in rejected), key=lambda build: numbers(build.release.version))
    first, last = builds[0].release.version, builds[-1].release.version
    range_ = first if first == last else say("{oldest} to {newest}", oldest=first, newest=last)
    if constraint == "version":
        releases = ", ".join(dict.fromkeys(build.release.version for build in builds))
        because = (
            say("it was asked for, so that only {releases} counts", releases=releases)
            if met
            else say(
                "torch {framework_version} is not in the tables, which have {versions}",
                framework_version=request.framework_version,
                versions=range_,
            )
        )
        return Reason(
            choice=say("torch {framework_version}", framework_version=request.framework_version),
            because=because,
            source=builds[-1].release.source,
        )
    if met:
        source = builds[-1].release.source
        because = say(
            "CUDA {cuda} was asked for, and torch has it in {versions} only", cuda=request.cuda, versions=range_
        )
    else:
        every = sorted({build.cuda for build in builds if build.cuda}, key=numbers)
        because = say(
            "torch was never published for CUDA {cuda}; it was for {every}", cuda=request.cuda, every=", ".join(every)
        )
    return Reason(choice=say("CUDA {cuda}", cuda=request.cuda), because=because, source=source)


def name_of(constraint: Constraint, request: Request, target: Target) -> str:
    """Name what a constraint is on that request and machine, for a sentence: CUDA 11.8."""
    driver = say("Windows driver") if target.os in ("windows", "wsl2") else "driver"
    python = request.python or " or ".join(target.pythons or ())
    return {
        "platform": say("{os} on {arch}", os=target.os, arch=target.arch),
        "processor": say("a processor without AVX"),
        "libc": say("a system with musl"),
        "glibc": say("glibc {glibc}", glibc=target.glibc),
        "version": say("version {framework_version}", framework_version=request.framework_version),
        "cuda": say("CUDA {cuda}", cuda=request.cuda),
        "python": say("Python {python}", python=python),
        "companion": " and ".join(request.companions),
        "driver": say("the {driver} {target_driver}", driver=driver, target_driver=target.driver),
        "gpu": say("the GPUs") if len(target.gpus) > 1 else say("the GPU"),
    }[constraint]


def _alternatives(
    request: Request, target: Target, facts: Knowledge, rejected: tuple[Rejected, ...]
) -> tuple[Stack, ...]:
    """Give the nearest stacks that fit: each wish dropped alone, then the CPU, then several wishes dropped."""
    found: list[Stack] = []
    wishes = _wishes(request)
    for size in range(1, len(wishes) + 1):
        for dropped in combinations(wishes, size):
            found += _relaxed(request, target, facts, rejected, dropped)
        if size == 1 and goal_of(request, target) != "cpu" and request.cuda != "auto":
            found += _on_cpu(request, target, facts)
        if found:
            break
    if not wishes and goal_of(request, target) != "cpu":
        found = _on_cpu(request, target, facts)
    unique = {(stack.framework_version, stack.variant, stack.python): stack for stack in reversed(found)}
    return tuple(reversed(unique.values()))[:SHOWN]


def _wishes(request: Request) -> tuple[Constraint, ...]:
    wishes: list[Constraint] = []
    if request.framework_version is not None:
        wishes.append("version")
    if request.cuda not in ("auto", "cpu"):
        wishes.append("cuda")
    if request.python is not None:
        wishes.append("python")
    if request.companions:
        wishes.append("companion")
    return tuple(wishes)


def _relaxed(
    request: Request,
    target: Target,
    facts: Knowledge,
    rejected: tuple[Rejected, ...],
    dropped: tuple[Constraint, ...],
) -> list[Stack]:
    """Give the stacks nearest to the request among those that fit once these wishes are dropped."""
    wish = request
    if "version" in dropped:
        wish = replace(wish, framework_version=None)
    if "python" in dropped:
        wish = replace(wish, python=None)
    if "cuda" in dropped:
        wish = replace(wish, cuda="auto")
    if "companion" in dropped:
        wish = replace(wish, companions=())
    close = (
        fitted(each.build, wish, target, facts)
        for each in rejected
        if {objection.constraint for objection in each.objections} <= set(dropped)
        and pythons_for(each.build, target, wish.python)
    )
    near = [each for each in close if each is not None]
    near = [_nearest_python(each, request) if "python" in dropped else each for each in near]
    near.sort(key=lambda each: rank(each, target, facts), reverse=True)
    if "version" in dropped:
        near.sort(key=lambda each: (len(each.doubts), *_far_release(each.build, request)))
    if "cuda" in dropped and near:
        near = _around(near, request)
    return [build_stack(each, wish, target, facts).stack for each in near[: 2 if "cuda" in dropped else 1]]


def _nearest_python(candidate: Candidate, request: Request) -> Candidate:
    wanted = numbers(request.python or "")
    nearest = min(candidate.pythons, key=lambda each: (abs(numbers(each)[1] - wanted[1]), -numbers(each)[1]))
    return replace(candidate, pythons=(nearest,))


def _far_release(build: Build, request: Request) -> tuple[int, bool]:
    def place(version: str) -> int:
        first, second, *_ = (*numbers(version), 0)
        return first * 100 + second

    wanted, have = place(request.framework_version or ""), place(build.release.version)
    return abs(have - wanted), have < wanted


def _around(near: list[Candidate], request: Request) -> list[Candidate]:
    """Give the best build of the next CUDA below the one that was asked for, and of the next above."""
    wanted = numbers(request.cuda)

    def first(keep: Callable[[tuple[int, ...]], bool], pick: Callable[..., tuple[int, ...]]) -> list[Candidate]:
        side = [numbers(each.build.cuda) for each in near if each.build.cuda and keep(numbers(each.build.cuda))]
        if not side:
            return []
        return [next(each for each in near if each.build.cuda and numbers(each.build.cuda) == pick(side))]

    return first(lambda cuda: cuda < wanted, max) + first(lambda cuda: cuda > wanted, min)


def _on_cpu(request: Request, target: Target, facts: Knowledge) -> list[Stack]:
    wish = replace(request, cuda="cpu")
    fitting, _ = judge(wish, target, facts)
    ordered = sorted(fitting, key=lambda each: rank(each, target, facts), reverse=True)
    return [build_stack(each, wish, target, facts).stack for each in ordered[:1]]
