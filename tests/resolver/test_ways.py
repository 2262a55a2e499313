"""What a person can do to a machine where no stack fits it: cuda-compat, and NVIDIA's own builds for Jetson modules."""

from __future__ import annotations

import pytest

from envdoctor.app.planning import described
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.stack import Conflict, FrameworkName, Plan, Request, Target
from envdoctor.report import plans
from envdoctor.report.text import Style
from envdoctor.resolver.choice import resolve

FACTS = Knowledge()
Found = Plan | Conflict


def ask(request: Request, *gpus: str, driver: str | None = None, os: str = "linux", arch: str = "x86_64") -> Found:
    target = described(Target(), FACTS, gpus=gpus, driver=driver, os=os, arch=arch)  # type: ignore[arg-type]
    return resolve(request, target, FACTS)


@pytest.mark.parametrize(
    ("gpu", "driver", "cuda", "framework", "package", "pinned"),
    [
        ("T4", "470.82.01", "12.6", "torch", "cuda-compat-12-6", "torch==2.14.1+cu126"),
        ("V100", "470.82.01", "12.4", "torch", "cuda-compat-12-4", "torch==2.5.1+cu124"),
        ("A100", "535.54.03", "13.0", "torch", "cuda-compat-13-0", "torch==2.14.1+cu130"),
        ("T4", "418.40.04", "11.1", "torch", "cuda-compat-11-1", "torch==1.10.1+cu111"),
        ("A100", "470.82.01", "12", "jax", "cuda-compat-12-6", "jax[cuda12]==0.12.0.1"),
    ],
)
def test_a_data_centre_gpu_is_told_of_cuda_compat(
    gpu: str, driver: str, cuda: str, framework: FrameworkName, package: str, pinned: str
) -> None:
    found = ask(Request(cuda=cuda, framework=framework), gpu, driver=driver)
    assert isinstance(found, Conflict)
    (way,) = found.ways
    assert way.commands[0] == ("sudo", "apt-get", "install", package) and pinned in way.commands[1]
    assert way.effect == "needs-root" and way.page and "forward-compatibility" in way.page
    assert f"R{driver[:3]}" in way.summary and "gitlab.com/nvidia" in way.summary
    shown = plans.conflict(found, Style(colour=False, width=300))
    assert f"sudo apt-get install {package}" in shown and "what else can be done" in shown


@pytest.mark.parametrize(
    ("gpus", "driver", "os", "cuda", "choice", "word"),
    [
        (("RTX 3060",), "470.82.01", "linux", "12.6", "no cuda-compat-12-6", "not for NVIDIA GeForce RTX 3060"),
        (("T4", "RTX 3060"), "470.82.01", "linux", "12.6", "no cuda-compat-12-6", "GeForce"),
        (("T4",), "470.82.01", "wsl2", "12.6", "no cuda-compat-12-6", "Windows or WSL 2"),
        (("T4",), "470.82.01", "windows", "12.6", "no cuda-compat-12-6", "Windows or WSL 2"),
        (("T4",), "418.40.04", "linux", "11.8", "no cuda-compat-11-8", "accepts it on R470"),
        (("T4",), "470.82.01", "linux", "12.8", "perhaps cuda-compat-12-8", "was not read"),
        (("7.5",), "470.82.01", "linux", "12.6", "perhaps cuda-compat-12-6", "--gpu"),
        ((), "470.82.01", "linux", "12.6", "perhaps cuda-compat-12-6", "--gpu"),
        (("B200",), "535.54.03", "linux", "13.0", "no cuda-compat-13-0", "the kernel's half"),
    ],
)
def test_where_cuda_compat_is_not_for(
    gpus: tuple[str, ...], driver: str, os: str, cuda: str, choice: str, word: str
) -> None:
    found = ask(Request(cuda=cuda), *gpus, driver=driver, os=os)
    assert isinstance(found, Conflict) and found.ways == ()
    reason = next(each for each in found.reasons if each.choice == choice)
    assert word in reason.because and reason.source


def test_auto_never_rests_on_cuda_compat() -> None:
    found = ask(Request(), "T4", driver="470.82.01")
    assert isinstance(found, Plan) and found.stack.variant == "cu118"
    assert "compat-" not in "".join(f"{each.choice} {each.because}" for each in found.reasons)


def test_a_driver_that_is_new_enough_is_told_nothing_of_it() -> None:
    found = ask(Request(cuda="12.2"), "T4", driver="550.54.14")
    assert isinstance(found, Conflict) and found.ways == ()
    assert not [each for each in found.reasons if "compat-" in each.choice]


@pytest.mark.parametrize(
    ("gpu", "urls"),
    [
        ("Jetson AGX Orin", ["pypi.jetson-ai-lab.io/jp6/cu126", "forums.developer.nvidia.com"]),
        ("Jetson Nano", ["forums.developer.nvidia.com"]),
    ],
)
def test_a_jetson_is_shown_nvidias_own_wheels(gpu: str, urls: list[str]) -> None:
    found = ask(Request(), gpu, arch="aarch64")
    assert isinstance(found, Conflict)
    first, *others = found.ways
    assert first.commands == (("cat", "/etc/nv_tegra_release"),) and "JetPack 6" in first.summary
    assert len(others) == len(urls)
    for way, url in zip(others, urls, strict=True):
        assert url in way.summary and way.page and way.effect == "changes-env"
    assert [each.variant for each in found.alternatives] == ["cpu"]


