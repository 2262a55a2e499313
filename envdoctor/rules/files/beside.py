"""What a file installs beside torch: companions, NumPy, TensorFlow, JAX."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envdoctor.knowledge.builds import gpus_of
from envdoctor.knowledge.fit import driver_knows
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.tables import TorchRelease
from envdoctor.knowledge.tables.frameworks import JaxRelease
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.model.stack import Target
from envdoctor.model.version import at_least, major, public
from envdoctor.rules.files.asked import Environment, Line, changed, environments, once, target
from envdoctor.rules.files.builds import torch_of, version_of
from envdoctor.rules.registry import Found, found, rule

_JAX_GUIDE = "https://docs.jax.dev/en/latest/installation.html"


@rule(
    "FILE040",
    "companion-built-for-other-torch",
    "error",
    needs=("declared",),
    sources=("pkg:pypi/torchvision", "pkg:pypi/torchaudio", "pkg:pypi/xformers", "pkg:pypi/vllm"),
)
def companions_do_not_fit(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A file pins torch together with a package that was made for another torch.

    torchvision, torchaudio, xformers and vllm hold code that was compiled for one release of torch, and say so in their
    metadata. pip refuses the pair, or, when they are installed one after the other, takes torch out again and installs
    another one.

    Needed: the pair that belongs together (torch 2.8.0 with torchvision 0.23.0).

    Check: `pip install --dry-run` with the same words.

    Silent where one of the two is left open, since pip then chooses a pair.
    """
    yield from once(machine, _companions(machine, facts))


