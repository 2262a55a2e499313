"""What stands beside torch: torchvision, torchaudio and the CUDA libraries that pip installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from envdoctor.knowledge.builds import build_of
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.tables import TorchRelease
from envdoctor.model.finding import Fix, Severity
from envdoctor.model.snapshot import Framework, Package, Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import compare, major, minor, order, public, readable, released
from envdoctor.rules.frameworks.installed import (
    TORCH,
    Unmet,
    build_tag,
    by_conda,
    companion_tag,
    torch,
    unmet,
    version_of,
)
from envdoctor.rules.python.reinstall import COMPANIONS, companions
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import pip_install, pip_uninstall
from envdoctor.rules.wording import listed

WHEELS = "https://download.pytorch.org/whl"
# From these on a companion no longer belongs to one torch (metadata of torchvision 0.29.1 and torchaudio 2.11.0).
_FREE = {"torchvision": ("0.29", "2.14"), "torchaudio": ("2.11", "2.11")}


class Misfit(NamedTuple):
    """A companion for another torch: which one it wants, and whether only the last part of the version differs."""

    wanted: str
    slight: bool


@rule(
    "TORCH004",
    "companion-built-for-other-torch",
    "error",
    needs=("pythons.packages.torchvision.version", "pythons.frameworks.torch.version"),
    supersedes=("TORCH010",),
    sources=(
        "pkg:pypi/torchvision",
        "https://github.com/pytorch/pytorch/issues/157648",
        "https://github.com/pytorch/vision/issues/8985",
    ),
)
def torchvision_for_other_torch(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The installed torchvision was made for another PyTorch.

    torchvision brings compiled operators for one torch release. With another torch they are not registered, and the
    import stops at "operator torchvision::nms does not exist".

    Needed: the pair that was released together (2.8.0 with 0.23.0); from torchvision 0.29 on any torch from 2.14 on.

    Check: `python -c "import torchvision; print(torchvision.ops.nms)"`.

    torchvision's own metadata is believed first, then the table of releases. Only a warning where just the last part
    of the version differs. Silent for nightlies and builds from source, which pair by date.
    """
    yield from _mismatch(machine, facts, "torchvision", say("The import stops at an operator that is not registered."))