def test_thor_takes_pytorchs_own_build() -> None:
    found = ask(Request(), "Jetson T5000", arch="aarch64", driver="580.65.06")
    assert isinstance(found, Plan) and found.stack.cuda == "13.0"


def test_a_jetson_that_wants_the_processor_gets_it() -> None:
    found = ask(Request(cuda="cpu"), "Jetson AGX Orin", arch="aarch64")
    assert isinstance(found, Plan) and found.stack.variant == "cpu"


def test_an_intel_gpu_is_told_what_its_build_needs() -> None:
    found = ask(Request(), "Intel Arc A770")
    assert isinstance(found, Plan)
    assert found.stack.index_url == "https://download.pytorch.org/whl/xpu" and found.stack.cuda is None
    assert found.stack.conda_packages == {} and found.stack.min_driver is None
    said = {each.choice: each.because for each in found.reasons}
    assert "Intel's own driver" in said["xpu"] and "2.10.0 and later" in said["torch 2.9.1"]
    wsl = ask(Request(), "Intel Arc A770", os="wsl2")
    assert isinstance(wsl, Plan) and any(
        "WSL 2" in each.because for each in wsl.reasons if each.choice == "not certain"
    )


def test_a_doubted_rocm_build_carries_its_doubt_and_is_not_preferred() -> None:
    found = ask(Request(framework_version="2.2.0"), "AMD Radeon RX 6800 XT")
    assert isinstance(found, Plan) and found.stack.variant == "rocm5.6"
    row = FACTS.torch("2.2.0")
    assert row is not None and row.rocm == ("rocm5.6", "rocm5.7") and "RELEASE.md" in row.rocm_doubts["rocm5.7"]


def test_uv_takes_the_same_set_and_pins_what_is_tagged() -> None:
    found = ask(Request(cuda="11.8"))
    assert isinstance(found, Plan)
    stack, index = found.stack, "https://download.pytorch.org/whl/cu118"
    assert stack.uv_command == ("uv", "pip", "install", *stack.requirements, "--default-index", index)
    assert stack.uv_index is not None
    assert (stack.uv_index.name, stack.uv_index.url) == ("pytorch-cu118", index)
    assert stack.uv_index.packages == ("torch", "torchvision", "torchaudio")


def test_uv_weighs_both_indexes_where_companions_are_on_the_plain_one() -> None:
    found = ask(Request(companions=("transformers",)), "RTX 3060", driver="580.65.06")
    assert isinstance(found, Plan) and found.stack.uv_index
    words = found.stack.uv_command
    assert words[words.index("--index") + 1] == found.stack.uv_index.url
    assert words[-2:] == ("--index-strategy", "unsafe-best-match")
    assert "transformers" not in found.stack.uv_index.packages


def test_what_the_plain_index_has_needs_no_index_of_uvs() -> None:
    found = ask(Request(framework="jax"), "RTX 3060", driver="580.65.06")
    assert isinstance(found, Plan)
    assert found.stack.uv_index is None and found.stack.uv_command[:3] == ("uv", "pip", "install")
    assert not [each for each in found.stack.uv_command if each.startswith("--")]


def test_the_extra_of_jax_decides_which_jaxlib() -> None:
    found = ask(Request(framework="jax", framework_version="0.4.35", cuda="12"))
    assert isinstance(found, Plan) and found.stack.packages["jaxlib"] == "0.4.34"
    cpu = ask(Request(framework="jax", framework_version="0.4.35", cuda="cpu"))
    assert isinstance(cpu, Plan) and cpu.stack.packages["jaxlib"] == "0.4.35"


def test_each_card_of_a_mixed_machine_is_told_what_it_runs_by_itself() -> None:
    found = ask(Request(), "GTX 1080", "RTX 5090", driver="580.65.06")
    assert isinstance(found, Plan) and found.stack.variant == "cpu"
    said = {each.choice: each.because for each in found.reasons if each.choice.endswith("by itself")}
    conda = next(each for each in found.reasons if each.choice == "conda-forge")
    assert "pytorch-gpu=2.13.0 cuda-version=12.9" in conda.because and conda.source
    assert len(said) == 2
    old, new = said.values()
    assert "+cu126 runs on it" in old and "+cu130 runs on it" in new and "CUDA_VISIBLE_DEVICES" in new


def test_conda_is_not_offered_a_build_for_a_newer_c_library() -> None:
    def conda(glibc: str) -> dict[str, str]:
        target = described(Target(), FACTS, gpus=("RTX 3060",), driver="580.65.06", os="linux", glibc=glibc)
        found = resolve(Request(), target, FACTS)
        assert isinstance(found, Plan)
        return found.stack.conda_packages

    assert conda("2.39")["cuda-version"] == "13.0"
    assert conda("2.17").get("cuda-version") != "13.0"
