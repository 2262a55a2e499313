"""A person's own files: each fault is found with its line and the corrected line, and healthy files are silent."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from judged import FACTS, diagnose, only, raised

from envdoctor.app.declaring import declared, for_machine
from envdoctor.model.finding import Finding
from envdoctor.model.snapshot import Driver, Gpu, Snapshot, System, Wsl
from envdoctor.model.stack import Conflict, FrameworkName, Request, Target, TargetGpu
from envdoctor.render.artifacts import render
from envdoctor.resolver.choice import resolve

ROOT = Path(__file__).parents[2]
CU118, CU126 = (f"https://download.pytorch.org/whl/{tag}" for tag in ("cu118", "cu126"))
UBUNTU = "FROM nvidia/cuda:12.6.3-base-ubuntu22.04\nRUN apt-get install -y python3-pip\n"
BARE = Snapshot(system=System(os="linux", machine="x86_64", libc="glibc", libc_version="2.39"))


class Judge:
    """Writes a file, and asks one rule, or all, about it on a machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def machine(self, kind: str, text: str, gpu: str | None, driver: str | None, os: str = "linux") -> Snapshot:
        name = {"docker": "Dockerfile", "conda": "environment.yml", "pip": "requirements.txt"}[kind]
        (self.folder / name).write_text(text, encoding="utf-8")
        file = (str(self.folder / name),)
        lines = declared(*(file if each == kind else () for each in ("docker", "conda", "pip")))
        here = for_machine(BARE, FACTS, gpus=(gpu,) if gpu else (), driver=driver, os=os if os != "linux" else None)  # type: ignore[arg-type]
        return Snapshot(**{**{n: getattr(here, n) for n in here.__struct_fields__}, "declared": lines})

    def __call__(
        self,
        code: str,
        kind: str,
        text: str,
        *,
        gpu: str | None = "8.6",
        driver: str | None = "550.54.14",
        os: str = "linux",
    ) -> Finding:
        return only(code, self.machine(kind, text, gpu, driver, os))

    def silent(
        self,
        code: str,
        kind: str,
        text: str,
        *,
        gpu: str | None = "8.6",
        driver: str | None = "550.54.14",
        os: str = "linux",
    ) -> bool:
        return not raised(code, self.machine(kind, text, gpu, driver, os))


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    return Judge(tmp_path)


def told(finding: Finding) -> str:
    return "\n".join((finding.title, finding.detail, *(fix.summary for fix in finding.fixes)))


@pytest.mark.parametrize(
    ("image", "becomes", "severity"),
    [
        ("nvidia/cuda:11.8-base-ubuntu22.04", "nvidia/cuda:11.8.0-base-ubuntu22.04", "error"),
        # The table is a copy of NVIDIA's list, which may have grown.
        ("nvidia/cuda:12.8.1-cudnn9-runtime-ubuntu24.04", "nvidia/cuda:12.8.1-cudnn-runtime-ubuntu24.04", "warning"),
        ("nvidia/cuda:12.6.3-devel-ubuntu18.04", "nvidia/cuda:12.6.3-devel-ubuntu24.04", "warning"),
        ("--platform=linux/amd64 nvidia/cuda:12.4-devel", "nvidia/cuda:12.4.1-devel-ubuntu22.04", "error"),
        ("nvidia/cuda", "", "error"),
        ("nvidia/cuda:latest", "", "error"),
    ],
)
def test_tags_that_are_not_there(judge: Judge, image: str, becomes: str, severity: str) -> None:
    finding = judge("FILE001", "docker", f"# x\nFROM {image} AS b\n")
    assert (finding.severity, finding.certainty) == (severity, "certain" if severity == "error" else "likely")
    assert finding.evidence[0].source == "line 2 of Dockerfile"
    prefix = "--platform=linux/amd64 " if image.startswith("--") else ""
    lines = [f"Line 2 of Dockerfile becomes: FROM {prefix}{becomes} AS b"] if becomes else []
    assert [fix.summary for fix in finding.fixes] == lines


