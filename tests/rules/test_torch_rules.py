from __future__ import annotations

from typing import Any

import pytest
from judged import commands, diagnose, only, raised, shown, values
from machines import changed, cpu_only, driver, env, gpu, package, system, torch, unknown, windows, workstation, wsl2

from envdoctor.model.snapshot import Driver, Framework, Gpu, Package, Problem, Snapshot, Variable
from envdoctor.rules.frameworks.installed import build_tag

HOPPER_AND_OLDER = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")
TURING_AND_NEWER = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")
GTX_1080_TI = ("NVIDIA GeForce GTX 1080 Ti", "6.1")
RTX_3060 = ("NVIDIA GeForce RTX 3060", "8.6")
RTX_4090 = ("NVIDIA GeForce RTX 4090", "8.9")
RTX_5090 = ("NVIDIA GeForce RTX 5090", "12.0")
H100 = ("NVIDIA H100 80GB HBM3", "9.0")
V100 = ("Tesla V100-SXM2-16GB", "7.0")
K80 = ("Tesla K80", "3.7")


def holding(
    *cards: tuple[str, str],
    version: str,
    cuda: str | None,
    release: str = "570.124.06",
    packages: tuple[Package, ...] | None = None,
    **framework: Any,
) -> Snapshot:
    """Give a workstation with these cards and this torch, whose file was not read unless archs are given."""
    built = torch(version, cuda, **{"archs": None, **framework})
    return workstation(
        driver=driver(release, None),
        gpus=tuple(gpu(name, capability, index) for index, (name, capability) in enumerate(cards)),
        pythons=(env(built, packages=packages),),
    )


# TORCH001


def test_a_cpu_build_beside_a_gpu_is_a_warning_with_a_wheel_for_that_driver() -> None:
    machine = holding(RTX_3060, version="2.13.0+cpu", cuda=None)
    finding = only("TORCH001", machine)
    assert (finding.rule, finding.severity, finding.certainty) == ("cpu-only-build", "warning", "certain")
    assert finding.title == "PyTorch 2.13.0+cpu has no GPU code, so the RTX 3060 stays idle"
    assert values(finding) == {"pythons[0].frameworks.torch.version": "2.13.0+cpu", "gpus[0].capability": "8.6"}
    assert commands(finding) == [
        "/home/me/env/bin/python -m pip uninstall --yes torch",
        "/home/me/env/bin/python -m pip install torch==2.14.1 --index-url https://download.pytorch.org/whl/cu126",
    ]
    assert shown(machine) == ["TORCH001"]


def test_the_companions_at_hand_are_changed_together() -> None:
    packages = (package("torch", "2.8.0+cpu"), package("torchvision", "0.23.0+cpu"), package("torchaudio", "2.8.0+cpu"))
    machine = holding(V100, version="2.8.0+cpu", cuda=None, packages=packages)
    remove, install = commands(only("TORCH001", machine))
    assert remove.endswith("pip uninstall --yes torch torchvision torchaudio")
    # torchaudio stopped at 2.11, which has a cu126 build.
    assert "torch==2.14.1 torchvision==0.29.1 torchaudio==2.11.0 --index-url" in install


def test_uv_fills_the_environment_it_made() -> None:
    packages = (package("torch", "2.8.0+cpu", installer="uv"),)
    install = commands(only("TORCH001", holding(RTX_3060, version="2.8.0+cpu", cuda=None, packages=packages)))[-1]
    assert install.startswith("uv pip install --python /home/me/env/bin/python torch==")


def test_a_conda_torch_is_not_overwritten_with_pip() -> None:
    packages = (
        package("torch", "2.5.1", installer="conda"),
        package("pytorch", "2.5.1", installer="conda", build="cpu_generic_py312_0"),
    )
    finding = only("TORCH001", holding(RTX_3060, version="2.5.1", cuda=None, packages=packages))
    assert commands(finding) == ["envdoctor provision --cuda 12.6"]


def test_a_driver_too_old_for_every_wheel_is_updated_first() -> None:
    finding = only("TORCH001", holding(RTX_3060, version="2.13.0+cpu", cuda=None, release="440.33"))
    assert "580.65.06" in finding.fixes[0].summary
    assert finding.fixes[0].effect == "needs-reboot"
    assert commands(finding)[-1].endswith("/whl/cu130")


