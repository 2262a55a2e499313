"""The kernel half of the driver, its libraries and its device files."""

from __future__ import annotations

from typing import Any

import pytest
from judged import commands, diagnose, only, raised, shown, values
from machines import (
    KERNEL,
    changed,
    container,
    cpu_only,
    driver,
    gpu,
    on_bus_only,
    system,
    unknown,
    windows,
    without_module,
    workstation,
    wsl2,
)

from envdoctor.model.snapshot import Driver, Gpu, Snapshot, Variable

BOOT_RULES = ("DRV001", "DRV002", "DRV003", "DRV004", "DRV005")


def bound_to(machine: Snapshot, name: str | None) -> Snapshot:
    return changed(machine, gpus=tuple(changed(card, bound_driver=name) for card in machine.gpus))


def bare(**changes: Any) -> Snapshot:
    """A card on a machine on which no driver was ever installed."""
    nothing = Driver(device_nodes=(), module_on_disk=False, nouveau_loaded=False, dkms=(), headers=True, **changes)
    return changed(without_module(workstation()), driver=nothing)


def test_no_driver_is_installed() -> None:
    finding = only("DRV001", bare())
    assert finding.rule == "driver-missing"
    assert finding.severity == "error"
    assert finding.title == "The NVIDIA card at 0000:01:00.0 (10de:2504) has no NVIDIA driver"
    assert "nor one on disk" in finding.detail
    assert values(finding) == {
        "driver.module_loaded": "no",
        "driver.module_on_disk": "no",
        "gpus[0].bound_driver": "none",
    }
    assert commands(finding) == ["sudo ubuntu-drivers install", "sudo reboot"]
    assert finding.fixes[0].effect == "needs-reboot"
    assert shown(bare()) == ["DRV001"]


def test_a_machine_without_any_trace_of_a_driver() -> None:
    machine = changed(bare(), driver=None)
    assert values(only("DRV001", machine))["driver"] == "none"
    assert shown(machine) == ["DRV001"]


def test_nouveau_without_an_nvidia_driver_is_a_missing_driver() -> None:
    machine = bound_to(bare(nvml=None), "nouveau")
    assert "nouveau drives it for the display" in only("DRV001", machine).detail
    assert shown(machine) == ["DRV001"]


@pytest.mark.parametrize(
    ("distribution", "command"),
    [
        ("debian", "sudo apt install linux-headers-amd64 nvidia-driver"),
        ("fedora", "sudo dnf install akmod-nvidia xorg-x11-drv-nvidia-cuda"),
        ("rocky", "sudo dnf install nvidia-open"),
        ("manjaro", "sudo pacman -S nvidia-open"),
    ],
)
def test_each_distribution_has_its_command(distribution: str, command: str) -> None:
    assert commands(only("DRV001", system(bare(), distribution=distribution))) == [command, "sudo reboot"]


def test_an_unknown_distribution_gets_a_page() -> None:
    finding = only("DRV001", system(bare(), distribution="slackware"))
    assert commands(finding) == []
    assert finding.fixes[0].page == "https://www.nvidia.com/en-us/drivers/"


@pytest.mark.parametrize(
    "machine",
    [
        bound_to(bare(), "vfio-pci"),
        wsl2(),
        container(driver=Driver(device_nodes=()), gpus=(on_bus_only(gpu()),)),
        system(bare(), jetson="NVIDIA Jetson AGX Orin"),
        changed(bare(), gpus=(Gpu(vendor="nvidia", integrated=True),)),
        cpu_only(),
        windows(),
        workstation(),
    ],
)
def test_no_driver_is_missed(machine: Snapshot) -> None:
    for code in BOOT_RULES:
        assert raised(code, machine) == ()


def test_one_of_two_cards_is_lent_to_a_virtual_machine() -> None:
    lent = changed(on_bus_only(gpu(index=1)), bound_driver="vfio-pci")
    machine = changed(bare(), gpus=(*bare().gpus, lent))
    assert list(values(only("DRV001", machine))) == [
        "driver.module_loaded",
        "driver.module_on_disk",
        "gpus[0].bound_driver",
    ]


def test_module_is_not_loaded() -> None:
    machine = without_module(workstation())
    finding = only("DRV002", machine)
    assert finding.rule == "driver-missing"
    assert (finding.severity, finding.certainty) == ("error", "certain")
    assert "0000:01:00.0" in finding.detail
    assert values(finding)["driver.module_on_disk"] == "yes"
    assert commands(finding)[0] == "sudo modprobe nvidia"
    assert shown(machine) == ["DRV002"]


