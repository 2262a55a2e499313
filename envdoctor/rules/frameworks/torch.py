"""PyTorch itself: does the installed build have code for these GPUs, and does the driver run it?"""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.fit import driver_floor, driver_runs
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.targets import target_of
from envdoctor.knowledge.wheels import OLDEST_CAPABILITY, best_wheel
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Framework, Gpu, Snapshot
from envdoctor.model.speech import message, say
from envdoctor.model.stack import Target, TargetGpu
from envdoctor.model.version import at_least, compare, major, numbers, order, public, readable
from envdoctor.rules.driver.packages import install_driver
from envdoctor.rules.frameworks.compiled import code_of, names, sm
from envdoctor.rules.frameworks.installed import TORCH, build_tag, by_conda, is_plain, torch, version_of
from envdoctor.rules.python.reinstall import Card, cards, for_failing, from_index, reinstall, way_out
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.wording import listed

UV_GUIDE = "https://docs.astral.sh/uv/guides/integration/pytorch/"
RELEASES = "https://github.com/pytorch/pytorch/blob/main/RELEASE.md"
# Ends of the names of add-in cards; everything else of these vendors is mostly graphics inside the processor.
_AMD_CARDS = ("instinct", message("radeon rx"), message("radeon pro"), message("radeon vii"), message("radeon ai"))
_INTEL_CARDS = ("arc", message("data center gpu"), "flex", message("max 1"))


