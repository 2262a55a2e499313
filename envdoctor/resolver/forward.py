"""cuda-compat: when a driver that is too old can still run a CUDA that was asked for, and when it cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from envdoctor.knowledge.builds import gpus_of
from envdoctor.knowledge.fit import driver_knows, driver_runs
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.names import gpu_named
from envdoctor.knowledge.tables.toolkits import CudaCompatBase
from envdoctor.model.finding import Fix
from envdoctor.model.speech import say
from envdoctor.model.stack import Conflict, Plan, Reason, Request, Target
from envdoctor.model.version import at_least, major
from envdoctor.resolver.candidates import wants_cuda

_PAGE = "https://docs.nvidia.com/deploy/cuda-compatibility/forward-compatibility.html"


class Offered(NamedTuple):
    """What can be done with cuda-compat, or why nothing can; both empty: the driver is not what stands in the way."""

    ways: tuple[Fix, ...] = ()
    reasons: tuple[Reason, ...] = ()


def forward(
    request: Request,
    target: Target,
    facts: Knowledge,
    resolve: Callable[[Request, Target, Knowledge], Plan | Conflict],
) -> Offered:
    """Say whether a cuda-compat package would let the CUDA that was asked for run on a driver that is too old for it.

    The package brings the user-mode half of a newer driver. It changes the machine, so it is named as a way and no
    stack rests on it, least of all under `auto`. `resolve` judges the machine as it would be with the package.
    """
    if request.cuda in ("auto", "cpu") or target.driver is None:
        return Offered()
    if driver_runs(facts, request.cuda, target.driver, target.os) is not False or major(request.cuda) < 11:
        return Offered()
    barred = _barred(request, target, facts)
    if barred:
        return Offered(reasons=(barred,))
    for row in facts.cuda_compat_bases:
        if major(target.driver) in row.branches and wants_cuda(request, row.cuda):
            newer = next(each.first for each in facts.driver_branches if at_least(each.cuda, row.cuda))
            found = resolve(request, replace(target, driver=newer), facts)
            return Offered(ways=(_way(row, found, target),)) if isinstance(found, Plan) else Offered()
    return Offered(reasons=(_no_base(request, target, facts),))


def _barred(request: Request, target: Target, facts: Knowledge) -> Reason | None:
    """Say what forbids the package whatever the driver is; None: nothing does."""
    package = _package(request.cuda)
    if target.os != "linux":
        because = say("it is described for the Linux driver; nothing of the kind is for Windows or WSL 2")
        return Reason(choice=say("no {package}", package=package), because=because, source=_PAGE)
    for gpu in gpus_of(target, "nvidia"):
        row = gpu_named(facts, gpu.name) if gpu.name else None
        if row is None:
            return Reason(
                choice=say("perhaps {package}", package=package),
                because=say("it runs on data-centre GPUs, and which card this is, is not known: name it with --gpu"),
                source=_PAGE,
            )
        if row.kind != "datacenter":
            because = say(
                "it is for data-centre GPUs and a few certified servers, not for {name}: update the driver",
                name=row.name,
            )
            return Reason(choice=say("no {package}", package=package), because=because, source=_PAGE)
        if gpu.capability and driver_knows(facts, target.driver or "", gpu.capability) is False:
            because = say(
                "the kernel's half of the driver must know {name}, and that of {driver} does not",
                name=row.name,
                driver=target.driver,
            )
            return Reason(choice=say("no {package}", package=package), because=because, source=_PAGE)
    if not gpus_of(target, "nvidia"):
        because = say("it would help on a data-centre GPU (T4, V100, A100 …): name the card with --gpu")
        return Reason(choice=say("perhaps {package}", package=package), because=because, source=_PAGE)
    return None


def _way(row: CudaCompatBase, found: Plan, target: Target) -> Fix:
    package, stack = _package(row.cuda), found.stack
    doubt = f" ({row.doubt})" if row.doubt else ""
    return Fix(
        summary=say(
            "Install {package} from NVIDIA's repository: it brings the user-mode driver of CUDA {cuda}, which "
            "NVIDIA's image accepts on branch R{driver}{doubt}. Put /usr/local/cuda-{cuda}/compat first on "
            "LD_LIBRARY_PATH; then {framework} {framework_version} ({variant}) runs. A newer driver is the simpler "
            "way where you may install one. {source}",
            package=package,
            cuda=row.cuda,
            driver=major(target.driver or ""),
            doubt=doubt,
            framework=stack.framework,
            framework_version=stack.framework_version,
            variant=stack.variant,
            source=row.source,
        ),
        commands=(("sudo", "apt-get", "install", package), stack.pip_command),
        effect="needs-root",
        page=_PAGE,
    )


def _no_base(request: Request, target: Target, facts: Knowledge) -> Reason:
    rows = [row for row in facts.cuda_compat_bases if wants_cuda(request, row.cuda)]
    package, branch = _package(request.cuda), major(target.driver or "")
    if not rows:
        because = say(
            "which driver branches it runs on was not read, so that it is not proposed for R{branch}", branch=branch
        )
        return Reason(choice=say("perhaps {package}", package=package), because=because, source=_PAGE)
    have = ", ".join(f"R{each}" for each in rows[0].branches)
    because = say(
        "NVIDIA's image of CUDA {cuda} accepts it on {have}, and this driver is of R{branch}",
        cuda=rows[0].cuda,
        have=have,
        branch=branch,
    )
    return Reason(choice=say("no {package}", package=package), because=because, source=rows[0].source)


def _package(cuda: str) -> str:
    return f"cuda-compat-{cuda.replace('.', '-')}"
