"""NVIDIA GPUs and their driver on Windows: System32 holds NVML, CUDA's driver library and nvidia-smi.

The driver is one package there, without kernel modules and device files to judge. nvidia-smi is asked, which speaks
through NVML of the same folder and is ended when it hangs.
"""

from __future__ import annotations

from envdoctor.formats import nvidia_smi
from envdoctor.host import Host
from envdoctor.model.snapshot import Driver, Gap, Gpu, Snapshot
from envdoctor.probes.platforms import system32


def read(host: Host) -> Snapshot:
    """Describe the driver and the cards; without nvidia-smi there is no driver."""
    folder = system32(host)
    program = f"{folder}/nvidia-smi.exe"
    if host.kind(program) != "file":
        return Snapshot(origins={"driver": folder, "gpus": folder})
    try:
        told = nvidia_smi.parse(host.run((program,), host.patience).stdout)
    except OSError as problem:
        gap = Gap(probe="nvidia", fact="gpus", kind="timeout", detail=str(problem))
        return Snapshot(gaps=(gap, Gap(probe="nvidia", fact="driver", kind="timeout", detail=str(problem))))
    if told is None:
        detail = "nvidia-smi printed no table"
        gaps = tuple(Gap(probe="nvidia", fact=fact, kind="not-reported", detail=detail) for fact in ("driver", "gpus"))
        return Snapshot(gaps=gaps)
    there = {name: f"{folder}/{name}" for name in ("nvml.dll", "nvcuda.dll") if host.kind(f"{folder}/{name}") == "file"}
    driver = Driver(
        version=told.driver,
        module_loaded=True,
        nvml=told.status,
        nvml_path=there.get("nvml.dll"),
        libcuda_path=there.get("nvcuda.dll"),
        cuda=told.cuda,
    )
    gpus = tuple(
        Gpu(
            vendor="nvidia",
            index=each.index,
            name=each.name,
            bus_id=each.bus_id,
            capability=each.capability,
            memory_bytes=each.memory_bytes,
            used_bytes=each.used_bytes,
        )
        for each in told.gpus
    )
    unknown = ("driver.device_nodes", "driver.uvm", "driver.copies", "gpus.pci_id", "gpus.mig", "gpus.processes")
    detail = "nvidia-smi's table does not say"
    gaps = tuple(Gap(probe="nvidia", fact=fact, kind="not-reported", detail=detail) for fact in unknown)
    return Snapshot(driver=driver, gpus=gpus, gaps=gaps, origins={"driver": program, "gpus": program})
