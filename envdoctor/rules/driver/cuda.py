"""The driver against the CUDA inside the installed frameworks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from envdoctor.knowledge.builds import Build
from envdoctor.knowledge.fit import driver_floor, driver_runs
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.targets import target_of
from envdoctor.knowledge.wheels import best_wheel
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Framework, Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import at_least, compare, major, minor, public, readable
from envdoctor.rules.driver.packages import first_to_end, install_driver
from envdoctor.rules.frameworks.compiled import code_of
from envdoctor.rules.python.reinstall import cards, install_wheel, target_with
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import pip_install
from envdoctor.rules.wording import card, listed

_COMPATIBILITY = "https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html"


class Pair(NamedTuple):
    """A driver and the CUDA of a framework, both readable, and the system the driver is for (None: not known)."""

    driver: str
    offered: str | None
    framework: Framework
    cuda: str
    os: str | None


def _pairs(machine: Snapshot, facts: Knowledge) -> list[Pair]:
    """Give the CUDA frameworks of the judged environment beside the driver; none where a compat libcuda lifts it."""
    driver, python, system = machine.driver, machine.python, machine.system
    version = readable(driver.version) if driver else None
    if driver is None or version is None or python is None or "/compat/" in (driver.libcuda_path or ""):
        return []
    if system is not None and (system.jetson or system.os not in ("linux", "windows")):
        return []  # a Jetson's driver has numbers of its own
    os = target_of(machine, facts).os if system else None
    return [
        Pair(version, readable(driver.cuda) or facts.driver_cuda(version), each, cuda, os)
        for each in python.frameworks
        if each.gpu_build is not False and (cuda := readable(each.cuda))
    ]


@rule(
    "DRV007",
    "driver-too-old",
    "error",
    needs=("driver.version", "pythons.frameworks"),
    supersedes=("DRV008",),
    sources=(
        _COMPATIBILITY,
        "https://github.com/astral-sh/uv/blob/main/crates/uv-torch/src/backend.rs",
        "https://docs.jax.dev/en/latest/installation.html",
        "pkg:pypi/torch",
    ),
)
def driver_too_old_for_cuda(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The NVIDIA driver is too old for the CUDA inside the installed framework.

    A driver runs programs of its own CUDA major version and of older ones, never of a newer major one. The framework
    brings its CUDA libraries along, so no CUDA toolkit has to be installed; only the driver must be new enough. What
    nvidia-smi calls "CUDA Version" is the newest CUDA that the driver knows, not an installed one.

    Needed: CUDA 13 driver 580.65.06 or newer, CUDA 12 driver 525.60.13 (Windows and WSL 2: 528.33), CUDA 11 driver
    450.80.02 (452.39). Before CUDA 11 each version needs the driver of its own toolkit.
    Check: `python -c "import torch; torch.zeros(1).cuda()"` ends without a message.

    A newer minor version on an older driver of the same major one is supported and not reported. Where a card's drivers
    end before the needed one, only an older build helps, and no driver is proposed. Silent where cuda-compat provides
    libcuda (DRV009), and for CPU builds.
    """
    old = [pair for pair in _pairs(machine, facts) if _starts(facts, pair, pair.cuda) is False]
    if not old:
        return
    worst = old[0]
    for pair in old[1:]:
        worst = pair if compare(pair.cuda, worst.cuda) > 0 else worst
    floor = driver_floor(facts, worst.cuda, worst.os)
    inside = listed(_named(pair) for pair in old)
    newest = worst.offered
    update = install_driver(machine, facts, floor)
    ending = first_to_end(machine, facts) if update is None else None
    yield found(
        say(
            "Driver {driver} cannot run the CUDA {cuda} inside {inside}: it needs {floor} or newer",
            driver=worst.driver,
            cuda=worst.cuda,
            inside=inside,
            floor=floor,
        ),
        (
            say(
                "This driver runs CUDA up to {newest} and the other versions of CUDA {major}.",
                newest=newest,
                major=major(newest),
            )
            + " "
            if newest
            else ""
        )
        + (
            say("No driver that new supports {card}, so only an older build helps.", card=card(ending))
            if ending
            else say("The framework brings its own CUDA libraries, so no CUDA toolkit is needed for either way out.")
        ),
        evidence=("driver.version", *(f"pythons[0].frameworks.{pair.framework.name}.cuda" for pair in old)),
        fixes=(*((update,) if update else ()), *_older_builds(machine, facts, old)),
    )


