from __future__ import annotations

from typing import Any

from expecting import fires, silent, variables
from judged import shown
from machines import changed, container, cpu_only, driver, gpu, on_bus_only, system, workstation, wsl2

from envdoctor.model.snapshot import Cpu, DeviceFile, Driver, Gpu, GpuHealth, Memory, Mig, Snapshot, Xid


def unlisted(pci_id: str, **changes: Any) -> Snapshot:
    """Give a machine whose card NVML does not list."""
    return workstation(gpus=(changed(on_bus_only(gpu()), pci_id=pci_id),), driver=driver(**{"nvml": 0, **changes}))


def health(**facts: Any) -> Snapshot:
    return workstation(gpus=(gpu(health=GpuHealth(**facts)),))


GTX_1080, RTX_5090, RTX_2080 = "10de:1b80", "10de:2b85", "10de:1e82"


def test_the_last_branch_for_the_card_has_passed() -> None:
    finding = fires("DRV010", unlisted(GTX_1080, version="590.48.01"), "error", "590.48.01", "580", "nvidia-driver-580")
    assert finding.rule == "gpu-too-old-for-build"
    not_loaded = unlisted(GTX_1080, version=None, libcuda_version="590.48.01", module_loaded=False, nvml=9)
    assert shown(not_loaded)[0] == "DRV010"
    silent(
        "DRV010",
        unlisted(GTX_1080, version="580.65.06"),
        unlisted(RTX_2080, version="590.48.01"),
        unlisted("10de:ffff", version="590.48.01"),
        unlisted(GTX_1080, version="590.48.01", nvml=18),
        workstation(gpus=(gpu("NVIDIA GeForce GTX 1080", "6.1"),), driver=driver("590.48.01")),
        container(gpus=(changed(on_bus_only(gpu()), pci_id=GTX_1080),), driver=driver("590.48.01")),
    )


def test_module_of_the_wrong_flavour() -> None:
    fires("DRV011", unlisted(GTX_1080, module_flavour="open"), "warning", "proprietary", certainty="likely")
    fires("DRV011", unlisted(RTX_5090, module_flavour="proprietary"), "warning", "needs the open", "-open")
    told = unlisted(RTX_5090, module_loaded=False, wants_open_module=True, version=None)
    fires("DRV011", told, "error", "log says so", certainty="certain")
    silent(
        "DRV011",
        unlisted(RTX_2080, module_flavour="open"),
        unlisted(RTX_2080, module_flavour="proprietary"),
        workstation(),
    )


def closed(mode: int = 0o660, refused: str = "EACCES", member: bool = False) -> tuple[DeviceFile, ...]:
    return (DeviceFile(path="/dev/nvidiactl", mode=mode, group="video", member=member, refused=refused),)


def test_device_files_of_a_group() -> None:
    machine = workstation(devices=closed(), driver=driver(nvml=4))
    fires("DRV013", machine, "error", "/dev/nvidiactl", "video", "usermod -a -G video USER")
    fires("DRV013", changed(machine, devices=closed(member=True)), "error", "next login")
    silent(
        "DRV013",
        changed(machine, devices=closed(mode=0o666)),
        changed(machine, driver=driver()),
        container(devices=closed(), driver=driver(nvml=4)),
    )


def test_uvm_is_missing() -> None:
    bare = workstation(driver=driver(uvm=False, modprobe=False, device_nodes=("/dev/nvidia0", "/dev/nvidiactl")))
    fires("DRV014", bare, "error", "modprobe nvidia-uvm")
    inside = container(driver=driver(device_nodes=("/dev/nvidia0", "/dev/nvidiactl")))
    fires("DRV014", inside, "error", "not in this container")
    helped = workstation(driver=driver(uvm=False, modprobe=True, device_nodes=("/dev/nvidia0", "/dev/nvidiactl")))
    silent("DRV014", helped, workstation(), wsl2(), container())


