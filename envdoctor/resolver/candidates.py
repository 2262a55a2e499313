"""Which published builds of torch fit a request and a machine, and why each of the others does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from envdoctor.knowledge.fit import driver_knows, driver_runs, driver_side, variant_serves, wheel_glibc, wheel_pythons
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.names import gpu_named
from envdoctor.knowledge.tables import TorchRelease, TorchVariant
from envdoctor.model import Record
from envdoctor.model.stack import Request, Target, TargetGpu
from envdoctor.model.version import at_least, compare, major, minor, numbers, public

# What can stand against a build, in the order in which a person is told.
Constraint = Literal["platform", "libc", "glibc", "version", "cuda", "python", "driver", "gpu"]
CONSTRAINTS: tuple[Constraint, ...] = ("platform", "libc", "glibc", "version", "cuda", "python", "driver", "gpu")
Goal = Literal["cuda", "rocm", "mps", "cpu"]


class Build(Record):
    """One published build: a release for one kind of device."""

    release: TorchRelease
    tag: str  # cu118, cpu, rocm6.4, mps
    kind: Goal
    cuda: str | None = None
    variant: TorchVariant | None = None

    @property
    def name(self) -> str:
        """Name it as people do: torch 2.7.1+cu118."""
        return f"torch {self.release.version}+{self.tag}"


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


class Rejected(Record):
    """A build that does not fit, and everything that stands against it."""

    build: Build
    objections: tuple[Objection, ...]


def goal_of(request: Request, target: Target) -> Goal:
    """Tell what the stack should compute on.

    `auto` takes the GPU at hand: NVIDIA before AMD before Apple. A driver without a named GPU counts as an NVIDIA GPU
    of unknown model, since somebody described a machine by its driver. An Intel GPU gets the CPU stack.
    """
    vendors = {gpu.vendor for gpu in target.gpus}
    if target.os == "macos":
        apple = target.arch == "aarch64" and request.cuda == "auto"
        return "cuda" if request.cuda not in ("auto", "cpu") else "mps" if apple else "cpu"
    if request.cuda != "auto":
        return "cpu" if request.cuda == "cpu" else "cuda"
    if "nvidia" in vendors or (not vendors and target.driver):
        return "cuda"
    return "rocm" if "amd" in vendors and target.os == "linux" else "cpu"


def judge(request: Request, target: Target, facts: Knowledge) -> tuple[tuple[Candidate, ...], tuple[Rejected, ...]]:
    """Judge every published build that could answer the request: those that fit, and why the others do not.

    Under `auto` the CPU builds are judged too, for a machine whose GPU nothing serves.
    """
    fitting: list[Candidate] = []
    rejected: list[Rejected] = []
    goal = goal_of(request, target)
    for build in _builds(goal, request, facts):
        objections = tuple(_objections(build, request, target, facts))
        if objections:
            rejected.append(Rejected(build=build, objections=objections))
        else:
            fitting.append(candidate_of(build, request, target, facts))
    return tuple(fitting), tuple(rejected)


def candidate_of(build: Build, request: Request, target: Target, facts: Knowledge) -> Candidate:
    """Describe a build that fits: what it may run with, and what is not certain about it."""
    return Candidate(
        build=build,
        pythons=pythons_for(build, request, target),
        jit=any(_service(build, gpu, target, facts) == "jit" for gpu in nvidia_gpus(target, facts)),
        doubts=tuple(_doubts(build, target, facts)),
    )


def nvidia_gpus(target: Target, facts: Knowledge) -> tuple[TargetGpu, ...]:
    """Give the target's NVIDIA GPUs, with the capability their name tells where it was not given."""
    return tuple(_described(gpu, facts) for gpu in target.gpus if gpu.vendor == "nvidia")


def amd_gpus(target: Target, facts: Knowledge) -> tuple[TargetGpu, ...]:
    """Give the target's AMD GPUs, with the gfx target their name tells where it was not given."""
    return tuple(_described(gpu, facts) for gpu in target.gpus if gpu.vendor == "amd")


def wants_cuda(request: Request, cuda: str) -> bool:
    """Tell whether a CUDA version is the one that was asked for: 11.8 is itself, 12 is any of that major.

    >>> wants_cuda(Request(cuda="11.8.0"), "11.8"), wants_cuda(Request(cuda="12"), "12.6")
    (True, True)
    """
    wanted = request.cuda
    return major(wanted) == major(cuda) if "." not in wanted else minor(wanted) == minor(cuda)