def test_a_gpu_that_no_current_wheel_serves_is_told_so_and_nothing_is_reinstalled() -> None:
    finding = only("TORCH001", holding(K80, version="2.13.0+cpu", cuda=None, release="470.82.01"))
    assert (finding.rule, finding.severity, finding.fixes) == ("gpu-too-old-for-build", "note", ())
    assert finding.title.endswith("no current wheel has any for your Tesla K80 (sm_37)")


@pytest.mark.parametrize(
    "machine",
    [
        cpu_only(),
        workstation(),
        system(holding(RTX_3060, version="2.8.0", cuda=None), jetson="Jetson AGX Orin", machine="aarch64"),
        workstation(gpus=(gpu(bound_driver="vfio-pci"),), pythons=(env(torch("2.8.0+cpu", None)),)),
        # An editable install, or a report that names a version: which build it is, is not known.
        workstation(pythons=(env(Framework(name="torch", version="2.8.0")),)),
        workstation(pythons=(env(torch("2.8.0+rocm6.4", None, hip="6.4", gpu_build=True)),)),
        workstation(pythons=(env(),)),
    ],
)
def test_no_cpu_build_is_reported_without_one(machine: Snapshot) -> None:
    assert raised("TORCH001", machine) == ()


def test_the_plain_wheel_for_windows_is_a_cpu_build() -> None:
    machine = windows(pythons=(env(Framework(name="torch", version="2.8.0")),))
    assert only("TORCH001", machine).rule == "cpu-only-build"


def test_what_is_unknown_of_the_build_is_not_judged() -> None:
    machine = unknown(holding(RTX_3060, version="2.13.0+cpu", cuda=None), "pythons[0].frameworks.torch.cuda")
    told = diagnose(machine)
    assert "TORCH001" in [each.id for each in told.not_checked]
    assert "TORCH001" not in [each.id for each in told.findings]


# TORCH002


def test_a_new_card_needs_a_newer_wheel() -> None:
    machine = holding(RTX_5090, version="2.5.1+cu121", cuda="12.1", archs=HOPPER_AND_OLDER, release="575.51.03")
    finding = only("TORCH002", machine)
    assert (finding.rule, finding.severity, finding.certainty) == ("gpu-too-new-for-build", "error", "certain")
    assert finding.title == (
        "PyTorch 2.5.1+cu121 has no code for your RTX 5090 (sm_120); it was built for sm_50 to sm_90"
    )
    assert values(finding)["gpus[0].capability"] == "12.0"
    assert values(finding)["pythons[0].frameworks.torch.archs"] == ", ".join(HOPPER_AND_OLDER)
    # Driver 575 runs CUDA 12; 2.11.0 is the last release with a CUDA 12.8 build.
    assert commands(finding)[1].endswith("torch==2.11.0 --index-url https://download.pytorch.org/whl/cu128")


def test_an_old_card_needs_the_line_that_kept_it() -> None:
    machine = holding(GTX_1080_TI, version="2.8.0+cu128", cuda="12.8", archs=("sm_70", *TURING_AND_NEWER))
    finding = only("TORCH002", machine)
    assert finding.rule == "gpu-too-old-for-build"
    newest, same = finding.fixes
    assert newest.commands[-1][-3:] == ("torch==2.14.1", "--index-url", "https://download.pytorch.org/whl/cu126")
    assert same.commands[-1][-3:] == ("torch==2.8.0", "--index-url", "https://download.pytorch.org/whl/cu126")
    assert all(fix.effect == "changes-env" for fix in finding.fixes)


def test_every_gpu_of_a_mixed_host_is_judged_and_one_wheel_serves_all() -> None:
    machine = holding(RTX_4090, GTX_1080_TI, version="2.8.0+cu128", cuda="12.8", archs=TURING_AND_NEWER)
    finding = only("TORCH002", machine)
    assert "GTX 1080 Ti (sm_61)" in finding.title
    assert "RTX 4090" not in finding.title
    assert "gpus[1].capability" in values(finding)
    assert "gpus[0].capability" not in values(finding)
    assert "torch==2.14.1 --index-url https://download.pytorch.org/whl/cu126" in commands(finding)[1]