@pytest.mark.parametrize(
    "image",
    [
        "nvidia/cuda:12.8.1-base-ubuntu24.04",
        "nvidia/cuda:99.0.0-base-ubuntu24.04",
        "nvidia/cuda:12.8.1-base-rockylinux9",
        "nvidia/cuda:12.8@sha256:00",
        "nvidia/cuda:$TAG",
        "python:3.12",
    ],
)
def test_tags_that_are_there_or_cannot_be_judged(judge: Judge, image: str) -> None:
    assert judge.silent("FILE001", "docker", f"FROM {image}\n")


def test_a_version_that_is_in_no_table_is_a_warning(judge: Judge) -> None:
    assert judge("FILE001", "docker", "FROM nvidia/cuda:11.2.2-base-ubuntu20.04\n").severity == "warning"


def test_an_image_newer_than_the_driver(judge: Judge) -> None:
    text = "FROM nvidia/cuda:12.8.1-base-ubuntu22.04\n"
    finding = judge("FILE002", "docker", text, gpu="RTX 3060")
    assert (finding.severity, finding.rule) == ("error", "driver-too-old")
    assert finding.fixes[0].summary.endswith("FROM nvidia/cuda:12.4.1-base-ubuntu22.04")
    assert judge("FILE002", "docker", text, gpu="A100 80GB PCIe").severity == "warning"
    assert "580" in told(judge("FILE002", "docker", "FROM nvidia/cuda:13.0.1-base-ubuntu22.04\n"))
    own = text + 'ENV NVIDIA_REQUIRE_CUDA="cuda>=12.0"\n'
    assert judge.silent("FILE002", "docker", own)
    assert judge.silent("FILE002", "docker", text, driver="570.26")
    assert judge.silent("FILE002", "docker", f"{text}RUN make\nFROM python:3.12\n"), "a stage that only builds"


def test_a_compiler_is_needed_for_sources(judge: Judge) -> None:
    finding = judge("FILE003", "docker", f"{UBUNTU}RUN pip install flash-attn\n")
    assert [each.source for each in finding.evidence] == ["line 3 of Dockerfile", "line 1 of Dockerfile"]
    assert finding.fixes[0].summary == "Line 1 of Dockerfile becomes: FROM nvidia/cuda:12.6.3-devel-ubuntu22.04"
    torch = "FROM pytorch/pytorch:2.5.1-cuda12.4-cudnn9-runtime\nRUN pip install flash-attn\n"
    assert "cudnn9-devel" in told(judge("FILE003", "docker", torch))
    assert judge.silent("FILE003", "docker", torch.replace("runtime", "devel"))
    assert judge.silent("FILE003", "docker", f"{UBUNTU}RUN apt install -y cuda-nvcc-12-6 && pip install flash-attn\n")
    wheel = "https://github.com/x/flash_attn-2.8.3+cu12torch2.7-cp310-cp310-linux_x86_64.whl"
    assert judge.silent("FILE003", "docker", f"{UBUNTU}RUN pip install {wheel}\n")


def test_stubs_on_the_path(judge: Judge) -> None:
    text = "FROM python:3.12\nENV A=b \\\n    LD_LIBRARY_PATH=/usr/local/cuda/lib64/stubs:/x\n"
    assert judge("FILE004", "docker", text).fixes[0].summary == "Line 3 of Dockerfile becomes: LD_LIBRARY_PATH=/x"
    assert judge.silent("FILE004", "docker", text.replace("LD_LIBRARY", "LIBRARY"))


@pytest.mark.parametrize("package", ["nvidia-driver-550", "libnvidia-compute-550", "cuda-drivers", "cuda"])
def test_a_driver_in_the_image(judge: Judge, package: str) -> None:
    finding = judge("FILE005", "docker", f"FROM ubuntu:22.04\nRUN apt-get install -y git {package}\n")
    assert finding.fixes[0].summary == "Line 2 of Dockerfile becomes: RUN apt-get install -y git"


def test_the_toolkit_is_no_driver(judge: Judge) -> None:
    words = "nvidia-container-toolkit libnvidia-container1 cuda-toolkit-12-8"
    assert judge.silent("FILE005", "docker", f"FROM ubuntu:22.04\nRUN apt-get install -y {words}\n")


