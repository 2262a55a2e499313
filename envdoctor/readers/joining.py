"""From what several readers told to one Snapshot, in which everything that none of them told is a gap."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TypeVar

import msgspec
from msgspec.structs import FieldInfo, replace

from envdoctor.model.snapshot import (
    Cpu,
    Driver,
    Framework,
    Gap,
    Gpu,
    Memory,
    Package,
    Problem,
    PythonEnv,
    Snapshot,
    System,
    Toolkit,
)
from envdoctor.model.speech import message, say

_R = TypeVar("_R", bound=msgspec.Struct)

_DETAIL = message("the report does not say")
# What is not a fact of the machine, and what is looked at field by field.
_JUDGED = frozenset(
    (
        *("schema_version", "taken_at", "tool", "problems", "gaps", "origins"),
        *("system", "cpu", "memory", "driver", "gpus", "toolkits", "pythons"),
    )
)
_NO_GAPS = ("packages", "frameworks", "executable", "prefix", "selected_by", "os", "path", "vendor")


@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[FieldInfo, ...]:
    # msgspec reads the annotations anew at each call.
    return msgspec.structs.fields(kind)


def joined(parts: list[Snapshot], problems: tuple[Problem, ...] = ()) -> Snapshot:
    """Join what readers told, the first of them being the one to believe, and name what nobody told."""
    origins: dict[str, str] = {}
    for part in reversed(parts):
        origins.update(part.origins)
    whole = Snapshot(
        system=_first(part.system for part in parts),
        cpu=_first(part.cpu for part in parts),
        memory=_first(part.memory for part in parts),
        driver=_first(part.driver for part in parts),
        gpus=_gpus([part.gpus for part in parts if part.gpus]),
        toolkits=_toolkits(parts),
        libraries=tuple(each for part in parts for each in part.libraries),
        pythons=_pythons([part.python for part in parts if part.python]),
        variables=tuple({v.name: v for part in reversed(parts) for v in part.variables}.values()),
        problems=problems,
        origins=origins,
    )
    return replace(whole, gaps=tuple(_gaps(whole)))


def _first(records: Iterable[_R | None]) -> _R | None:
    """Join records field by field: the first one that says something else than the default decides."""
    whole: _R | None = None
    for record in records:
        if record is not None:
            whole = record if whole is None else _filled(whole, record)
    return whole


def _filled(whole: _R, other: _R) -> _R:
    new = {}
    for field in _fields(type(whole)):
        if getattr(whole, field.name) == field.default and getattr(other, field.name) != field.default:
            new[field.name] = getattr(other, field.name)
    return replace(whole, **new) if new else whole


def _gpus(lists: list[tuple[Gpu, ...]]) -> tuple[Gpu, ...]:
    """Take the list of the most exact reader; another list of the same length may add what it lacks."""
    if not lists:
        return ()
    whole, *others = lists
    for other in others:
        if len(other) == len(whole) and all(a.vendor == b.vendor for a, b in zip(whole, other, strict=True)):
            whole = tuple(_filled(a, b) for a, b in zip(whole, other, strict=True))
    return whole


def _toolkits(parts: list[Snapshot]) -> tuple[Toolkit, ...]:
    every = [each for part in parts for each in part.toolkits]
    return tuple({(each.path, each.version): each for each in reversed(every)}.values())[::-1]


def _pythons(every: list[PythonEnv]) -> tuple[PythonEnv, ...]:
    whole = _first(every)
    if whole is None:
        return ()
    packages: dict[tuple[str, str, str | None], Package] = {}
    frameworks: dict[str, Framework] = {}
    for python in every:
        told = {package.name for package in packages.values()}
        for package in python.packages:
            if package.name not in told or package.build:
                packages.setdefault((package.name, package.version, package.build), package)
        for framework in python.frameworks:
            known = frameworks.get(framework.name)
            same = known is not None and known.version.partition("+")[0] == framework.version.partition("+")[0]
            if known is None:
                frameworks[framework.name] = framework
            elif same:
                longer = framework if len(framework.version) > len(known.version) else known
                frameworks[framework.name] = _filled(_filled(longer, known), framework)
    kept = _without_echo(tuple(packages.values()))
    return (replace(whole, packages=kept, frameworks=tuple(frameworks.values())),)


def _without_echo(packages: tuple[Package, ...]) -> tuple[Package, ...]:
    """Leave out "tensorflow" where only words told of it, and the distribution that they mean has a longer name.

    "tensorflow-gpu 1.15" names the framework TensorFlow 1.15, which is no second distribution beside it.
    """
    if not {"tensorflow-gpu", "tensorflow-cpu"} & {each.name for each in packages}:
        return packages
    return tuple(each for each in packages if each.name != "tensorflow" or each.installer or each.build)


def _gaps(whole: Snapshot) -> Iterable[Gap]:
    for name, record, kind in (
        ("system", whole.system, System),
        ("cpu", whole.cpu, Cpu),
        ("memory", whole.memory, Memory),
        ("driver", whole.driver, Driver),
    ):
        yield from _missing(name, (record,) if record is not None else (), kind, whole.origins)
    yield from _missing("gpus", whole.gpus, Gpu, whole.origins)
    yield from _missing("toolkits", whole.toolkits, Toolkit, whole.origins)
    if any(not each.path for each in whole.toolkits):
        yield _gap("toolkits.path")
    yield from _missing("pythons", whole.pythons, PythonEnv, whole.origins)
    if whole.python is not None:
        yield from _missing_software(whole.python, whole.origins)
    for field in _fields(Snapshot):
        if (
            field.name not in _JUDGED
            and getattr(whole, field.name) == field.default
            and field.name not in whole.origins
        ):
            yield _gap(field.name)


def _missing(name: str, records: tuple[msgspec.Struct, ...], kind: type, origins: dict[str, str]) -> Iterable[Gap]:
    if not records:
        if name not in origins:
            yield _gap(name)
        return
    for field in _fields(kind):
        path = f"{name}.{field.name}"
        told = all(getattr(record, field.name) != field.default for record in records)
        if not told and field.name not in _NO_GAPS and path not in origins and field.default is not msgspec.NODEFAULT:
            yield _gap(path)


def _missing_software(python: PythonEnv, origins: dict[str, str]) -> Iterable[Gap]:
    if not python.packages:
        yield _gap("pythons.packages")
    if not python.frameworks:
        yield _gap("pythons.frameworks")
    for framework in python.frameworks:
        path = f"pythons.frameworks.{framework.name}.cuda"
        if framework.cuda is None and path not in origins:
            yield _gap(path)


def _gap(fact: str) -> Gap:
    return Gap(probe="report", fact=fact, kind="not-reported", detail=say(_DETAIL))
