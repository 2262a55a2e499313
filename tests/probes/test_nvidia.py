"""NVIDIA machines as they are met, written down file by file."""

from __future__ import annotations

from typing import Any

import pytest

from envdoctor.host import Completed, NvmlAnswer, NvmlGpu
from envdoctor.host.recorded import RecordedHost, Recording
from envdoctor.model.snapshot import Driver, Gpu, GpuProcess, Mig, Snapshot
from envdoctor.probes import nvidia, nvidia_module

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


def test_machine_without_anything_of_nvidia() -> None:
    machine = probe(
        files={
            "/sys/bus/pci/devices/0000:00:02.0/class": "0x030000\n",
            "/sys/bus/pci/devices/0000:00:02.0/vendor": "0x8086\n",
            "/dev/null": "",
        }
    )
    assert (machine.driver, machine.gpus, machine.gaps) == (None, (), ())
    assert "/sys/bus/pci/devices" in machine.evidence("driver")[0].source


def test_other_devices_of_nvidia_are_no_gpu() -> None:
    sound = card("snd_hda_intel", bus_id="0000:01:00.1")
    sound["files"]["/sys/bus/pci/devices/0000:01:00.1/class"] = "0x040300\n"
    assert probe(sound) == probe()


def test_healthy_workstation() -> None:
    machine = probe(
        card("nvidia"),
        kernel_half(),
        user_half(),
        nvml=NvmlAnswer(status=0, driver=RELEASE, cuda="12.8", gpus=(CARD,)),
    )
    assert machine.driver == Driver(
        version=RELEASE,
        module_loaded=True,
        module_on_disk=True,
        module_signed=True,
        module_flavour="open",
        blacklisted=False,
        nouveau_loaded=False,
        dkms=(RELEASE,),
        headers=True,
        device_nodes=("/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl"),
        nvml=0,
        nvml_path=f"{LIBRARIES}/libnvidia-ml.so.{RELEASE}",
        nvml_version=RELEASE,
        cuda="12.8",
        libcuda_path=f"{LIBRARIES}/libcuda.so.{RELEASE}",
        libcuda_version=RELEASE,
    )
    assert machine.gpus == (
        Gpu(
            vendor="nvidia",
            index=0,
            name="NVIDIA GeForce RTX 3060",
            uuid="GPU-1",
            bus_id="0000:01:00.0",
            pci_id="10de:2504",
            bound_driver="nvidia",
            power_state="D0",
            capability="8.6",
            memory_bytes=12 << 30,
            used_bytes=1 << 30,
            free_bytes=10 << 30,
            reserved_bytes=1 << 30,
            minor=0,
            mig=Mig(enabled=False, pending=False),
            display_active=True,
            processes=(GpuProcess(pid=4711),),
        ),
    )
    assert machine.gaps == ()


def test_card_without_any_driver() -> None:
    machine = probe(card(None))

    assert (driver(machine).module_loaded, driver(machine).nvml, driver(machine).nvml_path) == (False, None, None)
    assert driver(machine).device_nodes == ()
    assert [(g.pci_id, g.bound_driver, g.name) for g in machine.gpus] == [("10de:2504", None, None)]
    gap = machine.gap("gpus.capability")
    assert gap
    assert (gap.kind, gap.detail) == ("not-reported", "there is no libnvidia-ml.so.1 to ask")
    # That there is no driver is known, and so is what follows from it.
    assert {g.fact.partition(".")[0] for g in machine.gaps} == {"gpus"}


@pytest.mark.parametrize("module", ["nouveau", "nova_core"])
def test_nouveau_holds_the_card(module: str) -> None:
    machine = probe(card(module), user_half(), files={f"/sys/module/{module}/refcnt": "1"}, nvml=NvmlAnswer(status=9))

    assert driver(machine).nouveau_loaded is True
    assert driver(machine).nvml == 9
    assert machine.gpus[0].bound_driver == module
    assert machine.gap("driver") is None


def test_card_that_is_kept_for_a_virtual_machine() -> None:
    machine = probe(
        card("nvidia"),
        card("vfio-pci", bus_id="0000:41:00.0", device="2684"),
        kernel_half(),
        user_half(),
        nvml=NvmlAnswer(status=0, driver=RELEASE, cuda="12.8", gpus=(CARD,)),
    )
    assert [(g.index, g.pci_id, g.bound_driver) for g in machine.gpus] == [
        (0, "10de:2504", "nvidia"),
        (None, "10de:2684", "vfio-pci"),
    ]
    assert machine.gaps == ()