def test_a_torch_for_a_newer_driver(judge: Judge) -> None:
    finding = judge("FILE010", "pip", "numpy\ntorch\ntorchvision\n", driver="535.183.01")
    assert (finding.certainty, finding.evidence[0].source) == ("likely", "line 2 of requirements.txt")
    assert "Line 3 of requirements.txt becomes: torchvision==" in told(finding)
    assert "--index-url https://download.pytorch.org/whl/cu126" in told(finding)
    pinned = f"--index-url {CU126}\ntorch==2.7.1\n"
    assert judge("FILE010", "pip", pinned, driver="470.82.01").certainty == "certain"
    assert judge.silent("FILE010", "pip", pinned)
    assert judge.silent("FILE010", "pip", "torch==$X\n", driver="470.82.01")


def test_a_torch_without_code_for_the_gpu(judge: Judge) -> None:
    old = judge(
        "FILE011", "docker", f"{UBUNTU}RUN pip3 install torch\n", gpu="Tesla P100-PCIE-16GB", driver="580.95.05"
    )
    assert (old.rule, old.certainty) == ("gpu-too-old-for-build", "likely")
    assert "pip3 install torch==2.14.1" in told(old)
    new = judge("FILE011", "pip", f"--extra-index-url {CU126}\ntorch==2.7.1+cu126\n", gpu="12.0", driver="580.95.05")
    assert (new.rule, new.certainty) == ("gpu-too-new-for-build", "certain")
    assert judge.silent("FILE011", "pip", "torch==2.7.1+cu126\n")


def test_a_torch_without_a_wheel(judge: Judge) -> None:
    finding = judge("FILE012", "docker", "FROM python:3.13-slim\nRUN pip install torch==2.4.1\n")
    assert (finding.rule, "3.8 to 3.12" in told(finding)) == ("python-without-wheel", True)
    musl = judge("FILE012", "docker", "FROM python:3.12-alpine\nRUN pip install torch\n")
    assert (musl.rule, "FROM python:3.12-slim-bookworm" in told(musl)) == ("glibc-too-old", True)
    conda = "dependencies:\n  - python=3.13\n  - pip:\n    - torch==2.4.1\n"
    assert judge("FILE012", "conda", conda).evidence[0].source == "line 4 of environment.yml"
    assert judge.silent("FILE012", "docker", "FROM python:3.12-slim\nRUN pip install torch==2.4.1\n")


def test_a_pair_that_was_never_published(judge: Judge) -> None:
    finding = judge("FILE013", "pip", "torch==2.9.1+cu118\n")
    assert finding.title == "torch==2.9.1 was never published for cu118"
    assert "torch==2.7.1+cu118" in told(finding)
    assert judge("FILE013", "docker", f"{UBUNTU}RUN pip install torch==2.7.1 --index-url {CU118[:-5]}cu121\n")
    for text in ("torch==2.7.1+cu118\n", "torch==99.0+cu118\n", "torch==2.15.0+cu134\n", "torch==2.7.1+mine\n"):
        assert judge.silent("FILE013", "pip", text), text


def test_a_torch_for_another_cuda_than_the_image(judge: Judge) -> None:
    finding = judge("FILE014", "docker", f"{UBUNTU}RUN pip install torch\n", driver="580.95.05")
    assert (finding.severity, finding.rule) == ("warning", "framework-cuda-mismatch")
    assert "The file leaves the version open" in finding.detail
    assert judge.silent("FILE014", "docker", f"{UBUNTU}RUN pip install torch==2.9.1\n")


def test_a_cpu_wheel_where_a_gpu_is_meant(judge: Judge) -> None:
    cpu = f"RUN pip install torch==2.9.1 --index-url {CU118[:-5]}cpu\n"
    finding = judge("FILE015", "docker", UBUNTU + cpu, driver="580.95.05")
    assert (finding.severity, f"--index-url {CU118[:-5]}cu1" in told(finding)) == ("error", True)
    assert judge("FILE015", "pip", "torch==2.9.1+cpu\n").severity == "warning"
    assert "Windows gets it" in told(judge("FILE015", "pip", "torch==2.9.1\n", os="windows"))
    assert judge.silent("FILE015", "docker", "FROM python:3.12\n" + cpu)
    assert judge.silent("FILE015", "pip", "torch==2.9.1+cpu\n", gpu="3.7", driver="470.82.01"), "nothing else serves it"


