from __future__ import annotations

from typing import Any

import pytest
from judged import commands, only, raised, shown, values
from machines import changed, cpu_only, env, package, system, torch, windows, workstation

from envdoctor.model.snapshot import Framework, Snapshot


def bare(version: str | None = "3.12.4", machine: Snapshot | None = None, **changes: Any) -> Snapshot:
    """Give a machine whose environment has that Python and no framework."""
    return changed(machine or cpu_only(), pythons=(env(version=version, **changes),))


# PY001


def test_a_python_newer_than_every_wheel() -> None:
    finding = only("PY001", bare("3.16.0"))
    assert (finding.rule, finding.severity) == ("python-without-wheel", "warning")
    assert finding.title == "Python 3.16 has no PyTorch wheel yet; the newest, 2.15.0, goes up to Python 3.15"
    assert values(finding) == {"pythons[0].version": "3.16.0"}
    assert commands(finding) == ["uv venv --python 3.12 .venv"]


def test_conda_makes_its_own_environments() -> None:
    assert commands(only("PY001", bare("3.16.0", manager="conda"))) == [
        "conda create --name dl --channel conda-forge python=3.12"
    ]


def test_the_installed_release_has_no_wheel_for_this_python() -> None:
    machine = workstation(pythons=(env(torch("1.13.1+cu117", "11.7"), version="3.12.4"),))
    finding = only("PY001", machine)
    assert (finding.severity, finding.certainty) == ("warning", "likely")
    assert "PyTorch 1.13.1 has no wheel for Python 3.12; its last is for Python 3.11" in finding.title
    assert commands(finding) == ["uv venv --python 3.11 .venv"]


@pytest.mark.parametrize(
    "machine",
    [
        bare("3.11.2"),
        bare("3.15.0"),
        bare(None),
        bare("unknown"),
        workstation(),
        workstation(pythons=(env(Framework(name="jax", version="0.10.0"), version="3.16.0"),)),
        workstation(pythons=(env(torch("2.9.0a0+git1234", "12.8"), version="3.16.0"),)),
        workstation(
            pythons=(
                env(
                    torch("2.5.1", "12.6"),
                    version="3.13.1",
                    packages=(package("torch", "2.5.1", installer="conda"),),
                ),
            )
        ),
        workstation(pythons=()),
    ],
)
def test_a_python_with_wheels_is_silent(machine: Snapshot) -> None:
    assert raised("PY001", machine) == ()


# PY002


def test_a_python_too_old_for_current_wheels() -> None:
    finding = only("PY002", bare("3.8.10"))
    assert (finding.rule, finding.severity) == ("python-without-wheel", "warning")
    assert finding.title == ("Python 3.8 is too old for current PyTorch: pip takes 2.4.1, and the newest is 2.15.0")
    assert "2.8.0" in only("PY002", bare("3.9.18")).title
    assert commands(finding) == ["uv venv --python 3.12 .venv"]


@pytest.mark.parametrize(
    "machine",
    [
        bare("3.12.4"),
        bare("3.10.12"),  # misses the newest minor release only
        workstation(pythons=(env(torch("2.4.1+cu121", "12.1"), version="3.8.10"),)),  # on purpose, or not: it works
        bare(None),
        bare(""),
    ],
)
def test_a_python_that_is_new_enough_or_pinned_is_silent(machine: Snapshot) -> None:
    assert raised("PY002", machine) == ()


# PY003


def test_the_installed_wheel_needs_a_newer_glibc() -> None:
    finding = only("PY003", system(workstation(), libc_version="2.17"))
    assert (finding.rule, finding.severity) == ("glibc-too-old", "error")
    assert finding.title == "PyTorch 2.8.0+cu128 needs glibc 2.28, and this system has 2.17"
    assert set(values(finding)) == {"system.libc_version", "pythons[0].frameworks.torch.version"}
    assert commands(finding)[-1].endswith("pip install torch==2.6.0")


def test_a_build_may_need_more_than_its_release() -> None:
    built = torch("2.6.0+cu126", "12.6")
    machine = system(workstation(pythons=(env(built),)), libc_version="2.17")
    assert "needs glibc 2.28" in only("PY003", machine).title
    older = system(workstation(pythons=(env(torch("2.6.0+cu118", "11.8")),)), libc_version="2.17")
    assert raised("PY003", older) == ()


def test_current_wheels_need_a_newer_glibc() -> None:
    finding = only("PY003", system(bare(), libc_version="2.27"))
    assert finding.severity == "warning"
    assert finding.title == "Current PyTorch wheels need glibc 2.28, and this system has 2.27"


@pytest.mark.parametrize(
    "machine",
    [
        workstation(),
        bare(),
        system(bare(), libc="musl", libc_version="1.2.4"),
        system(bare(), libc_version=None),
        system(bare(), libc_version="?"),
        windows(),
        system(
            workstation(
                pythons=(env(torch("2.8.0", "12.9"), packages=(package("torch", "2.8.0", installer="conda"),)),),
            ),
            libc_version="2.17",
        ),
        # The tag of old wheels says manylinux1; what they need is 2.17.
        system(workstation(pythons=(env(torch("2.2.2", "12.1")),)), libc_version="2.17"),
    ],
)
def test_a_new_enough_or_unknown_glibc_is_silent(machine: Snapshot) -> None:
    assert raised("PY003", machine) == ()


# PY005


def test_a_32bit_python() -> None:
    machine = windows(pythons=(env(bits=32, executable=r"C:\Python312-32\python.exe"),))
    finding = only("PY005", machine)
    assert (finding.rule, finding.severity) == ("python-32bit", "error")
    assert finding.title == r"Python 3.12.4 at C:\Python312-32\python.exe is a 32-bit program"
    assert values(finding)["pythons[0].bits"] == "32"
    assert commands(finding) == ["winget install Python.Python.3.12"]
    assert commands(only("PY005", bare(bits=32))) == []
    assert shown(bare("3.16.0", bits=32)) == ["PY005", "HW000"]


@pytest.mark.parametrize("bits", [64, None])
def test_other_pythons_are_silent(bits: int | None) -> None:
    assert raised("PY005", bare(bits=bits)) == ()
