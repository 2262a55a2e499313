from __future__ import annotations

import pytest
from judged import commands, diagnose, only, raised, shown, values
from machines import changed, cpu_only, env, package, system, torch, unknown, windows, workstation

from envdoctor.model.snapshot import Framework, Library, Package, Snapshot, Toolkit, Variable


def beside(built: Framework, *packages: Package, machine: Snapshot | None = None) -> Snapshot:
    """Give a workstation with this torch and these distributions beside it."""
    return changed(
        machine or workstation(),
        pythons=(env(built, packages=(package("torch", built.version), *packages)),),
    )


def vision(version: str, *requires: str) -> Package:
    return package("torchvision", version, requires=requires)


def audio(version: str, *requires: str) -> Package:
    return package("torchaudio", version, requires=requires)


# TORCH004


def test_torchvision_for_another_torch_by_its_own_metadata() -> None:
    machine = beside(torch("2.6.0+cu124", "12.4"), vision("0.20.1+cu121", "numpy", "torch==2.5.1"))
    finding = only("TORCH004", machine)
    assert (finding.rule, finding.severity, finding.certainty) == (
        "companion-built-for-other-torch",
        "error",
        "certain",
    )
    assert finding.title == "torchvision 0.20.1+cu121 belongs to PyTorch 2.5.1, and 2.6.0+cu124 is installed"
    assert values(finding) == {
        "pythons[0].packages.torchvision.version": "0.20.1+cu121",
        "pythons[0].frameworks.torch.version": "2.6.0+cu124",
    }
    assert commands(finding) == [
        "/home/me/env/bin/python -m pip uninstall --yes torchvision",
        "/home/me/env/bin/python -m pip install torchvision==0.21.0 --index-url https://download.pytorch.org/whl/cu124",
    ]
    assert "TORCH010" not in shown(machine)


def test_torchvision_for_another_torch_by_the_table() -> None:
    finding = only("TORCH004", beside(torch("2.6.0", "12.4"), vision("0.20.1")))
    assert "belongs to PyTorch 2.5.1" in finding.title
    assert commands(finding)[-1].endswith("pip install torchvision==0.21.0")


def test_only_the_last_part_differs() -> None:
    finding = only("TORCH004", beside(torch("2.5.0", "12.4"), vision("0.20.1", "torch==2.5.1")))
    assert finding.severity == "warning"


def test_a_free_torchvision_needs_a_new_enough_torch() -> None:
    assert "2.14 or newer" in only("TORCH004", beside(torch("2.13.0", "13.0"), vision("0.29.1"))).title
    assert raised("TORCH004", beside(torch("2.15.0", "13.2"), vision("0.29.0"))) == ()
    stated = only("TORCH004", beside(torch("2.13.0", "13.0"), vision("0.29.1", "torch>=2.14.0")))
    assert "belongs to PyTorch >=2.14.0" in stated.title


def test_a_marker_that_does_not_hold_here_asks_for_nothing() -> None:
    elsewhere = vision("0.20.1", 'torch==2.5.1; sys_platform == "darwin"')
    assert raised("TORCH004", beside(torch("2.6.0", "12.4"), elsewhere)) == ()
    here = vision("0.20.1", 'torch==2.5.1; python_version >= "3.10" and platform_machine == "x86_64"')
    assert only("TORCH004", beside(torch("2.6.0", "12.4"), here)).severity == "error"