def test_a_cuda_wheel_without_an_nvidia_gpu(judge: Judge) -> None:
    text = "torch==2.9.1+cu126\n"
    amd = judge("FILE016", "pip", text, gpu="RX 7900 XTX", driver=None)
    assert (amd.severity, amd.rule, "torch==2" in amd.fixes[0].summary) == ("error", "wheel-for-other-vendor", True)
    none = judge("FILE016", "pip", text, gpu=None, driver=None)
    assert (none.severity, none.rule, "--gpu" in told(none)) == ("warning", "no-supported-gpu", True)
    assert judge("FILE016", "pip", "torch\n", gpu=None, driver=None).severity == "note"
    assert judge.silent("FILE016", "pip", text)
    assert judge.silent("FILE016", "pip", text, gpu=None), "a driver was named, so there is a card"


def test_an_index_that_is_passed_over(judge: Judge) -> None:
    extra = f"--extra-index-url {CU118}\n"
    finding = judge("FILE017", "pip", f"{extra}torch\n", driver="580.95.05")
    assert (finding.rule, "cu118 ends with torch 2.7.1" in finding.detail) == ("package-indexes-mixed", True)
    assert "never published for cu118" in judge("FILE017", "pip", f"{extra}torch==2.9.1\n", driver="580.95.05").detail
    assert judge.silent("FILE017", "pip", f"{extra}torch==2.7.1\n"), "a local tag is the higher version"
    assert judge.silent("FILE017", "pip", f"--index-url {CU118}\ntorch\n")
    assert judge.silent("FILE017", "docker", f"FROM python:3.12\nRUN uv pip install torch {extra}")


def test_an_index_as_a_page_of_links(judge: Judge) -> None:
    finding = judge("FILE018", "docker", f"FROM python:3.12\nRUN pip install torch -f {CU126}\n")
    assert told(finding).endswith(f"RUN pip install torch --index-url {CU126}")
    stable = "-f https://download.pytorch.org/whl/torch_stable.html\n"
    assert "ended" in judge("FILE018", "pip", f"{stable}torch==2.7.1\n").title
    assert judge.silent("FILE018", "pip", f"{stable}torch==1.9.0+cu111\n")
    assert judge.silent("FILE018", "pip", "-f https://mirrors.aliyun.com/pytorch-wheels/cu118\ntorch==2.7.1+cu118\n")


def conda(channels: str, *packages: str) -> str:
    lines = [f"  - {each}" for each in channels.split()]
    return "\n".join(["channels:", *lines, "dependencies:", *(f"  - {each}" for each in packages), ""])


@pytest.mark.parametrize(
    ("channels", "packages", "severity", "words"),
    [
        ("pytorch nvidia", ("pytorch=2.5.1", "pytorch-cuda=12.4"), "warning", "ended with 2.5.1"),
        ("pytorch nvidia", ("pytorch=2.7.1", "pytorch-cuda=12.4"), "error", "pytorch 2.7.1 was never in it"),
        ("pytorch nvidia", ("pytorch", "pytorch-cuda=12.8"), "error", "not for 12.8"),
        ("pytorch", ("pytorch", "pytorch-cuda=12.4"), "error", "channel nvidia"),
        ("conda-forge", ("pytorch", "pytorch-cuda=12.4"), "error", "does not name"),
    ],
)
def test_the_channel_that_ended(
    judge: Judge, channels: str, packages: tuple[str, ...], severity: str, words: str
) -> None:
    finding = judge("FILE030", "conda", conda(channels, *packages))
    assert (finding.severity, words in finding.title) == (severity, True), finding.title
    assert judge.silent("FILE030", "conda", conda("conda-forge", "pytorch-gpu=2.7.1", "cuda-version=12.6"))


