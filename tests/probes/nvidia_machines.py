"""Parts of NVIDIA machines, file by file, to be put together."""

from __future__ import annotations

from typing import Any

from envdoctor.host import NvmlGpu
from envdoctor.host.recorded import RecordedHost, Recording
from envdoctor.model.snapshot import Driver, Snapshot
from envdoctor.probes import nvidia

KERNEL = "6.8.0-51-generic"
MODULES = f"/lib/modules/{KERNEL}"
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
RELEASE = "570.124.06"
OPEN = f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {RELEASE}  Release Build  (dvs-builder@host)\n"
INFORMATION = "Model: \t\t NVIDIA GeForce RTX 3060\nGPU UUID: \t GPU-{uuid}\nBus Type: \t PCIe\nDevice Minor: \t 0\n"
CARD = NvmlGpu(
    index=0,
    name="NVIDIA GeForce RTX 3060",
    uuid="GPU-1",
    bus_id="0000:01:00.0",
    pci_id="10de:2504",
    capability="8.6",
    minor=0,
    memory_bytes=12 << 30,
    used_bytes=1 << 30,
    free_bytes=10 << 30,
    reserved_bytes=1 << 30,
    display_active=True,
    mig_enabled=False,
    mig_pending=False,
    processes=((4711, None),),
)


def card(driver: str | None, bus_id: str = "0000:01:00.0", device: str = "2504", **state: str) -> dict[str, Any]:
    """Write a card onto the bus."""
    folder = f"/sys/bus/pci/devices/{bus_id}"
    files = {
        f"{folder}/class": "0x030000\n",
        f"{folder}/vendor": "0x10de\n",
        f"{folder}/device": f"0x{device}\n",
        f"{folder}/power_state": state.get("power", "D0") + "\n",
    }
    links = {f"{folder}/driver": f"../../../bus/pci/drivers/{driver}"} if driver else {}
    return {
        "files": files,
        "links": links,
        "binaries": {f"{folder}/config": b"\xff" * 4 if state.get("config") == "ones" else b"\xde\x10\x04\x25"},
    }


def user_half(release: str = RELEASE, folder: str = LIBRARIES) -> dict[str, Any]:
    """Write the driver's libraries."""
    names = ("libnvidia-ml.so", "libcuda.so")
    return {
        "files": {f"{folder}/{name}.{release}": "" for name in names},
        "links": {f"{folder}/{name}.1": f"{name}.{release}" for name in names},
    }


def kernel_half() -> dict[str, Any]:
    """Write a module that is loaded and holds the card."""
    return {
        "files": {
            "/sys/module/nvidia/version": f"{RELEASE}\n",
            "/sys/module/nvidia/taint": "O\n",
            "/proc/driver/nvidia/version": OPEN,
            "/proc/driver/nvidia/gpus/0000:01:00.0/information": INFORMATION.format(uuid="1"),
            f"{MODULES}/modules.dep": "updates/dkms/nvidia.ko.zst: kernel/drivers/acpi/video.ko.zst\n",
            f"{MODULES}/build/Makefile": "",
            f"/var/lib/dkms/nvidia/{RELEASE}/source/dkms.conf": "",
            f"/var/lib/dkms/nvidia/kernel-{KERNEL}-x86_64/module/nvidia.ko.zst": "",
        },
        "devices": ("/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm"),
    }


def probe(*parts: dict[str, Any], **rest: Any) -> Snapshot:
    """Put the parts of a machine together and probe it."""
    merged: dict[str, Any] = {"release": KERNEL, "nvml": None}
    for part in (*parts, rest):
        for name, value in part.items():
            before = merged.get(name)
            merged[name] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
    return nvidia.PROBE.read(RecordedHost(Recording(**merged)), None)


def driver(machine: Snapshot) -> Driver:
    assert machine.driver is not None
    return machine.driver
