"""NVIDIA GPUs and their driver on Windows: System32 holds NVML, CUDA's driver library and nvidia-smi.

The driver is one package there, without kernel modules and device files to judge. NVML is asked, as everywhere; where
it gives no answer nvidia-smi is, which is ended when it hangs.
"""

from __future__ import annotations

from envdoctor.formats import nvidia_smi
from envdoctor.host import Host, NvmlAnswer
from envdoctor.model.snapshot import Driver, Gap, Snapshot
from envdoctor.model.speech import say
from envdoctor.probes.nvidia import described
from envdoctor.probes.platforms import system32

# Windows has no such thing, or nothing here tells it.
_UNKNOWN = ("driver.device_nodes", "driver.uvm", "driver.copies")
_UNTOLD = ("gpus.pci_id", "gpus.mig", "gpus.processes")  # by nvidia-smi's table


def read(host: Host) -> Snapshot:
    """Describe the driver and the cards; without NVML and nvidia-smi there is no driver."""
    folder = system32(host)
    try:
        answer = host.nvml(host.patience)
    except OSError:  # none, none in time, or the process died: nvidia-smi may know more
        answer = None
    if answer is not None and answer.status == 0 and not answer.incomplete:
        return _snapshot(host, answer, _UNKNOWN, say("Windows does not say"), "NVML")
    program = f"{folder}/nvidia-smi.exe"
    if host.kind(program) != "file":
        return Snapshot(origins={"driver": folder, "gpus": folder})
    try:
        told = nvidia_smi.parse(host.run((program,), host.patience).stdout)
    except OSError as problem:
        gap = Gap(probe="nvidia", fact="gpus", kind="timeout", detail=str(problem))
        return Snapshot(gaps=(gap, Gap(probe="nvidia", fact="driver", kind="timeout", detail=str(problem))))
    if told is None:
        detail = say("nvidia-smi printed no table")
        gaps = tuple(Gap(probe="nvidia", fact=fact, kind="not-reported", detail=detail) for fact in ("driver", "gpus"))
        return Snapshot(gaps=gaps)
    return _snapshot(host, told, (*_UNKNOWN, *_UNTOLD), say("nvidia-smi's table does not say"), program)


def _snapshot(host: Host, told: NvmlAnswer, unknown: tuple[str, ...], detail: str, source: str) -> Snapshot:
    folder = system32(host)
    there = {name: f"{folder}/{name}" for name in ("nvml.dll", "nvcuda.dll") if host.kind(f"{folder}/{name}") == "file"}
    driver = Driver(
        version=told.driver,
        module_loaded=True,
        nvml=told.status,
        nvml_path=told.library or there.get("nvml.dll"),
        libcuda_path=there.get("nvcuda.dll"),
        cuda=told.cuda,
    )
    gaps = tuple(Gap(probe="nvidia", fact=fact, kind="not-reported", detail=detail) for fact in unknown)
    gpus = tuple(described(host, each) for each in told.gpus)
    return Snapshot(driver=driver, gpus=gpus, gaps=gaps, origins={"driver": source, "gpus": source})
