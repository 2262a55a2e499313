"""A published set of wheels of TensorFlow or JAX, and what stands against any such set on a machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from envdoctor.knowledge.builds import Objection, card_name, gpus_of, pythons_among
from envdoctor.knowledge.fit import driver_floor, driver_knows, driver_runs, driver_side
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.tables import Architecture
from envdoctor.model import Record
from envdoctor.model.speech import say
from envdoctor.model.stack import FrameworkName, Reason, Request, Target, TargetGpu
from envdoctor.model.version import at_least, compare, major, numbers
from envdoctor.resolver.candidates import wants_version

NAMES = {"torch": "torch", "tensorflow": "TensorFlow", "jax": "JAX"}


class Option(Record):
    """A release for one kind of device, as it would be installed on the target; without objections it fits."""

    framework: FrameworkName
    version: str
    kind: Literal["cuda", "cpu"]
    packages: dict[str, str]
    source: str
    pythons: tuple[str, ...] = ()  # it has wheels for, oldest first
    newest_python: str | None = None  # of the release, where its extra does not reach as far
    numpy: tuple[str, ...] | None = None  # requirements of its metadata; None: not read
    cuda: str | None = None  # 12.5; a bare major where the packages bring whichever of it is newest
    cudnn: str | None = None
    brings_cuda: bool = True
    brought: str = ""  # CUDA as the packages bring it, in words
    capability_jit: bool = False  # a GPU of the target has only PTX, if that
    doubts: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()
    objections: tuple[Objection, ...] = ()

    @property
    def tag(self) -> str:
        """The kind of device in a word: cuda12, cpu."""
        return f"cuda{major(self.cuda)}" if self.cuda else "cpu"

    @property
    def name(self) -> str:
        """Name it as people do: TensorFlow 2.21.0 for CUDA 12.5."""
        name = f"{NAMES[self.framework]} {self.version}"
        return say("{framework} for CUDA {cuda}", framework=name, cuda=self.cuda) if self.cuda else name


class Traits(Record):
    """What the rules that hold for every framework need to know of a set of wheels."""

    name: str
    source: str
    glibc: str | None
    pythons: tuple[str, ...]
    cuda: str | None


def against(version: str, traits: Traits, request: Request, target: Target, facts: Knowledge) -> Iterator[Objection]:
    """Say what stands against wheels by their Pythons, C library, driver and GPU generation."""
    if not wants_version(request, version):
        wish = say("version {framework_version} was asked for", framework_version=request.framework_version)
        yield Objection(constraint="version", because=wish)
    yield from _libc(traits, target)
    if not pythons_among(traits.pythons, target, request.python):
        have = (
            say("Python {oldest} to {newest}", oldest=traits.pythons[0], newest=traits.pythons[-1])
            if traits.pythons
            else say("Pythons that were not read")
        )
        yield Objection(
            constraint="python",
            because=say(
                "{name} has wheels for {have}, not {python}",
                name=traits.name,
                have=have,
                python=request.python or ", ".join(target.pythons or ()),
            ),
            source=traits.source,
        )
    if traits.cuda is not None:
        yield from _driver(traits.cuda, target, facts)
        for gpu in gpus_of(target, "nvidia"):
            yield from _generation(traits, gpu, target, facts)


def _libc(traits: Traits, target: Target) -> Iterator[Objection]:
    if target.os not in ("linux", "wsl2"):
        return
    if target.libc == "musl":
        yield Objection(
            constraint="libc",
            because=say(
                "the Linux wheels of {name} are built for glibc; this system has musl (Alpine and others)",
                name=traits.name.split()[0],
            ),
            source="https://peps.python.org/pep-0656/",
        )
    elif target.glibc and traits.glibc and not at_least(target.glibc, traits.glibc):
        yield Objection(
            constraint="glibc",
            because=say(
                "{name} needs glibc {glibc} or newer; there is {target_glibc}",
                name=traits.name,
                glibc=traits.glibc,
                target_glibc=target.glibc,
            ),
            source=traits.source,
        )


def _driver(cuda: str, target: Target, facts: Knowledge) -> Iterator[Objection]:
    if target.driver is None or driver_runs(facts, cuda, target.driver, target.os) is not False:
        return
    family = facts.cuda_family(cuda)
    named = family.cuda if family else cuda
    words = (
        say(
            "CUDA {cuda} needs an NVIDIA driver of {floor} or newer; there is {driver}",
            cuda=f"{named}.x" if major(cuda) >= 11 else named,
            floor=driver_floor(facts, cuda, target.os),
            driver=target.driver,
        )
        if driver_side(target.os) == "linux"
        else say(
            "CUDA {cuda} needs a Windows driver of {floor} or newer; there is {driver}",
            cuda=f"{named}.x" if major(cuda) >= 11 else named,
            floor=driver_floor(facts, cuda, target.os),
            driver=target.driver,
        )
    )
    yield Objection(
        constraint="driver",
        because=words,
        source=family.source if family else None,
    )


def _generation(traits: Traits, gpu: TargetGpu, target: Target, facts: Knowledge) -> Iterator[Objection]:
    row = facts.architecture(gpu.capability) if gpu.capability else None
    if row is None:
        return
    card = card_name(gpu)
    if target.driver and driver_knows(facts, target.driver, row.capability) is False:
        too_old = row.first_driver is not None and major(target.driver) < row.first_driver
        needs = say(
            "{card} needs a driver of branch R{first_driver} or newer; there is {driver}",
            card=card,
            first_driver=row.first_driver,
            driver=target.driver,
        )
        ended = say(
            "R{last_driver} is the last driver branch that serves {card}; there is {driver}",
            last_driver=row.last_driver,
            card=card,
            driver=target.driver,
        )
        yield Objection(constraint="driver", because=needs if too_old else ended, source=row.source)
    # A bare major stands for its newest release; an older one of it may still know the card.
    if traits.cuda and row.last_cuda and compare(_oldest(traits.cuda), row.last_cuda) > 0:
        yield Objection(
            constraint="gpu",
            because=say(
                "{name} cannot hold code for {card}: CUDA {last_cuda} was the last that makes any",
                name=traits.name,
                card=card,
                last_cuda=row.last_cuda,
            ),
            source=row.source,
        )


def _oldest(cuda: str) -> str:
    return cuda if "." in cuda else f"{cuda}.0"


def architectures(target: Target, facts: Knowledge) -> Iterator[tuple[TargetGpu, Architecture | None]]:
    """Give the NVIDIA GPUs whose capability is known, once each, with the row of their architecture."""
    for gpu in dict.fromkeys(gpus_of(target, "nvidia")):
        if gpu.capability:
            yield gpu, facts.architecture(gpu.capability)


def cudnn_ceiling(target: Target, facts: Knowledge) -> tuple[str, TargetGpu, Architecture] | None:
    """Give the first cuDNN that is too new for a GPU of the target, with that GPU; None: none is known."""
    limits = [(row.cudnn_dropped, gpu, row) for gpu, row in architectures(target, facts) if row and row.cudnn_dropped]
    return min(limits, key=lambda each: numbers(each[0]), default=None)


def unknown_gpus(target: Target, facts: Knowledge) -> Iterator[str]:
    """Say of which GPUs too little is known to judge."""
    for gpu in dict.fromkeys(gpus_of(target, "nvidia")):
        if gpu.capability is None:
            yield say("the compute capability of {card_name} is not known", card_name=card_name(gpu))
        elif facts.architecture(gpu.capability) is None:
            yield say("compute capability {capability} is not in the tables", capability=gpu.capability)


def specifier(requirements: Iterable[str], python: str) -> str | None:
    """Give the versions that the one of these requirements which holds for a Python accepts; None: any.

    >>> specifier(["numpy>=1.24", 'numpy>=1.26.0; python_version >= "3.12"'], "3.12")
    '>=1.26.0'
    """
    from packaging.requirements import Requirement

    found = None
    for text in requirements:
        read = Requirement(text)
        if read.marker is None or read.marker.evaluate({"python_version": python}):
            found = str(read.specifier) or found
    return found
