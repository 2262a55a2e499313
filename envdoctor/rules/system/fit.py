"""Workloads that a person means to run here, judged by the estimator before they run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envdoctor.errors import EnvdoctorError
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.wording import card, size

if TYPE_CHECKING:
    from envdoctor.estimate.device import Device
    from envdoctor.model.estimate import Change, Estimate

_FIXES = 4  # most ways out that are named; `envdoctor estimate` names all


@rule(
    "MEM006",
    "gpu-out-of-memory",
    "warning",
    certainty="likely",
    needs=("gpus.memory_bytes", "memory.total_bytes"),
    sources=(
        "https://zdevito.github.io/2022/08/04/cuda-caching-allocator.html",
        "https://github.com/pytorch/pytorch/pull/86509",
    ),
    variants=("host-out-of-memory",),
)
def workload_does_not_fit(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A workload that is meant to run here needs more memory than is free.

    What it needs is walked over the shapes of the model, with the lifetimes that torch gives its tensors, and replayed
    through the allocator of CUDA; context and libraries are a range. It is judged for the GPU that has the most free
    memory, else for the processor and host memory. Asked for with `diagnose --for gpt2:training:batch=8`.

    Needed: free memory above the upper end of the range.

    Check: `envdoctor estimate MODEL` with the same words, which names every part and every way out.

    An error where the tensors alone, at their highest point, are more than the whole of the card or of the host's
    memory: that is arithmetic over shapes. A warning where only the range with what a process needs besides, or what
    others hold at the moment, is in the way; and in Windows and WSL, whose driver may move tensors to host memory.
    """
    for place, text in enumerate(machine.wanted):
        try:
            yield from _judged(machine, place, text)
        except EnvdoctorError:
            continue  # a report may hold anything; the command refuses such words with what to do about them


def _judged(machine: Snapshot, place: int, text: str) -> Iterator[Found]:
    from envdoctor.estimate import answer, asking, models
    from envdoctor.estimate.weighing import Scales, Walked

    device, evidence = device_of(machine)
    if device is None or evidence is None:
        return
    name, how = asking.short(text)
    model = Walked(models.named(name))
    answered = answer.estimate(asking.workload(model, device=device.kind, **how), Scales(model), device)
    if answered.verdict in ("tight", "out-of-memory"):
        whole = _whole(machine, device)
        yield _finding(text, answered, device, (f"wanted[{place}]", evidence), whole)


def _finding(
    text: str, answered: Estimate, device: Device, evidence: tuple[str, ...], whole: tuple[str, int] | None
) -> Found:
    over = answered.verdict == "out-of-memory"
    proof = whole[0] if whole and answered.memory.allocated_bytes > whole[1] else None
    assert answered.free_bytes is not None
    where = say("host memory") if device.kind == "cpu" else device.name or say("the GPU")
    needed = say(
        "{device_bytes_low} to {device_bytes_high}",
        device_bytes_low=size(answered.device_bytes_low),
        device_bytes_high=size(answered.device_bytes_high),
    )
    most = answered.max_batch
    largest = (
        say("The largest batch that surely fits is {most}.", most=most)
        if most
        else say("Not even a batch of 1 surely fits.")
    )
    title = say(
        "{workload} needs {needed}, and {device} has {free} free",
        workload=text,
        needed=needed,
        device=where,
        free=size(answered.free_bytes),
    )
    return found(
        title if over else say("{title}: it may not fit", title=title),
        say(
            "{allocated_bytes} of it are tensors at their highest point. {largest}",
            allocated_bytes=size(answered.memory.allocated_bytes),
            largest=largest,
        ),
        evidence=evidence if proof is None or proof in evidence else (*evidence, proof),
        fixes=tuple(Fix(summary=_changed(each)) for each in answered.changes[:_FIXES]),
        severity="error" if proof else None,
        certainty="certain" if proof else None if over else "hint",
        slug="host-out-of-memory" if device.kind == "cpu" else None,
    )


def _changed(change: Change) -> str:
    needed, saved = size(change.device_bytes), size(change.saved_bytes)
    if change.at_least:
        return say(
            "{change}: at least {needed}, at the most {saved} less.", change=change.what, needed=needed, saved=saved
        )
    return say("{change}: {needed}, {saved} less.", change=change.what, needed=needed, saved=saved)


def _whole(machine: Snapshot, device: Device) -> tuple[str, int] | None:
    """Give all the memory that tensors could ever have on the device, and the fact that says so; None: not known."""
    if device.kind == "cpu":
        memory = machine.memory
        if memory is None or memory.swap_bytes is None:
            return None
        fact = "memory.limit_bytes" if memory.limit_bytes else "memory.total_bytes"
        return fact, memory.effective_bytes + memory.swap_bytes
    if machine.wsl or machine.system is None or machine.system.os != "linux":
        return None
    sizes = [None if gpu.lost else gpu.memory_bytes for gpu in machine.gpus]
    known = [(each, place) for place, each in enumerate(sizes) if each is not None]
    largest, place = max(known, default=(0, 0))
    return (f"gpus[{place}].memory_bytes", largest) if largest else None


def device_of(machine: Snapshot) -> tuple[Device | None, str | None]:
    """Give the GPU with the most free memory, else the processor, and the fact that says how much that is."""
    from envdoctor.estimate.device import Device

    sized = [
        (gpu.memory_bytes if gpu.free_bytes is None else gpu.free_bytes, place, gpu)
        for place, gpu in enumerate(machine.gpus)
        if not gpu.lost
    ]
    known = [(free, place, gpu) for free, place, gpu in sized if free is not None]
    if known:
        free, place, gpu = max(known, key=lambda each: each[0])
        fact = f"gpus[{place}]." + ("memory_bytes" if gpu.free_bytes is None else "free_bytes")
        return Device(name=card(gpu), capability=gpu.capability, free_bytes=free), fact
    memory = machine.memory
    if memory is None or machine.gpus:
        return None, None
    amounts = {
        "memory.available_bytes": memory.available_bytes,
        "memory.limit_bytes": memory.limit_bytes,
        "memory.total_bytes": memory.total_bytes,
    }
    fact, free = min(((f, n) for f, n in amounts.items() if n is not None), key=lambda each: each[1])
    return Device(kind="cpu", name="CPU", free_bytes=free), fact
