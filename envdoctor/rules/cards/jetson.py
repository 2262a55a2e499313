"""NVIDIA Jetson boards, whose CUDA is part of JetPack."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import minor, readable
from envdoctor.rules.frameworks.installed import TORCH, torch
from envdoctor.rules.registry import Found, found, rule

_FORUM = "https://forums.developer.nvidia.com/t/pytorch-for-jetson-version-1-9-0-now-available/72048"
_PYTHONS = {4: "3.6", 5: "3.8", 6: "3.10"}  # of the Ubuntu that each JetPack is made of


@rule(
    "JET001",
    "jetson-needs-nvidia-wheel",
    "warning",
    certainty="likely",
    needs=("system.jetson", "system.jetpack", "pythons.frameworks.torch.version"),
    sources=(_FORUM, "https://docs.pytorch.org/TensorRT/getting_started/jetpack.html"),
)
def wheel_is_for_servers(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """This PyTorch was made for ARM servers, not for a Jetson.

    Up to JetPack 6 a Jetson has a CUDA of its own, and the wheels of the package index do not work with it.

    Needed: NVIDIA's wheel for this JetPack, or that of the Jetson AI Lab.
    Check: `python -c "import torch; print(torch.cuda.is_available())"`.
    Silent from JetPack 7 on, which takes the wheels of servers, for NVIDIA's own builds (+nv, .nv), and for builds
    that carry code for the board (sm_72, sm_87).
    """
    system, framework = machine.system, torch(machine)
    if system is None or system.jetson is None or system.jetpack not in _PYTHONS or framework is None:
        return
    own = "nv" in framework.version.partition("+")[2] or ".nv" in framework.version
    if own or any(each in ("sm_53", "sm_62", "sm_72", "sm_87") for each in framework.archs or ()):
        return
    yield found(
        say(
            "PyTorch {version} is not made for JetPack {jetpack}, which this {jetson} runs",
            version=framework.version,
            jetpack=system.jetpack,
            jetson=system.jetson,
        ),
        say("A Jetson's CUDA belongs to JetPack, and wheels for ARM servers do not work with it."),
        evidence=("system.jetson", "system.jetpack", f"{TORCH}.version"),
        fixes=(
            Fix(
                summary=say(
                    "Install the wheel that NVIDIA or the Jetson AI Lab builds for this JetPack, or use NVIDIA's l4t "
                    "containers."
                ),
                page=_FORUM,
            ),
        ),
    )


@rule(
    "JET002",
    "python-without-wheel",
    "warning",
    needs=("system.jetson", "system.jetpack", "pythons.version", "pythons.frameworks"),
    sources=(_FORUM,),
)
def python_has_no_jetson_wheel(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """There are no JetPack wheels for this Python.

    They are made for the Python of JetPack's own Ubuntu: 3.10 for JetPack 6, 3.8 for 5, 3.6 for 4.

    Check: `python3 --version`.
    Silent where a PyTorch is installed already, which may be self-built.
    """
    system, python = machine.system, machine.python
    if system is None or system.jetson is None or python is None or not readable(python.version) or torch(machine):
        return
    wanted = _PYTHONS.get(system.jetpack or 0)
    assert python.version
    if wanted is None or minor(python.version) == wanted:
        return
    yield found(
        say(
            "The wheels for JetPack {jetpack} are made for Python {wanted}, and this is {version}",
            jetpack=system.jetpack,
            wanted=wanted,
            version=minor(python.version),
        ),
        say("pip finds none of them for another Python."),
        evidence=("system.jetpack", "pythons[0].version"),
        fixes=(
            Fix(
                summary=say("Make the environment with the system's own Python."),
                commands=(("/usr/bin/python3", "-m", "venv", ".venv"),),
            ),
        ),
    )