def _named(pair: Pair) -> str:
    return f"{pair.framework.name} {public(pair.framework.version)}"


def _older_builds(machine: Snapshot, facts: Knowledge, old: list[Pair]) -> list[Fix]:
    """Say which build of each framework the driver runs as it is."""
    fixes = []
    for pair in old:
        if pair.framework.name == "torch":
            wheel = _older_torch(machine, facts, pair)
            if wheel:
                fixes.append(
                    install_wheel(machine, facts, wheel, say("which driver {driver} runs", driver=pair.driver))
                )
        elif pair.framework.name == "jax" and major(pair.cuda) >= 13 and _starts(facts, pair, "12.0"):
            fixes.append(
                Fix(
                    summary=say("Install JAX with its CUDA 12 plugin, which driver {driver} runs.", driver=pair.driver),
                    commands=(pip_install(machine, "--upgrade", "jax[cuda12]"),),
                    effect="changes-env",
                    page="https://docs.jax.dev/en/latest/installation.html",
                )
            )
    return fixes


def _starts(facts: Knowledge, pair: Pair, cuda: str) -> bool | None:
    return driver_runs(facts, cuda, pair.driver, pair.os, offered=pair.offered)


def _older_torch(machine: Snapshot, facts: Knowledge, pair: Pair) -> Build | None:
    """Find a build of the installed release that the driver runs, else the newest release that has one."""
    wish = target_with(machine, facts, tuple(each.capability for each in cards(machine, facts)))
    installed = facts.torch(pair.framework.version)
    same = best_wheel(facts, wish, only=installed) if installed else None
    return same or best_wheel(facts, wish)


@rule(
    "DRV008",
    "driver-older-than-toolkit",
    "note",
    needs=("driver.version", "pythons.frameworks", "gpus.capability"),
    sources=(
        _COMPATIBILITY,
        "https://docs.nvidia.com/deploy/cuda-compatibility/frequently-asked-questions.html",
        "https://docs.nvidia.com/cuda/cuda-programming-guide/05-appendices/environment-variables.html",
    ),
)
def driver_cannot_compile_ptx(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The driver is older than the framework's CUDA, and this GPU depends on code that the driver must compile.

    Inside one CUDA major version newer programs run on older drivers, as long as they hold machine code for the GPU.
    Code in the portable form PTX is compiled by the driver, which cannot read what a newer toolkit wrote (error 222,
    unsupported PTX version).

    Check: the first computation on that GPU.
    Never more than a note. Silent where the build holds machine code for the GPU, which is the normal case and fully
    supported, and where the architectures in the build were not read.
    """
    pair = next((pair for pair in _pairs(machine, facts) if pair.framework.name == "torch"), None)
    code = code_of(pair.framework, machine, facts) if pair else None
    offered = pair.offered if pair else None
    if pair is None or code is None or code.certainty != "certain" or offered is None:
        return
    if major(offered) != major(pair.cuda) or at_least(offered, minor(pair.cuda)):
        return
    ready = code._replace(archs=tuple(arch for arch in code.archs if arch.startswith("sm_")))
    for each in cards(machine, facts):
        if ready.runs(each, facts) or not code.runs(each, facts):
            continue
        update = install_driver(machine, facts)
        yield found(
            say(
                "{named} has only PTX for {name}, which driver {driver} (CUDA {offered}) may refuse",
                named=_named(pair),
                name=each.name,
                driver=pair.driver,
                offered=offered,
            ),
            say(
                "The build has no machine code for compute capability {capability}, and CUDA {cuda} wrote its PTX. If "
                "the first computation fails with “unsupported PTX version” or “unsupported toolchain”, update the "
                "driver.",
                capability=each.capability,
                cuda=pair.cuda,
            ),
            evidence=("driver.version", *code.evidence, each.evidence),
            fixes=(update,) if update else (),
        )
