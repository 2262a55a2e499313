"""The kernel half of the driver: built, signed, blocked or loaded."""

from __future__ import annotations

import pytest
from nvidia_machines import CARD, MODULES, RELEASE, card, driver, kernel_half, probe, user_half

from envdoctor.host import Completed, NvmlAnswer
from envdoctor.probes import nvidia_module


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


@pytest.mark.parametrize(("params", "keeps"), [("0", False), ("1", True)])
def test_sleep_and_what_the_module_keeps(params: str, keeps: bool) -> None:
    machine = probe(
        *(card("nvidia"), user_half(), kernel_half()),
        files={
            "/proc/driver/nvidia/params": f"EnableMSI: 1\nPreserveVideoMemoryAllocations: {params}\n",
            "/sys/power/suspend_stats/success": "3\n",
        },
    )
    assert (driver(machine).keeps_memory, driver(machine).resumes) == (keeps, 3)
    assert (driver(probe(card("nvidia"), user_half(), kernel_half())).keeps_memory) is None