def test_fabric_manager() -> None:
    stopped = workstation(driver=driver(nvswitch=True, fabric_manager=False))
    fires("DRV016", stopped, "warning", "does not run", certainty="likely")
    other = workstation(driver=driver(nvswitch=True, fabric_manager=True, fabric_manager_version="550.54.15"))
    fires("DRV016", other, "warning", "550.54.15", "570.124.06")
    waiting = changed(stopped, gpus=(gpu(health=GpuHealth(fabric=2)),))
    fires("DRV016", waiting, "error", certainty="certain")
    silent("DRV016", changed(stopped, gpus=(gpu(health=GpuHealth(fabric=3)),)), workstation())


def test_persistence() -> None:
    off = workstation(
        gpus=(gpu(health=GpuHealth(persistence=False)),), driver=driver(persistenced=False, display_server=False)
    )
    fires("DRV019", off, "note", "nvidia-persistenced")
    silent(
        "DRV019",
        changed(off, driver=driver(persistenced=False, display_server=True)),
        changed(off, driver=driver(persistenced=True, display_server=False)),
        changed(off, gpus=(gpu(health=GpuHealth(persistence=True)),)),
        system(off, container=container().system.container),  # type: ignore[union-attr]
    )


def test_copies_of_driver_libraries() -> None:
    stray = "/usr/lib/libcuda.so.550.54.15"
    fires("DRV017", workstation(driver=driver(copies=(stray,))), "warning", stray, "550.54.15")
    fires("CTR012", container(driver=driver(copies=(stray,))), "warning", stray, "570.124.06")
    for code, machine in (("DRV017", workstation), ("CTR012", container)):
        for path in (
            "/usr/lib/libcuda.so.570.124.06",
            "/usr/local/cuda/compat/libcuda.so.550.54.15",
            "/usr/lib/x/libcuda.so.1",
        ):
            silent(code, machine(driver=driver(copies=(path,))))
    silent("DRV017", workstation(driver=driver(copies=(stray,), libcuda_version="550.54.15")))


def test_recovery_hides_what_it_explains() -> None:
    fires("DRV022", health(recovery=1), "error", "a reset of the card", "--gpu-reset -i 0")
    fires("DRV022", health(recovery=2), "error", "sudo reboot")
    assert shown(health(recovery=1, ecc_uncorrected=3)) == ["DRV022"]
    silent("DRV022", health(recovery=0), health(), workstation())


def test_memory_errors() -> None:
    fires("HW003", health(ecc_uncorrected=2), "warning", "counts 2 memory errors", slug="gpu-memory-faulty")
    fires("HW003", health(pages_pending=True), "warning", "retired")
    silent("HW003", health(ecc_uncorrected=0, ecc_uncorrected_ever=9), health())
    fires("HW004", health(remap_pending=True, remap_failed=False), "warning", "next reset")
    fires("HW004", health(remap_failed=True), "error", "used up")
    silent("HW004", health(remap_pending=False, remap_failed=False), health())


def test_faults_in_the_log() -> None:
    lost = workstation(driver=driver(xids=(Xid(code=31), Xid(code=79, bus_id="0000:01:00.0", count=2))))
    fires("HW005", lost, "warning", "Xid 79", "2 times", slug="gpu-fell-off-bus")
    silent("HW005", workstation(driver=driver(xids=(Xid(code=31), Xid(code=13)))), workstation(driver=driver(xids=())))


def test_what_holds_a_card_back() -> None:
    fires("HW007", health(held_back=0x40, temperature=94), "warning", "94 °C")
    silent("HW007", health(held_back=0x1), health(held_back=0x4))
    fires("HW008", health(held_back=0x80), "warning", "power supply")
    fires("HW008", health(power_limit_watts=100.0, power_default_watts=170.0), "warning", "100 W", "-pl 170")
    lowered = health(power_limit_watts=100.0, power_default_watts=170.0)
    silent("HW008", health(held_back=0x4), system(lowered, laptop=True), health(held_back=0x48))
    fires("HW006", health(link_width=4, link_width_max=16), "warning", "4 of 16")
    narrow = health(link_width=4, link_width_max=16)
    silent("HW006", health(link_width=8, link_width_max=16), system(narrow, virtual=True), system(narrow, laptop=True))


def test_compute_mode() -> None:
    fires("DRV021", health(compute_mode="prohibited"), "error", "-c DEFAULT", certainty="certain")
    taken = workstation(gpus=(gpu(health=GpuHealth(compute_mode="exclusive-process"), processes=()),))
    silent("DRV021", taken, health(compute_mode="default"), health())


