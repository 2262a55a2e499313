"""Published builds of torch, and what stands against one of them on a machine: judged here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from envdoctor.knowledge.fit import (
    Service,
    driver_floor,
    driver_knows,
    driver_runs,
    driver_side,
    variant_serves,
    wheel_glibc,
    wheel_pythons,
)
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.tables import TorchRelease, TorchVariant
from envdoctor.model import Record
from envdoctor.model.stack import Target, TargetGpu
from envdoctor.model.version import at_least, compare, major, minor

# What can stand against a build, in the order in which a person is told. `version`, `cuda` and `companion` are a
# person's wishes.
Constraint = Literal[
    "platform", "processor", "libc", "glibc", "version", "cuda", "python", "companion", "driver", "gpu"
]
CONSTRAINTS: tuple[Constraint, ...] = (
    "platform",
    "processor",
    "libc",
    "glibc",
    "version",
    "cuda",
    "python",
    "companion",
    "driver",
    "gpu",
)
Kind = Literal["cuda", "rocm", "xpu", "mps", "cpu"]

INDEX = "https://download.pytorch.org/whl"
XPU_GUIDE = "https://docs.pytorch.org/docs/stable/notes/get_start_xpu.html"


class Build(Record):
    """One published build: a release for one kind of device."""

    release: TorchRelease
    tag: str  # cu118, cpu, rocm6.4, xpu, mps
    kind: Kind
    cuda: str | None = None
    variant: TorchVariant | None = None

    @property
    def version(self) -> str:
        """The version with its tag, as pip lists it: 2.7.1+cu118."""
        return f"{self.release.version}+{self.tag}"

    @property
    def name(self) -> str:
        """Name it as people do: torch 2.7.1+cu118."""
        return f"torch {self.version}"

    @property
    def index_url(self) -> str:
        """The index that has it."""
        return self.variant.index_url if self.variant else f"{INDEX}/{self.tag}"


class Objection(Record):
    """One thing that stands against a build."""

    constraint: Constraint
    because: str
    source: str | None = None


class Candidate(Record):
    """A build that fits."""

    build: Build
    pythons: tuple[str, ...]  # what it may run with there, oldest first
    jit: bool = False  # a GPU of the target is served through PTX only
    doubts: tuple[str, ...] = ()  # facts that it rests on and that are not certain


def builds_of(release: TorchRelease) -> Iterator[Build]:
    """Give every build of a release; the one for macOS, which is never for CUDA, has no tag of its own."""
    for variant in release.variants:
        kind: Kind = "cuda" if variant.cuda is not None else "cpu"
        yield Build(release=release, tag=variant.tag, kind=kind, cuda=variant.cuda, variant=variant)
    for tag in release.rocm:
        yield Build(release=release, tag=tag, kind="rocm")
    if release.xpu:
        yield Build(release=release, tag="xpu", kind="xpu")
    yield Build(release=release, tag="mps", kind="mps")


def build_of(release: TorchRelease, tag: str) -> Build | None:
    """Give the build of that tag (`cu118`, `cpu`), or None."""
    return next((build for build in builds_of(release) if build.tag == tag), None)


def torchaudio_for(build: Build, facts: Knowledge) -> str | None:
    """Give the torchaudio that was published for a build, or None.

    Up to 2.11.0 each torch has its own. That last one serves every later torch, but it was built once, for the kinds
    of device of its own release.
    """
    release = build.release
    home = release if release.torchaudio_pinned else facts.torch(release.torchaudio or "")
    return release.torchaudio if home and build_of(home, build.tag) else None


def objections(build: Build, target: Target, facts: Knowledge, python: str | None = None) -> Iterator[Objection]:
    """Say everything that stands against a build on a machine; nothing: it fits.

    `python` is the only Python version that counts, where one was asked for or must be kept.
    """
    release = build.release
    yield from _platform(build, target)
    if build.kind == "cuda":
        yield from _driver(build, target, facts)
        for gpu in gpus_of(target, "nvidia"):
            yield from _gpu(build, gpu, target, facts)
    if build.kind == "rocm":
        yield from _amd(build, target, facts)
    have = wheel_pythons(release, target.os, target.arch)
    if have and not pythons_for(build, target, python):
        yield Objection(
            constraint="python",
            because=f"torch {release.version} has wheels for Python {have[0]} to {have[-1]}, "
            f"not {python or ', '.join(target.pythons or ())}",
            source=release.source,
        )


def candidate_of(build: Build, target: Target, facts: Knowledge, python: str | None = None) -> Candidate:
    """Describe a build that fits: what it may run with, and what is not certain about it."""
    return Candidate(
        build=build,
        pythons=pythons_for(build, target, python),
        jit=any(_service(build, gpu, target, facts) == "jit" for gpu in gpus_of(target, "nvidia")),
        doubts=tuple(_doubts(build, target, facts)),
    )


def pythons_for(build: Build, target: Target, python: str | None = None) -> tuple[str, ...]:
    """Give the Pythons a build has wheels for there and that were asked for or can be had, oldest first."""
    return pythons_among(wheel_pythons(build.release, target.os, target.arch), target, python)


def pythons_among(pythons: tuple[str, ...], target: Target, python: str | None = None) -> tuple[str, ...]:
    """Keep the Pythons that were asked for and that can be had."""
    if python is not None:
        wanted = minor(python)
        pythons = (wanted,) if wanted in pythons else ()
    if target.pythons is not None:
        there = [minor(each) for each in target.pythons]
        pythons = tuple(each for each in pythons if each in there)
    return pythons


def gpus_of(target: Target, vendor: str) -> tuple[TargetGpu, ...]:
    """Give the target's GPUs of one vendor."""
    return tuple(gpu for gpu in target.gpus if gpu.vendor == vendor)


