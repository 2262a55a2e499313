"""The predicates that rules and the resolver share."""

from __future__ import annotations

import pytest

from envdoctor.knowledge.fit import (
    Service,
    code_serves,
    driver_compiles,
    driver_knows,
    driver_runs,
    variant_serves,
    wheel_glibc,
    wheel_pythons,
)
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.tables import TorchRelease, TorchVariant

FACTS = Knowledge()


def release(version: str) -> TorchRelease:
    found = FACTS.torch(version)
    assert found is not None
    return found


def variant(version: str, tag: str) -> TorchVariant:
    found = release(version).variant(tag)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("cuda", "driver", "os", "runs"),
    [
        ("11.6", "470.82.01", "linux", True),
        ("11.8", "450.80.02", "linux", True),
        ("12.8", "525.60.13", "linux", True),
        ("12.8", "525.60", "linux", False),
        ("11.8", "451.48", "wsl2", False),
        ("11.8", "451.48", "windows", False),
        ("11.8", "451.48", "linux", True),
        ("13.0", "581.15", "windows", True),
        ("10.2", "418.39", "linux", False),
        ("77.0", "580.65.06", "linux", None),
    ],
)
def test_driver_runs(cuda: str, driver: str, os: str, runs: bool | None) -> None:
    assert driver_runs(FACTS, cuda, driver, os) is runs


@pytest.mark.parametrize(
    ("driver", "capability", "knows"),
    [
        ("535.183.01", "12.0", False),
        ("570.26", "12.0", True),
        ("595.45.04", "6.1", False),
        ("580.95.05", "6.1", True),
        ("470.256.02", "3.7", True),
        ("580.95.05", "77.7", None),
    ],
)
def test_driver_knows(driver: str, capability: str, knows: bool | None) -> None:
    assert driver_knows(FACTS, driver, capability) is knows


def test_ptx_needs_a_driver_of_its_cuda() -> None:
    assert driver_compiles(FACTS, "12.8", "570.26") and not driver_compiles(FACTS, "12.9", "570.26")
    assert code_serves(FACTS, ["9.0"], ["9.0"], "12.0", cuda="12.6", driver="560.28.03") == "jit"
    assert code_serves(FACTS, ["9.0"], ["9.0"], "12.0", cuda="12.6", driver="550.54.14") == "none"
    assert code_serves(FACTS, ["9.0"], ["9.0"], "12.0", cuda="12.6") == "jit"


@pytest.mark.parametrize(
    ("version", "tag", "capability", "served"),
    [
        ("2.8.0", "cu128", "6.1", "none"),
        ("2.8.0", "cu126", "6.1", "native"),
        ("2.7.1", "cu128", "7.0", "none"),
        ("2.8.0", "cu128", "7.0", "native"),
        ("2.5.1", "cu121", "12.0", "none"),
        ("2.6.0", "cu118", "8.9", "native"),
        ("1.12.1", "cu113", "9.0", "none"),
        ("2.14.1", "cu126", "9.0", "native"),
        ("2.15.0", "cu130", "8.6", "unknown"),
        ("2.15.0", "cu130", "6.1", "none"),
    ],
)
def test_variant_serves(version: str, tag: str, capability: str, served: Service) -> None:
    assert variant_serves(FACTS, variant(version, tag), capability) == served


def test_doubted_ptx_is_not_promised() -> None:
    assert variant_serves(FACTS, variant("2.7.1", "cu128"), "13.0") == "jit"
    assert variant_serves(FACTS, variant("2.14.1", "cu132"), "13.0") == "unknown"
    assert variant_serves(FACTS, variant("2.14.1", "cu132"), "13.0", driver="580.95.05") == "none"
    assert variant_serves(FACTS, variant("2.14.1", "cu130"), "13.0") == "none"


def test_windows_and_aarch64_have_lists_of_their_own() -> None:
    assert variant_serves(FACTS, variant("2.7.1", "cu118"), "8.6", os="windows") == "unknown"
    assert variant_serves(FACTS, variant("2.14.1", "cu126"), "8.6", arch="aarch64") == "native"
    assert variant_serves(FACTS, variant("2.14.1", "cu126"), "7.5", arch="aarch64") == "none"
    assert variant_serves(FACTS, variant("2.9.1", "cu128"), "9.0", arch="aarch64") == "unknown"
    assert variant_serves(FACTS, variant("2.14.1", "cu130"), "11.0", arch="aarch64") == "native"
    assert variant_serves(FACTS, variant("2.14.1", "cu126"), "8.7", arch="aarch64") == "none"


def test_wheels() -> None:
    assert wheel_pythons(release("2.7.1"), "linux", "x86_64") == ("3.9", "3.10", "3.11", "3.12", "3.13")
    assert wheel_pythons(release("2.5.1"), "linux", "x86_64")[-1] == "3.13"
    assert wheel_pythons(release("2.5.1"), "windows", "x86_64")[-1] == "3.12"
    assert wheel_pythons(release("2.14.1"), "macos", "x86_64") == ()
    assert wheel_pythons(release("2.14.1"), "linux", "ppc64le") == ()
    assert wheel_glibc(release("2.6.0"), variant("2.6.0", "cu118"), "x86_64") == "2.17"
    assert wheel_glibc(release("2.6.0"), variant("2.6.0", "cu126"), "x86_64") == "2.28"
    assert wheel_glibc(release("2.6.0"), None, "aarch64") == "2.28"
    assert wheel_glibc(release("1.7.0"), None, "aarch64") is None
