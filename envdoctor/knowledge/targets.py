"""A machine, reduced to what decides which stacks run on it."""

from __future__ import annotations

from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.names import gpu_named
from envdoctor.model.snapshot import Gpu, Snapshot
from envdoctor.model.stack import Target, TargetGpu, TargetOs
from envdoctor.model.version import minor, readable

_ARCHITECTURES = {"arm64": "aarch64", "AMD64": "x86_64"}


def target_of(machine: Snapshot, facts: Knowledge) -> Target:
    """Reduce a machine to what decides which stacks run on it; what is unknown constrains nothing.

    GPUs that no driver serves today stay in the list, so that a stack fits once one does.
    """
    system, python = machine.system, machine.python
    arch = (system.machine if system else None) or "x86_64"
    return Target(
        os=_os(machine),
        arch=_ARCHITECTURES.get(arch, arch),
        libc=system.libc if system else None,
        glibc=readable(system.libc_version) if system and system.libc == "glibc" else None,
        driver=readable(machine.driver.version) if machine.driver else None,
        gpus=tuple(_gpu(gpu, facts) for gpu in machine.gpus if usable(gpu)),
        python=minor(python.version) if python and python.version and readable(python.version) else None,
        avx="avx" in machine.cpu.features if machine.cpu and machine.cpu.features is not None else None,
    )


def usable(gpu: Gpu) -> bool:
    """Tell whether programs here could compute on a GPU.

    One that was handed to a virtual machine is nobody's here, and the graphics inside a processor are for the screen;
    Apple's, which are for computing too, are not called integrated.
    """
    return gpu.vendor != "other" and gpu.bound_driver != "vfio-pci" and not (gpu.vendor == "intel" and gpu.integrated)


def capability_of(gpu: Gpu, facts: Knowledge) -> str | None:
    """Give a card's compute capability, "8.6": as NVML says, else by its name; None: not known."""
    own = gpu.capability
    if own is None and gpu.name:
        row = gpu_named(facts, gpu.name)
        own = row.capability if row else None
    # A report can hold anything, and what is not two numbers cannot be compared.
    first, _, second = (own or "").partition(".")
    return own if (first + second).isascii() and first.isdigit() and second.isdigit() else None


def _os(machine: Snapshot) -> TargetOs:
    system = machine.system
    if system is None or system.os == "other":
        return "linux"
    return "wsl2" if system.wsl and system.wsl.version == 2 else system.os


def _gpu(gpu: Gpu, facts: Knowledge) -> TargetGpu:
    target = gpu.target
    if target is None and gpu.vendor == "amd" and gpu.name:
        row = gpu_named(facts, gpu.name)
        target = row.target if row else None
    return TargetGpu(vendor=gpu.vendor, name=gpu.name, capability=capability_of(gpu, facts), target=target)