@pytest.mark.parametrize(
    ("built", "companion"),
    [
        (torch("2.8.0+cu128", "12.8"), vision("0.23.0+cu128", "torch==2.8.0")),
        (torch("2.8.0+cu128", "12.8"), vision("0.23.0+cu126", "torch==2.8.0")),  # the tag is TORCH010's
        (torch("2.8.0", "12.8"), vision("0.23.0")),
        (torch("2.5.1", "12.4"), vision("0.20.0")),
        (torch("2.9.0.dev20250901+cu128", "12.8"), vision("0.24.0.dev20250901+cu128", "torch==2.9.0.dev20250901")),
        (torch("1.14.0.dev20221110", "11.7"), vision("0.14.0")),
        (torch("2.6.0a0+df5bbc09d1.nv24.12", "12.6"), vision("0.20.0a0")),
        (torch("9.9.0", "13.0"), vision("0.20.0")),
        (torch("nightly", "13.0"), vision("")),
        (torch("2.8.0", "12.8"), vision("0.23.0", "torch is not a requirement (")),
        (torch("2.8.0", "12.8"), package("torchdata", "0.11.0")),
    ],
)
def test_pairs_that_fit_or_are_not_known_are_silent(built: Framework, companion: Package) -> None:
    assert raised("TORCH004", beside(built, companion)) == ()


def test_conda_chooses_its_pair_in_a_fresh_environment() -> None:
    machine = beside(torch("2.6.0", "12.4"), vision("0.20.1", "torch==2.5.1"))
    assert machine.python
    packages = tuple(changed(each, installer="conda") for each in machine.python.packages)
    machine = changed(machine, pythons=(changed(machine.python, packages=packages),))
    assert commands(only("TORCH004", machine)) == ["envdoctor provision"]


# TORCH005


def test_torchaudio_for_another_torch() -> None:
    finding = only("TORCH005", beside(torch("2.10.0", "12.8"), audio("2.9.1", "torch==2.9.1"), vision("0.25.0")))
    assert finding.title == "torchaudio 2.9.1 belongs to PyTorch 2.9.1, and 2.10.0 is installed"
    assert commands(finding)[-1].endswith("pip install torchvision==0.25.0 torchaudio==2.10.0")


def test_a_torchaudio_without_pin_needs_a_new_enough_torch() -> None:
    assert only("TORCH005", beside(torch("2.10.0", "12.8"), audio("2.11.0"))).severity == "error"
    assert raised("TORCH005", beside(torch("2.14.1", "13.0"), audio("2.11.0"))) == ()
    assert raised("TORCH005", beside(torch("2.11.0+cu126", "12.6"), audio("2.11.0+cu126"))) == ()


def test_torchaudio_is_fetched_without_the_index_that_never_had_it() -> None:
    finding = only("TORCH005", beside(torch("2.14.1+cu132", "13.2"), audio("2.10.0", "torch==2.10.0")))
    assert commands(finding) == [
        "/home/me/env/bin/python -m pip uninstall --yes torchaudio",
        "/home/me/env/bin/python -m pip install --no-deps torchaudio==2.11.0",
    ]


# TORCH010


def test_builds_of_two_indexes() -> None:
    finding = only("TORCH010", beside(torch("2.6.0+cu124", "12.4"), vision("0.21.0+cu118", "torch==2.6.0")))
    expected = ("companion-built-for-other-torch", "error", "certain")
    assert (finding.rule, finding.severity, finding.certainty) == expected
    assert finding.title == "torchvision 0.21.0+cu118 is a cu118 build, and PyTorch 2.6.0+cu124 is a cu124 build"
    assert commands(finding)[-1].endswith("torchvision==0.21.0 --index-url https://download.pytorch.org/whl/cu124")


def test_the_build_of_a_torch_without_tag_is_read_from_its_files() -> None:
    finding = only("TORCH010", beside(torch("2.6.0", "12.4"), vision("0.21.0+cu118")))
    assert values(finding)["pythons[0].frameworks.torch.cuda"] == "12.4"
    assert raised("TORCH010", beside(torch("2.6.0", "12.4"), vision("0.21.0+cu124"))) == ()


