"""The driver against the CUDA inside the installed frameworks."""

from __future__ import annotations

from typing import Any

import pytest
from judged import FACTS, commands, only, raised, shown, values
from machines import changed, container, driver, env, gpu, package, system, torch, windows, workstation, wsl2

from envdoctor.model.snapshot import Framework, Package, Snapshot

PIP = "/home/me/env/bin/python -m pip"


def installed(version: str, cuda: str | None, *packages: Package, **changes: Any) -> Snapshot:
    """The workstation with another torch, whose torchvision came along."""
    here = env(
        torch(version, cuda, **changes),
        packages=(package("pip", "25.0"), package("torch", version), package("torchvision", "0.1"), *packages),
    )
    return workstation(pythons=(here,))


def on(machine: Snapshot, version: str, cuda: str | None, *cards: tuple[str, str]) -> Snapshot:
    """The machine with another driver, and other cards."""
    gpus = tuple(gpu(name, capability, index) for index, (name, capability) in enumerate(cards)) or machine.gpus
    return changed(machine, driver=driver(version, cuda), gpus=gpus)


def test_driver_too_old() -> None:
    machine = on(workstation(), "470.82.01", "11.4")
    finding = only("DRV007", machine)
    assert finding.rule == "driver-too-old"
    assert (finding.severity, finding.certainty) == ("error", "certain")
    assert finding.title == (
        "Driver 470.82.01 cannot run the CUDA 12.8 inside torch 2.8.0: it needs 525.60.13 or newer"
    )
    assert "CUDA up to 11.4" in finding.detail
    assert values(finding) == {"driver.version": "470.82.01", "pythons[0].frameworks.torch.cuda": "12.8"}
    assert commands(finding)[:2] == ["sudo apt install nvidia-driver-580-open", "sudo reboot"]
    assert shown(machine) == ["DRV007"]


def test_the_older_wheel_is_one_that_exists() -> None:
    finding = only("DRV007", on(workstation(), "470.82.01", "11.4"))
    install = next(fix for fix in finding.fixes if fix.effect == "changes-env")
    words = install.commands[-1]
    assert words[:4] == ("/home/me/env/bin/python", "-m", "pip", "install")
    version = next(word for word in words if word.startswith("torch==")).removeprefix("torch==")
    release = FACTS.torch(version)
    assert release
    variant = release.variant("cu118")
    assert variant
    assert variant.index_url == words[-1]
    assert f"torchvision=={release.torchvision}" in words


def test_a_build_of_the_installed_release_comes_first() -> None:
    finding = only("DRV007", on(installed("2.6.0+cu126", "12.6"), "470.82.01", "11.4"))
    assert f"{PIP} install torch==2.6.0 torchvision==0.21.0 --index-url https://download.pytorch.org/whl/cu118" in (
        commands(finding)
    )


def test_the_cards_choose_the_older_build() -> None:
    machine = on(installed("2.11.0+cu130", "13.0"), "550.54.14", "12.4", ("NVIDIA GeForce GTX 1080 Ti", "6.1"))
    command = commands(only("DRV007", machine))[-1]
    assert "torch==2.11.0" in command
    assert command.endswith("https://download.pytorch.org/whl/cu126")


def test_plain_cuda13_wheel_on_a_cuda12_driver() -> None:
    machine = on(installed("2.11.0+cu130", "13.0"), "570.124.06", "12.8")
    finding = only("DRV007", machine)
    assert "580.65.06 or newer" in finding.title
    assert "nvidia-driver-580-open" in commands(finding)[0]


def test_the_plain_cuda13_wheel_is_told_once() -> None:
    machine = on(installed("2.11.0", "13.0"), "535.183.01", "12.2")
    assert raised("DRV007", machine)
    assert [each for each in shown(machine) if each in ("DRV007", "TORCH003")] == ["TORCH003"]


@pytest.mark.parametrize(
    ("distribution", "torch_version", "cuda", "page", "first"),
    [
        ("debian", "2.8.0+cu128", "12.8", "https://wiki.debian.org/NvidiaGraphicsDrivers", "sudo apt install linux-he"),
        ("fedora", "2.8.0+cu128", "12.8", "https://rpmfusion.org/Howto/NVIDIA", "sudo dnf install akmod-nvidia"),
        # Debian's own package is older than what CUDA 13 needs.
        (
            "debian",
            "2.11.0",
            "13.0",
            "https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/",
            f"{PIP} uninstall",
        ),
    ],
)
def test_other_distributions(distribution: str, torch_version: str, cuda: str, page: str, first: str) -> None:
    machine = on(system(installed(torch_version, cuda), distribution=distribution), "470.82.01", "11.4")
    finding = only("DRV007", machine)
    assert finding.fixes[0].page == page
    assert commands(finding)[0].startswith(first)


