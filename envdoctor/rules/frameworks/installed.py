"""What the judged environment holds: which build of torch it is, and which requirements are not met there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from envdoctor.model.snapshot import Framework, Package, PythonEnv, Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import numbers, order, public, readable

TORCH = "pythons[0].frameworks.torch"


class Unmet(NamedTuple):
    """A requirement that the environment does not meet; `have` is None where the distribution is missing."""

    name: str
    wanted: str  # a specifier of versions, or words where any will do
    have: str | None

    @property
    def requirement(self) -> str:
        """What pip is told to install."""
        return self.name + (self.wanted if self.wanted.startswith(("=", "<", ">", "!", "~")) else "")


def torch(machine: Snapshot) -> Framework | None:
    """Give the torch of the judged environment, or None."""
    return machine.python.framework("torch") if machine.python else None


def version_of(python: PythonEnv, package: Package) -> str:
    """Give the path of a distribution's version: by its name, or by its place where another stands before it."""
    plain = all(letter.isalnum() or letter in "_-" for letter in package.name)
    if plain and package.name and python.package(package.name) is package:
        return f"pythons[0].packages.{package.name}.version"
    return f"pythons[0].packages[{next(i for i, p in enumerate(python.packages) if p is package)}].version"


def is_plain(machine: Snapshot, framework: Framework) -> bool:
    """Tell whether this torch is the plain wheel of the package index, and no build that was asked for by its tag.

    The metadata decides: torch/version.py of the plain wheel names its build as well (2.14.1+cu130 in the wheel of
    2.14.1). Where there is no metadata, as in a report, the framework's own word is all there is.
    """
    package = machine.python.package("torch") if machine.python else None
    return "+" not in (package.version if package else framework.version)


def build_tag(framework: Framework) -> str | None:
    """Name the build of a torch as indexes do: cu118, cpu, rocm6.4, xpu; None: not known.

    The local tag says it; builds of conda have none, and then the CUDA that torch/version.py names.
    """
    tag = _tag_of(framework.version)
    if tag:
        return tag
    if readable(framework.cuda):
        assert framework.cuda
        major, minor, *_ = (*numbers(framework.cuda), 0)
        return f"cu{major}{minor}"
    if readable(framework.hip):
        assert framework.hip
        major, minor, *_ = (*numbers(framework.hip), 0)
        return f"rocm{major}.{minor}"
    if framework.xpu:
        return "xpu"
    return "cpu" if framework.gpu_build is False else None


def companion_tag(package: Package) -> str | None:
    """Name the build of torchvision or torchaudio by its local tag; None: it has none that names a build."""
    return _tag_of(package.version)


def by_conda(python: PythonEnv, name: str) -> bool:
    """Tell whether conda put that distribution there, and pip has not replaced it since.

    conda's packages stand in the list twice, as pip sees them and as conda-meta does, where torch is called pytorch.
    """
    seen = next((p for p in python.packages if p.name == name and p.build is None), None)
    if seen is not None and seen.installer == "conda":
        return True
    names = (name, "pytorch") if name == "torch" else (name,)
    recorded = [p for p in python.packages if p.name in names and p.build is not None]
    return any(seen is None or order(p.version, seen.version) == 0 for p in recorded)


def from_pytorch_channel(python: PythonEnv) -> bool:
    """Tell whether conda's torch is one of PyTorch's own channel, which are the wheels once more and never rebuilt.

    Their build strings begin with the Python, py3.10_cuda12.1_cudnn8.9.2_0; those of conda-forge do not.
    """
    builds = [package.build or "" for package in python.packages if package.name == "pytorch"]
    return any(build.startswith("py3.") and ("_cuda" in build or "_cpu_" in build) for build in builds)


def unmet(machine: Snapshot, owner: Package, *prefixes: str) -> Iterator[Unmet]:
    """Give the requirements of `owner` on distributions called so that the judged environment does not meet.

    Markers are evaluated for the judged machine, extras count as not asked for, local tags are left out of the
    comparison. What cannot be read, or depends on a fact that is unknown, is not reported.
    """
    python = machine.python
    if python is None:
        return
    for text in owner.requires:
        name = _name(text)
        if not name.startswith(prefixes):
            continue
        package = python.package(name)
        have = package.version if package else None
        # Most pins are exact and met: those need no parser, which costs 15 ms to import.
        if have and _pinned(text) == public(have):
            continue
        wanted = _broken(text, have, machine)
        if wanted is not None:
            yield Unmet(name, wanted, have)


def pins(owner: Package, name: str) -> bool:
    """Tell whether a distribution asks for another one, under any marker and for any extra."""
    return any(_name(text) == name for text in owner.requires)


def _broken(text: str, have: str | None, machine: Snapshot) -> str | None:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.version import InvalidVersion

    environment = _environment(machine)
    try:
        requirement = Requirement(text)
        if requirement.marker and (environment is None or not requirement.marker.evaluate(environment)):
            return None
        if have is not None and requirement.specifier.contains(public(have), prereleases=True):
            return None
    except (InvalidRequirement, InvalidVersion, ValueError, KeyError):
        return None
    return str(requirement.specifier) or say("any version")


def _environment(machine: Snapshot) -> dict[str, str] | None:
    """Give what markers ask for, of the judged machine; None where a part of it is unknown."""
    system, python = machine.system, machine.python
    if system is None or python is None or not readable(python.version) or not system.machine:
        return None
    assert python.version
    named = {"linux": ("Linux", "linux", "posix"), "windows": ("Windows", "win32", "nt")}.get(
        system.os, ("Darwin", "darwin", "posix")
    )
    major, minor, *_ = (*numbers(python.version), 0)
    return {
        "python_version": f"{major}.{minor}",
        "python_full_version": ".".join(str(part) for part in (*numbers(python.version), 0)[:3]),
        "platform_system": named[0],
        "sys_platform": named[1],
        "os_name": named[2],
        "platform_machine": system.machine,
        "platform_release": system.kernel or "",
        "platform_version": "",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "implementation_version": ".".join(str(part) for part in numbers(python.version)),
        "extra": "",
    }


def _name(requirement: str) -> str:
    end = next((at for at, letter in enumerate(requirement) if not (letter.isalnum() or letter in "-_.")), None)
    return requirement[:end].lower().replace("_", "-").replace(".", "-")


def _pinned(requirement: str) -> str | None:
    _, pin, version = requirement.partition(";")[0].partition("==")
    version = version.strip(" )=")
    return version if pin and version and "," not in version and "*" not in version else None


def _tag_of(version: str) -> str | None:
    tag = version.partition("+")[2]
    known = tag in ("cpu", "xpu") or (tag.startswith("cu") and tag[2:].isdigit()) or tag.startswith("rocm")
    return tag if known else None
