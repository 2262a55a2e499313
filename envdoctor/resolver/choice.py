"""The best published stack for a request and a machine, with its reasons; or why there is none."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.builds import Candidate, card_name, gpus_of
from envdoctor.knowledge.fit import driver_floor, driver_side
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.ranking import best, covers
from envdoctor.model.stack import Conflict, Plan, Reason, Request, Target
from envdoctor.model.version import major, numbers
from envdoctor.resolver.candidates import Rejected, goal_of, judge
from envdoctor.resolver.conflict import conflict, minimal, why_none
from envdoctor.resolver.stacks import build_stack

_XPU = "https://download.pytorch.org/whl/xpu"
_MPS = "https://developer.apple.com/metal/pytorch/"
_MINOR = "https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html"
_UV = "https://github.com/astral-sh/uv/pull/17380"


def resolve(request: Request, target: Target, facts: Knowledge) -> Plan | Conflict:
    """Choose the best published stack that fits a request and a machine, or say why none does.

    Only builds that are in the tables are ever chosen. The same arguments give the same answer.
    """
    if request.framework != "torch":
        from envdoctor.resolver import plain

        return plain.resolve(request, target, facts)
    fitting, rejected = judge(request, target, facts)
    chosen = best(fitting, target, facts)
    if chosen is None:
        return conflict(request, target, facts, rejected)
    built = build_stack(chosen, request, target, facts)
    reasons = (
        *_why_device(chosen, rejected, request, target, facts),
        *_why_release(chosen, fitting, rejected, request, facts),
        *_why_cuda(chosen, target, facts),
        *_why_code(chosen, target),
        *(Reason(choice="not certain", because=doubt) for doubt in chosen.doubts),
        *built.reasons,
    )
    return Plan(request=request, target=target, stack=built.stack, reasons=reasons)


def _why_device(
    chosen: Candidate, rejected: tuple[Rejected, ...], request: Request, target: Target, facts: Knowledge
) -> Iterator[Reason]:
    goal, kind = goal_of(request, target), chosen.build.kind
    vendors: set[str] = {gpu.vendor for gpu in target.gpus}
    if request.cuda == "cpu":
        yield Reason(choice="the CPU build", because="it was asked for")
    elif kind == "cuda" and "nvidia" not in vendors:
        if request.cuda == "auto":
            because = f"driver {target.driver} is an NVIDIA driver; no GPU was named, so its generation was not judged"
        else:
            because = "no NVIDIA GPU was found or named: the stack is for another machine, or for a container"
        yield Reason(choice="a CUDA build", because=because)
    elif goal != kind:
        accelerated = tuple(each for each in rejected if each.build.kind == goal)
        yield Reason(choice="the CPU build", because="no GPU build that fits this machine is published")
        yield from why_none(accelerated, minimal(accelerated), request, facts)
    elif kind == "rocm":
        yield Reason(
            choice=chosen.build.tag,
            because=f"it is built for {', '.join(card_name(gpu) for gpu in gpus_of(target, 'amd'))}; "
            "ROCm's own kernel driver is needed",
            source=next(row.source for row in facts.rocm_indexes if row.tag == chosen.build.tag),
        )
    elif kind == "mps":
        yield Reason(choice="the macOS build", because="the plain wheel uses Apple's GPU through MPS", source=_MPS)
    elif kind == "cpu":
        yield from _why_cpu(target, vendors)
    if kind == "cuda" and "amd" in vendors:
        yield Reason(choice="NVIDIA before AMD", because="one build serves one vendor; the AMD GPU stays unused")


def _why_cpu(target: Target, vendors: set[str]) -> Iterator[Reason]:
    if "intel" in vendors:
        because = f"PyTorch's builds for Intel GPUs are on an index of their own, {_XPU}, and were not verified here"
        yield Reason(choice="the CPU build", because=because, source=_UV)
    elif "amd" in vendors:
        because = f"PyTorch's ROCm builds are for Linux, and this is {target.os}"
        yield Reason(choice="the CPU build", because=because)
    else:
        yield Reason(choice="the CPU build", because="this machine has no GPU that torch could use")


def _why_release(
    chosen: Candidate,
    fitting: tuple[Candidate, ...],
    rejected: tuple[Rejected, ...],
    request: Request,
    facts: Knowledge,
) -> Iterator[Reason]:
    release, kind = chosen.build.release, chosen.build.kind
    name = f"torch {release.version}"
    if request.framework_version:
        yield Reason(choice=name, because="it is the newest of the version asked for", source=release.source)
        return
    newer = [row for row in facts.torch_releases if numbers(row.version) > numbers(release.version)]
    for row in newer[-1:]:
        skipped = next((each for each in fitting if each.build.release == row and each.build.kind == kind), None)
        objection = next((e.objections[0] for e in rejected if e.build.release == row and e.build.kind == kind), None)
        because = "the newest release that fits"
        if skipped and skipped.doubts:
            because += f" and is certain; {row.version} is not: {skipped.doubts[0]}"
        elif objection:
            because += f"; {row.version} does not: {objection.because}"
        yield Reason(choice=name, because=because, source=release.source)
    if not newer:
        yield Reason(choice=name, because="the newest release", source=release.source)


def _why_cuda(chosen: Candidate, target: Target, facts: Knowledge) -> Iterator[Reason]:
    cuda = chosen.build.cuda
    if cuda is None:
        return
    side = driver_side(target.os)
    floor, family = driver_floor(facts, cuda, target.os), facts.cuda_family(cuda)
    source = family.source if family else None
    whose = "Windows driver" if side == "windows" else "driver"
    if target.driver is None:
        because = f"it needs a {whose} of {floor} or newer" if floor else "which driver it needs is not known"
    elif covers(chosen, target, facts):
        because = f"{whose} {target.driver} offers CUDA {facts.driver_cuda(target.driver)}, which covers it"
    else:
        because = (
            f"{whose} {target.driver} offers CUDA {facts.driver_cuda(target.driver)}, and runs it by minor-version "
            f"compatibility: it is newer than {floor}, the floor of CUDA {major(cuda)}.x"
            if target.driver != floor
            else f"{whose} {target.driver} is the very floor of CUDA {major(cuda)}.x"
        )
        source = _MINOR
    if side == "windows" and family and family.windows_doubt:
        because += f" ({family.windows_doubt})"
    yield Reason(choice=f"CUDA {cuda}", because=because, source=source)


def _why_code(chosen: Candidate, target: Target) -> Iterator[Reason]:
    variant = chosen.build.variant
    if variant is None or chosen.build.kind != "cuda":
        return
    for gpu in dict.fromkeys(gpus_of(target, "nvidia")):
        if gpu.capability is None or chosen.doubts:
            continue
        how = "PTX that the driver compiles at the first start" if chosen.jit else "machine code"
        because = f"{chosen.build.name} has {how} for it"
        yield Reason(choice=card_name(gpu), because=because, source=variant.sm_source)
