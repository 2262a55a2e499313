"""macOS: the Metal backend, and which builds exist for which Mac."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import order, readable
from envdoctor.rules.frameworks.installed import TORCH, torch
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import pip_install
from envdoctor.rules.wording import listed

_RELEASE = "https://github.com/pytorch/pytorch/blob/main/RELEASE.md"
_ROSETTA = "https://developer.apple.com/documentation/apple-silicon/about-the-rosetta-translation-environment"


@rule(
    "MAC001",
    "mps-unavailable",
    "warning",
    certainty="likely",
    needs=("system.os", "system.distribution_version", "system.machine", "pythons.frameworks.torch.version"),
    sources=(_RELEASE,),
)
def macos_too_old_for_metal(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """This macOS is too old for PyTorch's Metal backend.

    PyTorch from 2.8 on uses Apple's GPU on macOS 14 and newer, earlier ones from 12.3 on. On older systems it computes
    on the processor.

    Check: `python -c "import torch; print(torch.backends.mps.is_available())"`.
    Silent on Intel Macs, and in virtual machines, which have no Metal for computing.
    """
    system, framework = machine.system, torch(machine)
    version = readable(system.distribution_version) if system and system.os == "macos" else None
    if system is None or framework is None or version is None or system.machine != "arm64" or system.virtual:
        return
    floor = "14" if order(framework.version, "2.8") in (0, 1) else "12.3"
    if order(version, floor) != -1:
        return
    yield found(
        say(
            "PyTorch {version} uses Apple's GPU on macOS {floor} and newer, and this is {macos}",
            version=framework.version,
            floor=floor,
            macos=version,
        ),
        say("It computes on the processor here."),
        evidence=("system.distribution_version", f"{TORCH}.version"),
        fixes=(Fix(summary=say("Update macOS.")),),
    )


@rule(
    "MAC002",
    "python-translated",
    "error",
    needs=("system.os", "system.translated", "pythons.executable"),
    supersedes=("MAC003",),
    sources=("pkg:pypi/torch", _ROSETTA),
)
def python_is_for_intel(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """This Python is made for Intel Macs and is translated on an Apple chip.

    It gets packages for Intel, which ended with PyTorch 2.2.2, and cannot use the GPU. The machine needs a Python for
    arm64.

    Check: `python -c "import platform; print(platform.machine())"` prints arm64.
    """
    system = machine.system
    if system is None or system.os != "macos" or not system.translated:
        return
    yield found(
        say("This Python is made for Intel Macs and runs translated on an Apple chip"),
        say("Packages for Intel Macs ended with PyTorch 2.2.2, and a translated program cannot use the GPU."),
        evidence=("system.translated", "system.machine"),
        fixes=(
            Fix(
                summary=say("Install a Python for arm64, and make a new environment with it."),
                commands=(("arch", "-arm64", "/opt/homebrew/bin/brew", "install", "python@3.12"),),
            ),
        ),
    )


@rule(
    "MAC003",
    "python-without-wheel",
    "note",
    needs=("system.os", "system.machine", "pythons.frameworks"),
    sources=("pkg:pypi/torch", _RELEASE),
)
def intel_mac_ends_at_2_2(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """There is no PyTorch after 2.2.2 for Intel Macs.

    Later releases are made for Apple chips only. The last one needs NumPy 1.

    Check: `uname -m` prints x86_64.
    Silent where a PyTorch is installed already.
    """
    system = machine.system
    if system is None or system.os != "macos" or system.machine != "x86_64" or torch(machine) is not None:
        return
    yield found(
        say("PyTorch for Intel Macs ended with 2.2.2"),
        say("Later releases are made for Apple chips only."),
        evidence=("system.machine",),
        fixes=(
            Fix(
                summary=say("Install the last one, with the NumPy it was made for (Python 3.8 to 3.12)."),
                commands=(pip_install(machine, "torch==2.2.2", "numpy<2"),),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "MAC004",
    "no-supported-gpu",
    "note",
    needs=("system.os", "pythons.packages"),
    sources=("https://www.tensorflow.org/install/pip", "https://docs.jax.dev/en/latest/installation.html"),
)
def framework_has_no_gpu_on_macos(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """TensorFlow and JAX compute on the processor on macOS.

    Their wheels for macOS have no GPU code. PyTorch and MLX use Apple's GPU.

    Check: `python -c "import jax; print(jax.devices())"`.
    Silent where Apple's plugin tensorflow-metal or jax-metal is installed, and beside PyTorch.
    """
    system, python = machine.system, machine.python
    if system is None or system.os != "macos" or python is None or python.framework("torch"):
        return
    there = [
        each.name
        for each in python.frameworks
        if each.name in ("tensorflow", "jax") and not python.package(f"{each.name}-metal")
    ]
    if not there:
        return
    yield found(
        say(
            "On macOS, {frameworks} uses no GPU",
            frameworks=listed({"tensorflow": "TensorFlow", "jax": "JAX"}[name] for name in there),
        ),
        say("PyTorch (device mps) and MLX use Apple's GPU."),
        evidence=("system.os", *(f"pythons[0].frameworks.{name}.version" for name in there)),
    )