def test_cards_that_no_wheel_serves_together_get_environments_of_their_own() -> None:
    machine = holding(RTX_5090, GTX_1080_TI, version="2.11.0+cu128", cuda="12.8", release="580.95.05")
    finding = only("TORCH002", machine)
    assert finding.rule == "gpu-too-old-for-build"
    assert "No single wheel serves all GPUs" in finding.fixes[0].summary
    assert commands(finding) == ["envdoctor provision --cuda 12.6"]


def test_cards_hidden_from_cuda_are_a_warning() -> None:
    machine = holding(RTX_4090, GTX_1080_TI, version="2.8.0+cu128", cuda="12.8", archs=TURING_AND_NEWER)
    hidden = changed(machine, variables=(Variable(name="CUDA_VISIBLE_DEVICES", value="0"),))
    finding = only("TORCH002", hidden)
    assert (finding.severity, finding.certainty) == ("warning", "likely")


def test_the_table_answers_where_the_file_was_not_read() -> None:
    finding = only("TORCH002", holding(GTX_1080_TI, version="2.8.0+cu128", cuda="12.8"))
    assert finding.certainty == "certain"
    assert list(values(finding)) == ["pythons[0].frameworks.torch.version", "gpus[0].capability"]


def test_a_row_in_doubt_makes_it_likely() -> None:
    # The cu129 build of 2.9.1 was read in one third-party copy only.
    machine = holding(GTX_1080_TI, version="2.9.1+cu129", cuda="12.9")
    finding = only("TORCH002", machine)
    assert (finding.severity, finding.certainty) == ("warning", "likely")

    line = Problem(text="RuntimeError: CUDA error: no kernel image is available for execution on the device")
    proven = only("TORCH002", changed(machine, problems=(Problem(text="x"), line)))
    assert (proven.severity, proven.certainty) == ("error", "likely")
    assert values(proven)["problems[1].text"] == line.text


def test_what_cuda_itself_left_out_needs_no_table() -> None:
    finding = only("TORCH002", holding(V100, version="2.13.0+cu130", cuda="13.0", release="580.65.06"))
    assert (finding.severity, finding.certainty) == ("error", "certain")


def test_on_windows_the_list_of_linux_stands_in_as_likely() -> None:
    machine = windows(gpus=(gpu(*GTX_1080_TI),), pythons=(env(torch("2.8.0+cu128", "12.8", archs=None)),))
    finding = only("TORCH002", machine)
    assert (finding.severity, finding.certainty) == ("warning", "likely")


def test_a_card_is_known_by_its_name_where_its_capability_is_not() -> None:
    machine = holding(GTX_1080_TI, version="2.8.0+cu128", cuda="12.8")
    machine = changed(machine, gpus=(gpu(GTX_1080_TI[0], None),))
    assert values(only("TORCH002", machine))["gpus[0].name"] == GTX_1080_TI[0]


def test_kepler_gets_the_cpu_build() -> None:
    machine = holding(K80, version="2.8.0+cu126", cuda="12.6", release="470.82.01")
    finding = only("TORCH002", machine)
    assert "No current wheel serves the Tesla K80" in finding.fixes[0].summary
    assert commands(finding)[-1].endswith("torch --index-url https://download.pytorch.org/whl/cpu")


def test_jit_compiling_on_purpose_makes_it_likely() -> None:
    machine = holding(GTX_1080_TI, version="2.8.0+cu128", cuda="12.8", archs=TURING_AND_NEWER)
    forced = changed(machine, variables=(Variable(name="CUDA_FORCE_PTX_JIT", value="1"),))
    finding = only("TORCH002", forced)
    assert (finding.severity, finding.certainty) == ("warning", "likely")


