"""dockerfiles/ is what resolver and templates give today, and its images bring a Python that torch has wheels for."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.stack import GENERATED, Plan, Request, Target
from envdoctor.model.version import compare
from envdoctor.resolver.choice import resolve

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def refresh() -> ModuleType:
    spec = importlib.util.spec_from_file_location("refresh_dockerfiles", ROOT / "tools" / "refresh_dockerfiles.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_they_are_what_the_templates_give_today(refresh: ModuleType) -> None:
    rendered = {artifact.path: artifact.text for artifact in refresh.blessed()}
    folder = ROOT / "dockerfiles"
    kept = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert kept == rendered, "run python tools/refresh_dockerfiles.py and look at the difference"


def test_every_blessed_stack_is_there() -> None:
    torch = {f"torch-{variant}" for variant in ("cpu", "cu118", "cu126", "cu128", "cu130")}
    others = {"tensorflow-cpu", "tensorflow-cuda12", "jax-cpu", "jax-cuda12"}
    assert {path.name for path in (ROOT / "dockerfiles").iterdir()} == torch | others
    for path in (ROOT / "dockerfiles").rglob("Dockerfile"):
        lines = path.read_text().splitlines()
        assert GENERATED in lines[0]
        name = path.parent.name
        gpu = " --gpus all" if "-cu" in name else ""
        assert lines[3] == f"# How-to: docker build -t {name} . && docker run --rm -it{gpu} --shm-size 1g {name}"


def test_a_gpu_stack_brings_its_cuda_and_a_cpu_stack_none() -> None:
    def pins(name: str) -> list[str]:
        return [line for line in (ROOT / "dockerfiles" / name / "requirements.txt").read_text().splitlines() if line]

    assert any(line.startswith("tensorflow[and-cuda]==") for line in pins("tensorflow-cuda12"))
    assert any(line.startswith("tensorflow-cpu==") for line in pins("tensorflow-cpu"))
    assert any(line.startswith("jax[cuda12]==") for line in pins("jax-cuda12"))
    assert not any("cuda" in line for line in pins("jax-cpu") if line[0] != "#")


@pytest.mark.parametrize("cuda", ["cpu", "11.8", "12.6", "12.8", "13.0"])
def test_the_image_brings_a_python_that_torch_has_wheels_for(cuda: str) -> None:
    facts = Knowledge()
    plan = resolve(Request(cuda=cuda), Target(), facts)
    assert isinstance(plan, Plan)
    release = facts.torch(plan.stack.framework_version)
    assert release is not None
    brought = plan.stack.image_python or plan.stack.python
    assert compare(release.python_min, brought) <= 0 <= compare(release.python_max, brought)


@pytest.mark.parametrize("variant", ["cpu", "cu118", "cu126", "cu128", "cu130"])
def test_torch_is_pinned_to_the_build_that_the_folder_names(variant: str) -> None:
    text = (ROOT / "dockerfiles" / f"torch-{variant}" / "requirements.txt").read_text()
    lines = [line for line in text.splitlines() if line and line[0] not in "#-"]
    pins = {pin.name: str(pin.specifier) for pin in map(Requirement, lines)}
    assert pins["torch"].startswith("==")
    assert pins["torch"].endswith(f"+{variant}")
    assert f"--extra-index-url https://download.pytorch.org/whl/{variant}\n" in text
