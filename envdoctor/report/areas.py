"""One line per area of the machine: what is there, what is not, and what could not be seen."""

from __future__ import annotations

from typing import Literal, NamedTuple

from envdoctor.model.snapshot import Disk, Gpu, PythonEnv, Snapshot
from envdoctor.report.quantities import size


class Area(NamedTuple):
    """A line of the overview."""

    name: str
    state: Literal["good", "absent", "unknown"]
    text: str


def areas(machine: Snapshot) -> list[Area]:
    """Sum up a machine, a line an area."""
    return [
        _area("System", machine, "system", _system(machine)),
        _area("CPU", machine, "cpu", _cpu(machine)),
        _area("Memory", machine, "memory", _memory(machine)),
        *[_area("Disk", machine, "disks", _disk(disk)) for disk in machine.disks],
        *([_area("GPU", machine, "gpus", _gpu(gpu)) for gpu in machine.gpus] or [_area("GPU", machine, "gpus", "")]),
        _area("Driver", machine, "driver", _driver(machine)),
        _area("Toolkit", machine, "toolkits", _toolkits(machine)),
        _area("cuDNN", machine, "libraries", _cudnn(machine)),
        _area("Python", machine, "pythons", _python(machine.python)),
        _area("Frameworks", machine, "pythons", _frameworks(machine.python)),
    ]


def _area(name: str, machine: Snapshot, fact: str, text: str) -> Area:
    if text:
        return Area(name, "good", text)
    gap = machine.gap(fact)
    return Area(name, "unknown", f"unknown: {gap.detail}") if gap else Area(name, "absent", "none found")


def _system(machine: Snapshot) -> str:
    system = machine.system
    if system is None:
        return ""
    parts = [system.name or system.distribution or system.os]
    parts += [f"kernel {system.kernel}"] if system.kernel else []
    parts += [system.machine] if system.machine else []
    parts += [f"{system.libc} {system.libc_version or ''}".rstrip()] if system.libc else []
    parts += [f"WSL {system.wsl.version}"] if system.wsl else []
    parts += [f"in a container ({system.container.kind})"] if system.container else []
    return ", ".join(parts)


def _cpu(machine: Snapshot) -> str:
    cpu = machine.cpu
    if cpu is None:
        return ""
    parts = [cpu.model or "unknown model"]
    if cpu.usable is not None:
        cores = f"{cpu.usable:g} cores"
        parts.append(cores if cpu.logical in (None, cpu.usable) else f"{cores} granted of {cpu.logical}")
    notable = [f.upper().replace("_", "-") for f in ("avx2", "avx512f", "amx_tile") if f in (cpu.features or ())]
    return ", ".join(parts + notable)


def _memory(machine: Snapshot) -> str:
    memory = machine.memory
    if memory is None:
        return ""
    parts = [size(memory.total_bytes)]
    parts += [f"{size(memory.available_bytes)} available"] if memory.available_bytes is not None else []
    parts += [f"limited to {size(memory.limit_bytes)}"] if memory.limit_bytes is not None else []
    parts += [f"swap {size(memory.swap_bytes)}" if memory.swap_bytes else "no swap"]
    parts += [f"shared memory {size(memory.shm_bytes)}"] if memory.shm_bytes is not None else []
    return ", ".join(parts)


def _disk(disk: Disk) -> str:
    kind = {"hdd": ", hard disk", "sata-ssd": ", SATA SSD", "nvme": ", NVMe", "network": ", network file system"}
    return (
        f"{size(disk.free_bytes)} free of {size(disk.total_bytes)} at {disk.path}"
        f" ({', '.join(disk.purposes)}){kind.get(disk.kind or '', '')}"
    )


def _gpu(gpu: Gpu) -> str:
    parts = [gpu.name or f"{gpu.vendor} GPU {gpu.pci_id or ''}".strip()]
    parts += [f"compute capability {gpu.capability}"] if gpu.capability else []
    parts += [gpu.target] if gpu.target else []
    if gpu.memory_bytes is not None:
        free = f"{size(gpu.free_bytes)} free of " if gpu.free_bytes is not None else ""
        parts.append(free + size(gpu.memory_bytes))
    parts += ["does not answer"] if gpu.lost else []
    parts += [f"held by {gpu.bound_driver}"] if gpu.bound_driver and gpu.bound_driver != "nvidia" else []
    return ", ".join(parts)


def _driver(machine: Snapshot) -> str:
    driver = machine.driver
    if driver is None or (driver.version is None and not driver.module_loaded):
        return ""
    where = " (of Windows)" if machine.wsl else ""
    runs = f", runs CUDA up to {driver.cuda}" if driver.cuda else ""
    return f"NVIDIA {driver.version or 'of unknown version'}{where}{runs}"


def _toolkits(machine: Snapshot) -> str:
    return "; ".join(
        f"CUDA {kit.version or 'of unknown version'} at {kit.path}{'' if kit.nvcc else ' (no compiler)'}"
        for kit in machine.toolkits
    )


def _cudnn(machine: Snapshot) -> str:
    return "; ".join(
        f"{library.version or 'unknown version'} ({library.package or library.owner})"
        for library in machine.libraries
        if library.name == "cudnn"
    )


def _python(python: PythonEnv | None) -> str:
    if python is None:
        return ""
    return f"{python.version or 'unknown version'} at {python.executable} ({python.manager}, from {python.selected_by})"


def _frameworks(python: PythonEnv | None) -> str:
    if python is None:
        return ""
    texts = []
    for framework in python.frameworks:
        build = next(
            (
                f"{word} {version}"
                for word, version in (("CUDA", framework.cuda), ("ROCm", framework.hip), ("XPU", framework.xpu))
                if version
            ),
            "CPU build" if framework.gpu_build is False else "",
        )
        cudnn = f", cuDNN {framework.cudnn}" if framework.cudnn else ""
        texts.append(f"{framework.name} {framework.version}{f' ({build}{cudnn})' if build else ''}")
    return "; ".join(texts)