def documented(release: TorchRelease) -> bool:
    """Tell whether the machine code of any CUDA build of a release was read."""
    return any(variant.cuda and variant.sm is not None for variant in release.variants)


def card_name(gpu: TargetGpu) -> str:
    """Name a GPU with what decides: NVIDIA GeForce RTX 3060 (compute capability 8.6)."""
    detail = f"compute capability {gpu.capability}" if gpu.capability else gpu.target
    name = gpu.name or {"nvidia": "an NVIDIA GPU", "amd": "an AMD GPU"}.get(gpu.vendor, "a GPU")
    return f"{name} ({detail})" if detail else name


def _platform(build: Build, target: Target) -> Iterator[Objection]:
    release = build.release
    if not wheel_pythons(release, target.os, target.arch):
        yield Objection(
            constraint="platform",
            because=f"torch {release.version} has no wheels for {target.os} on {target.arch}",
            source=release.source,
        )
        return
    if target.os == "macos":
        if build.kind in ("cuda", "xpu"):
            word = {"cuda": "CUDA", "xpu": "XPU"}[build.kind]
            because = f"no {word} builds are published for macOS"
            yield Objection(constraint="platform", because=because, source=release.source)
        return
    variant = build.variant
    if variant is not None and build.kind == "cuda":
        if target.os == "windows" and variant.linux_only:
            yield Objection(
                constraint="platform", because=f"{build.name} is published for Linux only", source=release.source
            )
        if target.arch == "aarch64" and variant.aarch64_sm is None:
            yield Objection(
                constraint="platform",
                because=f"no aarch64 build of {build.name} is documented",
                source=release.variants_source,
            )
    if build.kind == "rocm" and (target.os, target.arch) != ("linux", "x86_64"):
        yield Objection(constraint="platform", because="ROCm builds are for Linux on x86_64", source=release.source)
    if build.kind == "xpu" and target.arch != "x86_64":
        because = "PyTorch's builds for Intel GPUs are for x86_64"
        yield Objection(constraint="platform", because=because, source=XPU_GUIDE)
    if target.os in ("linux", "wsl2"):
        yield from _libc(build, target)


def _libc(build: Build, target: Target) -> Iterator[Objection]:
    release = build.release
    if target.libc == "musl":
        yield Objection(
            constraint="libc",
            because="torch's Linux wheels are built for glibc; this system has musl (Alpine and others)",
            source="https://peps.python.org/pep-0656/",
        )
        return
    floor = wheel_glibc(release, build.variant, target.arch)
    if target.glibc and floor and not at_least(target.glibc, floor):
        yield Objection(
            constraint="glibc",
            because=f"{build.name} needs glibc {floor} or newer; there is {target.glibc}",
            source=release.source,
        )


