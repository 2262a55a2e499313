"""A person's own files, as lines that rules can judge, and the machine that they are for."""

from __future__ import annotations

import os
from itertools import islice

from msgspec.structs import replace

from envdoctor import errors
from envdoctor.app.planning import described
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.targets import target_of
from envdoctor.model.snapshot import STAGES, Declared, Driver, Gap, Gpu, Snapshot, System, Wsl
from envdoctor.model.speech import say
from envdoctor.model.stack import TargetOs

# The longest Dockerfiles and locked requirements are some hundred KB.
LARGEST_FILE = 1 << 20
_LARGEST_DOCKERFILE = 1 << 18
_MOST = 20_000  # things that one file asks for
_INSTALL = "python -m pip install 'envdoctor[files]'"


def declared(
    dockerfiles: tuple[str, ...], environments: tuple[str, ...], requirements: tuple[str, ...]
) -> tuple[Declared, ...]:
    """Read files into lines. Nothing is run; `pip install -r` is followed to the file beside it.

    Raises:
        errors.Unreadable: one is missing, a folder, no text, too large, or not of its kind.
        errors.MissingPart: the library that reads such files is not installed.
    """
    found: list[Declared] = []
    for number, (kind, name) in enumerate(
        (kind, name)
        for kind, names in (("dockerfile", dockerfiles), ("environment", environments), ("requirements", requirements))
        for name in names
    ):
        lines = _read(kind, name, number * STAGES)
        if len(lines) > _MOST:
            raise errors.Unreadable(
                say("{name} asks for more than {most} things, so it is none of a person's files", name=name, most=_MOST)
            )
        found += lines
    return tuple(found)


def _read(kind: str, name: str, number: int) -> list[Declared]:
    text = _text(name, _LARGEST_DOCKERFILE if kind == "dockerfile" else LARGEST_FILE)
    plain = Declared(environment=number, file=_shown(name), line=1, text="", kind="package", name="")
    beside = _Beside(os.path.dirname(name))
    try:
        if kind == "dockerfile":
            from envdoctor.formats import dockerfile

            stages = dockerfile.read(text, plain, beside)
            if not stages:
                raise errors.Unreadable(say("{name} is no Dockerfile: it has no line FROM", name=name))
            every = ((number + n, line) for n, lines in enumerate(stages) for line in lines)
            return [replace(line, environment=n) for n, line in islice(every, _MOST + 1)]
        if kind == "environment":
            from envdoctor.formats import conda_environment

            try:
                return conda_environment.read(text, plain)
            except conda_environment.Malformed as problem:
                raise errors.Unreadable(
                    say("{name} is no environment file of conda's: {problem}", name=name, problem=problem)
                ) from None
        from envdoctor.formats import requirements

        if name.endswith(".toml"):
            try:
                return requirements.project(text, plain)
            except ValueError as problem:
                raise errors.Unreadable(say("{name} is no TOML: {problem}", name=name, problem=problem)) from None
        return requirements.read(text, plain, beside)
    except ModuleNotFoundError as problem:
        raise errors.MissingPart(
            say("reading {name} needs {problem_name}", name=name, problem_name=problem.name), _INSTALL
        ) from None


def _shown(name: str) -> str:
    """Call a file as the person did, where that is short; other paths may hold names that are nobody's business."""
    return name if not os.path.isabs(name) and ".." not in name.split("/") else os.path.basename(name)


class _Beside:
    """Gives files of the same folder, as far as they are there and are text; others are nobody's business here."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, path: str) -> tuple[str, str] | None:
        parts = path.replace("\\", "/").split("/")
        if os.path.isabs(path) or ".." in parts or "\0" in path or not path:
            return None
        try:
            return path, _text(os.path.join(self.folder, path))
        except errors.Unreadable:
            return None


def _text(name: str, largest: int = LARGEST_FILE) -> str:
    try:
        if os.path.isdir(name):
            raise errors.Unreadable(say("{name} is a folder", name=name), say("name the file in it"))
        # A device or a pipe would never end.
        if not os.path.isfile(name):
            raise errors.Unreadable(say("there is no file {name}", name=name))
        with open(name, "rb") as file:
            content = file.read(largest + 1)
    except (OSError, ValueError) as problem:
        raise errors.Unreadable(
            say("{name} cannot be read: {problem}", name=name, problem=getattr(problem, "strerror", problem))
        ) from None
    if len(content) > largest:
        raise errors.Unreadable(
            say(
                "{name} is larger than {largest} KiB, so it is none of a person's files",
                name=name,
                largest=largest >> 10,
            )
        )
    if not content.strip():
        raise errors.Unreadable(say("{name} is empty", name=name))
    try:
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        raise errors.Unreadable(say("{name} is not a text in UTF-8", name=name)) from None
    if "\0" in text:
        raise errors.Unreadable(say("{name} is not a text", name=name))
    return text


def for_machine(
    machine: Snapshot,
    facts: Knowledge,
    *,
    gpus: tuple[str, ...] = (),
    driver: str | None = None,
    os: TargetOs | None = None,
) -> Snapshot:
    """Give the machine that a file is for: this one, with what a person said of another in place of its own.

    What was said counts as known. A driver that was not said, of GPUs that were, is unknown.

    Raises:
        errors.UsageProblem: a GPU is not known, or the driver is no version.
    """
    if not gpus and driver is None and os is None:
        return machine
    target = described(target_of(machine, facts), facts, gpus=gpus, driver=driver, os=os)
    said = {"gpus": "--gpu" if gpus else "", "driver": "--driver" if driver else "", "system": "--os" if os else ""}
    system = System(
        os="linux" if target.os == "wsl2" else target.os,
        machine=target.arch,
        libc=target.libc,
        libc_version=target.glibc,
        wsl=Wsl(version=2, dxg=True) if target.os == "wsl2" else None,
    )
    gaps = tuple(
        gap for gap in machine.gaps if not any(gap.fact.partition(".")[0] == fact for fact in said if said[fact])
    )
    if target.driver is None and (gpus or os):
        gaps = (*gaps, Gap(probe="described", fact="driver", kind="not-reported", detail=say("say it with --driver")))
    return replace(
        machine,
        system=system if os else machine.system,
        driver=Driver(version=target.driver, module_loaded=True)
        if target.driver and driver
        else machine.driver
        if target.driver
        else None,
        gpus=tuple(
            Gpu(vendor=gpu.vendor, name=gpu.name, capability=gpu.capability, target=gpu.target) for gpu in target.gpus
        )
        if gpus or os
        else machine.gpus,
        pythons=() if os and target.python is None else machine.pythons,
        gaps=gaps,
        origins={**machine.origins, **{fact: option for fact, option in said.items() if option}},
    )