def test_channels_that_are_mixed(judge: Judge) -> None:
    finding = judge("FILE031", "conda", conda("conda-forge defaults", "numpy"))
    assert finding.fixes[0].summary == "Line 3 of environment.yml becomes: - nodefaults"
    assert judge.silent("FILE031", "conda", conda("conda-forge nodefaults", "numpy"))
    assert judge("FILE031", "docker", "FROM a\nRUN conda install -c conda-forge -c defaults numpy\n")


def test_conda_beside_pip(judge: Judge) -> None:
    pip = "pip:\n    - torch==2.7.1"
    assert judge("FILE032", "conda", conda("conda-forge", "cudatoolkit=11.8", pip)).severity == "warning"
    assert judge("FILE032", "conda", conda("conda-forge", "pytorch=2.5.1", pip)).severity == "error"
    assert judge.silent("FILE032", "conda", conda("conda-forge", "cuda-nvcc=12.6", pip))


def test_conda_cuda_for_a_newer_driver(judge: Judge) -> None:
    text = conda("conda-forge", "pytorch-gpu", "cuda-version=13.0")
    assert told(judge("FILE033", "conda", text)).endswith("- cuda-version=12.4")
    assert judge.silent("FILE033", "conda", text, driver="580.95.05")


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("torch==2.8.0\ntorchvision==0.22.1\n", "torchvision==0.23.0"),
        ("torch==2.7.1+cu118\ntorchaudio==2.6.0+cu118\n", "torchaudio==2.7.1+cu118"),
        ("torch==2.8.0\nxformers==0.0.34\n", "xformers==0.0.32.post2"),
    ],
)
def test_companions_for_another_torch(judge: Judge, text: str, becomes: str) -> None:
    finding = judge("FILE040", "pip", text)
    assert finding.fixes[0].summary == f"Line 2 of requirements.txt becomes: {becomes}"


@pytest.mark.parametrize(
    "text",
    ["torch==2.8.0\ntorchvision==0.23.0\n", "torch\ntorchvision==0.15.2\n", "torch==2.13.0\ntorchaudio==2.11.0\n"],
)
def test_companions_that_fit_or_are_left_to_pip(judge: Judge, text: str) -> None:
    assert judge.silent("FILE040", "pip", text)


def test_numpy_2_with_an_old_torch(judge: Judge) -> None:
    assert judge("FILE041", "pip", "torch==2.1.2\nnumpy\n").severity == "error"
    assert "numpy<2" in told(judge("FILE041", "pip", "torch==2.1.2\nnumpy==2.1.0\n"))
    assert judge("FILE041", "pip", "torch==2.1.2\ntorchvision==0.16.2\n").severity == "warning"
    for text in ("torch==2.1.2\n", "torch==2.1.2\nnumpy<2\n", "torch==2.1.2\nnumpy==1.26.4\n", "torch==2.7.1\nnumpy\n"):
        assert judge.silent("FILE041", "pip", text), text


def test_tensorflow_gpu(judge: Judge) -> None:
    assert "tensorflow[and-cuda]" in told(judge("FILE042", "pip", "tensorflow-gpu\n"))
    assert judge.silent("FILE042", "pip", "tensorflow-gpu==2.10.1\ntensorflow\n")


def test_jax_and_its_extras(judge: Judge) -> None:
    gone = judge("FILE043", "pip", "jax[cuda11_pip]\n")
    assert (gone.severity, gone.rule, "jax[cuda12]" in told(gone)) == ("error", "extra-never-published", True)
    old = judge("FILE043", "pip", "jax[cuda13]\n")
    assert (old.rule, "jax[cuda12]" in told(old)) == ("driver-too-old", True)
    bare = judge("FILE043", "pip", "jax==0.7.2\n", driver="580.95.05")
    assert (bare.severity, "jax[cuda13]==0.7.2" in told(bare)) == ("warning", True)
    assert judge.silent("FILE043", "pip", "jax[cuda12]\n")
    assert judge.silent("FILE043", "pip", "jax\n", gpu=None, driver=None)
    assert judge.silent("FILE043", "pip", "jax\n", gpu="3.7", driver="470.82.01")