@pytest.mark.parametrize(
    ("built", "companion", "expected"),
    [
        # torchvision compares the major version of CUDA, torchaudio the whole.
        (torch("2.8.0+cu128", "12.8"), vision("0.23.0+cu126"), ("warning", "likely")),
        (torch("2.8.0+cu128", "12.8"), audio("2.8.0+cu126"), ("error", "certain")),
        (torch("2.8.0+cpu", None), vision("0.23.0+cu126"), ("error", "certain")),
        (torch("2.8.0+cu128", "12.8"), vision("0.23.0+xpu"), ("error", "certain")),
        (torch("2.8.0+cpu", None, gpu_build=True, hip="6.4"), vision("0.23.0+rocm6.3"), ("error", "certain")),
        # It belongs to no single torch any more.
        (torch("2.14.1+cu132", "13.2"), vision("0.29.1+cu126"), ("warning", "likely")),
    ],
)
def test_an_import_that_is_sure_to_stop_is_an_error(
    built: Framework, companion: Package, expected: tuple[str, str]
) -> None:
    finding = only("TORCH010", beside(built, companion))
    assert (finding.severity, finding.certainty) == expected


def test_a_cpu_helper_beside_a_gpu_torch_is_a_warning() -> None:
    finding = only("TORCH010", beside(torch("2.6.0+cu124", "12.4"), vision("0.21.0+cpu")))
    assert finding.severity == "warning"
    assert "no GPU operators" in finding.detail


@pytest.mark.parametrize(
    "machine",
    [
        beside(torch("2.6.0+cu124", "12.4"), vision("0.21.0")),  # no tag is no difference
        beside(torch("2.6.0", "12.4"), vision("0.21.0")),
        beside(torch("2.14.1+cu126", "12.6"), audio("2.11.0+cu130")),  # has no CUDA in it
        beside(torch("2.13.0+cpu", None), vision("0.28.0+cpu"), machine=cpu_only()),
        beside(torch("2.9.0.dev20250901+cu128", "12.8"), vision("0.24.0.dev20250901+cu128")),
        beside(torch("2.6.0a0+df5bbc09d1.nv24.12", "12.6"), vision("0.20.0a0+afc54f7")),
        beside(Framework(name="torch", version="2.6.0"), vision("0.21.0+cu124")),
    ],
)
def test_no_difference_of_builds(machine: Snapshot) -> None:
    assert raised("TORCH010", machine) == ()


# TORCH011

LINUX_64 = 'platform_system == "Linux" and platform_machine == "x86_64"'
PINS = (f"nvidia-cudnn-cu12==9.10.2.21; {LINUX_64}", f"nvidia-nccl-cu12==2.27.3; {LINUX_64}", "filelock")


def pinned(*packages: Package, requires: tuple[str, ...] = PINS, version: str = "2.8.0") -> Snapshot:
    owner = package("torch", version, requires=requires)
    return workstation(pythons=(env(torch(version, "12.8"), packages=(owner, *packages)),))


def test_a_newer_cudnn_inside_its_major_is_a_warning() -> None:
    machine = pinned(package("nvidia-cudnn-cu12", "9.13.0.50"), package("nvidia-nccl-cu12", "2.27.3"))
    finding = only("TORCH011", machine)
    assert (finding.rule, finding.severity, finding.certainty) == ("cudnn-shadowed", "warning", "likely")
    assert finding.title == ("PyTorch 2.8.0 asks for nvidia-cudnn-cu12 9.10.2.21, and 9.13.0.50 is installed")
    assert values(finding)["pythons[0].packages.nvidia-cudnn-cu12.version"] == "9.13.0.50"
    assert commands(finding) == [
        "/home/me/env/bin/python -m pip install --force-reinstall --no-deps nvidia-cudnn-cu12==9.10.2.21"
    ]


@pytest.mark.parametrize("version", ["9.5.1.17", "8.9.2.26"])
def test_an_older_cudnn_is_an_error(version: str) -> None:
    machine = pinned(package("nvidia-cudnn-cu12", version), package("nvidia-nccl-cu12", "2.27.3"))
    finding = only("TORCH011", machine)
    assert (finding.severity, finding.certainty) == ("error", "certain")


def test_an_older_build_of_a_cudnn_is_a_warning() -> None:
    machine = pinned(package("nvidia-cudnn-cu12", "9.10.1.4"), package("nvidia-nccl-cu12", "2.26.2"))
    finding = only("TORCH011", machine)
    assert (finding.severity, finding.certainty) == ("warning", "likely")


