"""The way out of a torch build that does not fit: which wheel to take instead, and what to type for it."""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from envdoctor.knowledge.builds import Build, torchaudio_for
from envdoctor.knowledge.fit import driver_floor
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.targets import capability_of, target_of, usable
from envdoctor.knowledge.wheels import best_wheel
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Framework, Gpu, Snapshot
from envdoctor.model.speech import say
from envdoctor.model.stack import Target, TargetGpu
from envdoctor.rules.driver.packages import install_driver
from envdoctor.rules.frameworks.installed import by_conda
from envdoctor.rules.remedies import pip_install, pip_uninstall
from envdoctor.rules.wording import card, listed

COMPANIONS = ("torchvision", "torchaudio")


class WayOut(NamedTuple):
    """A wheel that fits, and the driver it asks for first where today's is too old."""

    wheel: Build
    driver: str | None


class Card(NamedTuple):
    """An NVIDIA GPU that a program could use, with its place in the Snapshot and its compute capability."""

    place: int
    gpu: Gpu
    capability: str

    @property
    def name(self) -> str:
        """What to call it."""
        return self.gpu.name.removeprefix("NVIDIA ").removeprefix("GeForce ") if self.gpu.name else card(self.gpu)

    @property
    def evidence(self) -> str:
        """Path of the fact that tells its capability."""
        return f"gpus[{self.place}].{'capability' if self.gpu.capability else 'name'}"


def cards(machine: Snapshot, facts: Knowledge) -> tuple[Card, ...]:
    """Give the NVIDIA GPUs whose compute capability is known, those handed to a virtual machine left out."""
    found = []
    for index, gpu in enumerate(machine.gpus):
        own = capability_of(gpu, facts) if gpu.vendor == "nvidia" and usable(gpu) else None
        if own:
            found.append(Card(index, gpu, own))
    return tuple(found)


def target_with(machine: Snapshot, facts: Knowledge, capabilities: tuple[str, ...]) -> Target:
    """Give the machine as the target of a wheel for these GPUs and no others."""
    gpus = tuple(TargetGpu(vendor="nvidia", capability=each) for each in capabilities)
    return replace(target_of(machine, facts), gpus=gpus)


def way_out(machine: Snapshot, facts: Knowledge, capabilities: tuple[str, ...]) -> WayOut | None:
    """Find the newest wheel for these GPUs: with today's driver, else with one that can be installed; None: neither."""
    wish = target_with(machine, facts, capabilities)
    wheel = best_wheel(facts, wish)
    if wheel:
        return WayOut(wheel, None)
    wheel = best_wheel(facts, replace(wish, driver=None))
    if wheel is None:
        return None
    floor = driver_floor(facts, wheel.cuda or "", wish.os)
    # A driver that new may have dropped one of the cards here.
    return WayOut(wheel, floor) if install_driver(machine, facts, floor) else None


def reinstall(machine: Snapshot, facts: Knowledge, way: WayOut, why: str) -> tuple[Fix, ...]:
    """Write the way out as fixes: the driver first where it must be, then the wheel with the companions at hand."""
    first = install_driver(machine, facts, way.driver) if way.driver else None
    return (*((first,) if first else ()), install_wheel(machine, facts, way.wheel, why))


def install_wheel(machine: Snapshot, facts: Knowledge, wheel: Build, why: str) -> Fix:
    """Write the change to another wheel as a fix. `why` ends the sentence: "which has code for your GTX 1080 Ti".

    What is there is taken out first: pip counts 2.7.1+cu118 as good enough where 2.7.1 is asked for. conda's torch is
    not overwritten with pip; a fresh environment is proposed instead.
    """
    label = say("PyTorch {version}, {why}", version=wheel.version, why=why)
    python = machine.python
    if python and by_conda(python, "torch"):
        return Fix(
            summary=say(
                "Create a fresh environment with {label}; conda's torch and a wheel do not share one well.", label=label
            ),
            commands=(("envdoctor", "provision", "--cuda", wheel.cuda or "cpu"),),
        )
    wanted = (f"torch=={wheel.release.version}", *companions(machine, facts, wheel))
    return Fix(
        summary=say("Install {label}.", label=label),
        commands=(
            pip_uninstall(machine, *_there(machine)),
            pip_install(machine, *wanted, index=wheel.index_url),
        ),
        effect="changes-env",
    )


def from_index(machine: Snapshot, tag: str, why: str) -> Fix:
    """Write the change to whatever another index of PyTorch has newest as a fix; `why` is the whole sentence."""
    there = _there(machine)
    if machine.python and by_conda(machine.python, "torch"):
        return Fix(
            summary=say(
                "{why} Take a fresh environment for it: conda's torch and a wheel do not share one well.", why=why
            )
        )
    return Fix(
        summary=why,
        commands=(
            pip_uninstall(machine, *there),
            pip_install(machine, *there, index=f"https://download.pytorch.org/whl/{tag}"),
        ),
        effect="changes-env",
    )


def for_failing(
    machine: Snapshot, facts: Knowledge, framework: Framework, gpus: tuple[Card, ...], failing: tuple[Card, ...]
) -> tuple[Fix, ...]:
    """Propose the newest wheel that serves every GPU, and beside it the fitting build of the release at hand.

    Where no wheel serves all of them, the failing ones get an environment of their own.
    """
    named = listed(dict.fromkeys(card.name for card in failing))
    every = tuple(card.capability for card in gpus)
    way = way_out(machine, facts, every)
    if way is None and len(failing) < len(gpus):
        way = way_out(machine, facts, tuple(card.capability for card in failing))
        if way:
            alone = say(
                "No single wheel serves all GPUs here: make a separate environment for the {named}", named=named
            )
            commands = (("envdoctor", "provision", "--cuda", way.wheel.cuda or "cpu"),)
            return (
                Fix(
                    summary=say("{alone}, with PyTorch {version}.", alone=alone, version=way.wheel.version),
                    commands=commands,
                ),
            )
    if way is None:
        why = say(
            "No current wheel serves the {named} here; the CPU build works on the processor and is smaller.",
            named=named,
        )
        return (from_index(machine, "cpu", why),)
    fixes = reinstall(machine, facts, way, say("which has code for the {named}", named=named))
    kept = facts.torch(framework.version)
    if kept is None or kept.version == way.wheel.release.version or way.driver:
        return fixes
    same = best_wheel(facts, target_with(machine, facts, every), only=kept)
    return (*fixes, install_wheel(machine, facts, same, say("which keeps your release"))) if same else fixes


def companions(machine: Snapshot, facts: Knowledge, wheel: Build) -> tuple[str, ...]:
    """Name the torchvision and torchaudio that belong to a wheel, of those that are installed."""
    python = machine.python
    belong = {"torchvision": wheel.release.torchvision, "torchaudio": torchaudio_for(wheel, facts)}
    return tuple(
        f"{name}=={version}" for name, version in belong.items() if version and python and python.package(name)
    )


def _there(machine: Snapshot) -> tuple[str, ...]:
    python = machine.python
    return ("torch", *(name for name in COMPANIONS if python and python.package(name)))