@pytest.mark.parametrize(
    "machine",
    [
        # Machine code for 8.6 runs on 8.9, and for 6.0 on 6.1: the commonest false alarm of other tools.
        holding(RTX_4090, version="2.6.0+cu118", cuda="11.8", archs=HOPPER_AND_OLDER),
        holding(GTX_1080_TI, version="2.6.0+cu118", cuda="11.8", archs=HOPPER_AND_OLDER),
        # PTX is compiled upwards.
        holding(RTX_5090, version="2.7.1+cu128", cuda="12.8", archs=("sm_90", "compute_90")),
        holding(V100, version="2.8.0+cu128", cuda="12.8"),
        # Another maker's build, not read; a version that is no release; a release newer than the table.
        holding(GTX_1080_TI, version="2.6.0a0+df5bbc09d1.nv24.12", cuda="12.6"),
        holding(GTX_1080_TI, version="nightly", cuda="12.8"),
        holding(GTX_1080_TI, version="9.0.0+cu128", cuda="12.8"),
        # 2.15.0: what its builds hold was not read.
        holding(GTX_1080_TI, version="2.15.0+cu132", cuda="13.2"),
        system(holding(("Orin", "8.7"), version="2.8.0", cuda="12.6", archs=("sm_80", "sm_90")), jetson="Orin"),
        cpu_only(),
    ],
)
def test_code_that_runs_or_is_not_known_is_not_reported(machine: Snapshot) -> None:
    assert raised("TORCH002", machine) == ()


# TORCH003


def test_the_plain_wheel_that_leaves_gpu_and_driver_out_is_one_message() -> None:
    machine = holding(
        GTX_1080_TI,
        version="2.11.0+cu130",  # torch/version.py names the build in the plain wheel too
        cuda="13.0",
        archs=TURING_AND_NEWER,
        packages=(package("torch", "2.11.0"), package("numpy", "2.2.6")),
    )
    assert shown(machine) == ["TORCH003"]
    finding = diagnose(machine).findings[0]
    assert set(finding.supersedes) == {"DRV007", "TORCH002"}
    assert finding.title == (
        "The plain PyTorch 2.11.0 wheel is a CUDA 13.0 build, which leaves out "
        "your GTX 1080 Ti (sm_61) and driver 570.124.06"
    )
    assert "580.65.06" in finding.detail
    assert {"driver.version", "gpus[0].capability", "pythons[0].frameworks.torch.cuda"} <= set(values(finding))
    assert values(finding)["pythons[0].packages.torch.version"] == "2.11.0"
    assert commands(finding)[1].endswith("/whl/cu126")


def test_only_the_driver_is_left_out() -> None:
    finding = only("TORCH003", holding(RTX_3060, version="2.11.0", cuda="13.0"))
    assert finding.rule == "driver-too-old"
    assert "leaves out driver 570.124.06" in finding.title
    assert commands(finding)[1].endswith("torch==2.14.1 --index-url https://download.pytorch.org/whl/cu126")
    assert "nvidia-driver-580-open" in " ".join(commands(finding))


def test_only_the_gpu_is_left_out() -> None:
    finding = only("TORCH003", holding(V100, version="2.15.0", cuda="13.2", release="580.65.06"))
    assert finding.rule == "gpu-too-old-for-build"
    assert finding.title.endswith("leaves out your Tesla V100-SXM2-16GB (sm_70)")
    assert commands(finding)[1].endswith("/whl/cu126")


@pytest.mark.parametrize(
    "machine",
    [
        holding(RTX_3060, version="2.11.0", cuda="13.0", release="580.65.06"),
        holding(RTX_3060, version="2.11.0+cu130", cuda="13.0"),  # chosen: DRV007 speaks of it
        holding(RTX_3060, version="2.10.0", cuda="12.8"),
        changed(
            holding(RTX_3060, version="2.11.0", cuda="13.0"),
            driver=driver("570.124.06", "13.0", libcuda_path="/usr/local/cuda-13.0/compat/libcuda.so.580.65.06"),
        ),
        changed(holding(RTX_3060, version="2.11.0", cuda="13.0"), driver=Driver()),
        holding(
            RTX_3060,
            version="2.11.0",
            cuda="13.0",
            packages=(package("torch", "2.11.0", installer="conda"),),
        ),
        windows(pythons=(env(torch("2.11.0", "13.0")),)),
    ],
)
def test_cuda13_that_runs_or_was_chosen_is_not_reported(machine: Snapshot) -> None:
    assert raised("TORCH003", machine) == ()


