"""Which build of torch a file would bring, as pip chooses among the indexes that it is told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from envdoctor.knowledge.builds import Build, Constraint, Objection, build_of, documented, objections
from envdoctor.knowledge.fit import wheel_pythons
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.tables import TorchRelease
from envdoctor.knowledge.wheels import best_wheel
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.model.stack import Target
from envdoctor.model.version import compare, local, public
from envdoctor.rules.files.asked import Environment, Line, changed, environments, target

INDEX = "https://download.pytorch.org/whl"
_TAG = re.compile(r"/(cu\d{2,3}|cpu|rocm[\d.]+|xpu)/?$")
_ANY_TAG = re.compile(r"(?<=/)(?:cu\d{2,3}|cpu|rocm[\d.]+|xpu)(?=/|\s|$|[\"'\\])")

# published: there is such a build. never: none was published. passed over: an index was named whose builds lose against
# those of the package index. unknown: too little is known.
State = Literal["published", "never", "passed over", "unknown"]


class Torch(NamedTuple):
    """The torch of an environment: its line, what it resolves to, and how."""

    line: Line
    build: Build | None
    state: State
    tag: str | None = None  # that the file names: cu118
    open: bool = False  # the version is left to pip
    plain: bool = False  # the wheel of the package index


def tag_of(address: str) -> str | None:
    """Give the build that an index of PyTorch's, or of a mirror of it, holds; None: another index, or nightly builds.

    >>> tag_of("https://download.pytorch.org/whl/cu126"), tag_of("https://download.pytorch.org/whl/nightly/cu126")
    ('cu126', None)
    """
    found = _TAG.search(address)
    ours = "pytorch" in address and not re.search(r"/(nightly|test)/", address)
    return found[1] if found and ours else None


def torch_of(environment: Environment, machine: Snapshot, facts: Knowledge) -> Torch | None:
    """Say which build an environment's pip or uv would take; None: neither is asked for torch."""
    line = environment.package("torch")
    if line is None:
        return None
    said = line.said
    if said.value is None or any("/nightly/" in each for each in (said.index or "", *said.more_indexes)):
        return Torch(line, None, "unknown")
    here = target(environment, machine, facts)
    wanted = _local(said.value)
    fitting = _fitting(said.value, here, facts)
    pinned = line.pin is not None
    if wanted:
        return _named(line, wanted, fitting, pinned, facts)
    if said.index:
        tag = tag_of(said.index)
        if tag:
            return _named(line, tag, fitting, pinned, facts)
        if not re.search(r"/simple/?$", said.index):
            return Torch(line, None, "unknown")
    beside = [tag for each in (*said.more_indexes, *said.links) if (tag := tag_of(each))]
    plain = _plain(fitting, here)
    if not beside:
        return Torch(line, plain, "published" if plain else "unknown", open=not pinned, plain=True)
    return _beside(line, beside, fitting, plain, pinned)


def _named(line: Line, tag: str, fitting: list[TorchRelease], pinned: bool, facts: Knowledge) -> Torch:
    build = next((found for each in fitting if (found := build_of(each, tag))), None)
    if build:
        return Torch(line, build, "published", tag, open=not pinned)
    # A release whose builds were not read says nothing of those that it does not name.
    read = [each for each in fitting if documented(each) or compare(each.version, "2.0") < 0]
    ours = tag in {row.tag for row in facts.pip_indexes} or tag.startswith("cu")
    never = bool(read) and len(read) == len(fitting) and ours and not tag.startswith(("rocm", "xpu"))
    return Torch(line, None, "never" if never else "unknown", tag, open=not pinned)


def _beside(line: Line, tags: list[str], fitting: list[TorchRelease], plain: Build | None, pinned: bool) -> Torch:
    """Choose as pip does with several indexes: the highest version, and of two alike the one with a local tag.

    uv takes a package from the first index that has it, and further indexes go before its own.
    """
    builds = [found for tag in tags for each in fitting if (found := build_of(each, tag))]
    best = max(builds, key=lambda each: [int(n) for n in each.release.version.split(".")], default=None)
    if best is not None and line.said.by == "uv":
        return Torch(line, best, "published", best.tag, open=not pinned)
    if best is None or (plain is not None and compare(plain.release.version, best.release.version) > 0):
        return Torch(line, plain, "passed over" if plain else "unknown", tags[0], open=not pinned, plain=True)
    return Torch(line, best, "published", best.tag, open=not pinned)


