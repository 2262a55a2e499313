"""The torch that a file would bring, on the machine it is for."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.builds import Build, card_name, gpus_of
from envdoctor.knowledge.fit import variant_serves
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.model.stack import Target
from envdoctor.model.version import compare, major
from envdoctor.rules.files.asked import once
from envdoctor.rules.files.builds import INDEX, Asked, against, asked_for, left_open, newest_with, rewritten, way_out
from envdoctor.rules.files.images import cuda_of
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.wording import sentence

_PREVIOUS = "https://pytorch.org/get-started/previous-versions/"
_COMPATIBILITY = "https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html"


def _sentence(because: str) -> str:
    """Make a sentence of a reason; torch is not written with a capital letter."""
    return (because if because.startswith("torch") else sentence(because)) + "."


@rule(
    "FILE010",
    "driver-too-old",
    "error",
    needs=("declared", "driver.version"),
    supersedes=("FILE014",),
    sources=(_COMPATIBILITY, _PREVIOUS),
)
def torch_needs_newer_driver(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A file brings a torch whose CUDA the driver of the machine cannot run.

    The wheels carry CUDA themselves, and CUDA asks for a driver: 450.80.02 for 11.x, 525.60.13 for 12.x, 580.65.06 for
    13.x on Linux. With an older one torch.cuda.is_available() is False. A line `torch` without a version follows the
    newest release, which changes its CUDA.

    Needed: a build for a CUDA that the driver runs, or a newer driver.

    Check: `nvidia-smi` shows the driver; `python -c "import torch; print(torch.version.cuda)"` the build.
    """
    yield from once(machine, _driver(machine, facts))