def test_module_is_there_but_not_loaded() -> None:
    listing = "kernel/drivers/video/fbdev/nvidia/nvidiafb.ko:\nkernel/nvidia-570/nvidia.ko: kernel/x.ko\n"
    module = f"{MODULES}/kernel/nvidia-570/nvidia.ko"
    parts = (card(None), user_half())
    machine = probe(
        *parts,
        files={
            f"{MODULES}/modules.dep": listing,
            "/etc/modprobe.d/prime.conf": "# made by prime-select\nblacklist nvidia\n",
        },
        executables=("/usr/sbin/modinfo",),
        commands={
            f"/usr/sbin/modinfo {module}": Completed(returncode=0, stdout="license: MIT\nvermagic: 6\n", stderr="")
        },
        nvml=NvmlAnswer(status=9),
    )
    found = driver(machine)
    assert (found.module_on_disk, found.module_loaded, found.module_signed) == (True, False, False)
    assert (found.blacklisted, found.headers, found.version) == (True, False, None)

    signed = Completed(returncode=0, stdout="license: MIT\nsig_id: PKCS#7\nsigner: DKMS\n", stderr="")
    machine = probe(
        *parts,
        files={f"{MODULES}/modules.dep": listing},
        executables=("/usr/sbin/modinfo",),
        commands={f"/usr/sbin/modinfo {module}": signed},
        nvml=NvmlAnswer(status=9),
    )
    assert (driver(machine).module_signed, driver(machine).blacklisted) == (True, False)


def test_emptied_file_of_etc_hides_a_blacklist() -> None:
    files = {"/usr/lib/modprobe.d/a.conf": "blacklist nvidia\n"}
    assert driver(probe(card(None), files=files)).blacklisted is True
    assert driver(probe(card(None), files={**files, "/etc/modprobe.d/a.conf": ""})).blacklisted is False
    assert driver(probe(card(None), files={"/proc/cmdline": "ro module_blacklist=nvidia"})).blacklisted is True


def test_unsigned_module_that_is_loaded() -> None:
    parts = (card("nvidia"), kernel_half())
    assert driver(probe(*parts, files={"/sys/module/nvidia/taint": "POE\n"})).module_signed is False


def test_dkms_without_headers() -> None:
    machine = probe(
        card(None),
        user_half(),
        files={f"{MODULES}/modules.dep": "kernel/fs/ext4/ext4.ko:\n", "/var/lib/dkms/nvidia/570.124.06/source/x": ""},
        nvml=NvmlAnswer(status=9),
    )
    found = driver(machine)
    assert (found.dkms, found.headers, found.module_on_disk) == (("570.124.06",), False, False)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("updates/dkms/nvidia-current.ko.xz", True),
        ("updates/dkms/nvidia-tesla-470.ko", True),
        ("extra/nvidia.ko.gz", True),
        ("kernel/drivers/platform/x86/nvidia-wmi-ec-backlight.ko", False),
        ("kernel/drivers/gpu/nvidia-drm.ko", False),
        ("kernel/drivers/i2c/i2c-nvidia-gpu.ko", False),
    ],
)
def test_names_of_the_module(name: str, found: bool) -> None:
    listing = f"kernel/a.ko:\n{name}: kernel/b.ko updates/nvidia.ko\n".encode()
    assert nvidia_module.listed(listing) == (name if found else "")


def test_wsl2() -> None:
    folder = "/usr/lib/wsl/lib"
    machine = probe(
        release="5.15.167.4-microsoft-standard-WSL2",
        files={f"{folder}/libnvidia-ml.so.1": "", f"{folder}/libcuda.so.1.1": ""},
        links={f"{folder}/libcuda.so.1": "libcuda.so.1.1"},
        devices=("/dev/dxg",),
        folders=("/sys/bus/pci/devices",),
        nvml=NvmlAnswer(status=0, driver="581.29", cuda="13.0", gpus=(CARD,)),
    )
    found = driver(machine)
    assert (found.version, found.cuda, found.module_loaded, found.device_nodes) == ("581.29", "13.0", False, ())
    assert (found.libcuda_path, found.libcuda_version) == (f"{folder}/libcuda.so.1.1", None)
    assert [(g.name, g.bus_id, g.bound_driver) for g in machine.gpus] == [
        ("NVIDIA GeForce RTX 3060", "0000:01:00.0", None)
    ]
    assert machine.evidence("driver.version")[0].source == "NVML"
    assert machine.gaps == ()


def test_wsl2_whose_nvml_hangs_knows_of_no_gpu() -> None:
    machine = probe(
        release="5.15.167.4-microsoft-standard-WSL2",
        files={"/usr/lib/wsl/lib/libnvidia-ml.so.1": ""},
        devices=("/dev/dxg",),
        nvml_error="timeout",
    )
    assert machine.gpus == ()
    assert {(g.fact, g.kind) for g in machine.gaps} >= {("gpus", "timeout"), ("driver.nvml", "timeout")}