@rule(
    "TORCH001",
    "cpu-only-build",
    "warning",
    needs=("gpus.name", "pythons.frameworks.torch.version", "pythons.frameworks.torch.cuda"),
    sources=(UV_GUIDE, "pkg:pypi/torch", "https://github.com/pytorch/pytorch/blob/main/torch/__init__.py"),
)
def cpu_only_build(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """PyTorch has no GPU code although there is an NVIDIA GPU.

    The wheel from the `cpu` index, conda's `cpu_` builds and every plain wheel for Windows leave the GPU libraries out.
    Such a build says `torch.cuda.is_available() == False` whatever the driver does, and works on the processor.

    Needed: a wheel of a CUDA index (`cu126`, `cu130` …) that fits the driver and the GPU.

    Check: `python -c "import torch; print(torch.version.cuda)"` prints a version, not None.

    Only a warning, since a CPU build may be meant. Silent without an NVIDIA GPU and on Jetson, which has wheels of its
    own. A GPU that no current wheel serves is told so, and nothing is to be reinstalled.
    """
    framework, gpus = torch(machine), cards(machine, facts)
    if framework is None or not _gpus(machine) or not _is_cpu_build(framework, machine) or _old_arm(framework, machine):
        return
    named = names(gpus) if gpus else _gpus(machine)[0].name or say("NVIDIA GPU")
    evidence = (f"{TORCH}.version", *(gpu.evidence for gpu in gpus))
    # No build serves Pascal and Blackwell together: then the newest card decides.
    newest = tuple(sorted(gpus, key=lambda gpu: numbers(gpu.capability))[-1:])
    way = way_out(machine, facts, tuple(gpu.capability for gpu in gpus)) or way_out(
        machine, facts, tuple(gpu.capability for gpu in newest)
    )
    if way:
        yield found(
            say("PyTorch {version} has no GPU code, so the {named} stays idle", version=framework.version, named=named),
            say(
                "This build leaves the GPU libraries out, and torch.cuda.is_available() is False whatever the driver "
                "does. A build that fits this machine is {version}.",
                version=way.wheel.version,
            ),
            evidence=evidence,
            fixes=reinstall(machine, facts, way, say("which runs on the {newest}", newest=names(newest) or named)),
        )
    elif (
        newest
        and best_wheel(facts, Target(gpus=(TargetGpu(vendor="nvidia", capability=newest[0].capability),))) is None
    ):
        yield found(
            say(
                "PyTorch {version} has no GPU code, and no current wheel has any for your {cards} ({architectures})",
                version=framework.version,
                cards=named,
                architectures=sm(gpus),
            ),
            say(
                "Current wheels have code for compute capability {oldest_capability} and newer. On the processor this "
                "PyTorch works, and there is nothing to reinstall.",
                oldest_capability=OLDEST_CAPABILITY,
            ),
            evidence=evidence,
            severity="note",
            slug="gpu-too-old-for-build",
        )


@rule(
    "TORCH002",
    "gpu-too-new-for-build",
    "error",
    supersedes=("TORCH017", "MSG601"),
    needs=("gpus.name", "pythons.frameworks.torch.version"),
    sources=(
        "https://github.com/pytorch/pytorch/blob/main/torch/cuda/__init__.py",
        RELEASES,
        "https://github.com/pytorch/pytorch/issues/157517",
        "https://github.com/pytorch/pytorch/issues/150733",
    ),
)
def no_code_for_gpu(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The PyTorch wheel has no machine code for this GPU.

    GPU code is compiled for each architecture. Machine code for 8.6 also runs on 8.9, the same major number and not a
    lower minor one; PTX, the portable form, runs on newer architectures, never on older ones. The import works and
    torch.cuda.is_available() says True, then the first kernel stops with "no kernel image is available".

    Needed: for a newer card a newer build (Blackwell: PyTorch 2.7 with CUDA 12.8), for an older card one that still
    has its architecture (Maxwell, Pascal, Volta: the cu126 builds up to 2.14).

    Check: `python -c "import torch; print(torch.cuda.get_arch_list())"`.

    Every GPU is judged. The wheel's own file is believed first, then the published table. Silent where neither tells,
    for builds of other makers whose file was not read, and on Jetson. A warning where cards are hidden from CUDA, where
    PTX is compiled on purpose, and where the table is in doubt and neither CUDA's own list of architectures nor an
    error line settles it.
    """
    framework = torch(machine)
    code = code_of(framework, machine, facts) if framework else None
    if framework is None or code is None or _jetson(machine):
        return
    gpus = cards(machine, facts)
    failing = [gpu for gpu in gpus if not code.runs(gpu, facts)]
    newer = tuple(gpu for gpu in failing if at_least(gpu.capability, code.lowest))
    older = tuple(gpu for gpu in failing if gpu not in newer)
    # Someone who has already hidden cards from CUDA may well have hidden these.
    hidden = len(failing) < len(gpus) and machine.variable("CUDA_VISIBLE_DEVICES") is not None
    for group, slug, lesson in (
        (newer, "gpu-too-new-for-build", say("Cards newer than the wheel need a newer wheel, not a newer driver.")),
        (
            older,
            "gpu-too-old-for-build",
            say("Newer wheels drop old cards, so an old card needs the line that kept it."),
        ),
    ):
        if not group:
            continue
        sure = not hidden and not machine.variable("CUDA_FORCE_PTX_JIT")
        sure = sure and (code.certainty == "certain" or all(_dropped(gpu, framework.cuda, facts) for gpu in group))
        proof = () if sure else _no_kernel_image(machine)
        yield found(
            say(
                "PyTorch {version} has no code for your {cards} ({architectures}); it was built for {range}",
                version=framework.version,
                cards=names(group),
                architectures=sm(group),
                range=code.range,
            ),
            say(
                "{lesson} The import works and torch.cuda.is_available() says True, then the first kernel stops with "
                '"no kernel image is available".',
                lesson=lesson,
            ),
            evidence=(*code.evidence, *(gpu.evidence for gpu in group), *proof),
            fixes=for_failing(machine, facts, framework, gpus, group),
            severity="warning" if hidden or not (sure or proof) else None,
            certainty=None if sure else "likely",
            slug=slug,
        )


@rule(
    "TORCH003",
    "gpu-too-old-for-build",
    "error",
    needs=("gpus.name", "driver.version", "pythons.frameworks.torch.version"),
    supersedes=("DRV007", "TORCH002", "TORCH017"),
    sources=(
        "pkg:pypi/torch",
        UV_GUIDE,
        RELEASES,
        "https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html",
    ),
)
def plain_wheel_is_cuda13(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The plain "pip install torch" brought CUDA 13, which leaves this GPU or this driver out.

    From 2.11 on the Linux wheel of the package index is built with CUDA 13; the same command gave CUDA 12.8 before.
    CUDA 13 has no code for cards before Turing (compute capability 7.5), and needs driver 580 or newer.

    Needed: a CUDA 12 build from its own index, or, where only the driver is old, driver 580.

    Check: `python -c "import torch; print(torch.version.cuda, torch.zeros(1).cuda())"`.

    One message stands for DRV007 and TORCH002. Silent for wheels of a CUDA index (they were chosen), for conda, and on
    the driver's side where a cuda-compat libcuda is loaded instead of the driver's own.
    """
    framework, python = torch(machine), machine.python
    cuda = readable(framework.cuda) if framework else None
    if framework is None or python is None or cuda is None or major(cuda) != 13:
        return
    linux = machine.system is not None and machine.system.os == "linux"
    if not linux or not is_plain(machine, framework) or by_conda(python, "torch") or _jetson(machine):
        return
    package, gpus = python.package("torch"), cards(machine, facts)
    old = tuple(gpu for gpu in gpus if _dropped(gpu, cuda, facts))
    driver = _driver_below(machine, facts, cuda)
    if not old and not driver:
        return
    floor = driver_floor(facts, cuda, target_of(machine, facts).os)
    newer = install_driver(machine, facts, floor) if driver and not old else None
    left_out = listed(
        [say("your {cards} ({architectures})", cards=names(old), architectures=sm(old))] * bool(old)
        + [say("driver {driver}", driver=driver)] * bool(driver)
    )
    yield found(
        say(
            "The plain PyTorch {version} wheel is a CUDA {cuda} build, which leaves out {left_out}",
            version=public(framework.version),
            cuda=cuda,
            left_out=left_out,
        ),
        say(
            "CUDA {cuda} needs a GPU of compute capability 7.5 or newer and driver {floor} or newer. Since PyTorch "
            "2.11 the plain wheel for Linux is a CUDA 13 build; the same command gave CUDA 12.8 before.",
            cuda=cuda,
            floor=floor,
        ),
        evidence=(
            version_of(python, package) if package else f"{TORCH}.version",
            f"{TORCH}.cuda",
            *(gpu.evidence for gpu in old),
            *(("driver.version",) if driver else ()),
        ),
        fixes=(*for_failing(machine, facts, framework, gpus, old or gpus), *((newer,) if newer else ())),
        slug=None if old else "driver-too-old",
    )


@rule(
    "TORCH015",
    "wheel-for-other-vendor",
    "error",
    needs=("gpus.name", "pythons.frameworks.torch.version", "pythons.frameworks.torch.cuda"),
    sources=(UV_GUIDE, "https://github.com/astral-sh/uv/blob/main/crates/uv-torch/src/accelerator.rs"),
)
def wheel_for_other_vendor(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """This PyTorch build talks to GPUs of another vendor.

    A build with ROCm sees AMD cards, one with CUDA sees NVIDIA cards, one with XPU sees Intel cards, and none of them
    sees the others.

    Needed: a build for the vendor of the card in this machine.

    Check: `python -c "import torch; print(torch.version.cuda, torch.version.hip)"`.

    Silent without any GPU, in WSL, which hides what is on the bus, and where the card at hand is graphics inside the
    processor: a CUDA build beside it works on the processor, as it should.
    """
    framework = torch(machine)
    if framework is None or machine.wsl or _jetson(machine):
        return
    made_for = "nvidia" if framework.cuda else "amd" if framework.hip else "intel" if framework.xpu else None
    discrete = [(i, gpu) for i, gpu in enumerate(machine.gpus) if _discrete(gpu)]
    if made_for is None or not discrete or any(gpu.vendor == made_for for gpu in machine.gpus):
        return
    index, gpu = discrete[0]
    field = {"nvidia": "cuda", "amd": "hip", "intel": "xpu"}[made_for]
    shown = {"nvidia": say("CUDA (NVIDIA)"), "amd": say("ROCm (AMD)"), "intel": say("XPU (Intel)")}[made_for]
    yield found(
        say(
            "PyTorch {version} is a {shown} build, and the GPU here is {name}",
            version=framework.version,
            shown=shown,
            name=gpu.name or gpu.vendor,
        ),
        say("Each PyTorch build talks to the GPUs of one vendor, and this one sees no card of this machine."),
        evidence=(f"{TORCH}.{field}", f"gpus[{index}].vendor"),
        fixes=_for_vendor(machine, facts, gpu),
    )


@rule(
    "TORCH016",
    "cpu-only-build",
    "warning",
    needs=("gpus.name", "system.machine", "pythons.frameworks.torch.version", "pythons.frameworks.torch.cuda"),
    sources=("pkg:pypi/torch", RELEASES),
)
def arm_wheel_without_cuda(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """On ARM servers the plain PyTorch wheel before 2.11 has no GPU code.

    Before 2.11 the CUDA libraries of the package index's wheel were asked for on x86_64 only, so machines with Grace
    and other ARM processors got a CPU build from the same command.

    Needed: PyTorch 2.11 or newer, or a wheel of a CUDA index.

    Check: `python -c "import torch; print(torch.version.cuda)"` prints a version, not None.

    Silent on Jetson, which has wheels of its own, and for wheels that carry a tag.
    """
    framework, gpus = torch(machine), cards(machine, facts)
    if framework is None or not gpus or not _old_arm(framework, machine):
        return
    way = way_out(machine, facts, tuple(gpu.capability for gpu in gpus))
    yield found(
        say(
            "The plain PyTorch {version} for ARM64 has no GPU code, so the {gpus} stays idle",
            version=public(framework.version),
            gpus=names(gpus),
        ),
        say("Before PyTorch 2.11 the plain wheel carried CUDA on x86_64 only.")
        + " "
        + (
            say("A build for ARM64 that fits is {version}.", version=way.wheel.version)
            if way
            else say("No newer wheel fits this machine.")
        ),
        evidence=(f"{TORCH}.version", "system.machine", *(gpu.evidence for gpu in gpus)),
        fixes=reinstall(machine, facts, way, say("which runs on the {gpus}", gpus=names(gpus))) if way else (),
    )


def _gpus(machine: Snapshot) -> list[Gpu]:
    return [] if _jetson(machine) else [gpu for gpu in machine.nvidia_gpus if gpu.bound_driver != "vfio-pci"]


def _jetson(machine: Snapshot) -> bool:
    return machine.system is not None and machine.system.jetson is not None


def _is_cpu_build(framework: Framework, machine: Snapshot) -> bool:
    if framework.cuda or framework.hip or framework.xpu or framework.gpu_build:
        return False
    if framework.gpu_build is False or build_tag(framework) == "cpu":
        return True
    # A report may name a version and nothing else; the plain wheel for Windows is known to be a CPU build.
    return machine.system is not None and machine.system.os == "windows" and is_plain(machine, framework)


def _old_arm(framework: Framework, machine: Snapshot) -> bool:
    system, python = machine.system, machine.python
    if system is None or python is None or system.os != "linux" or system.machine not in ("aarch64", "arm64"):
        return False
    plain = is_plain(machine, framework) and not by_conda(python, "torch") and not _jetson(machine)
    return plain and order(framework.version, "2.11") == -1 and not framework.cuda and not framework.gpu_build


def _dropped(gpu: Card, cuda: str | None, facts: Knowledge) -> bool:
    """Tell whether that CUDA cannot make code for the card at all, whatever a build was meant for."""
    row = facts.architecture(gpu.capability)
    if row is None or row.last_cuda is None or not cuda or not readable(cuda):
        return False
    return compare(cuda, row.last_cuda) > 0


def _no_kernel_image(machine: Snapshot) -> tuple[str, ...]:
    """Give the line that proves that code for a card is missing, if a report holds it."""
    lines = (i for i, each in enumerate(machine.problems) if "no kernel image" in each.text.lower())
    return tuple(f"problems[{i}].text" for i in lines)[:1]


def _driver_below(machine: Snapshot, facts: Knowledge, cuda: str) -> str | None:
    driver = machine.driver
    version = readable(driver.version) if driver else None
    if driver is None or version is None or "compat" in (driver.libcuda_path or ""):
        return None
    return version if driver_runs(facts, cuda, version, target_of(machine, facts).os) is False else None


def _discrete(gpu: Gpu) -> bool:
    """Tell whether this is a card for computing; the graphics inside a processor are left out."""
    name = (gpu.name or "").lower()
    if gpu.integrated or gpu.bound_driver == "vfio-pci":
        return False
    if gpu.vendor == "amd":
        return any(each in name for each in _AMD_CARDS)
    return gpu.vendor == "nvidia" or (gpu.vendor == "intel" and any(each in name for each in _INTEL_CARDS))


def _for_vendor(machine: Snapshot, facts: Knowledge, gpu: Gpu) -> tuple[Fix, ...]:
    if gpu.vendor == "nvidia":
        way = way_out(machine, facts, tuple(card.capability for card in cards(machine, facts)))
        return (
            reinstall(machine, facts, way, say("which runs on the {name}", name=gpu.name or say("NVIDIA GPU")))
            if way
            else ()
        )
    tag: str | None = "xpu"
    if gpu.vendor == "amd":
        # The newest index whose wheels are built for this card; where the card's target is not known, the newest.
        indexes = facts.rocm_indexes
        tag = next((each.tag for each in indexes if gpu.target is None or gpu.target in each.targets), None)
    if tag is None:
        return ()
    words = (
        say("Install the {tag} build of PyTorch.", tag=tag)
        if gpu.target
        else say(
            "Install the {tag} build of PyTorch; look up first that it supports the {card}.",
            tag=tag,
            card=gpu.name or say("card"),
        )
    )
    return (from_index(machine, tag, words),)
