"""The way out of a torch build that does not fit: which wheel to take instead, and what to type for it."""

from __future__ import annotations

from typing import NamedTuple

from envdoctor.knowledge.fit import driver_side
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.wheels import Wheel, best_wheel
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Framework, Gpu, Snapshot
from envdoctor.model.stack import Target, TargetGpu, TargetOs
from envdoctor.model.version import minor, readable
from envdoctor.rules.driver_packages import capability, install_driver
from envdoctor.rules.installed import by_conda
from envdoctor.rules.remedies import pip_install, pip_uninstall
from envdoctor.rules.wording import card, listed

COMPANIONS = ("torchvision", "torchaudio")


class WayOut(NamedTuple):
    """A wheel that fits, and the driver it asks for first where today's is too old."""

    wheel: Wheel
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
        own = capability(gpu, facts) if gpu.vendor == "nvidia" and gpu.bound_driver != "vfio-pci" else None
        if own and own.isascii() and all(part.isdigit() for part in own.split(".")) and own.count(".") == 1:
            found.append(Card(index, gpu, own))
    return tuple(found)


def target(machine: Snapshot, capabilities: tuple[str, ...], *, any_driver: bool = False) -> Target:
    """Reduce the machine to what decides which torch wheel it runs; what is unknown constrains nothing."""
    system, python, driver = machine.system, machine.python, machine.driver
    os: TargetOs = "linux"
    if system is not None and system.os != "other":
        os = "wsl2" if system.wsl else system.os
    arch = (system.machine if system else None) or "x86_64"
    version = readable(driver.version) if driver and not any_driver else None
    return Target(
        os=os,
        arch={"arm64": "aarch64", "AMD64": "x86_64"}.get(arch, arch),
        libc=system.libc if system else None,
        glibc=readable(system.libc_version) if system and system.libc == "glibc" else None,
        driver=version,
        gpus=tuple(TargetGpu(vendor="nvidia", capability=each) for each in capabilities),
        python=minor(python.version) if python and python.version and readable(python.version) else None,
    )


def way_out(machine: Snapshot, facts: Knowledge, capabilities: tuple[str, ...]) -> WayOut | None:
    """Find the newest wheel for these GPUs: with today's driver, else with one that can be installed; None: neither."""
    wheel = best_wheel(facts, target(machine, capabilities))
    if wheel:
        return WayOut(wheel, None)
    wish = target(machine, capabilities, any_driver=True)
    wheel = best_wheel(facts, wish)
    if wheel is None:
        return None
    assert wheel.variant.cuda is not None
    floor = facts.driver_floor(wheel.variant.cuda, driver_side(wish.os))
    # A driver that new may have dropped one of the cards here.
    return WayOut(wheel, floor) if install_driver(machine, facts, floor) else None


def reinstall(machine: Snapshot, facts: Knowledge, way: WayOut, why: str) -> tuple[Fix, ...]:
    """Write the way out as fixes: the driver first where it must be, then the wheel with the companions at hand."""
    first = install_driver(machine, facts, way.driver) if way.driver else None
    return (*((first,) if first else ()), install_wheel(machine, facts, way.wheel, why))


def install_wheel(machine: Snapshot, facts: Knowledge, wheel: Wheel, why: str) -> Fix:
    """Write the change to another wheel as a fix. `why` ends the sentence: "which has code for your GTX 1080 Ti".

    What is there is taken out first: pip counts 2.7.1+cu118 as good enough where 2.7.1 is asked for. conda's torch is
    not overwritten with pip; a fresh environment is proposed instead.
    """
    label = f"PyTorch {wheel.version}, {why}"
    python = machine.python
    if python and by_conda(python, "torch"):
        return Fix(
            summary=f"Create a fresh environment with {label}; conda's torch and a wheel do not share one well.",
            commands=(("envdoctor", "provision", "--cuda", wheel.variant.cuda or "cpu"),),
        )
    wanted = (f"torch=={wheel.release.version}", *companions(machine, facts, wheel))
    return Fix(
        summary=f"Install {label}.",
        commands=(
            pip_uninstall(machine, *_there(machine)),
            pip_install(machine, *wanted, index=wheel.variant.index_url),
        ),
        effect="changes-env",
    )


def from_index(machine: Snapshot, tag: str, why: str) -> Fix:
    """Write the change to whatever another index of PyTorch has newest as a fix; `why` is the whole sentence."""
    there = _there(machine)
    if machine.python and by_conda(machine.python, "torch"):
        return Fix(summary=f"{why} Take a fresh environment for it: conda's torch and a wheel do not share one well.")
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
            alone = f"No single wheel serves all GPUs here: make a separate environment for the {named}"
            cuda = way.wheel.variant.cuda or "cpu"
            commands = (("envdoctor", "provision", "--cuda", cuda),)
            return (Fix(summary=f"{alone}, with PyTorch {way.wheel.version}.", commands=commands),)
    if way is None:
        why = f"No current wheel serves the {named} here; the CPU build works on the processor and is smaller."
        return (from_index(machine, "cpu", why),)
    fixes = reinstall(machine, facts, way, f"which has code for the {named}")
    kept = facts.torch(framework.version)
    if kept is None or kept.version == way.wheel.release.version or way.driver:
        return fixes
    same = best_wheel(facts, target(machine, every), only=kept)
    return (*fixes, install_wheel(machine, facts, same, "which keeps your release")) if same else fixes


def companions(machine: Snapshot, facts: Knowledge, wheel: Wheel) -> tuple[str, ...]:
    """Name the torchvision and torchaudio that belong to a wheel, of those that are installed.

    A torchaudio that is not pinned to one torch is published only beside the builds of its own release.
    """
    python, release = machine.python, wheel.release
    if python is None:
        return ()
    wanted = []
    if python.package("torchvision") and release.torchvision:
        wanted.append(f"torchvision=={release.torchvision}")
    if python.package("torchaudio") and release.torchaudio:
        home = release if release.torchaudio_pinned else facts.torch(release.torchaudio)
        if home and home.variant(wheel.variant.tag):
            wanted.append(f"torchaudio=={release.torchaudio}")
    return tuple(wanted)


def _there(machine: Snapshot) -> tuple[str, ...]:
    python = machine.python
    return ("torch", *(name for name in COMPANIONS if python and python.package(name)))
