from __future__ import annotations

from typing import Any

import pytest
from judged import commands, diagnose, only, raised, values
from machines import changed, env, package, torch, unknown, workstation

from envdoctor.model.snapshot import Library, Package, Snapshot, Variable

WHEEL = "/home/me/env/lib/python3.12/site-packages/nvidia/cudnn/lib/libcudnn.so.9"
SYSTEM = "/usr/local/cuda/lib64/libcudnn.so.9"


def shadowing(
    version: str | None, own: str | None, name: Any = "cudnn", path: str = "/usr/local/cuda/lib64/", pin: str = "=="
) -> Snapshot:
    owner = package("torch", "2.8.0", requires=(f"nvidia-cudnn-cu12{pin}{own}.21; sys_platform == 'linux'",))
    return workstation(
        pythons=(env(torch(), packages=(owner,)),),
        libraries=(
            Library(name=name, path=WHEEL, version=own, owner="pip"),
            Library(name=name, path=SYSTEM, version=version, owner="system", shadows=WHEEL),
        ),
        variables=(Variable(name="LD_LIBRARY_PATH", value=f"/opt/lib:{path}"),),
    )


def test_an_older_cudnn_in_ld_library_path_is_loaded_first() -> None:
    finding = only("CUDNN001", shadowing("9.1.0", "9.10.2"))
    assert (finding.rule, finding.severity, finding.certainty) == ("cudnn-shadowed", "error", "certain")
    assert finding.title == (
        "cuDNN 9.1.0 in /usr/local/cuda/lib64 is loaded instead of the 9.10.2 that the framework brought"
    )
    assert values(finding)["libraries[1].version"] == "9.1.0"
    assert values(finding)["libraries[0].version"] == "9.10.2"
    assert "variables.LD_LIBRARY_PATH" in values(finding)
    assert commands(finding) == [
        "env -u LD_LIBRARY_PATH /home/me/env/bin/python train.py",
        "unset LD_LIBRARY_PATH",
    ]


def test_a_newer_cudnn_inside_its_major_is_a_warning() -> None:
    assert only("CUDNN001", shadowing("9.13.0", "9.10.2")).severity == "warning"


def test_an_older_cudnn_that_nobody_pins_is_a_warning() -> None:
    # The wheel may have been updated since the framework was built.
    finding = only("CUDNN001", shadowing("9.1.0", "9.10.2", pin=">"))
    assert (finding.severity, finding.certainty) == ("warning", "likely")


def test_another_library_has_the_other_slug() -> None:
    finding = only("CUDNN001", shadowing("12.4.127", "12.8.93", name="nvjitlink"))
    assert finding.rule == "cuda-libraries-shadowed"
    assert finding.title.startswith("nvJitLink 12.4.127")
    assert (finding.severity, finding.certainty) == ("warning", "likely")


def test_without_the_variable_no_command_is_made_up() -> None:
    finding = only("CUDNN001", shadowing("9.1.0", "9.10.2", path="/elsewhere"))
    assert finding.fixes == ()
    assert "variables.LD_LIBRARY_PATH" not in values(finding)


def test_the_parts_of_one_library_are_one_message() -> None:
    machine = shadowing("9.1.0", "9.10.2")
    part = Library(name="cudnn", path=SYSTEM.replace("cudnn", "cudnn_ops"), version="9.1.0", shadows=WHEEL)
    assert len(raised("CUDNN001", changed(machine, libraries=(*machine.libraries, part)))) == 1


@pytest.mark.parametrize(
    "machine",
    [
        shadowing("9.10.2", "9.10.2"),
        shadowing("9.10.1", "9.10.2"),
        shadowing(None, "9.10.2"),
        shadowing("9.1.0", None),
        # The folder is in the variable, and the loader takes the wheel's own copy all the same.
        workstation(
            libraries=(
                Library(name="cudnn", path=WHEEL, version="9.10.2", owner="pip"),
                Library(name="cudnn", path=SYSTEM, version="9.1.0"),
            ),
            variables=(Variable(name="LD_LIBRARY_PATH", value="/usr/local/cuda/lib64"),),
        ),
        workstation(),
    ],
)
def test_a_copy_that_is_not_loaded_or_not_different_is_silent(machine: Snapshot) -> None:
    assert raised("CUDNN001", machine) == ()


def test_libraries_that_could_not_be_looked_at_are_not_judged() -> None:
    assert "CUDNN001" in [each.id for each in diagnose(unknown(workstation(), "libraries")).not_checked]


# CUDNN003

