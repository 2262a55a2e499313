"""A cuDNN of the system beside the one that a framework brought."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Library, Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import at_least, major, minor, readable
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import family, pip_install

_TORCH = "https://github.com/pytorch/pytorch/issues/188892"
# The wheels of these releases lack a part that the main library names (https://github.com/pytorch/pytorch/pull/189043).
_FIRST, _REPAIRED = "9.20", "9.23"


def _pair(machine: Snapshot) -> tuple[int, Library, int, Library] | None:
    """Give the wheel's cuDNN and a copy of the system that the loader could take, of one major version."""
    own = next(
        (pair for pair in enumerate(machine.libraries) if pair[1].name == "cudnn" and pair[1].owner == "pip"), None
    )
    if own is None or not readable(own[1].version):
        return None
    for place, each in enumerate(machine.libraries):
        if each.name != "cudnn" or each.owner != "system" or each.shadows or not readable(each.version):
            continue
        if major(each.version or "") == major(own[1].version or ""):
            return own[0], own[1], place, each
    return None


@rule(
    "TORCH012",
    "cudnn-shadowed",
    "error",
    needs=("libraries", "pythons.packages"),
    supersedes=("CUDNN002",),
    sources=(
        _TORCH,
        "https://github.com/pytorch/pytorch/issues/185512",
        "https://github.com/pytorch/pytorch/pull/189043",
    ),
)
def incomplete_wheel_and_system_cudnn(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The cuDNN wheel lacks one of its parts, and the loader takes that part from the system's cuDNN.

    cuDNN opens its engine libraries by name. Wheels from 9.20 on to 9.22 lack one, so that a part of another version is
    loaded, and the first convolution stops.

    Needed: a wheel from 9.23 on, or no system cuDNN.
    Check: `python -c "import torch; torch.nn.Conv2d(3, 8, 3).cuda()(torch.ones(1, 3, 9, 9).cuda())"`.
    Silent without a cuDNN of the system: then cuDNN falls back to another engine and works.
    """
    pair = _pair(machine)
    if pair is None:
        return
    place, own, other, system = pair
    assert own.version and system.version
    if not at_least(own.version, _FIRST) or at_least(own.version, _REPAIRED) or system.version == own.version:
        return
    cu = (own.package or "").rpartition("-cu")[2]
    package = f"nvidia-cudnn-cu{cu}" if cu.isdigit() else "nvidia-cudnn-cu13"
    yield found(
        say(
            "The wheel of cuDNN {version} lacks a part, which is then taken from cuDNN {system_version} of the system",
            version=own.version,
            system_version=system.version,
        ),
        say("The versions clash at the first convolution."),
        evidence=(f"libraries[{place}].version", f"libraries[{other}].version", f"libraries[{other}].path"),
        certainty="certain",
        fixes=(
            Fix(
                summary=say("Install a cuDNN wheel that is complete."),
                commands=(pip_install(machine, f"{package}>={_REPAIRED}"),),
                effect="changes-env",
            ),
            *_remove(machine),
        ),
    )


@rule(
    "CUDNN002",
    "cudnn-of-system-visible",
    "note",
    needs=("libraries",),
    sources=(_TORCH, "https://github.com/pytorch/pytorch/issues/185512"),
)
def system_cudnn_is_visible(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The system has a cuDNN of another version than the one in the environment.

    Frameworks from pip bring their own and need none of the system. The other copy becomes a trap where a part of the
    environment's is missing, or LD_LIBRARY_PATH puts it first.

    Check: `ldconfig -p` lists libcudnn.
    Silent where both are of one minor version or of different major ones, which live side by side, and about copies in
    containers whose image brings cuDNN on purpose.
    """
    pair = _pair(machine)
    if pair is None or (machine.system and machine.system.container):
        return
    place, own, other, system = pair
    if minor(own.version or "") == minor(system.version or ""):
        return
    yield found(
        say(
            "The system has cuDNN {version} beside the {own_version} of the environment",
            version=system.version,
            own_version=own.version,
        ),
        say("Nothing uses it today. Frameworks from pip bring their own."),
        evidence=(f"libraries[{place}].version", f"libraries[{other}].version", f"libraries[{other}].path"),
        fixes=_remove(machine),
    )


def _remove(machine: Snapshot) -> tuple[Fix, ...]:
    if family(machine) not in ("ubuntu", "debian"):
        return ()
    return (
        Fix(
            summary=say("Or find the system's package, and remove it if nothing else uses it."),
            commands=(("dpkg", "--list", "*cudnn*"),),
        ),
    )
