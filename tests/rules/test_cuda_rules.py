from __future__ import annotations

import pytest
from judged import commands, only, raised, shown, values
from machines import changed, env, package, system, torch, workstation

from envdoctor.model.snapshot import Package, Snapshot, Toolkit

HOME_13 = Toolkit(
    path="/usr/local/cuda-13.0",
    version="13.0.1",
    nvcc="/usr/local/cuda-13.0/bin/nvcc",
    found_by=("PATH", "/usr/local/cuda", "/usr/local/cuda-13.0"),
)
DEBIAN_11 = Toolkit(
    path="/usr/lib/nvidia-cuda-toolkit",
    version="11.8",
    nvcc="/usr/lib/nvidia-cuda-toolkit/bin/nvcc",
    found_by=("PATH", "/usr/lib/nvidia-cuda-toolkit"),
)
LOCAL_12 = Toolkit(
    path="/usr/local/cuda-12.8",
    version="12.8.1",
    nvcc="/usr/local/cuda-12.8/bin/nvcc",
    found_by=("/usr/local/cuda", "/usr/local/cuda-12.8"),
)


def compiling(*toolkits: Toolkit, packages: tuple[Package, ...] = ()) -> Snapshot:
    every = (package("torch", "2.8.0+cu128"), package("numpy", "2.2.6"), *packages)
    return workstation(toolkits=toolkits, pythons=(env(torch(), packages=every),))


def test_without_anything_to_compile_it_is_a_note_that_asks_for_nothing() -> None:
    finding = only("CUDA001", compiling(HOME_13))
    assert (finding.rule, finding.severity) == ("nvcc-differs-from-build-cuda", "note")
    assert finding.title == "nvcc is of CUDA 13.0, PyTorch 2.8.0+cu128 is built with CUDA 12.8"
    assert "nothing is to be installed" in finding.detail
    assert finding.fixes == ()
    assert values(finding)["toolkits[0].version"] == "13.0.1"


@pytest.mark.parametrize("name", ["flash-attn", "deepspeed"])
def test_packages_that_compile_make_it_a_warning(name: str) -> None:
    finding = only("CUDA001", compiling(HOME_13, packages=(package(name, "0.1"),)))
    assert finding.severity == "warning"
    assert finding.detail.startswith(f"{name} compiles")
    assert "CUDA 12.8 toolkit" in finding.fixes[0].summary
    assert commands(finding) == []


def test_a_fitting_toolkit_at_hand_is_named() -> None:
    finding = only("CUDA001", compiling(DEBIAN_11, LOCAL_12, packages=(package("flash-attn", "2.8.3"),)))
    assert "nvcc is of CUDA 11.8" in finding.title  # the one that PATH finds
    assert commands(finding) == ["export CUDA_HOME=/usr/local/cuda-12.8"]


def test_cuda_home_comes_before_path() -> None:
    chosen = changed(LOCAL_12, found_by=("CUDA_HOME", "/usr/local/cuda"))
    assert raised("CUDA001", compiling(DEBIAN_11, chosen)) == ()


def test_conda_installs_the_compiler() -> None:
    machine = compiling(HOME_13, packages=(package("deepspeed", "0.17"),))
    assert machine.python
    machine = changed(machine, pythons=(changed(machine.python, manager="conda"),))
    assert commands(only("CUDA001", machine)) == [
        "conda install --prefix /home/me/env --channel conda-forge cuda-nvcc=12.8 cuda-version=12.8"
    ]


@pytest.mark.parametrize(
    "machine",
    [
        compiling(),
        compiling(LOCAL_12),
        compiling(changed(LOCAL_12, version="12.4")),  # a minor version apart works
        compiling(changed(HOME_13, version=None)),
        compiling(changed(HOME_13, version="unknown")),
        compiling(changed(HOME_13, found_by=("pip",))),
        compiling(changed(HOME_13, found_by=("/usr/local/cuda-13.0",))),
        workstation(toolkits=(HOME_13,), pythons=(env(torch("2.8.0+cpu", None)),)),
        workstation(toolkits=(HOME_13,), pythons=()),
    ],
)
def test_toolkits_that_fit_or_are_not_used_are_silent(machine: Snapshot) -> None:
    assert raised("CUDA001", machine) == ()


# CUDA003


def test_ways_that_lead_to_different_toolkits() -> None:
    finding = only("CUDA003", compiling(DEBIAN_11, LOCAL_12))
    assert (finding.rule, finding.severity) == ("several-cuda-on-path", "note")
    assert finding.title == (
        "The ways to nvcc disagree: PATH leads to CUDA 11.8 and /usr/local/cuda leads to CUDA 12.8"
    )
    assert values(finding)["toolkits[1].path"] == "/usr/local/cuda-12.8"
    assert "sudo update-alternatives --config cuda" in commands(finding)
    assert "sudo update-alternatives --config cuda" not in commands(
        only("CUDA003", system(compiling(DEBIAN_11, LOCAL_12), distribution="arch"))
    )


@pytest.mark.parametrize(
    "toolkits",
    [
        (HOME_13,),
        (HOME_13, changed(LOCAL_12, found_by=("/usr/local/cuda-12.8",))),  # several are fine
        (changed(DEBIAN_11, version="12.8"), LOCAL_12),
        (changed(DEBIAN_11, version=None), LOCAL_12),
        (),
    ],
)
def test_ways_that_agree_are_silent(toolkits: tuple[Toolkit, ...]) -> None:
    assert raised("CUDA003", compiling(*toolkits)) == ()


def test_a_toolkit_beside_a_wheel_is_no_warning() -> None:
    assert shown(compiling(changed(LOCAL_12, found_by=("PATH", "/usr/local/cuda")))) == []