def test_in_wsl_the_windows_driver_counts() -> None:
    old = wsl2(pythons=(env(torch("2.11.0", "13.0")),), driver=driver("573.10", "12.8"))
    assert "driver 573.10" in only("TORCH003", old).title
    assert raised("TORCH003", wsl2(pythons=(env(torch("2.11.0", "13.0")),))) == ()


# TORCH015


def test_a_rocm_wheel_sees_no_nvidia_card() -> None:
    rocm = torch("2.8.0+rocm6.4", None, hip="6.4.43482", gpu_build=True)
    finding = only("TORCH015", workstation(pythons=(env(rocm),)))
    assert finding.severity == "error"
    assert "ROCm (AMD) build" in finding.title
    assert "RTX 3060" in finding.title
    assert values(finding) == {"pythons[0].frameworks.torch.hip": "6.4.43482", "gpus[0].vendor": "nvidia"}
    assert commands(finding)[-1].endswith("/whl/cu126")


def test_a_cuda_wheel_sees_no_amd_card() -> None:
    radeon = Gpu(vendor="amd", name="AMD Radeon RX 7900 XTX", target="gfx1100")
    finding = only("TORCH015", workstation(gpus=(radeon,)))
    assert "CUDA (NVIDIA) build" in finding.title
    assert commands(finding)[-1].endswith(
        "torch torchvision torchaudio --index-url https://download.pytorch.org/whl/rocm7.2"
    )
    old = changed(radeon, name="AMD Radeon RX 580", target="gfx803")
    assert only("TORCH015", workstation(gpus=(old,))).fixes == ()


@pytest.mark.parametrize(
    "machine",
    [
        workstation(gpus=(Gpu(vendor="intel", name="Intel UHD Graphics 630", integrated=True), gpu())),
        workstation(gpus=(Gpu(vendor="intel", name="Intel UHD Graphics 630"),)),
        workstation(gpus=(Gpu(vendor="amd", name="AMD Radeon Graphics", integrated=True),)),
        workstation(gpus=()),
        wsl2(pythons=(env(torch("2.8.0+rocm6.4", None, hip="6.4", gpu_build=True)),)),
        cpu_only(gpus=(Gpu(vendor="amd", name="AMD Radeon RX 7900 XTX"),)),
    ],
)
def test_graphics_inside_the_processor_and_wsl_are_no_other_vendor(machine: Snapshot) -> None:
    assert raised("TORCH015", machine) == ()


# TORCH016


def grace(version: str, **framework: Any) -> Snapshot:
    machine = holding(
        ("NVIDIA GH200 480GB", "9.0"), version=version, release="580.65.06", **{"cuda": None, **framework}
    )
    return system(machine, machine="aarch64")


def test_the_old_plain_wheel_for_arm_has_no_gpu_code() -> None:
    finding = only("TORCH016", grace("2.8.0"))
    assert (finding.rule, finding.severity) == ("cpu-only-build", "warning")
    assert values(finding)["system.machine"] == "aarch64"
    assert commands(finding)[-1].endswith("torch==2.14.1 --index-url https://download.pytorch.org/whl/cu130")
    assert raised("TORCH001", grace("2.8.0")) == ()
    plain = grace("2.8.0+cpu")
    python = changed(plain.pythons[0], packages=(package("torch", "2.8.0"),))
    assert only("TORCH016", changed(plain, pythons=(python,)))


@pytest.mark.parametrize(
    "machine",
    [
        grace("2.11.0", cuda="13.0"),
        grace("2.8.0+cpu"),  # chosen: TORCH001 speaks of it
        system(grace("2.8.0"), jetson="Jetson AGX Orin"),
        system(grace("2.8.0"), machine="x86_64"),
        changed(grace("2.8.0"), gpus=()),
    ],
)
def test_other_arm_machines_are_not_reported(machine: Snapshot) -> None:
    assert raised("TORCH016", machine) == ()


def test_a_driver_that_is_not_there_explains_it_away() -> None:
    machine = grace("2.8.0")
    without = changed(machine, driver=None, gpus=tuple(changed(each, bound_driver=None) for each in machine.gpus))
    assert raised("TORCH016", without)
    assert shown(without) == ["DRV001"]


