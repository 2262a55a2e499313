"""From what a person names to what can be weighed: the model, and the device with its free memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from envdoctor import errors
from envdoctor.estimate.device import Device, of_model
from envdoctor.model.speech import say

if TYPE_CHECKING:
    from envdoctor.estimate.weighing import Model
    from envdoctor.host import Host, NvmlGpu
    from envdoctor.knowledge.load import Knowledge
    from envdoctor.knowledge.tables import GpuModel
    from envdoctor.model.estimate import Peaks

_NVML_SECONDS = 10.0


def model(text: str) -> Model:
    """Find what can be walked: a known name, the path of a config.json or of its folder, or hf:org/name.

    Raises:
        errors.UsageProblem: no such name or file, or a kind of model that is not known.
        errors.Unreadable: the file or the hub cannot be read, or it is no configuration.
    """
    from envdoctor.estimate import models
    from envdoctor.estimate.weighing import Walked

    if text.startswith("hf:"):
        from envdoctor.app import hub

        content, where = hub.config(text[3:], os.environ)
        return Walked(models.from_config(text[3:], _mapping(content, where)))
    path = os.path.join(text, "config.json") if os.path.isdir(text) and _a_path(text) else text
    if _a_path(path):
        return Walked(models.from_config(_called(path), _mapping(_content(path), path)))
    try:
        return Walked(models.named(text))
    except errors.UsageProblem:
        inside = os.path.join(text, "config.json")
        if os.path.isfile(inside):
            return Walked(models.from_config(text, _mapping(_content(inside), inside)))
        raise


def _a_path(text: str) -> bool:
    return text.endswith(".json") or "/" in text or os.sep in text


def _called(path: str) -> str:
    folder = os.path.basename(os.path.dirname(os.path.abspath(path)))
    return folder if os.path.basename(path) == "config.json" and folder else os.path.basename(path)


def _content(path: str) -> bytes:
    from envdoctor.app.hub import LARGEST_CONFIG
    from envdoctor.app.reading import read_input

    content = read_input(path)
    if len(content) > LARGEST_CONFIG:
        raise errors.Unreadable(say("{path} is larger than 1 MiB, so it is not a config.json", path=path))
    return content


def _mapping(content: bytes, where: str) -> dict[str, object]:
    try:
        return msgspec.json.decode(content, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        reason = say("it is nested too deeply") if isinstance(problem, RecursionError) else str(problem)
        raise errors.Unreadable(
            say("{where} is not the config.json of a model: {reason}", where=where, reason=reason)
        ) from None


def traced(
    factory: str,
    given: tuple[str, ...],
    python: str | None,
    timeout: float,
    tell: Callable[[str], None],
) -> Model:
    """Take a model that its own code describes: `module.py:factory`, or `package.module:factory`.

    Raises:
        errors.UsageProblem: there is no input or no Python.
    """
    from envdoctor.app import verifying
    from envdoctor.host.local import LocalHost
    from envdoctor.verify.tracing import TracedModel, inputs

    if not given:
        raise errors.UsageProblem(
            say("{factory} needs to know what it is called with", factory=factory),
            say("--input 1,3,224,224 for images, --input 1,128:int64 for token ids"),
        )
    read = inputs(given)
    host = LocalHost()
    target = verifying.target_of(host, python, None)
    return TracedModel(factory, read, target, timeout=timeout, memory_cap=verifying.memory_cap(host), tell=tell)


def gpu_row(name: str, facts: Knowledge) -> GpuModel:
    """Find a card by its name.

    Raises:
        errors.UsageProblem: no such card is known; the hint names near ones.
    """
    from envdoctor.knowledge.names import gpu_named, gpus_like

    row = gpu_named(facts, name)
    if row is None:
        near = gpus_like(facts, name)[:4]
        hint = (
            say("did you mean: {near}?", near=", ".join(near))
            if near
            else say("give its memory instead: --memory 8GiB")
        )
        raise errors.UsageProblem(say("no GPU called {name} is known", name=name), hint)
    return row


def sold_device(row: GpuModel, memory: int | None, torch: str | None) -> Device:
    """Give the device that is sold under that name; `memory` says how much of it is free.

    Raises:
        errors.UsageProblem: the card's memory is not known, and none was given.
    """
    if memory is not None:
        return Device(name=row.name, capability=row.capability, free_bytes=memory, torch=torch)
    sold = of_model(row, torch)
    if not sold:
        raise errors.UsageProblem(
            say("the memory of {name} is not known", name=row.name), say("give it: --memory 8GiB")
        )
    return sold[0]


def every_device(facts: Knowledge, torch: str | None) -> tuple[Device, ...]:
    """Give each card that is known, in each size that it is sold with."""
    return tuple(device for row in facts.gpus for device in of_model(row, torch))


def device_here(host: Host, torch: str | None) -> Device:
    """Give the GPU of this machine that has the most free memory, else its processor and host memory.

    What other processes hold is not free. A driver that does not answer leaves the free memory unknown.
    """
    try:
        answer = host.nvml(_NVML_SECONDS)
    except FileNotFoundError:
        return host_device(host, (say("no NVIDIA driver is here, so it is judged for the CPU and host memory"),))
    except (OSError, TimeoutError) as problem:
        return Device(torch=torch, assumptions=(say("the GPU's memory is not known: {problem}", problem=problem),))
    if answer.status:
        reason = say(
            "the NVIDIA library answered with error {status}; `envdoctor diagnose` says why", status=answer.status
        )
        return Device(torch=torch, assumptions=(say("the GPU's memory is not known: {reason}", reason=reason),))
    cards = [card for card in answer.gpus if card.free_bytes is not None]
    if not cards and not answer.count:
        return host_device(host, (say("no NVIDIA card is here, so it is judged for the CPU and host memory"),))
    if not cards:
        return Device(torch=torch, assumptions=(say("the driver does not tell the memory of its cards"),))
    best = max(cards, key=lambda card: card.free_bytes or 0)
    return Device(
        name=best.name,
        capability=best.capability,
        free_bytes=best.free_bytes,
        torch=torch,
        assumptions=_held(best, len(answer.gpus)),
    )


def _held(card: NvmlGpu, count: int) -> tuple[str, ...]:
    notes: tuple[str, ...] = ()
    if card.used_bytes:
        held = say(
            "{used_bytes:.0f} MiB of {name} are held by other processes now",
            used_bytes=card.used_bytes / (1 << 20),
            name=card.name or say("the card"),
        )
        notes = (say("{held}, and not counted as free", held=held),)
    return (
        (*notes, say("of {count} cards, the one with the most free memory was taken", count=count))
        if count > 1
        else notes
    )


def host_device(host: Host, notes: tuple[str, ...] = ()) -> Device:
    """Give the processor and the host memory that is free and granted now."""
    from envdoctor.app.verifying import free_memory

    free = free_memory(host)
    unknown = () if free is not None else (say("the machine does not say how much memory is free"),)
    return Device(kind="cpu", name="CPU", free_bytes=free, assumptions=(*notes, *unknown))


def processor(host: Host, python: str | None, measure: bool) -> Peaks:
    """Give how fast this machine's processor is: measured with a torch that is here, or what is known without.

    Raises:
        errors.UsageProblem: a Python was named that is none.
    """
    from envdoctor.app import calibrating, verifying

    if not measure:
        return calibrating.remembered(host)
    try:
        python = verifying.target_of(host, python, None).executable
    except errors.EnvdoctorError:
        if python is not None:
            raise
    return calibrating.processor_speed(host, python)


def card(name: str | None) -> Peaks | None:
    """Give how fast a card can be, by its name; None: no such card is known, or its maker's figures are not."""
    from envdoctor.estimate import peaks
    from envdoctor.knowledge.load import Knowledge
    from envdoctor.knowledge.names import gpu_named

    row = gpu_named(Knowledge(), name) if name else None
    return None if row is None else peaks.of_gpu(row)