def test_a_blacklist_keeps_the_module_out() -> None:
    finding = only("DRV002", without_module(workstation(), blacklisted=True))
    assert finding.severity == "error"
    assert "forbids to load it" in finding.detail
    assert "blacklist" in finding.fixes[0].summary


def test_a_laptop_on_its_integrated_graphics_gets_a_note() -> None:
    machine = without_module(workstation(), blacklisted=True)
    machine = changed(machine, gpus=(*machine.gpus, Gpu(vendor="intel", integrated=True)))
    finding = only("DRV002", machine)
    assert (finding.severity, finding.certainty) == ("note", "hint")
    assert commands(finding) == ["sudo prime-select nvidia"]


def test_module_was_not_built_for_lack_of_headers() -> None:
    machine = without_module(workstation(), module_on_disk=False, headers=False)
    finding = only("DRV003", machine)
    assert finding.rule == "driver-module-missing-for-kernel"
    assert finding.severity == "error"
    assert KERNEL in finding.title
    assert "570.124.06" in finding.detail
    assert "headers are missing" in finding.detail
    assert values(finding)["driver.headers"] == "no"
    assert commands(finding)[:3] == [
        f"sudo apt install linux-headers-{KERNEL}",
        "sudo dkms autoinstall",
        "sudo modprobe nvidia",
    ]
    assert shown(machine) == ["DRV003"]


def test_module_was_not_built_although_headers_are_there() -> None:
    finding = only("DRV003", without_module(workstation(), module_on_disk=False))
    assert "make.log" in finding.detail
    assert commands(finding)[0] == "sudo dkms autoinstall"


def test_headers_on_fedora_and_with_a_kernel_name_that_is_none() -> None:
    machine = system(without_module(workstation(), module_on_disk=False, headers=False), distribution="fedora")
    assert commands(only("DRV003", machine))[0] == f"sudo dnf install kernel-devel-{KERNEL}"
    hostile = system(machine, kernel="6.8; rm -rf /")
    assert commands(only("DRV003", hostile))[0] == "sudo dkms autoinstall"


def test_a_module_that_needs_no_dkms_is_not_missed() -> None:
    assert raised("DRV003", without_module(workstation(), dkms=())) == ()
    assert raised("DRV003", without_module(workstation(), dkms=(), module_on_disk=False)) == ()


@pytest.mark.parametrize(
    ("signed", "severity", "certainty", "everything"),
    [
        (False, "error", "certain", ["DRV004"]),
        # A signed module may be refused for its key; that it is not loaded is all that is certain.
        (True, "warning", "likely", ["DRV002", "DRV004"]),
        (None, "warning", "likely", ["DRV002", "DRV004"]),
    ],
)
def test_secure_boot(signed: bool | None, severity: str, certainty: str, everything: list[str]) -> None:
    machine = system(without_module(workstation(), module_signed=signed), secure_boot=True)
    finding = only("DRV004", machine)
    assert finding.rule == "secure-boot-blocks-driver"
    assert (finding.severity, finding.certainty) == (severity, certainty)
    assert ("not signed" in finding.title) is (signed is False)
    assert values(finding)["system.secure_boot"] == "yes"
    assert commands(finding) == ["sudo mokutil --import /var/lib/shim-signed/mok/MOK.der", "sudo reboot"]
    assert shown(machine) == everything


def test_the_key_of_fedora_must_be_made_first() -> None:
    machine = system(without_module(workstation()), secure_boot=True, distribution="fedora")
    assert commands(only("DRV004", machine))[0] == "sudo kmodgenca -a"


@pytest.mark.parametrize(
    "machine",
    [
        system(without_module(workstation()), secure_boot=None),  # could not be read: unknown, not off
        system(without_module(workstation()), secure_boot=False),
        system(workstation(), secure_boot=True),  # a loaded module proves that its key is fine
        system(without_module(workstation(), blacklisted=True), secure_boot=True),  # the blacklist says why
    ],
)
def test_secure_boot_is_not_to_blame(machine: Snapshot) -> None:
    assert raised("DRV004", machine) == ()