def test_an_old_card_is_not_sent_to_a_branch_that_dropped_it() -> None:
    machine = on(installed("2.5.1+cu124", "12.4"), "470.256.02", "11.4", ("NVIDIA GeForce GTX 1080 Ti", "6.1"))
    finding = only("DRV007", machine)
    assert "branch 580 is the last one for the NVIDIA GeForce GTX 1080 Ti" in finding.fixes[0].summary
    assert commands(finding)[0] == "sudo apt install nvidia-driver-580"


def test_a_kepler_card_gets_its_last_branch() -> None:
    machine = on(installed("1.13.1+cu116", "11.6"), "418.67", "10.1", ("Tesla K80", "3.7"))
    assert commands(only("DRV007", machine))[0] == "sudo apt install nvidia-driver-470"


def test_no_driver_is_proposed_where_none_supports_the_card() -> None:
    machine = on(installed("2.5.1+cu124", "12.4"), "470.256.02", "11.4", ("Tesla K80", "3.7"))
    finding = only("DRV007", machine)
    assert "No driver that new supports Tesla K80 (GPU 0)" in finding.detail
    assert not any("install nvidia" in command or "reboot" in command for command in commands(finding))


def test_the_oldest_card_of_a_mixed_host_decides() -> None:
    cards = (("NVIDIA GeForce RTX 4090", "8.9"), ("NVIDIA GeForce GTX 1080 Ti", "6.1"))
    finding = only("DRV007", on(installed("2.11.0+cu130", "13.0"), "535.183.01", "12.2", *cards))
    assert "branch 580" in finding.fixes[0].summary
    assert "cu126" in commands(finding)[-1]


@pytest.mark.parametrize("version", ["522.06", "527.56"])
def test_windows_floor_counts_in_wsl(version: str) -> None:
    machine = changed(wsl2(), driver=changed(wsl2().driver, version=version, cuda="11.8"))  # type: ignore[type-var]
    finding = only("DRV007", machine)
    assert "it needs 528.33 or newer" in finding.title
    assert finding.fixes[0].where == "windows"
    assert commands(finding)[0] == "wsl --shutdown"


def test_windows_floor_counts_in_windows() -> None:
    machine = windows()
    assert machine.driver
    old = changed(machine, driver=changed(machine.driver, version="512.15", cuda="11.6"))
    assert "it needs 528.33 or newer" in only("DRV007", old).title
    newer = changed(machine, driver=changed(machine.driver, version="528.33", cuda="12.0"))
    assert raised("DRV007", newer) == ()


def test_cuda13_in_wsl() -> None:
    machine = changed(wsl2(), pythons=installed("2.11.0", "13.0").pythons)
    assert raised("DRV007", machine) == ()
    assert machine.driver
    old = changed(machine, driver=changed(machine.driver, version="566.36", cuda="12.7"))
    assert "566.36" in only("DRV007", old).title


def test_a_container_cannot_update_the_driver() -> None:
    finding = only("DRV007", on(container(), "470.82.01", "11.4"))
    assert finding.fixes[0].where == "host"
    assert finding.fixes[0].commands == ()


def test_an_unknown_system_is_judged_by_the_lower_floor() -> None:
    machine = changed(on(workstation(), "470.82.01", "11.4"), system=None)
    assert "525.60.13" in only("DRV007", machine).title
    assert raised("DRV007", changed(on(workstation(), "526.47", None), system=None)) == ()


def test_jax_and_tensorflow_are_judged_too() -> None:
    frameworks = (
        Framework(name="jax", version="0.8.1", cuda="13", gpu_build=True),
        Framework(name="tensorflow", version="2.20.0", cuda="12.5", gpu_build=True),
    )
    machine = workstation(driver=driver("535.183.01", "12.2"), pythons=(env(*frameworks),))
    finding = only("DRV007", machine)
    assert finding.title.startswith("Driver 535.183.01 cannot run the CUDA 13 inside jax 0.8.1")
    assert f"{PIP} install --upgrade jax[cuda12]" in commands(finding)
    both = only("DRV007", workstation(driver=driver("470.82.01", "11.4"), pythons=(env(*frameworks),)))
    assert "jax 0.8.1 and tensorflow 2.20.0" in both.title
    assert "pythons[0].frameworks.tensorflow.cuda" in values(both)
    assert not any("jax[cuda12]" in command for command in commands(both))