def test_container_without_devices() -> None:
    """The host's module and bus are seen through /sys, its libraries and device files are not."""
    machine = probe(card("nvidia"), files={"/sys/module/nvidia/version": f"{RELEASE}\n", "/.dockerenv": ""})

    found = driver(machine)
    assert (found.version, found.module_loaded, found.device_nodes) == (RELEASE, True, ())
    assert (found.nvml, found.libcuda_path, found.module_on_disk, found.headers) == (None, None, None, None)
    assert [g.bound_driver for g in machine.gpus] == ["nvidia"]
    assert machine.gap("driver") is None


def test_toolkit_image_without_a_gpu_has_no_driver() -> None:
    """CUDA images bring a libcuda of their own, for newer CUDA on an older driver."""
    machine = probe(
        environ={"LD_LIBRARY_PATH": "/usr/local/cuda/compat"}, files={"/usr/local/cuda/compat/libcuda.so.1": ""}
    )
    assert (machine.driver, machine.gpus) == (None, ())


def test_sleeping_laptop_card_is_well() -> None:
    asleep = card("nvidia", power="D3cold", config="ones")
    information = {"/proc/driver/nvidia/gpus/0000:01:00.0/information": INFORMATION.format(uuid="????????")}
    machine = probe(asleep, kernel_half(), files=information)

    (gpu,) = machine.gpus
    assert (gpu.power_state, gpu.lost) == ("D3cold", False)
    assert (gpu.name, gpu.uuid, gpu.minor) == ("NVIDIA GeForce RTX 3060", None, 0)


def test_card_that_fell_off_the_bus() -> None:
    parts = (card("nvidia", config="ones"), kernel_half(), user_half())
    assert probe(*parts, nvml=NvmlAnswer(status=15)).gpus[0].lost is True


def test_libraries_and_module_of_different_releases() -> None:
    machine = probe(card("nvidia"), kernel_half(), user_half("575.57.08"), nvml=NvmlAnswer(status=18))

    found = driver(machine)
    assert (found.version, found.nvml_version, found.libcuda_version, found.nvml) == (
        RELEASE,
        "575.57.08",
        "575.57.08",
        18,
    )


def test_first_library_on_the_path_wins() -> None:
    machine = probe(
        card("nvidia"),
        kernel_half(),
        user_half(),
        user_half("550.54.15", "/opt/compat"),
        environ={"LD_LIBRARY_PATH": "/opt/compat"},
        nvml=NvmlAnswer(status=18),
    )
    assert driver(machine).libcuda_path == "/opt/compat/libcuda.so.550.54.15"


def test_crash_of_the_library_is_a_gap() -> None:
    told = "libnvidia-ml ended the process with SIGSEGV"
    machine = probe(card("nvidia"), kernel_half(), user_half(), nvml_error=told)

    assert driver(machine).nvml is None
    gap = machine.gap("driver.nvml")
    assert gap
    assert (gap.kind, gap.detail) == ("crashed", told)
    assert [g.name for g in machine.gpus] == ["NVIDIA GeForce RTX 3060"]  # the module told
    assert machine.gap("gpus.name") is None


def test_unreadable_folder_costs_its_fact_only() -> None:
    machine = probe(
        card("nvidia"),
        kernel_half(),
        user_half(),
        errors={"/etc/modprobe.d": "denied"},
        nvml=NvmlAnswer(status=0, driver=RELEASE, cuda="12.8", gpus=(CARD,)),
    )
    assert [(g.fact, g.kind) for g in machine.gaps] == [("driver.blacklisted", "denied")]
    assert driver(machine).version == RELEASE


def test_nvidia_smi_answers_where_there_is_no_library() -> None:
    table = """\
| NVIDIA-SMI 610.43.02              KMD Version: 610.43.02     CUDA UMD Version: 13.3     |
|   0  NVIDIA GeForce RTX 3060        Off |   00000000:01:00.0 Off |                  N/A |
| N/A   26C    P0            139W / 1000W |     300MiB /  12288MiB |      0%      Default |
"""
    smi = Completed(returncode=0, stdout=table, stderr="")
    machine = probe(
        card("nvidia"),
        devices=("/dev/nvidia0",),
        environ={"PATH": "/run/current-system/sw/bin"},
        executables=("/run/current-system/sw/bin/nvidia-smi",),
        commands={"/run/current-system/sw/bin/nvidia-smi": smi},
    )
    found = driver(machine)
    assert (found.version, found.cuda, found.nvml) == ("610.43.02", "13.3", None)
    assert [(g.name, g.memory_bytes, g.pci_id) for g in machine.gpus] == [
        ("NVIDIA GeForce RTX 3060", 12288 << 20, "10de:2504")
    ]
    assert machine.gap("gpus.capability")
    assert machine.gap("gpus.memory_bytes") is None
    assert machine.evidence("driver.cuda")[0].source == "nvidia-smi"
