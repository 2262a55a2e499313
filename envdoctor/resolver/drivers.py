"""What a stack asks of the NVIDIA driver, and how the driver at hand meets it."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.builds import gpus_of
from envdoctor.knowledge.fit import driver_compiles, driver_floor, driver_side
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.speech import say
from envdoctor.model.stack import MinDriver, Reason, Target
from envdoctor.model.version import at_least, major, numbers

_MINOR = "https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html"


def min_driver(cuda: str | None, target: Target, facts: Knowledge, *, jit: bool) -> MinDriver | None:
    """Give the oldest driver that runs a CUDA on the target's GPUs: its floor, or the first branch that knows them.

    `jit`: a GPU is served through PTX, so that the driver must also be as new as the CUDA. None: there is no CUDA.
    """
    if cuda is None:
        return None
    rows = [facts.architecture(gpu.capability) for gpu in gpus_of(target, "nvidia") if gpu.capability]
    branches = [row.first_driver for row in rows if row and row.first_driver]
    if jit:
        branches += [row.branch for row in facts.driver_branches if at_least(row.cuda, cuda)][:1]

    def oldest(floor: str | None) -> str | None:
        every = [floor, *(str(branch) for branch in branches)]
        return max((each for each in every if each), key=numbers, default=None) if floor else None

    return MinDriver(
        linux=oldest(facts.driver_floor(cuda, "linux")), windows=oldest(facts.driver_floor(cuda, "windows"))
    )


def why_cuda(cuda: str | None, target: Target, facts: Knowledge) -> Iterator[Reason]:
    """Say how the driver of a target runs a CUDA; nothing is said where there is no CUDA."""
    if cuda is None:
        return
    side = driver_side(target.os)
    floor, family = driver_floor(facts, cuda, target.os), facts.cuda_family(cuda)
    source = family.source if family else None
    whose = say("Windows driver") if side == "windows" else "driver"
    if target.driver is None:
        because = (
            say("it needs a {whose} of {floor} or newer", whose=whose, floor=floor)
            if floor
            else say("which driver it needs is not known")
        )
    elif driver_compiles(facts, cuda, target.driver):
        because = say(
            "{whose} {driver} offers CUDA {facts}, which covers it",
            whose=whose,
            driver=target.driver,
            facts=facts.driver_cuda(target.driver),
        )
    else:
        because = (
            say(
                "{whose} {driver} offers CUDA {facts}, and runs it by minor-version compatibility: it is newer than "
                "{floor}, the floor of CUDA {cuda}.x",
                whose=whose,
                driver=target.driver,
                facts=facts.driver_cuda(target.driver),
                floor=floor,
                cuda=major(cuda),
            )
            if target.driver != floor
            else say(
                "{whose} {driver} is the very floor of CUDA {cuda}.x",
                whose=whose,
                driver=target.driver,
                cuda=major(cuda),
            )
        )
        source = _MINOR
    if side == "windows" and family and family.windows_doubt:
        because += f" ({family.windows_doubt})"
    yield Reason(choice=say("CUDA {cuda}", cuda=cuda), because=because, source=source)