def _driver(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    for asked in asked_for(machine, facts):
        # Several cards say the same of one driver.
        for objection in list(against(asked, facts, "driver"))[:1]:
            assert asked.torch.build
            yield found(
                say("{name} does not run on driver {driver}", name=asked.torch.build.name, driver=asked.here.driver),
                f"{_sentence(objection.because)}{left_open(asked)}",
                evidence=(asked.torch.line.evidence, "driver.version"),
                fixes=way_out(asked, facts),
                severity="warning" if asked.torch.open else None,
                certainty="likely" if asked.torch.open else None,
            )


@rule(
    "FILE011",
    "gpu-too-old-for-build",
    "error",
    needs=("declared", "gpus.capability"),
    sources=(_PREVIOUS, "https://github.com/pytorch/pytorch/blob/main/RELEASE.md"),
    variants=("gpu-too-new-for-build",),
)
def torch_without_code_for_gpu(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A file brings a torch that has no code for the GPU.

    Each build holds machine code for some generations. Builds for CUDA 12.8 and later left out Maxwell and Pascal,
    those for CUDA 13 also Volta; builds before 12.8 know no Blackwell: "no kernel image is available for execution".

    Needed: a build that has code for the GPU's compute capability.

    Check: `python -c "import torch; print(torch.cuda.get_arch_list())"`.
    """
    yield from once(machine, _code(machine, facts))


def _code(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    for asked in asked_for(machine, facts):
        build = asked.torch.build
        for objection in against(asked, facts, "gpu") if build and build.kind == "cuda" else ():
            assert build
            place = next((at for at, gpu in enumerate(machine.gpus) if gpu.vendor == "nvidia"), None)
            yield found(
                say("{name} has no code for {failing}", name=build.name, failing=_failing(build, asked.here, facts)),
                f"{_sentence(objection.because)}{left_open(asked)}",
                evidence=(asked.torch.line.evidence, *((f"gpus[{place}].name",) if place is not None else ())),
                fixes=way_out(asked, facts),
                severity="warning" if asked.torch.open else None,
                certainty="likely" if asked.torch.open else None,
                slug="gpu-too-new-for-build" if _too_new(build, asked.here) else None,
            )


def _failing(build: Build, here: Target, facts: Knowledge) -> str:
    cards = [
        card_name(gpu)
        for gpu in gpus_of(here, "nvidia")
        if gpu.capability
        and build.variant
        and variant_serves(facts, build.variant, gpu.capability, os=here.os, arch=here.arch, driver=here.driver)
        == "none"
    ]
    return cards[0] if cards else say("the GPU")


def _too_new(build: Build, here: Target) -> bool:
    sm = build.variant.sm if build.variant else None
    own = [gpu.capability for gpu in gpus_of(here, "nvidia") if gpu.capability]
    return bool(sm) and any(all(compare(each, have) > 0 for have in sm or ()) for each in own)


@rule(
    "FILE012",
    "python-without-wheel",
    "error",
    needs=("declared",),
    sources=("pkg:pypi/torch", "https://peps.python.org/pep-0656/"),
    variants=("glibc-too-old",),
)
def torch_without_wheel(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A file asks for a torch that has no wheel for its Python or its C library.

    pip then says "No matching distribution found for torch". Each release is built for some Pythons, and for glibc:
    images with musl, such as Alpine, and old systems get none.

    Needed: a Python and a system that the release has wheels for.

    Check: `pip download --no-deps torch==2.7.1` in the image.

    The Python is the one that the file or its image names; for a requirements file the one of the environment at hand.
    """
    yield from once(machine, _wheel(machine, facts))


def _wheel(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    for asked in asked_for(machine, facts):
        line, image = asked.torch.line, asked.environment.image
        for objection in against(asked, facts, "python", "libc", "glibc"):
            libc = objection.constraint != "python"
            assert asked.torch.build
            yield found(
                say(
                    "There is no wheel of torch {version} for {libc}",
                    version=asked.torch.build.release.version,
                    libc=f"{asked.here.libc} {asked.here.glibc or ''}".strip(),
                )
                if libc
                else say(
                    "There is no wheel of torch {version} for Python {python}",
                    version=asked.torch.build.release.version,
                    python=asked.here.python,
                ),
                _sentence(objection.because),
                evidence=(line.evidence, *((image.evidence,) if image else ())),
                fixes=way_out(asked, facts) if not libc else _other_image(asked),
                slug="glibc-too-old" if libc else None,
            )


def _other_image(asked: Asked) -> tuple[Fix, ...]:
    image = asked.environment.image
    if image is None or "alpine" not in (image.said.value or ""):
        return ()
    tag = image.said.value or ""
    return (image.instead(tag, tag.partition("-alpine")[0] + "-slim-bookworm"),)


@rule(
    "FILE014",
    "framework-cuda-mismatch",
    "warning",
    certainty="likely",
    needs=("declared",),
    sources=("pkg:pypi/torch", "https://github.com/pytorch/pytorch/blob/main/RELEASE.md"),
)
def torch_for_other_cuda_than_image(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A Dockerfile installs a torch for another major CUDA than its image.

    The image does not decide: `pip install torch` takes the newest release, and that is built for CUDA 13 since 2.11.
    It runs with its own libraries, asks for a driver of its own CUDA, and what is compiled in the image with nvcc
    does not fit it.

    Needed: a pinned torch of the image's CUDA, or an image of torch's CUDA.

    Check: `docker run --rm IMAGE python -c "import torch; print(torch.version.cuda)"`.
    """
    yield from once(machine, _other_cuda(machine, facts))


def _other_cuda(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    for asked in asked_for(machine, facts):
        image, build = asked.environment.image, asked.torch.build
        cuda = cuda_of(image)
        if image is None or cuda is None or build is None or build.cuda is None or major(build.cuda) == major(cuda):
            continue
        tags = [
            variant
            for variant in facts.torch_releases[0].variants
            if variant.cuda and major(variant.cuda) == major(cuda)
        ]
        for release in facts.torch_releases if not tags else ():
            tags = [variant for variant in release.variants if variant.cuda and major(variant.cuda) == major(cuda)]
            if tags:
                break
        near = newest_with(tags[-1].tag, facts.torch_releases) if tags else None
        yield found(
            say(
                "The image is for CUDA {cuda}, and torch would be {version}, for CUDA {build_cuda}",
                cuda=cuda,
                version=build.version,
                build_cuda=build.cuda,
            ),
            say(
                "torch brings CUDA {cuda} itself and does not use the image's.{left_open}",
                cuda=build.cuda,
                left_open=left_open(asked),
            ),
            evidence=(asked.torch.line.evidence, image.evidence),
            fixes=rewritten(asked.torch.line, asked.environment, near, facts) if near else (),
        )


@rule(
    "FILE015",
    "cpu-only-build",
    "warning",
    needs=("declared",),
    sources=(f"{INDEX}/cpu", _PREVIOUS),
)
def cpu_build_on_gpu(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A file brings a torch without GPU code, although a GPU is meant or there.

    The image is one for NVIDIA GPUs, or the machine has such a GPU, and the wheel is from the index `cpu`, or the plain
    wheel for Windows, which has no CUDA. torch.cuda.is_available() will be False.

    Needed: a build for CUDA.

    Check: `python -c "import torch; print(torch.version.cuda)"` prints None for such a build.

    An error where the image is one for GPUs. Silent for plain Python images, where the processor is meant, and where no
    build has code for the GPU.
    """
    yield from once(machine, _cpu(machine, facts))


def _cpu(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    for asked in asked_for(machine, facts):
        build, each = asked.torch.build, asked.environment
        if build is None or build.kind != "cpu":
            continue
        place = next((at for at, gpu in enumerate(machine.gpus) if gpu.vendor == "nvidia"), None)
        if not each.on_gpu_image and (each.image is not None or place is None or machine.gap("gpus")):
            continue
        fixes = way_out(asked, facts)
        if not fixes and each.image is None:
            continue  # no build serves this GPU, so that the one for the processor is right
        where = each.image.evidence if each.image else f"gpus[{place}].name"
        yield found(
            say(
                "{build} is for the processor alone, on an image for GPUs ({image})",
                build=build.name,
                image=each.image.said.name,
            )
            if each.image
            else say("{build} is for the processor alone, on a machine with an NVIDIA GPU", build=build.name),
            say("This build has no GPU code. Windows gets it from the package index.")
            if asked.torch.plain
            else say("This build has no GPU code."),
            evidence=(asked.torch.line.evidence, where),
            fixes=fixes,
            severity="error" if each.image else None,
        )


@rule(
    "FILE016",
    "wheel-for-other-vendor",
    "error",
    needs=("declared", "gpus.vendor"),
    sources=("https://pytorch.org/get-started/locally/",),
    variants=("no-supported-gpu",),
)
def cuda_build_without_gpu(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A file brings a torch for CUDA, and the machine has no NVIDIA GPU.

    On an AMD or Intel GPU it computes on the processor; those need builds of their own (rocm, xpu). On a machine
    without a GPU it works too, with gigabytes of libraries that nothing uses.

    Needed: the build for the GPU that is there, or the one for the processor.

    Check: `lspci` lists the cards.

    An error with a GPU of another maker, a warning without any; a note where a plain `torch` brings CUDA along. Say
    what the machine has that the file is for: `--gpu "RTX 4090"`, or `--from` with its snapshot.
    """
    yield from once(machine, _no_gpu(machine, facts))


def _no_gpu(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    for asked in asked_for(machine, facts):
        build, here = asked.torch.build, asked.here
        if build is None or build.kind != "cuda" or gpus_of(here, "nvidia") or here.driver:
            continue
        if here.os == "macos":
            continue
        other = next((gpu for gpu in here.gpus if gpu.vendor in ("amd", "intel")), None)
        tag = "xpu" if other and other.vendor == "intel" else "cpu"
        amd = next((row.tag for row in facts.rocm_indexes if other and other.target in row.targets), None)
        near = newest_with(amd or tag, facts.torch_releases) if amd or not other or tag == "xpu" else None
        fixes = rewritten(asked.torch.line, asked.environment, near, facts) if near else ()
        named = Fix(summary=say("If it is for another machine, say which: --gpu with the name of its card."))
        yield found(
            say("{build} is for NVIDIA GPUs, and this machine has {card}", build=build.name, card=card_name(other))
            if other
            else say("{build} is for NVIDIA GPUs, and this machine has no GPU", build=build.name),
            say("torch would compute on the processor, and bring gigabytes of libraries that nothing uses.")
            + left_open(asked),
            evidence=(asked.torch.line.evidence, "gpus"),
            fixes=(*fixes, named),
            severity=None if other else "note" if asked.torch.plain else "warning",
            slug=None if other else "no-supported-gpu",
        )