def _driver(build: Build, target: Target, facts: Knowledge) -> Iterator[Objection]:
    cuda = build.cuda or ""
    if target.driver is None or driver_runs(facts, cuda, target.driver, target.os) is not False:
        return
    family = facts.cuda_family(cuda)
    floor = driver_floor(facts, cuda, target.os)
    whose = {"linux": "an NVIDIA", "windows": "a Windows"}[driver_side(target.os)]
    yield Objection(
        constraint="driver",
        because=f"CUDA {family.cuda if family else cuda}{'.x' if major(cuda) >= 11 else ''} needs {whose} driver of "
        f"{floor} or newer; there is {target.driver}",
        source=family.source if family else None,
    )


def _gpu(build: Build, gpu: TargetGpu, target: Target, facts: Knowledge) -> Iterator[Objection]:
    if gpu.capability is None:
        return
    row = facts.architecture(gpu.capability)
    card = card_name(gpu)
    if target.driver and row and driver_knows(facts, target.driver, gpu.capability) is False:
        too_old = row.first_driver is not None and major(target.driver) < row.first_driver
        yield Objection(
            constraint="driver",
            because=f"{card} needs a driver of branch R{row.first_driver} or newer; there is {target.driver}"
            if too_old
            else f"R{row.last_driver} is the last driver branch that serves {card}; there is {target.driver}",
            source=row.source,
        )
    if _service(build, gpu, target, facts) == "none":
        yield Objection(
            constraint="gpu",
            because=f"{build.name} has no code that runs on {card}"
            + (
                ", a Jetson module: NVIDIA publishes builds of its own for each JetPack"
                if row and row.integrated
                else ""
            ),
            source=build.variant.sm_source if build.variant else None,
        )


def _amd(build: Build, target: Target, facts: Knowledge) -> Iterator[Objection]:
    index = next((row for row in facts.rocm_indexes if row.tag == build.tag), None)
    if index is None:
        yield Objection(constraint="gpu", because=f"which GPUs {build.tag} is built for was not read")
        return
    for gpu in gpus_of(target, "amd"):
        if gpu.target is None:
            because = f"which gfx target {card_name(gpu)} is, is not known"
        elif gpu.target not in index.targets:
            because = f"PyTorch's {build.tag} wheels are not built for {card_name(gpu)}"
        else:
            continue
        yield Objection(constraint="gpu", because=because, source=index.source)


def _doubts(build: Build, target: Target, facts: Knowledge) -> Iterator[str]:
    release, variant = build.release, build.variant
    if not documented(release):
        yield f"the builds of torch {release.version} were not read from its index or its release notes"
    if build.tag in release.rocm_doubts:
        yield f"{build.name}: {release.rocm_doubts[build.tag]}"
    if build.kind == "xpu" and target.os == "wsl2":
        yield f"the guide of torch {release.version} does not name WSL 2 for Intel GPUs ({XPU_GUIDE})"
    if variant is None or build.kind != "cuda":
        return
    if variant.doubt:
        yield f"{build.name}: {variant.doubt}"
    for gpu in gpus_of(target, "nvidia"):
        if gpu.capability is None:
            yield f"the compute capability of {card_name(gpu)} is not known"
            continue
        if _service(build, gpu, target, facts) == "unknown":
            yield f"whether {build.name} has code for {card_name(gpu)} is not known"
        row = facts.architecture(gpu.capability)
        if row is None:
            yield f"compute capability {gpu.capability} is not in the tables"
        elif row.cudnn_dropped and variant.cudnn and compare(variant.cudnn, row.cudnn_dropped) >= 0:
            yield f"cuDNN {variant.cudnn} no longer lists {card_name(gpu)} ({row.cudnn_source})"


def _service(build: Build, gpu: TargetGpu, target: Target, facts: Knowledge) -> Service:
    if build.kind != "cuda" or build.variant is None or gpu.capability is None:
        return "native"
    return variant_serves(facts, build.variant, gpu.capability, os=target.os, arch=target.arch, driver=target.driver)
