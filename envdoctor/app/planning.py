"""From a machine and a wish to a Stack."""

from __future__ import annotations

import re

from envdoctor import errors
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.names import gpu_named, gpus_like
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.stack import Conflict, Plan, Request, Target, TargetGpu, TargetOs
from envdoctor.model.version import minor


def target_of(machine: Snapshot) -> Target:
    """Reduce a machine to what decides which stacks run on it; what is unknown constrains nothing.

    A driver that does not answer counts as none, since nothing can be run on it before it is mended; GPUs that it
    should serve stay in the list, so that the stack fits once it is.
    """
    system, python = machine.system, machine.python
    os: TargetOs = "linux"
    if system is not None:
        os = "wsl2" if system.wsl and system.wsl.version == 2 else system.os if system.os != "other" else "linux"
    return Target(
        os=os,
        arch={"arm64": "aarch64", "AMD64": "x86_64"}.get(system.machine or "", system.machine or "x86_64")
        if system
        else "x86_64",
        libc=system.libc if system else "glibc",
        glibc=system.libc_version if system and system.libc == "glibc" else None,
        driver=machine.driver.version if machine.driver else None,
        gpus=_usable(machine),
        python=minor(python.version) if python and python.version else None,
    )


def _usable(machine: Snapshot) -> tuple[TargetGpu, ...]:
    # A display adapter of the processor, or one passed through to a guest, is nobody's CUDA device.
    held = [gpu for gpu in machine.gpus if gpu.bound_driver != "vfio-pci" and not gpu.lost]
    return tuple(
        TargetGpu(vendor=gpu.vendor, name=gpu.name, capability=gpu.capability, target=gpu.target)
        for gpu in held
        if gpu.vendor in ("nvidia", "amd", "apple") or (gpu.vendor == "intel" and not gpu.integrated)
    )


def described(
    target: Target,
    facts: Knowledge,
    *,
    gpus: tuple[str, ...] = (),
    driver: str | None = None,
    os: TargetOs | None = None,
    glibc: str | None = None,
    arch: str | None = None,
) -> Target:
    """Change a target by what a person said of another machine.

    A GPU is named as NVML does ("RTX 3060", "NVIDIA GeForce RTX 3060") or by its compute capability ("8.6").

    Raises:
        errors.UsageProblem: a GPU is not known, or a version has no number in it.
    """
    for name, value in (("--driver", driver), ("--glibc", glibc)):
        if value is not None and not re.fullmatch(r"\d+(\.\d+)*", value):
            raise errors.UsageProblem(f"{name} {value} is not a version like 535.183.01")
    elsewhere = os is not None and os != target.os
    return Target(
        os=os or target.os,
        arch=arch or target.arch,
        libc="glibc" if glibc or elsewhere else target.libc,
        glibc=glibc or (None if elsewhere else target.glibc),
        # A driver belongs to its machine: with other GPUs or another system named, this machine's says nothing.
        driver=driver or (None if gpus or elsewhere else target.driver),
        gpus=tuple(_gpu(name, facts) for name in gpus) or (() if elsewhere else target.gpus),
        python=None if elsewhere else target.python,
        pythons=target.pythons,
    )


def _gpu(name: str, facts: Knowledge) -> TargetGpu:
    if re.fullmatch(r"\d{1,2}\.\d", name):
        return TargetGpu(vendor="nvidia", capability=name)
    found = gpu_named(facts, name)
    if found is None:
        near = ", ".join(gpus_like(facts, name)[:4])
        raise errors.UsageProblem(
            f"no GPU called {name} is known", f"did you mean: {near}?" if near else "give its compute capability: 8.6"
        )
    return TargetGpu(vendor=found.vendor, name=found.name, capability=found.capability, target=found.target)


def plan(request: Request, target: Target, facts: Knowledge) -> Plan | Conflict:
    """Choose the best published stack for that target, or say why there is none."""
    from envdoctor.resolver.choice import resolve

    return resolve(request, target, facts)