def wants_version(request: Request, version: str) -> bool:
    """Tell whether a release is the one that was asked for: 2.7 is any of 2.7.0, 2.7.1."""
    if request.framework_version is None:
        return True
    wanted = numbers(public(request.framework_version))
    return numbers(version)[: len(wanted)] == wanted


def _builds(goal: Goal, request: Request, facts: Knowledge) -> Iterator[Build]:
    fallback = request.cuda == "auto"
    for release in facts.torch_releases:
        for variant in release.variants:
            if variant.cuda is not None:
                if goal == "cuda":
                    yield Build(release=release, tag=variant.tag, kind="cuda", cuda=variant.cuda, variant=variant)
            elif goal == "cpu" or fallback:
                yield Build(release=release, tag=variant.tag, kind="cpu", variant=variant)
        if goal == "rocm":
            for tag in release.rocm:
                yield Build(release=release, tag=tag, kind="rocm")
        if goal == "mps":
            yield Build(release=release, tag="mps", kind="mps")


def _objections(build: Build, request: Request, target: Target, facts: Knowledge) -> Iterator[Objection]:
    release = build.release
    if not wants_version(request, release.version):
        yield Objection(constraint="version", because=f"torch {request.framework_version} was asked for")
    yield from _platform(build, target)
    if build.kind == "cuda":
        if request.cuda != "auto" and not wants_cuda(request, build.cuda or ""):
            yield Objection(constraint="cuda", because=f"CUDA {request.cuda} was asked for", source=release.source)
        yield from _driver(build, target, facts)
        for gpu in nvidia_gpus(target, facts):
            yield from _gpu(build, gpu, target, facts)
    if build.kind == "rocm":
        yield from _amd(build, target, facts)
    have = wheel_pythons(release, target.os, target.arch)
    if have and not pythons_for(build, request, target):
        asked = request.python or ", ".join(target.pythons or ())
        yield Objection(
            constraint="python",
            because=f"torch {release.version} has wheels for Python {have[0]} to {have[-1]}, not {asked}",
            source=release.source,
        )


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
        if build.kind == "cuda":
            yield Objection(
                constraint="platform", because="no CUDA builds are published for macOS", source=release.source
            )
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
    side = driver_side(target.os)
    floor = facts.driver_floor(cuda, side)
    whose = {"linux": "an NVIDIA", "windows": "a Windows"}[side]
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
            because=f"{build.name} has no code that runs on {card}",
            source=build.variant.sm_source if build.variant else None,
        )


def _amd(build: Build, target: Target, facts: Knowledge) -> Iterator[Objection]:
    index = next((row for row in facts.rocm_indexes if row.tag == build.tag), None)
    if index is None:
        yield Objection(constraint="gpu", because=f"which GPUs {build.tag} is built for was not read")
        return
    for gpu in amd_gpus(target, facts):
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
    if variant is None or build.kind != "cuda":
        return
    if variant.doubt:
        yield f"{build.name}: {variant.doubt}"
    for gpu in nvidia_gpus(target, facts):
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


def documented(release: TorchRelease) -> bool:
    """Tell whether the machine code of any CUDA build of a release was read."""
    return any(variant.cuda and variant.sm is not None for variant in release.variants)


def card_name(gpu: TargetGpu) -> str:
    """Name a GPU with what decides: NVIDIA GeForce RTX 3060 (compute capability 8.6)."""
    detail = f"compute capability {gpu.capability}" if gpu.capability else gpu.target
    name = gpu.name or {"nvidia": "an NVIDIA GPU", "amd": "an AMD GPU"}.get(gpu.vendor, "a GPU")
    return f"{name} ({detail})" if detail else name


def _service(build: Build, gpu: TargetGpu, target: Target, facts: Knowledge) -> str:
    if build.kind != "cuda" or build.variant is None or gpu.capability is None:
        return "native"
    return variant_serves(facts, build.variant, gpu.capability, os=target.os, arch=target.arch, driver=target.driver)


def pythons_for(build: Build, request: Request, target: Target) -> tuple[str, ...]:
    """Give the Pythons a build has wheels for there and that were asked for or can be had, oldest first."""
    have = wheel_pythons(build.release, target.os, target.arch)
    return tuple(
        python
        for python in have
        if (request.python is None or minor(request.python) == python)
        and (target.pythons is None or python in [minor(each) for each in target.pythons])
    )


def _described(gpu: TargetGpu, facts: Knowledge) -> TargetGpu:
    if gpu.name is None or gpu.capability or gpu.target:
        return gpu
    model = gpu_named(facts, gpu.name)
    if model is None:
        return gpu
    return TargetGpu(vendor=gpu.vendor, name=gpu.name, capability=model.capability, target=model.target)
