"""The answer to "will it fit, at which batch?", put together from the walk, the device and the advice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envdoctor.estimate.device import verdict
from envdoctor.model.estimate import Capacity, Estimate
from envdoctor.model.speech import say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envdoctor.estimate.device import Device
    from envdoctor.estimate.weighing import Scales
    from envdoctor.model.estimate import Change, Outlook, Peaks, Speed, Workload


def estimate(workload: Workload, scales: Scales, device: Device, peaks: Peaks | None = None) -> Estimate:
    """Answer for one workload on one device; changes are named where it does not surely fit, or runs wastefully.

    Without `peaks`, how fast the device can be, nothing is said of speed.

    Raises:
        errors.UsageProblem: the model cannot be run in that way.
    """
    memory = scales.memory(workload)
    speeds = () if peaks is None else scales.model.speeds(workload, peaks)
    needed = scales.need(workload, device)
    judged = verdict(needed, device.free_bytes)
    return Estimate(
        workload=workload,
        memory=memory,
        device_name=device.name,
        free_bytes=device.free_bytes,
        device_bytes_low=needed.low,
        device_bytes_high=needed.high,
        device_bytes_likely=needed.likely,
        verdict=judged,
        max_batch=scales.largest_batch(workload, device),
        changes=_changes(workload, scales, device, fits=judged == "fits"),
        speeds=speeds,
        outlooks=_outlooks(speeds),
        assumptions=tuple(
            dict.fromkeys((*_sizes(workload, scales), *memory.assumptions, *_context(device), *device.assumptions))
        ),
    )


def capacities(workload: Workload, scales: Scales, devices: Iterable[Device]) -> tuple[Capacity, ...]:
    """Give the largest batch on each device, in the order of their memory.

    A batch that one card needed to know is known for the next, so all cards together take few walks.
    """
    found: list[Capacity] = []
    for device in sorted(devices, key=lambda each: (each.free_bytes or 0, each.name or "")):
        batch = scales.largest_batch(workload, device)
        assert batch is not None and device.name is not None and device.free_bytes is not None
        found.append(Capacity(device_name=device.name, free_bytes=device.free_bytes, max_batch=batch))
    return tuple(found)


def _changes(workload: Workload, scales: Scales, device: Device, *, fits: bool) -> tuple[Change, ...]:
    from envdoctor.estimate import advice

    if fits:
        cheaper = advice.cheaper_inference(workload, scales, device)
        return () if cheaper is None else (cheaper,)
    return advice.changes(workload, scales, device)


def _outlooks(speeds: tuple[Speed, ...]) -> tuple[Outlook, ...]:
    if not speeds:
        return ()
    from envdoctor.estimate import speed

    return tuple(speed.verdict(each) for each in speeds)


def _sizes(workload: Workload, scales: Scales) -> tuple[str, ...]:
    """Say which size was taken where nobody named one."""
    size = scales.model.default_size
    if scales.model.kind == "image":
        return () if workload.image_size else (say("images of {size}x{size}", size=size),)
    return () if workload.seq_len else (say("samples of {size} tokens", size=size),)


def _context(device: Device) -> tuple[str, ...]:
    if device.kind == "cpu":
        return ()
    era = (
        say("torch {torch}", torch=device.torch)
        if device.torch
        else say("torch 1.13 or newer, which loads CUDA's kernels when needed")
    )
    return (say("the CUDA context and its libraries are those of {era}", era=era),)
