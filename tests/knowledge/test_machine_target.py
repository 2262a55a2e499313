"""A machine reduced to what decides which stacks run on it."""

from __future__ import annotations

from typing import Any

import pytest

from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.targets import capability_of, target_of, usable
from envdoctor.model.snapshot import Driver, Gpu, PythonEnv, Snapshot, System, Wsl
from envdoctor.model.stack import Target, TargetGpu

FACTS = Knowledge()


def of(**parts: Any) -> Target:
    return target_of(Snapshot(**parts), FACTS)


def test_what_is_unknown_constrains_nothing() -> None:
    assert of() == Target(libc=None)
    assert of(driver=Driver(version="nightly"), system=System(os="other", libc="glibc", libc_version="?")) == Target()


@pytest.mark.parametrize(
    ("system", "os"),
    [
        (System(os="linux"), "linux"),
        (System(os="linux", wsl=Wsl(version=2)), "wsl2"),
        (System(os="linux", wsl=Wsl(version=1)), "linux"),  # it reaches no driver, whose ever
        (System(os="windows"), "windows"),
        (System(os="macos"), "macos"),
    ],
)
def test_the_system_whose_driver_counts(system: System, os: str) -> None:
    assert of(system=system).os == os


def test_a_whole_machine() -> None:
    found = of(
        system=System(os="linux", machine="arm64", libc="glibc", libc_version="2.35"),
        driver=Driver(version="580.95.05"),
        gpus=(Gpu(vendor="nvidia", name="NVIDIA GH200 480GB", capability="9.0"),),
        pythons=(PythonEnv(executable="/e/bin/python", prefix="/e", version="3.12.4"),),
    )
    assert found == Target(
        arch="aarch64",
        glibc="2.35",
        driver="580.95.05",
        gpus=(TargetGpu(vendor="nvidia", name="NVIDIA GH200 480GB", capability="9.0"),),
        python="3.12",
    )
    assert of(system=System(os="linux", libc="musl", libc_version="1.2.4")).glibc is None


def test_a_name_alone_tells_what_the_card_is() -> None:
    nvidia, amd = of(
        gpus=(
            Gpu(vendor="nvidia", name="GeForce GTX 1080 Ti"),
            Gpu(vendor="amd", name="AMD Radeon RX 7900 XTX"),
        )
    ).gpus
    assert (nvidia.capability, amd.target) == ("6.1", "gfx1100")
    assert of(gpus=(Gpu(vendor="nvidia", name="NVIDIA Experimental 1"),)).gpus[0].capability is None


@pytest.mark.parametrize("odd", ["", "8", "8.", "8.6.1", "-1.0", "9.0a", "７.0", "nightly"])
def test_what_is_no_capability_is_unknown(odd: str) -> None:
    assert capability_of(Gpu(vendor="nvidia", capability=odd), FACTS) is None


@pytest.mark.parametrize(
    ("gpu", "counts"),
    [
        (Gpu(vendor="nvidia"), True),
        (Gpu(vendor="nvidia", lost=True), True),  # a stack should fit once the card is back
        (Gpu(vendor="nvidia", bound_driver="vfio-pci"), False),
        (Gpu(vendor="intel", integrated=True), False),
        (Gpu(vendor="intel"), True),
        (Gpu(vendor="apple", integrated=True), True),
        (Gpu(vendor="other"), False),
    ],
)
def test_what_could_compute(gpu: Gpu, counts: bool) -> None:
    assert usable(gpu) is counts