@rule(
    "TORCH005",
    "companion-built-for-other-torch",
    "error",
    needs=("pythons.packages.torchaudio.version", "pythons.frameworks.torch.version"),
    supersedes=("TORCH010",),
    sources=("pkg:pypi/torchaudio",),
)
def torchaudio_for_other_torch(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The installed torchaudio was made for another PyTorch.

    Up to 2.10 each torchaudio is compiled for exactly one torch, with the same version number. With another one the
    import stops at an undefined symbol.

    Needed: torchaudio of torch's own release; from 2.11 on any torch from 2.11 on, since torchaudio stopped there.

    Check: `python -c "import torchaudio"`.

    torchaudio's own metadata is believed first, then the table of releases. Silent for nightlies and builds from
    source.
    """
    yield from _mismatch(machine, facts, "torchaudio", say("The import stops at an undefined symbol."))


@rule(
    "TORCH010",
    "companion-built-for-other-torch",
    "error",
    needs=("pythons.packages.torch.version", "pythons.frameworks.torch.cuda"),
    sources=(
        "https://github.com/vladmandic/sdnext/issues/3531",
        "https://github.com/pytorch/vision/issues/8985",
        "https://docs.astral.sh/uv/guides/integration/pytorch/",
    ),
)
def builds_mixed(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """PyTorch and its companions come from builds for different CUDA versions.

    Wheels of several indexes were mixed, so that two CUDA runtimes meet in one process, or a helper without GPU code
    stands beside a torch with it. What happens ranges from missing operators to an error about CUDA versions at import.

    Needed: one tag for all of them (+cu126, +cpu …).

    Check: `python -m pip list` shows the tags.

    An error where the import is sure to stop: torchvision compares the major version of CUDA, torchaudio the whole of
    it (torchvision/extension.py, torchaudio/_extension/utils.py), and a companion for another kind of device is linked
    with libraries that this torch does not have. A warning where only GPU operators are missing (+cpu), and where the
    two are of one CUDA major version, which mostly works.

    A missing tag is no difference: wheels of the package index and conda have none. torch's own build is then read
    from torch/version.py, and a companion without a tag is not judged. torchaudio from 2.11 on has no CUDA in it.
    """
    framework, python = torch(machine), machine.python
    tag = build_tag(framework) if framework else None
    if framework is None or python is None or tag is None:
        return
    for name in COMPANIONS:
        package = python.package(name)
        own = companion_tag(package) if package else None
        if package is None or own is None or own == tag or (name == "torchaudio" and _free(name, package.version)):
            continue
        on_cpu = own == "cpu"
        stops = not on_cpu and _import_stops(package, own, tag)
        yield found(
            say(
                "{name} {version} is a {own} build, and PyTorch {framework_version} is a {tag} build",
                name=name,
                version=package.version,
                own=own,
                framework_version=framework.version,
                tag=tag,
            ),
            say("This {name} has no GPU operators; on tensors of the GPU they are missing.", name=name)
            if on_cpu
            else say("The libraries that {name} was linked with are not the ones of this PyTorch.", name=name),
            evidence=(version_of(python, package), *_build_evidence(framework)),
            fixes=(together(machine, facts, framework),),
            severity=None if stops else "warning",
            certainty=None if stops or on_cpu else "likely",
        )


def _import_stops(package: Package, own: str, tag: str) -> bool:
    """Tell whether a companion with GPU code cannot be imported beside a torch of another build.

    Tags are cu126, rocm6.4, xpu, cpu. What belongs to no single torch any more (torchvision from 0.29 on) is linked
    otherwise, and not known.
    """
    kinds = [each.rstrip("0123456789.") for each in (own, tag)]
    if _free(package.name, package.version):
        return False
    if kinds[0] != kinds[1]:
        return True
    return kinds[0] == "cu" and (package.name == "torchaudio" or own[:-1] != tag[:-1])


@rule(
    "TORCH011",
    "cuda-libraries-shadowed",
    "warning",
    certainty="likely",
    needs=("pythons.packages.torch.requires",),
    sources=("pkg:pypi/torch", "pkg:pypi/tensorflow", "pkg:pypi/jax-cuda13-plugin"),
)
def cuda_wheels_differ_from_pins(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The CUDA libraries that pip installed are not the ones this PyTorch asks for.

    The wheel names the exact versions it was tested with; they were replaced or taken out, mostly by installing
    TensorFlow, JAX or vLLM into the same environment. cuDNN and NCCL are the sensitive ones.

    Needed: what torch's metadata says, as far as its markers hold on this machine.

    Check: `python -m pip check`.

    An error where it is sure to fail: a library of another major version has another file name, torch refuses a cuDNN
    of an older minor version (torch/backends/cudnn), and a missing cuDNN or NCCL of which the loader sees no other copy
    cannot be loaded. A warning otherwise: other releases inside a major version mostly work, and a library that is not
    installed may come from a toolkit. Silent for conda's torch, which has no such pins.
    """
    python = machine.python
    owner = next((p for p in python.packages if p.name == "torch" and p.build is None), None) if python else None
    if python is None or owner is None or by_conda(python, "torch"):
        return
    broken = tuple(unmet(machine, owner, "nvidia-", "cuda-toolkit", "cuda-bindings"))
    missing = tuple(each for each in broken if each.have is None)
    other = tuple(each for each in broken if each.have is not None)
    if missing:
        yield found(
            say("PyTorch {version} needs {few}, and it is not installed", version=owner.version, few=_few(missing)),
            say("The import stops at a library that cannot be loaded, unless the system provides it."),
            evidence=(version_of(python, owner),),
            fixes=(_restore(machine, missing),),
            severity="error" if (gone := _nowhere(machine, missing)) else None,
            certainty="certain" if gone else None,
            slug="cuda-libraries-missing",
        )
    if other:
        refused = any(_refused(each) for each in other)
        yield found(
            say(
                "PyTorch {version} asks for {few}, and {other} is installed",
                version=owner.version,
                few=_few(other),
                other=listed(each.have or "" for each in other[:3]),
            ),
            say("Another package in this environment replaced the CUDA libraries that this PyTorch was tested with.")
            + " "
            + (
                say("Such a version is not accepted; give each framework an environment of its own.")
                if refused
                else say("Other releases inside the major version usually work.")
            ),
            evidence=(
                version_of(python, owner),
                *(version_of(python, package) for each in other if (package := python.package(each.name))),
            ),
            fixes=(_restore(machine, other),),
            severity="error" if refused else None,
            certainty="certain" if refused else None,
            slug="cudnn-shadowed" if all("cudnn" in each.name for each in other) else None,
        )


def _mismatch(machine: Snapshot, facts: Knowledge, name: str, symptom: str) -> Iterator[Found]:
    framework, python = torch(machine), machine.python
    package = python.package(name) if python else None
    if (
        python is None
        or framework is None
        or package is None
        or not released(framework.version)
        or not released(package.version)
    ):
        return
    misfit = _misfit(machine, facts, framework, package)
    if misfit is None:
        return
    severity: Severity = "warning" if misfit.slight else "error"
    yield found(
        say(
            "{name} {version} belongs to PyTorch {wanted}, and {framework_version} is installed",
            name=name,
            version=package.version,
            wanted=misfit.wanted,
            framework_version=framework.version,
        ),
        say("Its compiled part was made for another PyTorch. {symptom}", symptom=symptom)
        if not misfit.slight
        else say("The two were not released together; this mostly works, and a matching pair is on the same index."),
        evidence=(version_of(python, package), f"{TORCH}.version"),
        fixes=(together(machine, facts, framework),),
        severity=severity,
    )


def _misfit(machine: Snapshot, facts: Knowledge, framework: Framework, package: Package) -> Misfit | None:
    """Say which torch a companion wants instead of this one; None: they fit, or nothing tells."""
    declared = [text for text in package.requires if text.startswith("torch") and not text[5:6].isalnum()]
    if declared:
        broken = next((each for each in unmet(machine, package, "torch") if each.name == "torch"), None)
        if broken is None:
            return None
        wanted = broken.wanted.removeprefix("==")
        return Misfit(wanted, released(wanted) and minor(wanted) == minor(framework.version))
    if _free(package.name, package.version):
        floor = _FREE[package.name][1]
        return (
            None
            if order(framework.version, floor) != -1
            else Misfit(say("{floor} or newer", floor=floor), slight=False)
        )
    row = facts.torch(framework.version)
    expected = _companion(row, package.name) if row else None
    if expected is None or minor(expected) == minor(package.version):
        return None
    return Misfit(_release_of(facts, package) or say("another release"), slight=False)


def _companion(row: TorchRelease, name: str) -> str | None:
    return row.torchvision if name == "torchvision" else row.torchaudio


def _release_of(facts: Knowledge, package: Package) -> str | None:
    """Name the torch release that a companion was published with."""
    for row in facts.torch_releases:
        partner = _companion(row, package.name)
        if partner and compare(partner, package.version) == 0:
            return row.version
    return None


def _free(name: str, version: str) -> bool:
    return order(version, _FREE[name][0]) in (0, 1)


def _build_evidence(framework: Framework) -> tuple[str, ...]:
    return (f"{TORCH}.version",) if "+" in framework.version else (f"{TORCH}.version", f"{TORCH}.cuda")


def together(machine: Snapshot, facts: Knowledge, framework: Framework) -> Fix:
    """Keep the torch that is there, and get the companions that belong to it from the same index."""
    python, row = machine.python, facts.torch(framework.version)
    there = [name for name in COMPANIONS if python and python.package(name)]
    if python and by_conda(python, "torch"):
        return Fix(
            summary=say(
                "Let conda choose the pair: create a fresh environment with pytorch and its companions together."
            ),
            commands=(("envdoctor", "provision"),),
        )
    tag = framework.version.partition("+")[2]
    index = f"{WHEELS}/{tag}" if tag and build_tag(framework) == tag else None
    build = build_of(row, build_tag(framework) or "") if row else None
    wanted = companions(machine, facts, build) if build else tuple(there)
    commands = [pip_uninstall(machine, *there)]
    if wanted:
        commands.append(pip_install(machine, *wanted, index=index))
    if row and len(wanted) < len(there):  # torchaudio stopped at 2.11, and newer indexes have none
        commands.append(pip_install(machine, "--no-deps", f"torchaudio=={row.torchaudio}"))
    return Fix(
        summary=say(
            "Install the {packages} that belongs to PyTorch {version}, from the same index ({tag}).",
            packages=listed(there),
            version=public(framework.version),
            tag=tag,
        )
        if index
        else say(
            "Install the {packages} that belongs to PyTorch {version}.",
            packages=listed(there),
            version=public(framework.version),
        ),
        commands=tuple(commands),
        effect="changes-env",
    )


def _few(broken: tuple[Unmet, ...]) -> str:
    shown = [f"{each.name} {each.wanted.removeprefix('==')}" for each in broken[:3]]
    return (
        listed(shown)
        if len(broken) <= 3
        else say("{shown} and {broken_count} more", shown=", ".join(shown), broken_count=len(broken) - 3)
    )


def _refused(each: Unmet) -> bool:
    """Tell whether torch cannot use what is installed: another major version, or a cuDNN of an older minor one."""
    pinned = each.wanted.removeprefix("==")
    if not each.name.startswith("nvidia-") or not readable(pinned) or not readable(each.have):
        return False
    assert each.have is not None
    if "cudnn" in each.name and "frontend" not in each.name and compare(minor(each.have), minor(pinned)) < 0:
        return True
    return major(pinned) != major(each.have)


def _nowhere(machine: Snapshot, missing: tuple[Unmet, ...]) -> bool:
    """Tell whether a library that is not installed is in no other place either that the loader looks at."""
    if any(machine.gap(fact) for fact in ("libraries", "variables", "toolkits")):
        return False
    linux = machine.system is not None and machine.system.os == "linux"
    if not linux or machine.toolkits or machine.variable("LD_LIBRARY_PATH"):
        return False
    there = {each.name for each in machine.libraries}
    lost = [kind for each in missing for kind in ("cudnn", "nccl") if each.name.startswith(f"nvidia-{kind}-cu")]
    return any(kind not in there for kind in lost)


def _restore(machine: Snapshot, broken: tuple[Unmet, ...]) -> Fix:
    wanted = tuple(each.requirement for each in broken)
    return Fix(
        summary=say("Put back what this PyTorch asks for; other frameworks in this environment may then miss theirs."),
        commands=(pip_install(machine, "--force-reinstall", "--no-deps", *wanted),),
        effect="changes-env",
    )
