"""Python itself: is there a wheel for it, and for the C library below it?"""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.fit import wheel_glibc, wheel_pythons
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.tables import TorchRelease
from envdoctor.knowledge.targets import target_of
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import PythonEnv, Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import compare, minor, order, readable, released
from envdoctor.rules.frameworks.installed import TORCH, by_conda, torch
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import pip_install

WHEELS_BY_TAG = "https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/"


@rule(
    "PY001",
    "python-without-wheel",
    "warning",
    needs=("pythons.version", "pythons.frameworks.torch.version"),
    sources=("pkg:pypi/torch", "https://github.com/pytorch/pytorch/blob/main/RELEASE.md", WHEELS_BY_TAG),
)
def python_newer_than_wheels(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """There is no PyTorch wheel for this Python: it is newer than the wheels.

    Wheels are made for each minor version of Python. pip answers "no matching distribution", or takes a source archive
    and fails while it builds.

    Needed: a Python that the wanted release has wheels for.

    Check: `python -m pip download --no-deps torch` finds one.

    Judged by the newest release where no torch is installed, else by the installed one. Silent where a framework that
    works is there already, and for conda, which builds its own.
    """
    python, framework = machine.python, torch(machine)
    version = _version(python)
    if python is None or version is None or by_conda(python, "torch"):
        return
    if framework:
        row = facts.torch(framework.version) if released(framework.version) else None
        last = _last_python(row, machine, facts) if row else None
        if row is None or last is None or compare(version, last) <= 0:
            return
        yield found(
            say(
                "PyTorch {version} has no wheel for Python {python}; its last is for Python {last}",
                version=row.version,
                python=version,
                last=last,
            ),
            say(
                "It was built from source here, or does not belong to this Python. Another pip cannot install it again."
            ),
            evidence=("pythons[0].version", f"{TORCH}.version"),
            fixes=(_other_python(machine, last),),
            certainty="likely",
        )
        return
    if python.frameworks or not facts.torch_releases:
        return
    newest = facts.torch_releases[0]
    last = _last_python(newest, machine, facts)
    if last is None or compare(version, last) <= 0:
        return
    yield found(
        say(
            "Python {version} has no PyTorch wheel yet; the newest, {newest_version}, goes up to Python {last}",
            version=version,
            newest_version=newest.version,
            last=last,
        ),
        say('pip answers "no matching distribution" for PyTorch, and most other compiled packages lag behind too.'),
        evidence=("pythons[0].version",),
        fixes=(_other_python(machine, last),),
    )


@rule(
    "PY002",
    "python-without-wheel",
    "warning",
    needs=("pythons.version", "pythons.frameworks.torch.version"),
    sources=("pkg:pypi/torch", "pkg:pypi/tensorflow", "pkg:pypi/jax"),
)
def python_older_than_wheels(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """This Python is too old for current PyTorch, and pip quietly takes an outdated one.

    pip passes over every release that asks for a newer Python, and installs the last one that does not, without a word.
    New GPUs and models then miss support.

    Needed: a Python that the newest releases have wheels for.

    Check: `python -m pip index versions torch` names the newest that pip sees.

    Silent where a framework is installed, since a project may stay on an old stack on purpose, and while the Python
    misses only the newest minor release.
    """
    python = machine.python
    version = _version(python)
    if python is None or version is None or python.frameworks or len(facts.torch_releases) < 2:
        return
    wish = target_of(machine, facts)
    newest = facts.torch_releases[0]
    first = next(iter(wheel_pythons(newest, wish.os, wish.arch)), None)
    if first is None or compare(version, first) >= 0:
        return
    last = next((row for row in facts.torch_releases if version in wheel_pythons(row, wish.os, wish.arch)), None)
    minors = list(dict.fromkeys(minor(row.version) for row in facts.torch_releases))
    if last and minors.index(minor(last.version)) < 2:
        return
    taken = say("pip takes {version}", version=last.version) if last else say("pip finds none that is known")
    yield found(
        say(
            "Python {version} is too old for current PyTorch: {taken}, and the newest is {newest_version}",
            version=version,
            taken=taken,
            newest_version=newest.version,
        ),
        say(
            "PyTorch {version} needs Python {first} or newer. pip installs the last release that accepts this Python "
            "without a word.",
            version=newest.version,
            first=first,
        ),
        evidence=("pythons[0].version",),
        fixes=(_other_python(machine, wheel_pythons(newest, wish.os, wish.arch)[-1]),),
    )


@rule(
    "PY003",
    "glibc-too-old",
    "error",
    needs=("system.libc_version", "pythons.frameworks.torch.version"),
    sources=(WHEELS_BY_TAG, "pkg:pypi/torch"),
)
def glibc_older_than_wheels(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The C library of this system is older than PyTorch wheels need.

    A wheel names the oldest glibc it runs on, and pip passes over those that need a newer one. PyTorch asks for 2.28
    since 2.7, so CentOS 7 and Ubuntu 18.04 end with 2.6.

    Needed: glibc 2.28 or newer for current wheels.

    Check: `ldd --version`.

    An error where the installed wheel needs a newer glibc than is here, a warning where none is installed yet. An
    environment of conda stands on the system's glibc too, but its torch is built against an older one and not judged.
    """
    system, python, framework = machine.system, machine.python, torch(machine)
    glibc = readable(system.libc_version) if system and system.libc == "glibc" else None
    if glibc is None or python is None or by_conda(python, "torch") or not facts.torch_releases:
        return
    arch = target_of(machine, facts).arch
    if framework:
        row = facts.torch(framework.version) if released(framework.version) else None
        tag = framework.version.partition("+")[2]
        need = wheel_glibc(row, row.variant(tag) if tag else None, arch) if row else None
        if need is None or order(glibc, need) != -1:
            return
        yield found(
            say(
                "PyTorch {version} needs glibc {need}, and this system has {glibc}",
                version=framework.version,
                need=need,
                glibc=glibc,
            ),
            say(
                "The import stops at a version of GLIBC that is not found. glibc comes with the system and cannot be "
                "replaced by a package."
            ),
            evidence=("system.libc_version", f"{TORCH}.version"),
            fixes=_newer_system(machine, facts, glibc),
        )
        return
    if python.frameworks:
        return
    newest = facts.torch_releases[0]
    need = wheel_glibc(newest, None, arch)
    if need is None or order(glibc, need) != -1:
        return
    yield found(
        say("Current PyTorch wheels need glibc {need}, and this system has {glibc}", need=need, glibc=glibc),
        say("pip passes over wheels that need a newer glibc and takes an old release without a word."),
        evidence=("system.libc_version",),
        fixes=_newer_system(machine, facts, glibc),
        severity="warning",
    )


@rule(
    "PY005",
    "python-32bit",
    "error",
    needs=("pythons.bits",),
    supersedes=("PY001", "PY002"),
    sources=(WHEELS_BY_TAG, "pkg:pypi/torch"),
)
def python_is_32bit(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """This Python is a 32-bit program.

    The frameworks publish 64-bit wheels only, so a 32-bit Python finds none of them, on a 64-bit system too.

    Needed: a 64-bit Python.

    Check: `python -c "import struct; print(struct.calcsize('P') * 8)"` prints 64.
    """
    python = machine.python
    if python is None or python.bits != 32:
        return
    windows = machine.system is not None and machine.system.os == "windows"
    yield found(
        say(
            "Python {version} at {executable} is a 32-bit program",
            version=python.version or "",
            executable=python.executable,
        ).replace("  ", " "),
        say("PyTorch, TensorFlow and JAX publish 64-bit wheels only, and pip finds none of them for it."),
        evidence=("pythons[0].bits", "pythons[0].executable"),
        fixes=(
            Fix(
                summary=say("Install a 64-bit Python, and make a new environment with it."),
                commands=(("winget", "install", "Python.Python.3.12"),) if windows else (),
                effect="changes-env",
            ),
        ),
    )


def _version(python: PythonEnv | None) -> str | None:
    return minor(python.version) if python and python.version and readable(python.version) else None


def _last_python(row: TorchRelease, machine: Snapshot, facts: Knowledge) -> str | None:
    wish = target_of(machine, facts)
    return next(reversed(wheel_pythons(row, wish.os, wish.arch)), None)


def _other_python(machine: Snapshot, last: str) -> Fix:
    """Propose an environment with a Python that the wheel has and other packages have caught up with."""
    number = min("3.12", last, key=lambda each: [int(part) for part in each.split(".")])
    if machine.python and machine.python.manager == "conda":
        commands: tuple[tuple[str, ...], ...] = (
            ("conda", "create", "--name", "dl", "--channel", "conda-forge", f"python={number}"),
        )
    else:
        commands = (("uv", "venv", "--python", number, ".venv"),)
    return Fix(summary=say("Make a new environment with Python {number}.", number=number), commands=commands)


def _newer_system(machine: Snapshot, facts: Knowledge, glibc: str) -> tuple[Fix, ...]:
    arch = target_of(machine, facts).arch
    last = next(
        (
            row.version
            for row in facts.torch_releases
            if (need := wheel_glibc(row, None, arch)) and order(glibc, need) in (0, 1)
        ),
        None,
    )
    fixes = [
        Fix(
            summary=say("Run in a container of a newer system, or update this one."),
            commands=(("envdoctor", "provision", "--output", "environment"),),
        )
    ]
    if last:
        fixes.append(
            Fix(
                summary=say("Or stay with PyTorch {last}, the last one for this glibc.", last=last),
                commands=(pip_install(machine, f"torch=={last}"),),
                effect="changes-env",
            )
        )
    return tuple(fixes)