@pytest.mark.parametrize("free", ["nouveau", "nova_core"])
def test_nouveau_holds_the_card(free: str) -> None:
    machine = bound_to(without_module(workstation()), free)
    finding = only("DRV005", machine)
    assert finding.rule == "nouveau-bound"
    assert finding.severity == "error"
    assert f"held by {free}" in finding.title
    assert values(finding)["gpus[0].bound_driver"] == free
    assert "blacklist nouveau" in finding.fixes[0].summary
    assert commands(finding) == ["sudo update-initramfs -u", "sudo reboot"]
    assert shown(machine) == ["DRV005"]


def test_nouveau_holds_a_second_card() -> None:
    display = changed(on_bus_only(gpu(index=1)), bound_driver="nouveau")
    machine = workstation(gpus=(gpu(), display))
    finding = only("DRV005", machine)
    assert finding.severity == "note"
    assert "0000:02:00.0" in finding.title
    assert next(iter(values(finding))) == "gpus[1].bound_driver"
    assert diagnose(machine).count("error") == 0


def test_dracut_on_fedora() -> None:
    machine = system(bound_to(without_module(workstation()), "nouveau"), distribution="fedora")
    assert commands(only("DRV005", machine)) == ["sudo dracut --force", "sudo reboot"]


def mismatch(**changes: Any) -> Snapshot:
    libraries = "/usr/lib/x86_64-linux-gnu"
    halves = driver(
        nvml=18,
        cuda=None,
        nvml_version="575.57.08",
        nvml_path=f"{libraries}/libnvidia-ml.so.575.57.08",
        libcuda_version="575.57.08",
        libcuda_path=f"{libraries}/libcuda.so.575.57.08",
    )
    return workstation(driver=changed(halves, **changes), gpus=(on_bus_only(gpu()),))


def test_halves_of_the_driver_differ() -> None:
    finding = only("DRV006", mismatch())
    assert finding.rule == "driver-library-mismatch"
    assert finding.severity == "error"
    assert finding.title == "The loaded nvidia module is 570.124.06, the driver's libraries are 575.57.08"
    assert values(finding)["driver.nvml"] == "18"
    assert values(finding)["driver.nvml_version"] == "575.57.08"
    assert commands(finding)[0] == "sudo reboot"
    assert shown(mismatch()) == ["DRV006"]


def test_nvml_alone_tells_of_the_mismatch() -> None:
    machine = mismatch(version=None, nvml_version=None, libcuda_version=None)
    finding = only("DRV006", machine)
    assert "different releases" in finding.title
    assert values(finding) == {"driver.nvml": "18"}


def test_the_files_alone_tell_of_the_mismatch() -> None:
    assert "575.57.08" in only("DRV006", mismatch(nvml=None)).title
    only_libcuda = mismatch(nvml=0, nvml_version="570.124.06")
    finding = only("DRV006", only_libcuda)
    assert "libcuda.so.575.57.08" in finding.detail


def test_a_container_keeps_the_libraries_of_its_start() -> None:
    machine = changed(container(), driver=mismatch().driver)
    finding = only("DRV006", machine)
    assert commands(finding) == ["docker restart CONTAINER"]
    assert finding.fixes[0].where == "host"


def test_a_library_from_the_variable_is_named() -> None:
    variables = (Variable(name="LD_LIBRARY_PATH", value="/opt/old:/opt/mine"),)
    machine = changed(mismatch(nvml_path="/opt/old/libnvidia-ml.so.575.57.08"), variables=variables)
    assert commands(only("DRV006", machine)) == ["export LD_LIBRARY_PATH=/opt/mine"]


@pytest.mark.parametrize(
    "machine",
    [
        workstation(),
        wsl2(),  # libnvidia-ml.so.1 bears no number there
        mismatch(nvml=0, libcuda_version="570.124.06"),  # NVML answers: the file that was found is not the one in use
        mismatch(nvml=None, nvml_version=None, libcuda_version=None),
        workstation(driver=driver(libcuda_path="/usr/local/cuda/compat/libcuda.so.575.57.08")),
        workstation(driver=Driver()),
    ],
)
def test_halves_are_the_same(machine: Snapshot) -> None:
    assert raised("DRV006", machine) == ()


def compat(name: str = "NVIDIA GeForce RTX 3090", capability: str = "8.6", **changes: Any) -> Snapshot:
    old = driver(
        "470.141.03",
        "11.7",
        libcuda_path="/usr/local/cuda-11.7/compat/libcuda.so.515.65.01",
        libcuda_version="515.65.01",
    )
    return workstation(driver=changed(old, **changes), gpus=(gpu(name, capability),), pythons=())