TORCH_12 = package("torch", "2.8.0", requires=("nvidia-cudnn-cu12==9.10.2.21", "nvidia-cublas-cu12==12.8.4.1"))
TORCH_13 = package("torch", "2.14.1", requires=("nvidia-cudnn-cu13==9.24.0.43", "cuda-toolkit[cublas]==13.0.3"))
TOOLKIT_13 = package("cuda-toolkit", "13.0.3", requires=('nvidia-cublas==13.1.0.3; extra == "cublas"',))


def having(*packages: Package) -> Snapshot:
    return workstation(pythons=(env(torch(), packages=packages),))


def test_two_majors_in_one_folder_are_a_warning() -> None:
    machine = having(TORCH_13, package("nvidia-cudnn-cu13", "9.24.0.43"), package("nvidia-cudnn-cu12", "9.10.2.21"))
    finding = only("CUDNN003", machine)
    assert (finding.severity, finding.certainty) == ("warning", "likely")
    assert "CUDA 12 and 13" in finding.title
    assert finding.title.endswith("both bring cudnn")
    assert values(finding) == {
        "pythons[0].packages.nvidia-cudnn-cu13.version": "9.24.0.43",
        "pythons[0].packages.nvidia-cudnn-cu12.version": "9.10.2.21",
    }
    # Taking one out takes files of the other with it.
    assert commands(finding) == [
        "/home/me/env/bin/python -m pip uninstall --yes nvidia-cudnn-cu12",
        "/home/me/env/bin/python -m pip install --force-reinstall --no-deps nvidia-cudnn-cu13==9.24.0.43",
    ]


def test_left_over_wheels_are_a_warning() -> None:
    machine = having(
        TORCH_13,
        TOOLKIT_13,
        package("nvidia-cuda-runtime", "13.0.96"),
        package("nvidia-cublas", "13.1.0.3"),
        package("nvidia-cublas-cu12", "12.8.4.1"),
    )
    finding = only("CUDNN003", machine)
    assert (finding.severity, finding.rule) == ("warning", "cuda-wheels-of-two-majors")
    assert "nothing asks for those of CUDA 12" in finding.title
    assert commands(finding) == ["/home/me/env/bin/python -m pip uninstall --yes nvidia-cublas-cu12"]


def test_two_frameworks_with_one_major_each_are_a_note() -> None:
    jax = package("jax-cuda12-plugin", "0.6.2", requires=('nvidia-cublas-cu12>=12.1; extra == "with-cuda"',))
    machine = having(
        TORCH_13,
        jax,
        package("nvidia-cudnn-cu13", "9.24.0.43"),
        package("nvidia-cublas-cu12", "12.8.4.1"),
    )
    finding = only("CUDNN003", machine)
    assert (finding.severity, finding.fixes) == ("note", ())


def test_an_owned_clash_asks_for_separate_environments() -> None:
    jax = package("jax-cuda12-plugin", "0.6.2", requires=('nvidia-cudnn-cu12>=9.8; extra == "with-cuda"',))
    machine = having(
        TORCH_13, jax, package("nvidia-cudnn-cu13", "9.24.0.43"), package("nvidia-cudnn-cu12", "9.10.2.21")
    )
    finding = only("CUDNN003", machine)
    assert finding.severity == "warning"
    assert commands(finding) == ["envdoctor provision"]


def test_a_report_without_requirements_accuses_nobody() -> None:
    bare = having(package("nvidia-cublas-cu12", "12.8.4.1"), package("nvidia-cufft-cu11", "10.9.0.58"))
    assert only("CUDNN003", bare).severity == "note"


@pytest.mark.parametrize(
    "machine",
    [
        having(TORCH_12, package("nvidia-cudnn-cu12", "9.10.2.21"), package("nvidia-cublas-cu12", "12.8.4.1")),
        # Not CUDA runtimes, and unsuffixed names that belong to CUDA 13.
        having(TORCH_12, package("nvidia-cudnn-cu12", "9.10.2.21"), package("nvidia-ml-py", "13.590.44")),
        having(TORCH_12, package("nvidia-cudnn-cu12", "9.10.2.21"), package("nvidia-cutlass-dsl", "4.2.1")),
        having(
            TORCH_13,
            TOOLKIT_13,
            package("nvidia-cudnn-cu13", "9.24.0.43"),
            package("nvidia-cublas", "13.1.0.3"),
            package("nvidia-cuda-runtime", "13.0.96"),
        ),
        workstation(),
    ],
)
def test_one_major_is_silent(machine: Snapshot) -> None:
    assert raised("CUDNN003", machine) == ()