def test_uv_installs_where_uv_made_the_environment() -> None:
    here = env(torch(), packages=(package("torch", "2.8.0+cu128", installer="uv"),))
    finding = only("DRV007", on(workstation(pythons=(here,)), "470.82.01", "11.4"))
    assert any(command.startswith("uv pip install --python /home/me/env/bin/python") for command in commands(finding))


@pytest.mark.parametrize(
    ("version", "offered", "torch_version", "cuda"),
    [
        ("470.82.01", "11.4", "1.13.1+cu116", "11.6"),
        ("450.80.02", "11.0", "2.7.1+cu118", "11.8"),
        ("525.60.13", "12.0", "2.8.0+cu128", "12.8"),
        ("450.36.06", "11.0", "1.7.1+cu110", "11.0"),  # below the floor of the family, but CUDA 11.0 is its own
        ("418.39", "10.1", "1.5.0+cu101", "10.1"),
        ("580.65.06", "13.0", "2.8.0+cu126", "12.6"),
        ("900.10", "15.0", "2.11.0", "13.0"),
        ("525.60.13", None, "2.8.0+cu128", "12.8"),
    ],
)
def test_minor_version_compatibility_is_silent(
    version: str, offered: str | None, torch_version: str, cuda: str
) -> None:
    machine = on(installed(torch_version, cuda), version, offered)
    assert raised("DRV007", machine) == ()
    assert raised("DRV008", machine) == ()


@pytest.mark.parametrize(
    ("version", "cuda"),
    [("418.67", "10.2"), ("410.48", "10.1"), ("450.51.05", "11.1"), ("525.53", "12.1"), ("470.86", "12.8")],
)
def test_just_below_the_floor(version: str, cuda: str) -> None:
    assert version in only("DRV007", on(installed("1.0", cuda), version, None)).title


@pytest.mark.parametrize(
    "machine",
    [
        changed(
            on(workstation(), "470.82.01", "12.8", ("NVIDIA A100-SXM4-80GB", "8.0")),
            driver=driver("470.82.01", None, libcuda_path="/usr/local/cuda/compat/libcuda.so.570.124.06"),
        ),
        on(installed("2.8.0+cpu", None), "390.157", "9.1"),
        on(installed("2.8.0+rocm6.4", None, hip="6.4", gpu_build=True), "390.157", "9.1"),
        system(on(workstation(), "35.4.1", None), jetson="Orin"),
        on(workstation(), "unknown", None),
        on(installed("2.8.0", "nightly"), "470.82.01", "11.4"),
        workstation(driver=None),
        workstation(pythons=()),
    ],
)
def test_driver_is_not_called_too_old(machine: Snapshot) -> None:
    assert raised("DRV007", machine) == ()


def ptx_only(**changes: Any) -> Snapshot:
    build = torch(archs=("sm_75", "sm_80", "sm_86", "sm_90", "compute_90"))
    machine = workstation(pythons=(env(build),), gpus=(gpu("NVIDIA GeForce RTX 5090", "12.0"),))
    return changed(machine, driver=driver("565.57.01", "12.7"), **changes)


def test_ptx_of_a_newer_toolkit_is_a_note() -> None:
    finding = only("DRV008", ptx_only())
    assert finding.rule == "driver-older-than-toolkit"
    assert finding.severity == "note"
    assert finding.title == "torch 2.8.0 has only PTX for RTX 5090, which driver 565.57.01 (CUDA 12.7) may refuse"
    assert "unsupported PTX version" in finding.detail
    assert values(finding)["gpus[0].capability"] == "12.0"


@pytest.mark.parametrize(
    "machine",
    [
        ptx_only(gpus=(gpu(),)),  # machine code is there: fully supported
        changed(ptx_only(), driver=driver("570.124.06", "12.8")),
        ptx_only(pythons=(env(torch(archs=None)),)),
        ptx_only(pythons=(env(torch(archs=("sm_90",))),)),  # TORCH002
        changed(ptx_only(), driver=driver("470.82.01", "11.4")),  # DRV007
        workstation(),
    ],
)
def test_ptx_is_not_needed(machine: Snapshot) -> None:
    assert raised("DRV008", machine) == ()