def test_compat_library_on_a_consumer_card() -> None:
    finding = only("DRV009", compat())
    assert finding.rule == "cuda-compat-misused"
    assert finding.severity == "error"
    assert "515.65.01" in finding.title
    assert "NVIDIA GeForce RTX 3090" in finding.title
    assert "470.141.03" in finding.title
    assert "804" in finding.detail
    assert values(finding)["driver.libcuda_path"] == "/usr/local/cuda-11.7/compat/libcuda.so.515.65.01"
    assert "sudo ldconfig" in commands(finding)
    assert shown(compat()) == ["DRV009"]


def test_compat_library_that_dropped_the_card() -> None:
    finding = only("DRV009", compat("Tesla K80", "3.7"))
    assert finding.severity == "error"
    assert "no longer knows this card" in finding.detail


def test_compat_library_shown_by_the_cuda_version_alone() -> None:
    machine = compat("Tesla K80", "3.7", version="470.182.03", cuda="11.8", libcuda_path=None, libcuda_version=None)
    finding = only("DRV009", machine)
    assert (finding.severity, finding.certainty) == ("warning", "likely")
    assert values(finding)["driver.cuda"] == "11.8"


def test_compat_library_in_a_container() -> None:
    variables = (Variable(name="LD_LIBRARY_PATH", value="/usr/local/cuda/compat:/usr/local/cuda/lib64"),)
    machine = changed(container(variables=variables, pythons=()), driver=compat().driver, gpus=compat().gpus)
    finding = only("DRV009", machine)
    assert "export LD_LIBRARY_PATH=/usr/local/cuda/lib64" in commands(finding)
    assert any("CUDA is 11.4 or older" in fix.summary for fix in finding.fixes)


def test_stray_libcuda() -> None:
    variables = (Variable(name="LD_LIBRARY_PATH", value="/opt/image/lib"),)
    stray = driver(libcuda_path="/opt/image/lib/libcuda.so.535.54.03", libcuda_version="535.54.03")
    machine = workstation(driver=stray, variables=variables)
    finding = only("DRV009", machine)
    assert finding.rule == "cuda-compat-misused"
    assert "535.54.03" in finding.title
    assert commands(finding)[0] == "unset LD_LIBRARY_PATH"
    assert shown(machine) == ["DRV009"]


def test_workstation_cards_get_a_note() -> None:
    assert only("DRV009", compat("NVIDIA RTX A4000")).severity == "note"


@pytest.mark.parametrize(
    "machine",
    [
        compat("NVIDIA A100-SXM4-80GB", "8.0"),
        compat(libcuda_path="/usr/local/cuda/compat/libcuda.so.460.32.03", libcuda_version="460.32.03"),
        compat(libcuda_path="/usr/lib/x86_64-linux-gnu/libcuda.so.470.141.03", libcuda_version="470.141.03"),
        compat(libcuda_path=None, libcuda_version=None, cuda="11.4"),
        compat(libcuda_path=None, libcuda_version=None, version="900.10", cuda="15.0"),  # newer than every known branch
        wsl2(),
        workstation(),
    ],
)
def test_compat_is_fine(machine: Snapshot) -> None:
    assert raised("DRV009", machine) == ()


def test_a_distribution_folder_in_the_variable_is_no_stray_copy() -> None:
    folder = "/usr/lib/x86_64-linux-gnu"
    machine = changed(mismatch(nvml=None), variables=(Variable(name="LD_LIBRARY_PATH", value=folder),))
    assert raised("DRV009", changed(machine, gpus=(gpu(),))) == ()
    assert only("DRV006", machine).rule == "driver-library-mismatch"


def test_device_files_are_missing() -> None:
    machine = workstation(driver=driver(device_nodes=(), nvml=999, cuda=None), gpus=(on_bus_only(gpu()),))
    finding = only("DRV012", machine)
    assert finding.rule == "driver-nodes-missing"
    assert finding.severity == "error"
    assert "570.124.06" in finding.title
    assert "/dev/nvidiactl is missing" in finding.title
    assert values(finding)["driver.device_nodes"] == "none"
    assert commands(finding)[0] == "sudo nvidia-modprobe -c 0 -u"
    assert "sudo systemctl enable --now nvidia-persistenced" in commands(finding)


def test_the_file_of_one_card_is_missing() -> None:
    nodes = ("/dev/nvidia0", "/dev/nvidiactl")
    finding = only(
        "DRV012",
        workstation(driver=driver(device_nodes=nodes), gpus=(gpu(), changed(on_bus_only(gpu(index=1)), minor=1))),
    )
    assert "but /dev/nvidia1 is missing" in finding.title


