from __future__ import annotations

import pytest
from judged import commands, only, raised, values
from machines import env, package, torch, windows, workstation

from envdoctor.model.snapshot import Framework, Package, Snapshot


def holding(numpy: str, *frameworks: Framework, packages: tuple[Package, ...] = ()) -> Snapshot:
    every = (package("numpy", numpy), *(package(each.name, each.version) for each in frameworks), *packages)
    return workstation(pythons=(env(*frameworks, packages=every),))


TENSORFLOW = Framework(name="tensorflow", version="2.17.1", cuda="12.3")


def test_torch_before_23_does_not_work_with_numpy_2() -> None:
    finding = only("NP001", holding("2.1.3", torch("2.2.2+cu121", "12.1")))
    assert (finding.rule, finding.severity, finding.certainty) == ("numpy2-abi", "error", "certain")
    assert finding.title == "NumPy 2.1.3 is installed beside PyTorch 2.2.2+cu121, compiled for NumPy 1"
    assert values(finding) == {
        "pythons[0].packages.numpy.version": "2.1.3",
        "pythons[0].frameworks.torch.version": "2.2.2+cu121",
    }
    assert commands(finding)[0] == "/home/me/env/bin/python -m pip install numpy<2"
    assert finding.fixes[0].commands[0][-1] == "numpy<2"  # one word: no shell reads a redirection in it


def test_tensorflow_before_218_does_not_work_with_numpy_2() -> None:
    finding = only("NP001", holding("2.0.2", TENSORFLOW))
    assert "TensorFlow 2.17.1" in finding.title
    assert "pythons[0].frameworks.tensorflow.version" in values(finding)


def test_on_windows_torch_24_is_too_old_as_well() -> None:
    there = holding("2.1.3", torch("2.4.0+cu121", "12.1")).pythons
    assert raised("NP001", workstation(pythons=there)) == ()
    assert only("NP001", windows(pythons=there)).severity == "error"
    later = holding("2.1.3", torch("2.4.1+cu121", "12.1")).pythons
    assert raised("NP001", windows(pythons=later)) == ()


def test_a_release_outside_the_table_is_judged_by_its_number() -> None:
    assert only("NP001", holding("2.1.3", torch("1.6.0", "10.2"))).severity == "error"
    assert raised("NP001", holding("2.1.3", torch("9.0.0", "13.0"))) == ()


def test_a_package_that_asks_for_numpy_1_is_a_warning() -> None:
    asking = package("opencv-python", "4.9.0.80", requires=('numpy<2,>=1.21.2; python_version >= "3.10"',))
    finding = only("NP001", holding("2.2.6", torch(), packages=(asking,)))
    assert (finding.severity, finding.certainty) == ("warning", "likely")
    assert "opencv-python 4.9.0.80 asks for an older one" in finding.title
    assert values(finding)["pythons[0].packages.opencv-python.version"] == "4.9.0.80"


@pytest.mark.parametrize(
    "requires",
    [
        ("numpy>=1.26",),
        ("numpy",),
        ("numpy<3,>=1.26",),
        ('numpy<2; python_version < "3.9"',),
        ('numpy<2; extra == "old"',),
        ("numpydoc<1",),
        ("numpy <> nonsense",),
    ],
)
def test_requirements_that_numpy_2_meets_are_silent(requires: tuple[str, ...]) -> None:
    assert raised("NP001", holding("2.2.6", torch(), packages=(package("numba", "0.61.0", requires=requires),))) == ()


def conda_torch(build: str) -> Snapshot:
    packages = (
        package("numpy", "2.0.1", installer="conda"),
        package("torch", "2.1.2", installer="conda"),
        package("numpy", "2.0.1", installer="conda", build="py310h5f9d8c6_1"),
        package("pytorch", "2.1.2", installer="conda", build=build),
    )
    return workstation(pythons=(env(torch("2.1.2", "12.1"), packages=packages, manager="conda", prefix="/c/dl"),))


def test_of_condas_builds_those_of_pytorchs_own_channel_were_never_rebuilt() -> None:
    finding = only("NP001", conda_torch("py3.10_cuda12.1_cudnn8.9.2_0"))
    assert commands(finding)[0] == "conda install --prefix /c/dl numpy<2"
    assert only("NP001", conda_torch("py3.10_cpu_0")).severity == "error"
    assert raised("NP001", conda_torch("cuda120_py310h327d3bc_201")) == ()


@pytest.mark.parametrize(
    "machine",
    [
        workstation(),
        holding("1.26.4", torch("2.2.2+cu121", "12.1"), TENSORFLOW),
        # Built for NumPy 2, run on NumPy 1: works.
        holding("1.26.4", torch("2.8.0+cu128", "12.8")),
        holding("2.1.3", Framework(name="tensorflow", version="2.18.0")),
        workstation(
            pythons=(
                env(
                    torch("2.1.2", "12.0"),
                    packages=(
                        package("numpy", "2.0.1", installer="conda"),
                        package("torch", "2.1.2", installer="conda"),
                    ),
                ),
            )
        ),
        workstation(pythons=(env(torch("2.2.2", "12.1"), packages=()),)),
        holding("nightly", torch("2.2.2", "12.1")),
    ],
)
def test_what_runs_is_silent(machine: Snapshot) -> None:
    assert raised("NP001", machine) == ()
