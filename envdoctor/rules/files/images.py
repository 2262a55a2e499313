"""The image that a Dockerfile builds on, and what is put into it that belongs to the host."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envdoctor.knowledge.fit import driver_floor, driver_runs
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.names import gpu_named
from envdoctor.knowledge.tables import CudaImage
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import at_least, compare, minor, numbers
from envdoctor.rules.files.asked import Environment, Line, changed, environments, once, target
from envdoctor.rules.registry import Found, found, rule

_HUB = "https://hub.docker.com/r/nvidia/cuda"
_TAG = re.compile(r"(\d+\.\d+(?:\.\d+)?)(?:-(cudnn)\d*)?(?:-(base|runtime|devel))?(?:-(.+))?")
# Packages that hold a half of the driver, or bring one along: `cuda` is the toolkit with the newest driver.
_DRIVER = re.compile(
    r"cuda|cuda-drivers.*|nvidia-(?:driver|dkms|open|kernel|utils|compute-utils|headless).*|libnvidia-(?!container).*"
    r"|libcuda1|xserver-xorg-video-nvidia.*"
)
# Packages of the index that are sources: nvcc compiles them while they are installed.
_COMPILED = ("flash-attn", "mamba-ssm", "causal-conv1d")
_COMPILERS = re.compile(r"cuda-(?:nvcc|toolkit|compiler|command-line-tools|minimal-build).*|nvidia-cuda-toolkit|cuda")


def cuda_of(image: Line | None) -> str | None:
    """Give the CUDA of an nvidia/cuda or pytorch/pytorch image by its tag; None: it has none, or does not say."""
    if image is None:
        return None
    tag = image.said.value or ""
    if image.said.name.endswith("nvidia/cuda"):
        read = re.match(r"\d+\.\d+", tag)
        return read[0] if read else None
    read = re.search(r"-cuda(\d+\.\d+)-", tag) if image.said.name == "pytorch/pytorch" else None
    return read[1] if read else None


@rule(
    "FILE001",
    "image-tag-never-published",
    "error",
    needs=("declared",),
    sources=(_HUB, "https://gitlab.com/nvidia/container-images/cuda/blob/master/doc/support-policy.md"),
)
def image_tag_unknown(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A Dockerfile builds on an nvidia/cuda tag that was never published, or was removed.

    The build ends at its first line with "manifest unknown" or "not found". There is no `latest`, and short tags like
    11.8-base went; the tags that remain name CUDA to its last part, a flavour and a system, as in
    12.8.1-base-ubuntu24.04. From CUDA 12.4 on the flavours with cuDNN are called cudnn-runtime, before that
    cudnn8-runtime. NVIDIA takes tags of ended systems away.

    Needed: a tag of the list.

    Check: `docker manifest inspect nvidia/cuda:12.8.1-base-ubuntu24.04`.

    Certain where the tag lacks a part that every tag has. A warning where it has the right form and is not in the
    table, which is a copy of NVIDIA's list. Silent for newer ones, for systems other than Ubuntu,
    and for images that are named by digest.
    """
    yield from once(machine, _unknown_tags(machine, facts))