@pytest.mark.parametrize(
    "machine",
    [
        workstation(),
        workstation(driver=driver(device_nodes=("/dev/nvidia0",))),  # NVML answered, so nvidiactl was made meanwhile
        workstation(driver=driver(device_nodes=None, nvml=9)),
        container(driver=driver(device_nodes=(), nvml=None)),  # CTR001
        system(workstation(driver=driver(device_nodes=(), nvml=9)), jetson="Orin"),
        wsl2(),
        cpu_only(),
    ],
)
def test_device_files_are_there(machine: Snapshot) -> None:
    assert raised("DRV012", machine) == ()


def without_libraries(**changes: Any) -> Driver:
    gone = driver(nvml=None, nvml_path=None, nvml_version=None, cuda=None, libcuda_path=None, libcuda_version=None)
    return changed(gone, **changes)


def test_user_libraries_are_missing() -> None:
    machine = workstation(driver=without_libraries(), gpus=(on_bus_only(gpu()),))
    finding = only("DRV018", machine)
    assert finding.rule == "libcuda-missing"
    assert finding.severity == "error"
    assert "570.124.06" in finding.title
    assert "libcuda.so.1 and libnvidia-ml.so.1" in finding.title
    assert values(finding)["driver.libcuda_path"] == "none"
    assert commands(finding) == ["sudo apt install libnvidia-compute-570 nvidia-utils-570"]
    assert "DRV018" in shown(machine)


def test_only_monitoring_is_missing() -> None:
    machine = workstation(driver=driver(nvml=None, nvml_path=None, nvml_version=None))
    finding = only("DRV018", machine)
    assert finding.severity == "warning"
    assert "libcuda" not in finding.title
    twelve = workstation(driver=driver(nvml=12, nvml_path=None, nvml_version=None))
    assert only("DRV018", twelve).severity == "warning"


def test_libraries_of_debian() -> None:
    machine = system(workstation(driver=without_libraries()), distribution="debian")
    assert commands(only("DRV018", machine)) == ["sudo apt install libcuda1 libnvidia-ml1 nvidia-smi"]


@pytest.mark.parametrize(
    "machine",
    [
        workstation(),
        container(driver=without_libraries()),
        system(workstation(driver=without_libraries()), distribution="nixos"),
        wsl2(),
        workstation(driver=without_libraries(module_loaded=False)),
    ],
)
def test_user_libraries_are_there(machine: Snapshot) -> None:
    assert raised("DRV018", machine) == ()


def test_a_lost_card_beside_a_healthy_one() -> None:
    lost = gpu("NVIDIA A100-SXM4-80GB", None, index=1, lost=True, nvml_error=15)
    machine = workstation(gpus=(gpu(), lost))
    finding = only("DRV020", machine)
    assert finding.rule == "gpu-fell-off-bus"
    assert finding.severity == "error"
    assert finding.title == "NVIDIA A100-SXM4-80GB (GPU 1) no longer answers on the PCI bus"
    assert values(finding) == {"gpus[1].nvml_error": "15"}
    assert commands(finding) == ["sudo nvidia-smi --gpu-reset -i 1"]
    assert "power" in finding.fixes[0].summary
    assert "DRV020" in shown(machine)


def test_a_card_that_the_bus_calls_lost() -> None:
    finding = only("DRV020", workstation(gpus=(gpu(lost=True),)))
    assert values(finding) == {"gpus[0].lost": "yes"}
    assert commands(finding) == []  # consumer cards do not take the reset


def test_nvml_itself_answers_lost() -> None:
    assert values(only("DRV020", workstation(driver=driver(nvml=15)))) == {"driver.nvml": "15"}


@pytest.mark.parametrize("card", [gpu(), gpu(lost=True, power_state="D3cold"), Gpu(vendor="amd", lost=True)])
def test_a_card_is_not_lost(card: Gpu) -> None:
    assert raised("DRV020", workstation(gpus=(card,))) == ()


def test_unknown_facts_are_not_judged() -> None:
    diagnosis = diagnose(unknown(without_module(workstation()), "gpus.bound_driver", "driver.libcuda_path"))
    assert {*BOOT_RULES, "DRV018"} <= {each.id for each in diagnosis.not_checked}
    assert not {*BOOT_RULES, "DRV018"} & {each.id for each in diagnosis.findings}