def test_another_cublas_is_a_warning_inside_its_major() -> None:
    machine = pinned(package("nvidia-cublas-cu12", "12.9.1.4"), requires=("nvidia-cublas-cu12==12.8.4.1",))
    finding = only("TORCH011", machine)
    assert (finding.rule, finding.severity) == ("cuda-libraries-shadowed", "warning")
    other = pinned(package("nvidia-cublas", "12.9.1.4"), requires=("nvidia-cublas==13.1.0.3",))
    assert only("TORCH011", other).severity == "error"


def test_a_missing_library_that_something_else_may_bring_is_a_warning() -> None:
    machine = pinned(package("nvidia-nccl-cu12", "2.27.3"))
    found_by_loader = Library(name="cudnn", path="/usr/lib/x86_64-linux-gnu/libcudnn.so.9", version="9.10.2")
    for other in (
        changed(machine, libraries=(found_by_loader,)),
        changed(machine, toolkits=(Toolkit(path="/usr/local/cuda-12.8"),)),
        changed(machine, variables=(Variable(name="LD_LIBRARY_PATH", value="/opt/cudnn/lib"),)),
        unknown(machine, "libraries"),
        pinned(package("nvidia-cudnn-cu12", "9.10.2.21"), requires=(*PINS[:1], "nvidia-cublas-cu12==12.8.4.1")),
    ):
        finding = only("TORCH011", other)
        assert (finding.rule, finding.severity, finding.certainty) == ("cuda-libraries-missing", "warning", "likely")


def test_a_missing_library_is_told_apart() -> None:
    finding = only("TORCH011", pinned(package("nvidia-nccl-cu12", "2.27.3")))
    assert (finding.rule, finding.severity, finding.certainty) == ("cuda-libraries-missing", "error", "certain")
    assert "needs nvidia-cudnn-cu12 9.10.2.21, and it is not installed" in finding.title


CUDA_13 = (
    'cuda-bindings<14,>=13.0.3; platform_system == "Linux"',
    'cuda-toolkit[cublas,cudart,nvrtc]==13.0.3; platform_system == "Linux"',
    'nvidia-cudnn-cu13==9.24.0.43; platform_system == "Linux"',
)


def test_a_toolkit_asked_for_with_extras_is_judged_by_its_own_version() -> None:
    there = (package("cuda-bindings", "13.2.0"), package("nvidia-cudnn-cu13", "9.24.0.43"))
    fine = pinned(*there, package("cuda-toolkit", "13.0.3"), requires=CUDA_13, version="2.14.1")
    assert raised("TORCH011", fine) == ()
    other = pinned(*there, package("cuda-toolkit", "13.2.2"), requires=CUDA_13, version="2.14.1")
    assert only("TORCH011", other).severity == "warning"


def test_markers_are_evaluated_for_the_judged_machine() -> None:
    assert raised("TORCH011", windows(pythons=pinned().pythons)) == ()
    assert raised("TORCH011", system(pinned(), machine="aarch64")) == ()
    only_extra = pinned(requires=('nvidia-nccl-cu12==2.27.3; extra == "distributed"',))
    assert raised("TORCH011", only_extra) == ()
    assert raised("TORCH011", system(pinned(), machine=None)) == ()


@pytest.mark.parametrize(
    "machine",
    [
        pinned(package("nvidia-cudnn-cu12", "9.10.2.21"), package("nvidia-nccl-cu12", "2.27.3")),
        pinned(requires=()),
        cpu_only(),
        workstation(
            pythons=(
                env(
                    torch("2.5.1", "12.6"),
                    packages=(package("torch", "2.5.1", installer="conda", requires=PINS),),
                ),
            )
        ),
    ],
)
def test_libraries_that_torch_asks_for_are_silent(machine: Snapshot) -> None:
    assert raised("TORCH011", machine) == ()


def test_requirements_that_could_not_be_read_are_not_judged() -> None:
    machine = unknown(pinned(), "pythons[0].packages.torch.requires")
    assert "TORCH011" in [each.id for each in diagnose(machine).not_checked]