def _companions(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    for each in environments(machine):
        line = each.package("torch")
        release = facts.torch(version_of(line) or "") if line and version_of(line) else None
        if line is None or release is None:
            continue
        for other, wanted, right in _misfits(each, release, facts):
            fixes = (_pinned(other, right),) if right else ()
            yield found(
                say(
                    "{name} {pin} needs torch {wanted}, and the file pins torch {version}",
                    name=other.said.name,
                    pin=other.pin,
                    wanted=wanted,
                    version=release.version,
                ),
                say("Its compiled part is for that torch; pip refuses the pair, or replaces torch."),
                evidence=(other.evidence, line.evidence),
                fixes=fixes,
            )


def _misfits(each: Environment, release: TorchRelease, facts: Knowledge) -> Iterator[tuple[Line, str, str | None]]:
    """Give the lines that do not go with a torch: what they want, and the version that does go with it."""
    from packaging.specifiers import SpecifierSet

    for name in ("torchvision", "torchaudio"):
        line = each.package(name)
        own = version_of(line) if line else None
        right = release.torchvision if name == "torchvision" else release.torchaudio
        free = name == "torchaudio" and own is not None and at_least(own, "2.11")
        if line is None or own is None or own == right or (free and not release.torchaudio_pinned):
            continue
        wants = [row.version for row in facts.torch_releases if getattr(row, name) == own]
        # From torchvision 0.29 on, any torch from 2.14 on will do.
        if wants and not (name == "torchvision" and at_least(own, "0.29") and at_least(release.version, "2.14")):
            yield line, " or ".join(wants[:2]), right
    for name in ("xformers", "vllm"):
        line = each.package(name)
        rows = facts.xformers_releases if name == "xformers" else facts.vllm_releases
        row = next((row for row in rows if line and row.version == version_of(line)), None)
        if line and row and not SpecifierSet(row.torch).contains(release.version):
            fits = next((row.version for row in rows if SpecifierSet(row.torch).contains(release.version)), None)
            yield line, row.torch.removeprefix("=="), fits


def _pinned(line: Line, version: str) -> Fix:
    """Write a line with another version of its package; a local tag stays."""
    pin = line.pin or ""
    return line.instead(public(pin), version)


@rule(
    "FILE041",
    "numpy2-abi",
    "error",
    needs=("declared",),
    sources=(
        "https://github.com/pytorch/pytorch/issues/107302",
        "https://numpy.org/doc/stable/release/2.0.0-notes.html",
    ),
)
def numpy_too_new(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A file installs a torch that was built before NumPy 2, and lets NumPy 2 in.

    torch up to 2.2 was compiled with NumPy 1; with NumPy 2 tensor.numpy() and DataLoader fail: "Numpy is not
    available", "_ARRAY_API not found". torch's metadata does not say so, so pip takes the newest.

    Needed: numpy<2 beside such a torch.

    Check: `python -c "import torch; torch.ones(1).numpy()"`.

    A warning where no line names NumPy and torchvision brings it. Silent where neither does.
    """
    yield from once(machine, _numpy(machine, facts))


def _numpy(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    for each in environments(machine):
        torch = torch_of(each, machine, facts)
        here = target(each, machine, facts)
        if torch is None or torch.build is None:
            continue
        release = torch.build.release
        ready = release.numpy2 and (release.numpy2_windows or here.os != "windows")
        numpy = each.package("numpy") or each.conda("numpy")
        brought = each.package("torchvision")
        if ready or (numpy is None and brought is None) or (numpy is not None and numpy.said.value is None):
            continue
        # NumPy 2 has no wheels for Python 3.8, and pip takes the last 1.x there.
        if here.python and not at_least(here.python, "3.9"):
            continue
        if numpy is not None:
            value = re.sub(r"^=(?!=)", "==", numpy.said.value or "")
            value = f"{value}.*" if numpy.said.by == "conda" and re.fullmatch(r"==[\d.]+", value) else value
            try:
                two = any(SpecifierSet(value).contains(newer) for newer in ("2.0.2", "2.1.3", "2.2.6", "2.4.0", "2.9"))
            except InvalidSpecifier:
                continue
            if not two and not (numpy.pin and at_least(numpy.pin, "2")):
                continue
        line = numpy or torch.line
        yield found(
            say("{name} was built before NumPy 2, and the file lets NumPy 2 in", name=torch.build.name),
            say("tensor.numpy() and what builds on it would fail; torch's metadata does not keep pip from taking it."),
            evidence=(line.evidence, *((torch.line.evidence,) if numpy else ())),
            fixes=(
                line.instead(f"numpy{numpy.said.value or ''}", "numpy<2")
                if numpy
                else Fix(
                    summary=say('Add "numpy<2" beside line {line} of {file}.', line=line.said.line, file=line.said.file)
                ),
            ),
            severity=None if numpy else "warning",
        )


@rule(
    "FILE042",
    "package-renamed",
    "error",
    needs=("declared",),
    sources=("pkg:pypi/tensorflow-gpu@2.12.0", "https://www.tensorflow.org/install/pip"),
)
def tensorflow_gpu_is_gone(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A file installs tensorflow-gpu, which is gone.

    Since TensorFlow 2.1 the package tensorflow has GPU support itself. tensorflow-gpu ended with 2.11; what is called
    2.12.0 stops the installation with a message.

    Needed: tensorflow[and-cuda] on Linux from 2.14 on, or tensorflow before that.

    Check: `pip install --dry-run tensorflow-gpu`.

    Silent for a pin up to 2.11, which still installs.
    """
    yield from once(machine, _tensorflow_gpu(machine))


def _tensorflow_gpu(machine: Snapshot) -> Iterator[Found]:
    for each in environments(machine):
        line = each.package("tensorflow-gpu")
        if line is None or line.said.value is None or (line.pin and not at_least(line.pin, "2.12")):
            continue
        yield found(
            say("tensorflow-gpu is gone"),
            say("Its last version is an empty one that stops the installation; tensorflow has GPU support itself."),
            evidence=(line.evidence,),
            fixes=(line.instead("tensorflow-gpu", "tensorflow[and-cuda]"),),
        )


@rule(
    "FILE043",
    "cpu-only-build",
    "warning",
    needs=("declared",),
    sources=(_JAX_GUIDE, "pkg:pypi/jax"),
    variants=("extra-never-published", "driver-too-old"),
)
def jax_extra_wrong(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A file installs JAX with the wrong extra, or with none where a GPU is meant.

    `jax` alone computes on the processor. jax[cuda12] and jax[cuda13] bring the plugin and CUDA's libraries; jax[gpu],
    jax[cuda11_pip] and the like are no extras of today's releases, and pip only warns and installs the CPU part.

    Needed: jax[cuda12] on drivers from 525 on, jax[cuda13] on drivers from 580 on.

    Check: `python -c "import jax; print(jax.devices())"`.

    An error for an extra that the release does not have, and for one that the driver is too old for. Without an extra a
    warning, where the image is for GPUs or the machine has an NVIDIA GPU.
    """
    yield from once(machine, _jax(machine, facts))


def _jax(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    for each in environments(machine):
        line = each.package("jax")
        release = _jax_release(line, facts) if line else None
        if line is None or release is None:
            continue
        extras = [extra for extra in line.said.extras if re.match(r"(?i)cuda|gpu", extra)]
        here = target(each, machine, facts)
        known = {re.sub("[-_.]+", "-", extra) for extra in release.extras or ()}
        wrong = [extra for extra in extras if re.sub("[-_.]+", "-", extra.lower()) not in known]
        if release.extras is not None and wrong:
            yield found(
                say("jax {version} has no extra {wrong}", version=release.version, wrong=wrong[0]),
                say("pip says so in a warning and installs the part for the processor only."),
                evidence=(line.evidence,),
                fixes=(
                    line.instead(
                        f"[{','.join(line.said.extras)}]", f"[{_extra_for(release, here, facts) or 'cuda12'}]"
                    ),
                ),
                severity="error",
                slug="extra-never-published",
            )
            continue
        need = _needs_driver(release, extras)
        if here.driver and need and major(here.driver) < int(need):
            yield found(
                say(
                    "jax[{extras}] needs a driver of branch {need} or newer, and there is {driver}",
                    extras=extras[0],
                    need=need,
                    driver=here.driver,
                ),
                say("JAX would not find the GPU."),
                evidence=(line.evidence, "driver.version"),
                fixes=(line.instead(extras[0], "cuda12"),) if major(here.driver) >= 525 else (),
                severity="error",
                slug="driver-too-old",
            )
        plugin = each.package("jax-cuda12-plugin", "jax-cuda13-plugin", "jax-cuda12-pjrt", "jax-cuda13-pjrt")
        meant = each.on_gpu_image or (each.image is None and bool(gpus_of(here, "nvidia")))
        jaxlib = each.package("jaxlib")
        if not extras and plugin is None and meant and not (jaxlib and "+cuda" in (jaxlib.said.value or "")):
            if here.os == "windows" or "tpu" in line.said.extras:
                continue
            extra = _extra_for(release, here, facts)
            if extra is None:
                continue  # the processor is all that JAX can use there
            yield found(
                say("jax is installed without its part for NVIDIA GPUs"),
                say("It computes on the processor; the extra brings the plugin and CUDA."),
                evidence=(line.evidence,),
                fixes=(
                    changed(
                        line, re.sub(r"(?<![\w.-])jax(?![\w-])(\[\w*\])?", f"jax[{extra}]", line.said.text, count=1)
                    ),
                ),
            )


def _extra_for(release: JaxRelease, here: Target, facts: Knowledge) -> str | None:
    """Give the extra whose CUDA runs on the driver and the GPUs; None: neither does."""
    own = [gpu.capability for gpu in gpus_of(here, "nvidia") if gpu.capability]
    if here.driver and any(driver_knows(facts, here.driver, each) is False for each in own):
        return None
    for extra, part in (("cuda13", release.cuda13), ("cuda12", release.cuda12)):
        known = part is not None and (here.driver is not None or extra == "cuda12")
        if part is None or not known or (here.driver and major(here.driver) < int(part.driver)):
            continue
        if all(at_least(each, part.capability_min) for each in own):
            return extra
    return None


def _needs_driver(release: JaxRelease, extras: list[str]) -> str | None:
    parts = {"cuda12": release.cuda12, "cuda13": release.cuda13}
    part = next((parts[extra] for extra in extras if parts.get(extra)), None)
    return part.driver if part else None


def _jax_release(line: Line, facts: Knowledge) -> JaxRelease | None:
    """Give the release that pip takes, as far as the table has it; None: not known."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    if line.said.value is None:
        return None
    try:
        allowed = SpecifierSet(line.said.value)
    except InvalidSpecifier:
        return None
    return next((row for row in facts.jax_releases if allowed.contains(row.version)), None)