def test_mig_instances_in_the_variable() -> None:
    mig = workstation(gpus=(gpu(mig=Mig(enabled=True, pending=True, instances=2), mig_uuids=("MIG-a", "MIG-b")),))
    fires(
        "HW002", changed(mig, variables=variables(CUDA_VISIBLE_DEVICES="MIG-a,MIG-b")), "warning", "uses one", "MIG-a"
    )
    fires("HW002", changed(mig, variables=variables(CUDA_VISIBLE_DEVICES="MIG-z")), "error", "MIG-z")
    silent("HW002", mig, changed(mig, variables=variables(CUDA_VISIBLE_DEVICES="MIG-b")))


def test_laptop_with_its_card_off() -> None:
    asleep = workstation(
        gpus=(changed(on_bus_only(gpu()), bound_driver=None), Gpu(vendor="intel", integrated=True)),
        driver=changed(driver(module_loaded=False, nvml=9), version=None),
    )
    fires("HW009", system(asleep, graphics_mode="off"), "warning", "prime-select on-demand")
    silent("HW009", system(asleep, graphics_mode="on-demand"), asleep, system(workstation(), graphics_mode="off"))


def test_numbering() -> None:
    mixed = workstation(gpus=(gpu(), gpu("NVIDIA GeForce RTX 4090", "8.9", 1)))
    fires("ENV003", mixed, "note", "RTX 4090", "CUDA_DEVICE_ORDER=PCI_BUS_ID")
    silent(
        "ENV003",
        changed(mixed, variables=variables(CUDA_DEVICE_ORDER="PCI_BUS_ID")),
        workstation(gpus=(gpu(), gpu(index=1))),
    )


def test_numa() -> None:
    far = workstation(gpus=(gpu(numa_node=1),), cpu=Cpu(logical=8, numa_nodes=(0,)))
    fires("CPU002", far, "note", "node 1", "--cpunodebind=1")
    silent(
        "CPU002", changed(far, cpu=Cpu(logical=8, numa_nodes=(0, 1))), changed(far, cpu=Cpu(logical=8)), workstation()
    )


def test_processor() -> None:
    fires("CPU001", container(cpu=Cpu(logical=64, affinity=64, quota=4.0)), "warning", "64", "OMP_NUM_THREADS=4")
    silent("CPU001", container(cpu=Cpu(logical=8, quota=4.0)), container(cpu=Cpu(logical=64)), workstation())
    silent("CPU001", container(cpu=Cpu(logical=64, quota=4.0), variables=variables(OMP_NUM_THREADS="4")))
    fires("HW012", cpu_only(cpu=Cpu(model="Xeon E5", features=("avx",))), "note", "AVX2")
    silent("HW012", workstation(cpu=Cpu(features=("avx",))), cpu_only(), cpu_only(cpu=Cpu(features=())))
    slow = workstation(cpu=Cpu(governor="powersave", scaling_driver="acpi-cpufreq"))
    fires("HW013", slow, "warning", "acpi-cpufreq")
    silent("HW013", workstation(cpu=Cpu(governor="powersave", scaling_driver="intel_pstate")), workstation())
    idle = workstation(memory=Memory(total_bytes=64 << 30, reserved_huge_bytes=32 << 30))
    fires("CPU003", idle, "warning", "32 GiB")
    silent("CPU003", workstation(memory=Memory(total_bytes=64 << 30, reserved_huge_bytes=1 << 30)), workstation())
    never = Memory(total_bytes=64 << 30, huge_pages="never")
    fires("CPU003", cpu_only(memory=never), "note", "madvise", slug="transparent-huge-pages-off", certainty="hint")
    silent(
        "CPU003",
        cpu_only(memory=changed(never, huge_pages="madvise")),
        cpu_only(memory=changed(never, huge_pages="always")),
        workstation(memory=never),  # the GPU does the work
        cpu_only(memory=never, pythons=()),
    )


def test_no_driver_is_not_judged() -> None:
    for code in ("DRV010", "DRV011", "DRV013", "DRV014", "DRV016", "DRV017", "HW005"):
        silent(code, cpu_only(driver=None), cpu_only(driver=Driver()))
