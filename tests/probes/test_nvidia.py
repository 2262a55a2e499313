"""NVIDIA machines as they are met."""

from __future__ import annotations

import pytest
from nvidia_machines import CARD, INFORMATION, LIBRARIES, RELEASE, card, driver, kernel_half, probe, user_half

from envdoctor.host import Completed, NvmlAnswer
from envdoctor.model.snapshot import Driver, Gpu, GpuProcess, Mig


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
        modprobe=False,
        nvswitch=False,
        persistenced=False,
        display_server=False,
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
    assert machine.evidence("driver.module_loaded")[0].value == "no"
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


def test_sandbox_that_hides_the_module_but_lets_nvml_answer() -> None:
    answer = NvmlAnswer(status=0, driver=RELEASE, cuda="12.8", count=1, gpus=(CARD,))
    machine = probe(user_half(), devices=("/dev/nvidia0", "/dev/nvidiactl"), nvml=answer)

    assert (driver(machine).module_loaded, driver(machine).version) == (True, RELEASE)
    assert machine.evidence("driver.module_loaded")[0].source == "NVML"
    assert machine.gaps == ()


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
