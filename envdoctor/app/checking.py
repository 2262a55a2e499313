"""A preflight: does this machine have what a job needs? Only what is asked for is looked at."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from envdoctor import errors
from envdoctor.app.examining import examine, locate
from envdoctor.host import Host
from envdoctor.model.requirement import Checked, Requirements, State
from envdoctor.model.snapshot import Gpu, Snapshot
from envdoctor.model.speech import say, say_number
from envdoctor.model.version import at_least, readable
from envdoctor.report.quantities import size
from envdoctor.rules.system.variables import parse

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_SILENT = ("timeout", "crashed", "denied")


def check(host: Host, wanted: Requirements, python: str | None, timeout: float) -> tuple[Checked, ...]:
    """Check each requirement; what cannot be looked at within `timeout` seconds is unknown.

    Raises:
        errors.UsageProblem: `python` is no Python.
    """
    on_gpus = wanted.needs_gpu or wanted.gpus is not None or wanted.driver is not None
    areas = (("variables", "accelerators") if on_gpus else ()) + (
        ("memory",) if wanted.ram_bytes is not None or wanted.shm_bytes is not None else ()
    )
    areas += ("nvidia",) if on_gpus else ()
    machine = examine(host, None, timeout, areas) if areas else Snapshot()
    found = [*_of_driver(machine, wanted), *_of_gpus(machine, wanted), *_of_memory(machine, wanted)]
    if wanted.disk_bytes is not None:
        found.append(_of_disk(host, wanted.disk_bytes, wanted.disk_path))
    if wanted.framework is not None:
        found.append(_of_framework(host, wanted, python, timeout))
    return tuple(found)


def _checked(name: str, needed: str, state: State | bool, found: str) -> Checked:
    told: State = ("ok" if state else "not met") if isinstance(state, bool) else state
    return Checked(requirement=name, needed=needed, state=told, found=found)


def _of_driver(machine: Snapshot, wanted: Requirements) -> Iterator[Checked]:
    driver = machine.driver
    for name, floor, value in (
        ("driver", wanted.driver, driver and driver.version),
        ("cuda", wanted.cuda, driver and driver.cuda),
    ):
        if floor is None:
            continue
        needed = say("{floor} or newer", floor=floor)
        gap = machine.gap("driver.version" if name == "driver" else "driver.cuda")
        if driver is not None and driver.nvml and name == "cuda":
            yield _checked(name, needed, False, say("the driver does not answer: NVML says {nvml}", nvml=driver.nvml))
        elif value:
            state: State | bool = at_least(value, floor) if readable(value) else "unknown"
            yield _checked(
                name,
                needed,
                state,
                value if name == "driver" else say("the driver runs CUDA up to {version}", version=value),
            )
        elif gap:
            yield _checked(name, needed, "unknown", say("could not look: {detail}", detail=gap.detail))
        elif driver is not None and driver.version and driver.nvml_path:
            yield _checked(name, needed, "unknown", say("could not look: the driver does not say"))
        else:
            yield _checked(name, needed, False, say("there is no NVIDIA driver that runs"))


def _of_gpus(machine: Snapshot, wanted: Requirements) -> Iterator[Checked]:
    """Count GPUs, of which each further requirement leaves those that meet it too."""
    if wanted.gpus is None and wanted.capability is None and wanted.gpu_free_bytes is None:
        return
    count = 1 if wanted.gpus is None else wanted.gpus
    sure, hidden = _usable(machine)
    # A driver that refuses, or that is not there, has answered; one that hangs has not.
    silent = (each for each in machine.gaps if each.fact.startswith("gpus") and each.kind in _SILENT)
    gap = next(silent, None) if len(sure) < count else None
    if wanted.gpus is not None:
        state: State | bool = "unknown" if gap else len(sure) >= count
        found = (
            say("could not look: {detail}", detail=gap.detail)
            if gap
            else say(
                "{count} can be used, {variable} hides {hidden}", count=len(sure), variable=_VISIBLE, hidden=hidden
            )
            if hidden
            else say("{count} can be used", count=len(sure))
        )
        yield _checked("gpu", say("{count} or more", count=count), state, found)
    floor, free = wanted.capability, wanted.gpu_free_bytes
    if gap:
        for name, asked in (("capability", floor), ("memory", free)):
            if asked is not None:
                yield _checked(name, _needed(asked), "unknown", say("could not look: {detail}", detail=gap.detail))
        return
    if floor is not None:
        sure, checked = _kept(
            "capability", _needed(floor), sure, count, lambda gpu: gpu.capability, lambda has: at_least(has, floor)
        )
        yield checked
    if free is not None:
        _, checked = _kept(
            "memory",
            _needed(free),
            sure,
            count,
            lambda gpu: None if gpu.free_bytes is None else str(gpu.free_bytes),
            lambda has: int(has) >= free,
        )
        yield checked


def _needed(asked: str | int) -> str:
    return (
        say("{asked} free on the GPU", asked=size(asked))
        if isinstance(asked, int)
        else say("{asked} or higher", asked=asked)
    )


def _usable(machine: Snapshot) -> tuple[tuple[Gpu, ...], int]:
    """Give the GPUs that a program of this process gets, and how many CUDA_VISIBLE_DEVICES hides."""
    driver = machine.driver
    runs = driver is not None and (driver.nvml == 0 or (driver.nvml is None and driver.cuda is not None))
    listed = tuple(gpu for gpu in machine.nvidia_gpus if gpu.index is not None and not gpu.lost and runs)
    others = tuple(gpu for gpu in machine.gpus if gpu.vendor == "amd" and not gpu.lost and gpu.bound_driver == "amdgpu")
    value = machine.variable(_VISIBLE)
    chosen = None if value is None else parse(value, listed)
    if chosen is None:
        return listed + others, 0
    kept = tuple(listed[place] for place in chosen.visible)
    return kept + others, len(listed) - len(kept)


def _kept(
    name: str,
    needed: str,
    gpus: tuple[Gpu, ...],
    count: int,
    value: Callable[[Gpu], str | None],
    meets: Callable[[str], bool],
) -> tuple[tuple[Gpu, ...], Checked]:
    """Leave the GPUs that meet it; those that do not say stay, and make the answer unknown where they would decide."""
    told = [(gpu, value(gpu)) for gpu in gpus]
    sure = [gpu for gpu, has in told if has is not None and readable(has) and meets(has)]
    silent = [gpu for gpu, has in told if has is None or not readable(has)]
    state: State = "ok" if len(sure) >= count else "unknown" if len(sure) + len(silent) >= count else "not met"
    shown = [size(int(has)) if name == "memory" else has for _, has in told if has is not None]
    words = (
        say("{count} of {all} GPUs ({values})", count=len(sure), all=len(gpus), values=", ".join(shown))
        if shown
        else say("{count} of {all} GPUs", count=len(sure), all=len(gpus))
    )
    if silent:
        words = say("{answer}, {count} could not be asked", answer=words, count=len(silent))
    return tuple(gpu for gpu in gpus if gpu in sure or gpu in silent), _checked(name, needed, state, words)


def _of_memory(machine: Snapshot, wanted: Requirements) -> Iterator[Checked]:
    memory = machine.memory
    free = None
    if memory is not None and memory.available_bytes is not None:
        free = min(memory.available_bytes, memory.effective_bytes)
    for name, floor, value in (
        ("ram", wanted.ram_bytes, free),
        ("shm", wanted.shm_bytes, memory.shm_free_bytes if memory else None),
    ):
        if floor is None:
            continue
        fact = "memory.available_bytes" if name == "ram" else "memory.shm_bytes"
        gap, needed = machine.gap(fact), say("{size} available", size=size(floor))
        if value is not None:
            yield _checked(name, needed, value >= floor, say("{size} available", size=size(value)))
        elif gap or name == "ram":
            yield _checked(
                name,
                needed,
                "unknown",
                say("could not look: {detail}", detail=gap.detail if gap else say("the system does not say")),
            )
        else:
            yield _checked(name, needed, False, say("there is no /dev/shm"))


def _of_disk(host: Host, floor: int, path: str) -> Checked:
    needed, path = say("{floor} free at {path}", floor=size(floor), path=path), os.path.abspath(path)
    try:
        free = host.space(path).free_bytes
    except FileNotFoundError:
        return _checked("disk", needed, False, say("there is no {path}", path=path))
    except OSError as problem:
        return _checked(
            "disk", needed, "unknown", say("could not look: {strerror}", strerror=problem.strerror or problem)
        )
    return _checked("disk", needed, free >= floor, say("{free} free", free=size(free)))


def _of_framework(host: Host, wanted: Requirements, python: str | None, timeout: float) -> Checked:
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion

    from envdoctor.verify import sight

    assert wanted.framework is not None
    place = locate(host, python)
    count = max(1, wanted.gpus or 0) if wanted.needs_gpu else 0
    needed = f"{wanted.framework}{wanted.framework_versions}"
    if count:
        needed = say("{framework} that sees {count} GPU", framework=needed, count=count)
    if place is None:
        raise errors.Unreadable(
            say("no Python was found to ask"), say("activate an environment, or name one with --python")
        )
    seen = sight.ask(host, place.executable, wanted.framework, timeout)
    if seen.unknown or seen.failed:
        state: State = "unknown" if seen.unknown else "not met"
        return _checked("framework", needed, state, seen.unknown or seen.failed or "")
    try:
        fits = SpecifierSet(wanted.framework_versions, prereleases=True).contains(seen.version)
    except InvalidVersion:  # a build of somebody's own, of which no range speaks
        fits = not wanted.framework_versions
    found = say_number(
        "{framework} {version}, sees {number} GPU",
        "{framework} {version}, sees {number} GPUs",
        seen.gpus,
        framework=wanted.framework,
        version=seen.version,
    )
    return _checked("framework", needed, fits and seen.gpus >= count, found)