def _plain(fitting: list[TorchRelease], here: Target) -> Build | None:
    """Give the wheel of the package index: for CUDA on Linux, without on Windows and macOS; else not known."""
    if not fitting:
        return None
    release = fitting[0]
    if here.os == "macos":
        return build_of(release, "mps")
    if here.os == "windows":
        return build_of(release, "cpu")
    tag = release.default_linux if here.arch == "x86_64" else None
    return build_of(release, tag) if tag else None


def _local(value: str) -> str | None:
    found = re.fullmatch(r"={2,3}\s*([\w.+]+)", value)
    return local(found[1]) if found else None


def _fitting(value: str, here: Target, facts: Knowledge) -> list[TorchRelease]:
    """Give the releases that a specifier allows, newest first; of several those with a wheel for the Python."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        allowed = SpecifierSet(re.sub(r"(?<=\d)\+[\w.]+", "", value))
    except InvalidSpecifier:
        return []
    every = [each for each in facts.torch_releases if allowed.contains(each.version)]
    if len(every) > 1 and here.python:
        return [each for each in every if here.python in wheel_pythons(each, here.os, here.arch)]
    return every


def rewritten(line: Line, environment: Environment, build: Build, facts: Knowledge) -> tuple[Fix, ...]:
    """Write the lines of a file as they must be for another build of torch, the companions at hand with it."""
    release = build.release
    belong = {"torch": release.version, "torchvision": release.torchvision, "torchaudio": release.torchaudio}
    touched: dict[int, str] = {}
    lines = {line.said.line: line}
    for name, version in belong.items():
        own = line if name == "torch" else environment.package(name)
        if own is None or version is None or own.said.file != line.said.file:
            continue
        lines[own.said.line] = own
        text = touched.get(own.said.line, own.said.text)
        pinned = f"{name}=={version}+{build.tag}" if _local(own.said.value or "") else f"{name}=={version}"
        touched[own.said.line] = re.sub(
            rf"(?<![\w.-]){name}(?![\w-])(?:\s*[=<>!~]=?[^\s\"';\\]*)?", pinned, text, count=1
        )
    command = line.said.text
    for number, text in touched.items():
        touched[number] = _ANY_TAG.sub(build.tag, text) if "/whl/" in text or "pytorch-wheels" in text else text
    fixes = tuple(changed(lines[number], text) for number, text in sorted(touched.items()))
    if tag_of(line.said.index or "") == build.tag or _ANY_TAG.search(command):
        return fixes
    return (
        *fixes,
        Fix(summary=say("Take it from PyTorch's index: --index-url {index_url}", index_url=build.index_url)),
    )


def newest_with(tag: str, releases: Iterable[TorchRelease]) -> Build | None:
    """Give the newest release that was published with a tag."""
    return next((found for each in releases if (found := build_of(each, tag))), None)


def version_of(line: Line) -> str | None:
    """Give the version that a line is held to, without its local tag."""
    return public(line.pin) if line.pin else None


class Asked(NamedTuple):
    """An environment that asks for torch."""

    environment: Environment
    torch: Torch
    here: Target


def asked_for(machine: Snapshot, facts: Knowledge) -> Iterator[Asked]:
    """Give the environments that ask pip or uv for torch."""
    for each in environments(machine):
        torch = torch_of(each, machine, facts)
        if torch is not None:
            yield Asked(each, torch, target(each, machine, facts))


def against(asked: Asked, facts: Knowledge, *constraints: Constraint) -> Iterator[Objection]:
    """Say what of these kinds stands against the build that an environment brings."""
    build = asked.torch.build
    if build is not None:
        for each in objections(build, asked.here, facts, asked.here.python):
            if each.constraint in constraints:
                yield each


def way_out(asked: Asked, facts: Knowledge) -> tuple[Fix, ...]:
    """Write the lines for the best build that certainly runs there; empty: there is none."""
    wheel = best_wheel(facts, asked.here)
    return rewritten(asked.torch.line, asked.environment, wheel, facts) if wheel else ()


def left_open(asked: Asked) -> str:
    """Say what an open version gives today; empty where the file names one."""
    if not asked.torch.open or asked.torch.build is None:
        return ""
    return " " + say("The file leaves the version open, and today that gives {name}.", name=asked.torch.build.name)
