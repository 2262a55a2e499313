"""The best published stack for a request and a machine, with its reasons; or why there is none."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from envdoctor.knowledge.builds import XPU_GUIDE, Candidate, card_name, gpus_of
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.ranking import best
from envdoctor.model.speech import say
from envdoctor.model.stack import Conflict, Plan, Reason, Request, Target
from envdoctor.model.version import numbers
from envdoctor.resolver.candidates import Rejected, goal_of, judge
from envdoctor.resolver.conda import conda_for_gpus
from envdoctor.resolver.conflict import conflict, minimal, why_none
from envdoctor.resolver.drivers import why_cuda
from envdoctor.resolver.jetson import jetson_ways
from envdoctor.resolver.stacks import build_stack

_MPS = "https://developer.apple.com/metal/pytorch/"


def resolve(request: Request, target: Target, facts: Knowledge) -> Plan | Conflict:
    """Choose the best published stack that fits a request and a machine, or say why none does.

    Only builds that are in the tables are ever chosen. The same arguments give the same answer.
    """
    if request.framework == "torch":
        found = _torch(request, target, facts)
    else:
        from envdoctor.resolver import plain

        found = plain.resolve(request, target, facts)
    return found if isinstance(found, Plan) else _with_ways(found, request, target, facts)


def _with_ways(found: Conflict, request: Request, target: Target, facts: Knowledge) -> Conflict:
    from envdoctor.resolver.forward import forward

    offered = forward(request, target, facts, resolve)
    ways = (*jetson_ways(request, target, facts), *offered.ways)
    return replace(found, reasons=(*found.reasons, *offered.reasons), ways=ways)


def _torch(request: Request, target: Target, facts: Knowledge) -> Plan | Conflict:
    fitting, rejected = judge(request, target, facts)
    chosen = best(fitting, target, facts)
    # A Jetson module computes with NVIDIA's own builds; the processor's, chosen in silence, would be no answer.
    if chosen is None or (chosen.build.kind == "cpu" and jetson_ways(request, target, facts)):
        return conflict(request, target, facts, rejected)
    built = build_stack(chosen, request, target, facts)
    reasons = (
        *_why_device(chosen, rejected, request, target, facts),
        *_why_release(chosen, fitting, rejected, request, facts),
        *why_cuda(chosen.build.cuda, target, facts),
        *_why_code(chosen, target),
        *(Reason(choice=say("not certain"), because=doubt) for doubt in chosen.doubts),
        *built.reasons,
    )
    return Plan(request=request, target=target, stack=built.stack, reasons=reasons)


def _why_device(
    chosen: Candidate, rejected: tuple[Rejected, ...], request: Request, target: Target, facts: Knowledge
) -> Iterator[Reason]:
    goal, kind = goal_of(request, target), chosen.build.kind
    vendors: set[str] = {gpu.vendor for gpu in target.gpus}
    if request.cuda == "cpu":
        yield Reason(choice=say("the CPU build"), because=say("it was asked for"))
    elif kind == "cuda" and "nvidia" not in vendors:
        if request.cuda == "auto":
            because = say(
                "driver {driver} is an NVIDIA driver; no GPU was named, so its generation was not judged",
                driver=target.driver,
            )
        else:
            because = say("no NVIDIA GPU was found or named: the stack is for another machine, or for a container")
        yield Reason(choice=say("a CUDA build"), because=because)
    elif goal != kind:
        accelerated = tuple(each for each in rejected if each.build.kind == goal)
        yield Reason(choice=say("the CPU build"), because=say("no GPU build that fits this machine is published"))
        yield from why_none(accelerated, minimal(accelerated), request, facts)
        elsewhere = conda_for_gpus(target, facts) if goal == "cuda" else None
        if elsewhere:
            yield elsewhere
        yield from _one_at_a_time(request, target, facts)
    elif kind == "rocm":
        yield Reason(
            choice=chosen.build.tag,
            because=say(
                "it is built for {cards}; ROCm's own kernel driver is needed",
                cards=", ".join(card_name(gpu) for gpu in gpus_of(target, "amd")),
            ),
            source=next(row.source for row in facts.rocm_indexes if row.tag == chosen.build.tag),
        )
    elif kind == "xpu":
        because = say(
            "it is built for Intel GPUs (Arc and Data Center GPU Max); Intel's own driver is needed, in a container too"
        )
        yield Reason(choice="xpu", because=because, source=XPU_GUIDE)
    elif kind == "mps":
        yield Reason(
            choice=say("the macOS build"), because=say("the plain wheel uses Apple's GPU through MPS"), source=_MPS
        )
    elif kind == "cpu":
        yield from _why_cpu(target, vendors)
    if kind == "cuda" and "amd" in vendors:
        yield Reason(
            choice=say("NVIDIA before AMD"), because=say("one build serves one vendor; the AMD GPU stays unused")
        )


def _one_at_a_time(request: Request, target: Target, facts: Knowledge) -> Iterator[Reason]:
    """Say what each card of a mixed machine runs by itself, where no build serves them all."""
    gpus = tuple(dict.fromkeys(gpus_of(target, "nvidia")))
    for gpu in gpus if len(gpus) > 1 else ():
        found = _torch(request, replace(target, gpus=(gpu,)), facts)
        if isinstance(found, Plan) and found.stack.cuda:
            stack = found.stack
            because = say(
                "torch {framework_version}+{variant} runs on it: name that card alone with --gpu, and keep the others "
                "out with CUDA_VISIBLE_DEVICES",
                framework_version=stack.framework_version,
                variant=stack.variant,
            )
            yield Reason(choice=say("{card_name} by itself", card_name=card_name(gpu)), because=because)


def _why_cpu(target: Target, vendors: set[str]) -> Iterator[Reason]:
    if "amd" in vendors:
        because = say("PyTorch's ROCm builds are for Linux, and this is {os}", os=target.os)
        yield Reason(choice=say("the CPU build"), because=because)
    else:
        yield Reason(choice=say("the CPU build"), because=say("this machine has no GPU that torch could use"))


def _why_release(
    chosen: Candidate,
    fitting: tuple[Candidate, ...],
    rejected: tuple[Rejected, ...],
    request: Request,
    facts: Knowledge,
) -> Iterator[Reason]:
    release, kind = chosen.build.release, chosen.build.kind
    name = say("torch {version}", version=release.version)
    if request.framework_version:
        yield Reason(choice=name, because=say("it is the newest of the version asked for"), source=release.source)
        return
    newer = [row for row in facts.torch_releases if numbers(row.version) > numbers(release.version)]
    for row in newer[-1:]:
        skipped = next((each for each in fitting if each.build.release == row and each.build.kind == kind), None)
        objection = next((e.objections[0] for e in rejected if e.build.release == row and e.build.kind == kind), None)
        because = say("the newest release that fits")
        if skipped and skipped.doubts:
            because = say(
                "the newest release that fits and is certain; {version} is not: {doubt}",
                version=row.version,
                doubt=skipped.doubts[0],
            )
        elif objection:
            because = say(
                "the newest release that fits; {version} does not: {objection}",
                version=row.version,
                objection=objection.because,
            )
        elif kind == "xpu":
            because = say(
                "the newest release that fits; whether {version} and later have a build for Intel GPUs was not read",
                version=row.version,
            )
        yield Reason(choice=name, because=because, source=release.source)
    if not newer:
        yield Reason(choice=name, because=say("the newest release"), source=release.source)


def _why_code(chosen: Candidate, target: Target) -> Iterator[Reason]:
    variant = chosen.build.variant
    if variant is None or chosen.build.kind != "cuda":
        return
    for gpu in dict.fromkeys(gpus_of(target, "nvidia")):
        if gpu.capability is None or chosen.doubts:
            continue
        how = say("PTX that the driver compiles at the first start") if chosen.jit else say("machine code")
        because = say("{name} has {how} for it", name=chosen.build.name, how=how)
        yield Reason(choice=card_name(gpu), because=because, source=variant.sm_source)
