"""The best stack of TensorFlow or JAX, whose wheels are all on the plain package index; or why there is none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations

from msgspec.structs import replace

from envdoctor.knowledge.builds import Constraint, gpus_of, pythons_among
from envdoctor.knowledge.fit import driver_compiles
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.speech import say
from envdoctor.model.stack import Conflict, Plan, Reason, Request, Stack, Target
from envdoctor.model.version import numbers
from envdoctor.resolver import jax, tensorflow
from envdoctor.resolver.conflict import SHOWN, minimal, name_of, said
from envdoctor.resolver.drivers import why_cuda
from envdoctor.resolver.options import NAMES, Option
from envdoctor.resolver.plain_stacks import build_stack

_Rank = tuple[int, int, bool, bool, tuple[int, ...], bool, tuple[int, ...]]


def resolve(request: Request, target: Target, facts: Knowledge) -> Plan | Conflict:
    """Choose the best published stack of TensorFlow or JAX for a request and a machine, or say why none fits."""
    judged = _judge(request, target, facts)
    fitting = [each for each in judged if not each.objections]
    if not fitting:
        return _conflict(request, target, facts, judged)
    chosen = max(fitting, key=lambda each: _rank(each, request, target, facts))
    stack, reasons = build_stack(chosen, request, target, facts)
    return Plan(
        request=request,
        target=target,
        stack=stack,
        reasons=(
            *_why_device(chosen, judged, request, target),
            *_why_release(chosen, judged, request),
            *why_cuda(chosen.cuda, target, facts),
            *(Reason(choice=say("not certain"), because=doubt) for doubt in dict.fromkeys(chosen.doubts)),
            *reasons,
        ),
    )


def _judge(request: Request, target: Target, facts: Knowledge, *, on_gpu: bool = False) -> tuple[Option, ...]:
    """Judge every published set of wheels that could answer; under `auto` on a GPU machine the CPU's too.

    `on_gpu` judges those for CUDA under `auto` although no GPU is known.
    """
    source = tensorflow if request.framework == "tensorflow" else jax
    kinds = {"cpu"} if request.cuda in ("auto", "cpu") else {"cuda"}
    if on_gpu or _goal(request, target) == "cuda":
        kinds.add("cuda")
    return tuple(each for each in source.options(request, target, facts) if each.kind in kinds)


def _goal(request: Request, target: Target) -> str:
    if request.cuda != "auto":
        return "cpu" if request.cuda == "cpu" else "cuda"
    named = bool(gpus_of(target, "nvidia")) or (not target.gpus and target.driver is not None)
    return "cuda" if named and target.os != "macos" else "cpu"


def _rank(option: Option, request: Request, target: Target, facts: Knowledge) -> _Rank:
    """Order options, the best one highest.

    First whatever uses the GPU by itself; on native Windows only a release of 2022 uses one, so that the newest for
    the CPU comes first there unless a CUDA was asked for. Then as for torch: certain facts, machine code, the newest
    release, and the highest CUDA that the driver covers; without a driver to go by, the one that more drivers run.
    """
    last_resort = option.kind == "cuda" and not option.brings_cuda and target.os == "windows"
    use = 0 if last_resort else 2 if option.kind == "cuda" and option.brings_cuda else 1 if option.kind == "cuda" else 0
    if option.kind == "cpu" and target.os == "windows":
        use = 1
    covered = bool(option.cuda and target.driver and driver_compiles(facts, option.cuda, target.driver))
    cuda = numbers(option.cuda) if option.cuda else ()
    return (
        use,
        -len(option.doubts),
        not option.capability_jit,
        option.kind == "cpu" or option.brings_cuda,
        numbers(option.version),
        covered,
        cuda if covered else tuple(-number for number in cuda),
    )


def _why_device(chosen: Option, judged: tuple[Option, ...], request: Request, target: Target) -> Iterator[Reason]:
    vendors = {gpu.vendor for gpu in target.gpus}
    framework = NAMES[chosen.framework]
    if request.cuda == "cpu":
        yield Reason(choice=say("the CPU build"), because=say("it was asked for"))
    elif chosen.kind == "cuda" and "nvidia" not in vendors:
        because = say("no NVIDIA GPU was found or named: the stack is for another machine, or for a container")
        if request.cuda == "auto":
            because = say(
                "driver {driver} is an NVIDIA driver; no GPU was named, so its generation was not judged",
                driver=target.driver,
            )
        yield Reason(choice=say("a CUDA build"), because=because)
    elif chosen.kind == "cpu" and _goal(request, target) == "cuda":
        fits = [each for each in judged if each.kind == "cuda" and not each.objections]
        unfit = tuple(each for each in judged if each.kind == "cuda" and each.objections)
        if fits:
            old = max(fits, key=lambda each: numbers(each.version))
            because = say(
                "the newest {framework} that uses the GPU here is {version}, and it needs CUDA {cuda} and cuDNN "
                "{cudnn} on the machine (--cuda {cuda} chooses it)",
                framework=framework,
                version=old.version,
                cuda=old.cuda,
                cudnn=old.cudnn,
            )
        else:
            because = say("no GPU build of {framework} that fits this machine is published", framework=framework)
        yield Reason(choice=say("the CPU build"), because=because)
        yield from _unfit_reasons(unfit)
    elif chosen.kind == "cpu":
        others = sorted(vendors - {"nvidia", "other"})
        because = say("this machine has no GPU that it could use")
        if others:
            because = say(
                "{framework}'s packages for GPUs that are not NVIDIA's are published by others, and are not known here",
                framework=framework,
            )
        yield Reason(choice=say("the CPU build"), because=because)


def _unfit_reasons(unfit: tuple[Option, ...]) -> Iterator[Reason]:
    constraints = minimal(unfit)
    for constraint in constraints:
        if constraint not in ("cuda", "version"):
            yield from said(constraint, unfit, constraints)


def _why_release(chosen: Option, judged: tuple[Option, ...], request: Request) -> Iterator[Reason]:
    name = f"{NAMES[chosen.framework]} {chosen.version}"
    if request.framework_version:
        yield Reason(choice=name, because=say("it is the newest of the version asked for"), source=chosen.source)
        return
    newer = [each for each in judged if each.kind == chosen.kind and numbers(each.version) > numbers(chosen.version)]
    because = say("the newest release")
    if newer:
        because = say("the newest release that fits")
        first = newer[0]
        if first.objections:
            because = say(
                "the newest release that fits; {version} does not: {objection}",
                version=first.version,
                objection=first.objections[0].because,
            )
        elif first.doubts:
            because = say(
                "the newest release that fits and is certain; {version} is not: {doubt}",
                version=first.version,
                doubt=first.doubts[0],
            )
    yield Reason(choice=name, because=because, source=chosen.source)


def _conflict(request: Request, target: Target, facts: Knowledge, judged: tuple[Option, ...]) -> Conflict:
    constraints = minimal(judged)
    names = [name_of(constraint, request, target) for constraint in constraints]
    together = (
        say("{name} together with {others}", name=names[0], others=say(" and ").join(names[1:]))
        if len(names) > 1
        else "".join(names)
    )
    reasons: list[Reason] = []
    for constraint in constraints:
        if constraint in ("cuda", "version"):
            reasons.append(_wish(constraint, request, judged))
        else:
            reasons += said(constraint, judged, constraints)
    return Conflict(
        summary=say(
            "No published build of {names} fits {together}.", names=NAMES[request.framework], together=together
        ),
        reasons=tuple(reasons),
        alternatives=_alternatives(request, target, facts),
    )


def _wish(constraint: Constraint, request: Request, judged: tuple[Option, ...]) -> Reason:
    name = NAMES[request.framework]
    met = [each for each in judged if all(o.constraint != constraint for o in each.objections)]
    if constraint == "version":
        known = sorted({each.version for each in met or judged}, key=numbers)
        choice, source = f"{name} {request.framework_version}", (met or judged)[0].source
        if met:
            because = say("it was asked for, so that only {known} counts", known=", ".join(known))
        else:
            own = [o for each in judged for o in each.objections if o.constraint == "version"]
            # One with a source tells something of that release; the others say that another one was asked for.
            named = re.compile(rf"(?<![\d.]){re.escape(request.framework_version or '')}(?![\d.])")
            asked = [o for o in own if o.source and named.search(o.because)]
            because = say(
                "{name} {framework_version} is not in the tables, which have {oldest} to {newest}",
                name=name,
                framework_version=request.framework_version,
                oldest=known[0],
                newest=known[-1],
            )
            because = asked[0].because if asked else because
        return Reason(choice=choice, because=because, source=source)
    if met:
        versions = sorted({each.version for each in met}, key=numbers)
        only = (
            versions[0] if len(versions) == 1 else say("{oldest} to {newest}", oldest=versions[0], newest=versions[-1])
        )
        because = say(
            "CUDA {cuda} was asked for, and {name} has it in {only} only", cuda=request.cuda, name=name, only=only
        )
        return Reason(choice=say("CUDA {cuda}", cuda=request.cuda), because=because, source=met[0].source)
    every = sorted({each.cuda for each in judged if each.cuda}, key=numbers)
    because = say(
        "no {name} in the tables is for CUDA {cuda}; it was published for {every}",
        name=name,
        cuda=request.cuda,
        every=", ".join(every),
    )
    return Reason(choice=say("CUDA {cuda}", cuda=request.cuda), because=because, source=judged[0].source)


def _alternatives(request: Request, target: Target, facts: Knowledge) -> tuple[Stack, ...]:
    """Give the nearest stacks that fit: each wish dropped alone, then the CPU, then several wishes dropped."""
    wishes = [
        name
        for name, said_ in (
            ("framework_version", request.framework_version is not None),
            ("cuda", request.cuda not in ("auto", "cpu")),
            ("python", request.python is not None),
        )
        if said_
    ]
    found: list[Stack] = []
    for size in range(1, len(wishes) + 1):
        for dropped in combinations(wishes, size):
            wish = replace(request, **{name: "auto" if name == "cuda" else None for name in dropped})
            found += _nearest(wish, request, target, facts)
        if size == 1 and "cuda" in wishes:
            found += _nearest(replace(request, cuda="cpu"), request, target, facts)
        if found:
            break
    unique = {(stack.framework_version, stack.variant, stack.python): stack for stack in reversed(found)}
    return tuple(reversed(unique.values()))[:SHOWN]


def _nearest(wish: Request, request: Request, target: Target, facts: Knowledge) -> list[Stack]:
    on_gpu = request.cuda not in ("auto", "cpu") and wish.cuda == "auto"
    fitting = [each for each in _judge(wish, target, facts, on_gpu=on_gpu) if not each.objections]
    if not fitting:
        return []
    best = max(fitting, key=lambda each: (-_far(each.version, request), *_rank(each, wish, target, facts)))
    if request.python and wish.python is None:
        wanted = numbers(request.python)[1]
        pythons = pythons_among(best.pythons, target)
        best = replace(best, pythons=(min(pythons, key=lambda each: abs(numbers(each)[1] - wanted)),))
    return [build_stack(best, wish, target, facts)[0]]


def _far(version: str, request: Request) -> int:
    """Tell how many minor versions a release is from the one that was asked for."""
    if request.framework_version is None:
        return 0
    have, wanted = ((*numbers(each), 0) for each in (version, request.framework_version))
    return abs((have[0] - wanted[0]) * 100 + have[1] - wanted[1])