def _unknown_tags(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    for each in environments(machine):
        image = each.image
        if image is None or image.said.name not in ("nvidia/cuda", "nvcr.io/nvidia/cuda"):
            continue
        tag = image.said.value
        if tag is None or "@" in tag or f"nvidia/cuda:{tag}" in {row.tag for row in facts.cuda_images}:
            continue
        read = _TAG.fullmatch(tag)
        known = {row.cuda for row in facts.cuda_images}
        cuda, system = (read[1], read[4] or "") if read else ("", "")
        if read and (system and not system.startswith("ubuntu")):
            continue
        whole = len(cuda.split(".")) == 3 and bool(system) and read is not None and read[3] is not None
        if whole and compare(cuda, max(known, key=numbers)) > 0:
            continue
        if tag not in ("", "latest") and read is None:
            continue
        near = _nearest(read, facts)
        why = (
            say("CUDA {cuda} is there for other systems or flavours, and this tag is not in the list.", cuda=cuda)
            if cuda in known
            else say("No image of CUDA {cuda} is in the list any more.", cuda=cuda)
            if whole
            else say("There is no tag without CUDA's last part, a flavour and a system, and no `latest`.")
        )
        yield found(
            say("There is no image nvidia/cuda:{tag}", tag=tag or "latest"),
            say("The build would stop at this line: {why}", why=why),
            evidence=(image.evidence,),
            fixes=(_from(image, near.tag),) if near else (),
            severity="warning" if whole else None,
            certainty="likely" if whole else None,
        )


def _nearest(read: re.Match[str] | None, facts: Knowledge) -> CudaImage | None:
    """Give the tag that comes nearest: the same flavour and CUDA, then the same Ubuntu, then the newest."""
    if read is None:
        return None
    flavour = f"{'cudnn-' if read[2] else ''}{read[3] or ('runtime' if read[2] else 'base')}"
    rows = [
        row
        for row in facts.cuda_images
        if row.flavour == flavour and at_least(row.cuda, minor(read[1])) and numbers(row.cuda)[0] == numbers(read[1])[0]
    ]
    wanted = (read[4] or "").removeprefix("ubuntu")
    return min(
        rows,
        key=lambda row: (
            minor(row.cuda) != minor(read[1]),
            row.ubuntu != wanted,
            numbers(minor(row.cuda)),
            tuple(-part for part in (*numbers(row.cuda), *numbers(row.ubuntu))),
        ),
        default=None,
    )


def _from(image: Line, tag: str) -> Fix:
    name = image.said.name
    own = f"{name}:{image.said.value}" if image.said.value else name
    text = image.said.text
    new = text.replace(own, tag, 1) if own in text else say("FROM {tag}", tag=tag)
    return changed(image, new)


@rule(
    "FILE002",
    "driver-too-old",
    "error",
    needs=("declared", "driver.version"),
    sources=(
        "https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html",
        "https://github.com/NVIDIA/nvidia-container-toolkit/issues/940",
    ),
)
def image_newer_than_driver(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A Dockerfile's CUDA image is newer than the driver of the machine.

    NVIDIA's images ask for a driver that offers their CUDA (NVIDIA_REQUIRE_CUDA). With an older one the container does
    not start: "unsatisfied condition: cuda>=12.8". Inside a major version programs would still run.

    Needed: an image whose CUDA is not above what `nvidia-smi` shows, or a newer driver.

    Check: `nvidia-smi` on the host shows the CUDA version that the driver offers.

    Only a warning on data-centre GPUs, where images accept some older branches, and where the file itself sets the
    condition lower and the major version is still served: then it is silent. Judged for the stage that is kept.
    """
    yield from once(machine, _newer_images(machine, facts))


def _newer_images(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    driver = machine.driver
    for each in environments(machine):
        image, cuda = each.image, cuda_of(each.image)
        here = target(each, machine, facts)
        if image is None or cuda is None or driver is None or here.driver is None or not each.final:
            continue
        offered = driver.cuda or facts.driver_cuda(here.driver)
        runs = driver_runs(facts, cuda, here.driver, here.os, offered=offered)
        if runs is None or offered is None or at_least(offered, cuda):
            continue
        lowered = any(
            line.said.name in ("NVIDIA_REQUIRE_CUDA", "NVIDIA_DISABLE_REQUIRE") for line in each.of("variable")
        )
        own_condition = lowered or image.said.name == "pytorch/pytorch"
        if runs and own_condition:
            continue
        rows = [gpu_named(facts, gpu.name) for gpu in here.gpus if gpu.name]
        data_centre = bool(rows) and all(row is not None and row.kind == "datacenter" for row in rows)
        floor = driver_floor(facts, cuda, here.os)
        fitting = _fitting_tag(image, offered, facts)
        yield found(
            say(
                "The image is for CUDA {cuda}, and driver {driver} offers {offered}",
                cuda=cuda,
                driver=here.driver,
                offered=offered,
            ),
            say(
                "The container is refused, or its programs do not start: CUDA {cuda} runs on drivers from {floor} on.",
                cuda=cuda,
                floor=floor,
            )
            if not runs
            else say(
                "NVIDIA's image asks the driver for its own CUDA before it starts, although programs of it would run."
            ),
            evidence=(image.evidence, "driver.version"),
            fixes=(_from(image, fitting.tag),) if fitting else (),
            severity="warning" if runs and data_centre else None,
            certainty="likely" if runs and data_centre else None,
        )


def _fitting_tag(image: Line, offered: str, facts: Knowledge) -> CudaImage | None:
    read = _TAG.fullmatch(image.said.value or "")
    if read is None or "nvidia/cuda" not in image.said.name:
        return None
    flavour = f"{'cudnn-' if read[2] else ''}{read[3] or 'base'}"
    rows = [row for row in facts.cuda_images if row.flavour == flavour and at_least(offered, minor(row.cuda))]
    wanted = (read[4] or "").removeprefix("ubuntu")
    return max(rows, key=lambda row: (row.ubuntu == wanted, numbers(row.cuda), numbers(row.ubuntu)), default=None)


@rule(
    "FILE003",
    "compiler-missing-in-image",
    "warning",
    certainty="likely",
    needs=("declared",),
    sources=("https://github.com/Dao-AILab/flash-attention#installation-and-features", _HUB),
)
def compiler_missing(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A Dockerfile installs a package that nvcc compiles, on an image without nvcc.

    flash-attn, mamba-ssm and causal-conv1d are sources on the package index. The flavours base and runtime of NVIDIA's
    and PyTorch's images have no compiler, and plain Python images have neither: "CUDA_HOME environment variable is not
    set", or "nvcc was not found".

    Needed: the flavour devel, at least in the stage that builds; or a wheel that somebody built for exactly this torch,
    CUDA and Python.

    Check: `docker run --rm IMAGE nvcc --version`.

    Silent where the file installs nvcc, or names a wheel. The packages themselves may find a prebuilt wheel of their
    makers for common pairs, which is why this is likely and not certain.
    """
    yield from once(machine, _without_compiler(machine, facts))


def _without_compiler(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    for each in environments(machine):
        image, package = each.image, each.package(*_COMPILED)
        if image is None or package is None or _has_compiler(each, image):
            continue
        if any(link.endswith(".whl") for link in package.said.links) or image.said.value is None:
            continue
        tag = image.said.value
        yield found(
            say(
                "{name} is compiled by nvcc, and {said_name}:{tag} has none",
                name=package.said.name,
                said_name=image.said.name,
                tag=tag or "latest",
            ),
            say("The package index has sources of it only, so that installing it needs CUDA's compiler in the image."),
            evidence=(package.evidence, image.evidence),
            fixes=(_devel(image, facts),),
        )


def _devel(image: Line, facts: Knowledge) -> Fix:
    """Write the image with the flavour that has the compiler."""
    tag = image.said.value or ""
    if image.said.name == "pytorch/pytorch" and "runtime" in tag:
        return image.instead("-runtime", "-devel")
    devel = re.sub(r"\b(base|runtime)\b", "devel", tag)
    if image.said.name.endswith("nvidia/cuda"):
        if f"nvidia/cuda:{devel}" in {row.tag for row in facts.cuda_images}:
            return _from(image, f"nvidia/cuda:{devel}")
        near = _nearest(_TAG.fullmatch(devel), facts)
        if near:
            return _from(image, near.tag)
    return Fix(summary=say("Build on nvidia/cuda in the flavour devel, of the CUDA that torch is for."))


def _has_compiler(each: Environment, image: Line) -> bool:
    system = any(_COMPILERS.fullmatch(line.said.name) for line in each.of("system"))
    conda = each.conda("cuda-nvcc", "cuda-toolkit", "cuda", "cuda-compiler", "cudatoolkit-dev")
    name, tag = image.said.name, image.said.value or ""
    bare = name in ("python", "ubuntu", "debian", "pytorch/pytorch") or name.endswith("nvidia/cuda")
    return system or conda is not None or "devel" in tag or not bare


@rule(
    "FILE004",
    "cuda-stub-loaded",
    "error",
    needs=("declared",),
    sources=("https://docs.nvidia.com/cuda/cuda-installation-guide-linux/",),
)
def stubs_on_path(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A Dockerfile puts CUDA's stubs on the path where libraries are loaded from.

    The folder stubs holds an empty libcuda.so, which programs are linked with where there is no driver. Loaded in
    place of the driver's, it fails every call: "CUDA driver is a stub library".

    Needed: the stubs in LIBRARY_PATH while something is built, never in LD_LIBRARY_PATH.

    Check: `docker run --rm IMAGE printenv LD_LIBRARY_PATH`.
    """
    yield from once(machine, _stubs(machine))


def _stubs(machine: Snapshot) -> Iterator[Found]:
    for each in environments(machine):
        for line in each.of("variable"):
            folders = (line.said.value or "").split(":")
            stubs = [folder for folder in folders if re.search(r"/stubs/?$", folder)]
            if line.said.name != "LD_LIBRARY_PATH" or not stubs:
                continue
            kept = ":".join(folder for folder in folders if folder not in stubs)
            yield found(
                say("LD_LIBRARY_PATH names CUDA's stubs ({stubs})", stubs=stubs[0]),
                say("Programs would load a libcuda without a driver behind it, and see no GPU."),
                evidence=(line.evidence,),
                fixes=(line.instead(line.said.value or "", kept),),
            )


@rule(
    "FILE005",
    "image-carries-driver-libraries",
    "error",
    needs=("declared",),
    sources=(
        "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/index.html",
        "https://github.com/NVIDIA/nvidia-docker/wiki/Frequently-Asked-Questions",
    ),
)
def driver_in_image(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A Dockerfile installs the NVIDIA driver.

    The driver belongs to the host; the container toolkit hands its libraries in when a container starts. A copy inside
    of the image is of another release sooner or later: "driver/library version mismatch". The package `cuda` brings a
    driver along; `cuda-toolkit-12-8` does not.

    Needed: no driver in the image.

    Check: `docker run --rm IMAGE sh -c "ls /usr/lib/x86_64-linux-gnu/libcuda.so*"`, without --gpus, finds nothing.
    """
    yield from once(machine, _driver_packages(machine))


def _driver_packages(machine: Snapshot) -> Iterator[Found]:
    for each in environments(machine):
        if each.image is None:
            continue
        for line in each.of("system"):
            if _DRIVER.fullmatch(line.said.name):
                yield found(
                    say("{name} is installed into the image", name=line.said.name),
                    say(
                        "The host hands its driver in when a container starts; a second one in the image clashes with "
                        "it."
                    ),
                    evidence=(line.evidence,),
                    fixes=(_without(line),),
                )


def _without(line: Line) -> Fix:
    """Write a line without its package, or take the line out where nothing else is installed by it."""
    text = re.sub(rf"\s*(?<![\w.-]){re.escape(line.said.name)}(?:=\S+)?(?=\s|$)", "", line.said.text)
    return (
        changed(line, text)
        if text.strip(" \\")
        else Fix(summary=say("Take out line {line} of {file}.", line=line.said.line, file=line.said.file))
    )
