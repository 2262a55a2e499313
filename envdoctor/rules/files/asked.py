"""What a file asks for, looked at as one environment: its lines, its image, its Python, and the machine it is for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from msgspec.structs import replace

from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.targets import target_of
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import STAGES, Declared, Snapshot
from envdoctor.model.speech import say
from envdoctor.model.stack import Target
from envdoctor.model.version import minor, readable
from envdoctor.rules.registry import Found

GPU_IMAGES = ("nvidia/cuda", "nvcr.io/nvidia/")


class Line(NamedTuple):
    """A line of a file and its place in the Snapshot."""

    at: int
    said: Declared

    @property
    def evidence(self) -> str:
        """Path of the line."""
        return f"declared[{self.at}].text"

    @property
    def pin(self) -> str | None:
        """The exact version that a package is held to, its local tag included; None: any of several, or not known."""
        found = re.fullmatch(r"={1,2}\s*v?([\w.+!-]+)(?:=.*)?", self.said.value or "")
        exact = found[1].rstrip(".") if found and "*" not in (self.said.value or "").partition("=")[2][:1] else None
        return exact if exact and exact[0].isdigit() else None

    def instead(self, old: str, new: str) -> Fix:
        """Write the line with a part of it changed, as the way out."""
        return changed(self, self.said.text.replace(old, new, 1) if old in self.said.text else new)


class Environment(NamedTuple):
    """Lines that are of one environment."""

    lines: tuple[Line, ...]
    final: bool  # what a Dockerfile's image is made of; False: a stage that only builds

    @property
    def image(self) -> Line | None:
        """The image that a Dockerfile builds on; None: this is another kind of file."""
        return next((line for line in self.lines if line.said.kind == "image"), None)

    @property
    def on_gpu_image(self) -> bool:
        """Tell whether the image is one for NVIDIA GPUs, so that a GPU is meant to be used."""
        image = self.image
        if image is None:
            return False
        tag = image.said.value or ""
        return image.said.name.startswith(GPU_IMAGES) or bool(re.search(r"(^|[-_.])(cuda|gpu|cu1\d\d)", tag))

    def package(self, *names: str, by: tuple[str, ...] = ("pip", "uv")) -> Line | None:
        """Give the last line that installs one of these packages: what is installed later replaces what was."""
        found = [
            line
            for line in self.lines
            if line.said.kind == "package" and line.said.name in names and line.said.by in by
        ]
        return found[-1] if found else None

    def conda(self, *names: str) -> Line | None:
        """Give the last line that installs one of these with conda."""
        return self.package(*names, by=("conda",))

    def of(self, kind: str) -> Iterator[Line]:
        """Give the lines of one kind."""
        return (line for line in self.lines if line.said.kind == kind)


def environments(machine: Snapshot) -> tuple[Environment, ...]:
    """Give the environments of the files; packages whose marker does not hold on the machine are left out."""
    grouped: dict[int, list[Line]] = {}
    for at, said in enumerate(machine.declared):
        if _holds(said, machine):
            grouped.setdefault(said.environment, []).append(Line(at, said))
    last = {}
    for number in grouped:
        last[number // STAGES] = number
    return tuple(Environment(tuple(lines), last[n // STAGES] == n) for n, lines in grouped.items())


def _holds(said: Declared, machine: Snapshot) -> bool:
    if said.marker is None:
        return True
    from packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName

    system = machine.system.os if machine.system else "linux"
    platform, name = {"windows": ("win32", "Windows"), "macos": ("darwin", "Darwin")}.get(system, ("linux", "Linux"))
    values = {"sys_platform": platform, "platform_system": name, "os_name": "nt" if platform == "win32" else "posix"}
    try:
        mark = Marker(said.marker)
        python = machine.python.version if machine.python else None
        if "python" in said.marker and not readable(python):
            return True
        if python:
            values |= {"python_version": minor(python), "python_full_version": python}
        return mark.evaluate({"extra": "", **values})
    except (InvalidMarker, UndefinedEnvironmentName, ValueError):
        return True


def target(environment: Environment, machine: Snapshot, facts: Knowledge) -> Target:
    """Give the machine as an environment would meet it.

    A container brings its own C library and Python, and on Windows it is WSL 2 that runs it. The Python at hand counts
    only for a plain requirements file.
    """
    here = target_of(machine, facts)
    image = environment.image
    python = _python(environment, facts)
    if image is not None:
        libc, glibc = _libc(image, facts)
        os = "wsl2" if here.os == "windows" else "linux" if here.os == "macos" else here.os
        return replace(here, os=os, libc=libc, glibc=glibc, python=python, avx=None)
    if any(line.said.by == "conda" for line in environment.lines):
        return replace(here, python=python)
    return here


def _libc(image: Line, facts: Knowledge) -> tuple[str | None, str | None]:
    if "alpine" in image.said.name or "alpine" in (image.said.value or ""):
        return "musl", None
    ubuntu = _ubuntu(image)
    row = next((row for row in facts.ubuntu_releases if row.version == ubuntu), None)
    return "glibc", row.glibc if row else None


def _ubuntu(image: Line) -> str | None:
    tag = image.said.value or ""
    found = re.search(r"ubuntu-?(\d\d)\.?(\d\d)", tag) or (
        re.match(r"(\d\d)\.(\d\d)", tag) if image.said.name == "ubuntu" else None
    )
    return f"{found[1]}.{found[2]}" if found else None


def _python(environment: Environment, facts: Knowledge) -> str | None:
    """Give the Python that an environment names or its image brings; None: not said."""
    own = environment.conda("python")
    if own is not None:
        found = re.match(r"={1,2}\s*(3\.\d+)", own.said.value or "")
        return found[1] if found else None
    image = environment.image
    if image is None or any(line.said.by == "conda" for line in environment.lines):
        return None
    if image.said.name == "python":
        found = re.match(r"(3\.\d+)", image.said.value or "")
        return found[1] if found else None
    system = {line.said.name for line in environment.of("system")}
    named = {found[1] for each in system if (found := re.match(r"python(3\.\d+)", each))}
    if named:
        return named.pop() if len(named) == 1 else None
    row = next((row for row in facts.ubuntu_releases if row.version == _ubuntu(image)), None)
    return row.python if row and system & {"python3", "python3-pip", "python3-venv", "python3-dev"} else None


def changed(line: Line, text: str) -> Fix:
    """Write what a line becomes."""
    return Fix(
        summary=say("Line {line} of {file} becomes: {content}", line=line.said.line, file=line.said.file, content=text)
    )


def once(machine: Snapshot, findings: Iterable[Found]) -> Iterator[Found]:
    """Give each finding once: two stages of a Dockerfile may hold the same line."""
    seen = set()
    for each in findings:
        key = (each.title, tuple(one.source for one in machine.evidence(*each.evidence)))
        if key not in seen:
            seen.add(key)
            yield each
