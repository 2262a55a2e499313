"""From a machine and a wish to a Stack."""

from __future__ import annotations

import re
from datetime import date

from envdoctor import errors
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.names import gpu_named, gpus_like
from envdoctor.model.speech import say
from envdoctor.model.stack import Conflict, FrameworkName, Plan, Request, Target, TargetGpu, TargetOs


def described(
    target: Target,
    facts: Knowledge,
    *,
    gpus: tuple[str, ...] = (),
    driver: str | None = None,
    os: TargetOs | None = None,
    glibc: str | None = None,
    arch: str | None = None,
) -> Target:
    """Change a target by what a person said of another machine.

    A GPU is named as NVML does ("RTX 3060", "NVIDIA GeForce RTX 3060"), by its compute capability ("8.6"), or by AMD's
    name of its kind ("gfx1100").

    Raises:
        errors.UsageProblem: a GPU is not known, or a version has no number in it.
    """
    for name, value in (("--driver", driver), ("--glibc", glibc)):
        if value is not None and not re.fullmatch(r"\d+(\.\d+)*", value):
            raise errors.UsageProblem(
                say("{option} {version} is not a version like 535.183.01", option=name, version=value)
            )
    elsewhere = os is not None and os != target.os
    return Target(
        os=os or target.os,
        arch=arch or target.arch,
        libc="glibc" if glibc or elsewhere else target.libc,
        glibc=glibc or (None if elsewhere else target.glibc),
        # A driver belongs to its machine: with other GPUs or another system named, this machine's says nothing.
        driver=driver or (None if gpus or elsewhere else target.driver),
        gpus=tuple(_gpu(name, facts) for name in gpus) or (() if elsewhere else target.gpus),
        python=None if elsewhere else target.python,
        pythons=target.pythons,
        avx=None if elsewhere or arch else target.avx,
    )


def _gpu(name: str, facts: Knowledge) -> TargetGpu:
    if re.fullmatch(r"\d{1,2}\.\d", name):
        return TargetGpu(vendor="nvidia", capability=name)
    if re.fullmatch(r"gfx[0-9a-f]{3,4}", name):
        return TargetGpu(vendor="amd", target=name)
    found = gpu_named(facts, name)
    if found is None:
        near = ", ".join(gpus_like(facts, name)[:4])
        kind = say("give its compute capability: 8.6")
        if re.search(r"(?i)\b(amd|radeon|instinct|rx|mi\d+x?)\b", name):
            kind = say("give its gfx target, which rocminfo prints: gfx1100")
        raise errors.UsageProblem(
            say("no GPU called {name} is known", name=name), say("did you mean: {near}?", near=near) if near else kind
        )
    return TargetGpu(vendor=found.vendor, name=found.name, capability=found.capability, target=found.target)


def companions(names: str | None, framework: FrameworkName) -> tuple[str, ...]:
    """Read the packages that must go with a framework: names with commas between them.

    Raises:
        errors.UsageProblem: one is not known, or the framework is not torch.
    """
    if not names:
        return ()
    from envdoctor.resolver.companions import COMPANIONS

    wanted = tuple(dict.fromkeys(name.strip().lower().replace("_", "-") for name in names.split(",") if name.strip()))
    unknown = [name for name in wanted if name not in COMPANIONS]
    if unknown:
        raise errors.UsageProblem(
            say("--with does not know {unknown}", unknown=", ".join(unknown)),
            say("it knows: {companions}", companions=", ".join(COMPANIONS)),
        )
    if framework != "torch":
        raise errors.UsageProblem(say("--with names packages for torch, and not for {framework}", framework=framework))
    return wanted


def plan(request: Request, target: Target, facts: Knowledge, today: date) -> Plan | Conflict:
    """Choose the best published stack for that target, or say why there is none; old facts are among the reasons."""
    from msgspec.structs import replace

    from envdoctor.knowledge.age import age_reason
    from envdoctor.resolver.choice import resolve

    chosen = resolve(request, target, facts)
    aged = age_reason(facts, request.framework, today, request.companions)
    return replace(chosen, reasons=(*chosen.reasons, aged)) if aged else chosen