def test_a_build_is_named_as_indexes_do() -> None:
    assert build_tag(torch("2.8.0+cu128", "12.8")) == "cu128"
    assert build_tag(torch("2.11.0", "13.0")) == "cu130"
    assert build_tag(torch("2.5.1", None, hip="6.2.41133", gpu_build=True)) == "rocm6.2"
    assert build_tag(torch("2.8.0", None)) == "cpu"
    assert build_tag(torch("2.9.0a0+git1234", "12.8")) == "cu128"
    assert build_tag(Framework(name="torch", version="2.8.0")) is None


# Questions that other doctors were asked, and answered wrongly (rows of the comparison)


def python_of(version: str) -> Snapshot:
    return changed(workstation(), pythons=(changed(env(torch("2.4.1+cu121", "12.1")), version=version),))


def test_gtx_1080_ti_with_cu128_needs_cu126() -> None:
    machine = holding(GTX_1080_TI, version="2.8.0+cu128", cuda="12.8")
    finding = diagnose(machine).findings[0]
    assert (finding.id, finding.severity) == ("TORCH002", "error")
    assert "cu126" in " ".join(commands(finding))
    assert "cu128" not in " ".join(commands(finding))


def test_rtx_5090_with_cu121_needs_a_newer_build() -> None:
    finding = diagnose(holding(RTX_5090, version="2.5.1+cu121", cuda="12.1", release="580.95.05")).findings[0]
    assert (finding.id, finding.rule) == ("TORCH002", "gpu-too-new-for-build")
    assert "torch==2.14.1 --index-url https://download.pytorch.org/whl/cu130" in " ".join(commands(finding))


@pytest.mark.parametrize(
    ("release", "version", "cuda"),
    [
        ("470.82.01", "1.12.1+cu116", "11.6"),
        ("450.80.02", "2.6.0+cu118", "11.8"),
        ("525.60.13", "2.8.0+cu128", "12.8"),
    ],
)
def test_minor_version_compatibility_is_no_fault(release: str, version: str, cuda: str) -> None:
    packages = (package("torch", version), package("numpy", "1.26.4"))
    machine = holding(RTX_3060, version=version, cuda=cuda, release=release, packages=packages)
    assert machine.python
    machine = changed(machine, pythons=(changed(machine.python, version="3.10.12"),))
    assert [each.title for each in diagnose(machine).findings if each.severity != "note"] == []


def test_python_313_has_no_torch_24() -> None:
    assert "Python 3.13" in only("PY001", python_of("3.13.1")).title
    assert raised("PY001", python_of("3.12.4")) == ()


def test_h100_with_cu113_needs_a_newer_build() -> None:
    packages = (package("torch", "1.12.1+cu113"), package("numpy", "1.26.4"))
    machine = holding(H100, version="1.12.1+cu113", cuda="11.3", release="535.183.01", packages=packages)
    finding = diagnose(machine).findings[0]
    assert (finding.id, finding.rule) == ("TORCH002", "gpu-too-new-for-build")
    assert "torch==2.14.1 --index-url https://download.pytorch.org/whl/cu126" in " ".join(commands(finding))


def test_v100_with_cu130_needs_cu126() -> None:
    machine = holding(V100, version="2.13.0+cu130", cuda="13.0", release="580.65.06")
    finding = diagnose(machine).findings[0]
    assert (finding.id, finding.rule) == ("TORCH002", "gpu-too-old-for-build")
    assert "cu126" in commands(finding)[1]


def test_in_wsl_the_floor_of_windows_counts() -> None:
    machine = wsl2(pythons=(env(torch("2.6.0+cu118", "11.8")),))
    assert machine.driver
    floors = [
        changed(machine, driver=changed(machine.driver, version=version, cuda="11.0"))
        for version in ("451.48", "452.39")
    ]
    finding = next(each for each in diagnose(floors[0]).findings if each.severity == "error")
    assert (finding.id, finding.rule) == ("DRV007", "driver-too-old")
    assert "452.39" in finding.title + finding.detail
    assert raised("DRV007", floors[1]) == ()


def test_the_healthy_rtx_4090_is_silent() -> None:
    machine = holding(RTX_4090, version="2.6.0+cu118", cuda="11.8", archs=HOPPER_AND_OLDER)
    assert shown(machine) == []