def test_a_marker_that_does_not_hold_asks_for_nothing(judge: Judge) -> None:
    assert judge.silent("FILE013", "pip", 'torch==2.9.1+cu118 ; sys_platform == "win32"\n')
    assert judge("FILE013", "pip", 'torch==2.9.1+cu118 ; sys_platform == "linux"\n')


def test_a_line_of_two_stages_is_told_once_and_two_lines_are_told_twice(judge: Judge) -> None:
    torch = "RUN pip install torch==2.9.1+cu118\n"
    stages = f"FROM python:3.12 AS base\n{torch}ENV LD_LIBRARY_PATH=/x/stubs\nFROM base\nRUN a\nFROM base\nRUN b\n"
    assert judge("FILE013", "docker", stages).evidence[0].source == "line 2 of Dockerfile"
    assert judge("FILE004", "docker", stages).evidence[0].source == "line 3 of Dockerfile"
    found = raised("FILE013", judge.machine("docker", f"FROM a\n{torch}FROM b\n{torch}", "8.6", None))
    assert [each.evidence[0].source for each in found] == ["line 2 of Dockerfile", "line 4 of Dockerfile"]


def test_what_is_not_known_is_not_checked(judge: Judge) -> None:
    judged = diagnose(judge.machine("pip", "torch==2.7.1\n", "8.6", None))
    assert [each.id for each in judged.findings] == []
    assert {"FILE010", "FILE002"} <= {each.id for each in judged.not_checked}


def about_files(machine: Snapshot) -> list[str]:
    return [f"{each.id} {each.title}" for each in diagnose(machine).findings if each.id.startswith("FILE")]


CASES = [
    (framework, capability, driver, os)
    for framework, capability, driver, os in itertools.product(
        ("torch", "tensorflow", "jax"),
        (None, "3.7", "6.1", "7.0", "8.6", "12.0"),
        (None, "470.82.01", "550.54.14", "580.95.05"),
        ("linux", "wsl2"),
    )
    if capability or not driver
]


@pytest.mark.parametrize(("framework", "capability", "driver", "os"), CASES)
def test_what_provision_writes_is_silent_where_it_is_for(
    framework: FrameworkName, capability: str | None, driver: str | None, os: str, tmp_path: Path
) -> None:
    gpus = (TargetGpu(vendor="nvidia", capability=capability),) if capability else ()
    plan = resolve(Request(framework=framework), Target(os=os, driver=driver, gpus=gpus), FACTS)  # type: ignore[arg-type]
    if isinstance(plan, Conflict):
        return
    names = ("Dockerfile", "environment.yml", "requirements.txt")
    for artifact in (each for each in render(plan, created="2026-01-01") if each.path in names):
        (tmp_path / artifact.path).write_text(artifact.text, encoding="utf-8")
    lines = declared(*((str(tmp_path / name),) for name in names))
    assert {line.file for line in lines} == set(names)
    system = System(os="linux", machine="x86_64", wsl=Wsl(version=2) if os == "wsl2" else None)
    machine = Snapshot(
        system=system,
        gpus=tuple(Gpu(vendor="nvidia", capability=gpu.capability) for gpu in gpus),
        driver=Driver(version=driver, module_loaded=True) if driver else None,
        declared=lines,
    )
    assert about_files(machine) == []


@pytest.mark.parametrize("folder", sorted(path.name for path in (ROOT / "dockerfiles").iterdir()))
def test_the_ready_dockerfiles_are_silent_where_they_fit(folder: str) -> None:
    lines = declared((str(ROOT / "dockerfiles" / folder / "Dockerfile"),), (), ())
    assert {line.file for line in lines} == {"Dockerfile", "requirements.txt"}, "what it installs is read too"
    fitting = for_machine(BARE, FACTS, gpus=() if "cpu" in folder else ("8.6",), driver="580.95.05", os=None)
    machine = Snapshot(**{**{n: getattr(fitting, n) for n in fitting.__struct_fields__}, "declared": lines})
    assert about_files(machine if "cpu" not in folder else Snapshot(system=BARE.system, declared=lines)) == []
