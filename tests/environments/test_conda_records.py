"""conda-forge's real records: the pins of environment.yml choose the variant that is meant, or are refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import local_channel
import pytest

from envdoctor.environments.embedded import solver
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.stack import Plan, Request, Stack, Target, TargetGpu, TargetOs
from envdoctor.render.quoting import conda_match
from envdoctor.resolver.choice import resolve
from envdoctor.resolver.conda_platforms import subdir_of, virtual_packages

FACTS = Knowledge()
RECORDED = json.loads((Path(__file__).parent / "conda_forge_records.json").read_text())["records"]


@pytest.fixture
def channel(tmp_path: Path) -> Path:
    for subdir in ("linux-64", "noarch"):
        (tmp_path / "conda-forge" / subdir).mkdir(parents=True)
        records = {each["fn"]: each for each in RECORDED if each["subdir"] == subdir}
        text = json.dumps({"info": {"subdir": subdir}, "packages": {}, "packages.conda": records})
        (tmp_path / "conda-forge" / subdir / "repodata.json").write_text(text)
    return tmp_path / "conda-forge"


def solve(channel: Path, cuda: str | None, *specs: str) -> dict[str, Any]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONDA")}
    overrides = {"CONDA_SUBDIR": "linux-64", **({"CONDA_OVERRIDE_CUDA": cuda} if cuda else {})}
    command = (sys.executable, solver.__file__, "create", "--prefix", "p", "--dry-run", "--json")
    done = subprocess.run(
        (*command, "--channel", channel.as_uri(), *specs),
        capture_output=True, text=True, env={**kept, **overrides}, timeout=60,
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["success"] == (done.returncode == 0)
    return answer


def builds(answer: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["build"] for each in answer["actions"]["FETCH"]}


def test_the_variant_follows_the_driver_and_the_pins(channel: Path) -> None:
    plain = ("pytorch 2.7.1.*",)
    assert builds(solve(channel, "12.8", *plain))["pytorch"] == "cuda126_mkl_py312_h30b5a27_300"
    assert builds(solve(channel, None, *plain))["pytorch"] == "cpu_mkl_py312_h8abce0f_103"
    # The pin holds against what the machine would get.
    assert builds(solve(channel, "12.8", "pytorch 2.7.1 cpu*")) == {
        "pytorch": "cpu_mkl_py312_h8abce0f_103",
        "libtorch": "cpu_mkl_hf38bc2d_103",
    }
    pinned = ("pytorch 2.7.1 cuda126*", "pytorch-gpu 2.7.1.*", "cuda-version 12.6.*")
    assert builds(solve(channel, "12.0", *pinned)) == {
        "pytorch": "cuda126_mkl_py312_h30b5a27_300",
        "libtorch": "cuda126_mkl_hc2b21a2_300",
        "pytorch-gpu": "cuda126_mkl_ha999a5f_300",
        "cuda-version": "h7480c83_3",
    }
    for cuda, reason in ((None, "__cuda"), ("11.8", "__cuda >=12")):
        refused = solve(channel, cuda, *pinned)
        assert refused["exception_name"] == "UnsatisfiableError" and reason in refused["message"], refused


def test_every_hash_is_the_records(channel: Path) -> None:
    recorded = {each["fn"]: each for each in RECORDED}
    for fetched in solve(channel, "12.8", "pytorch-gpu")["actions"]["FETCH"]:
        assert fetched["sha256"] == recorded[fetched["fn"]]["sha256"]
        assert fetched["md5"] == recorded[fetched["fn"]]["md5"]
        assert fetched["depends"] == recorded[fetched["fn"]]["depends"]


def test_a_record_without_a_hash_is_not_locked(tmp_path: Path) -> None:
    folder = local_channel.make(tmp_path / "c", (local_channel.Built("tqdm", "4", "py_0", subdir="noarch"),))
    index = folder / "noarch" / "repodata.json"
    content = json.loads(index.read_text())
    for name in ("md5", "sha256"):
        del content["packages"]["tqdm-4-py_0.tar.bz2"][name]
    index.write_text(json.dumps(content))
    assert "has no hash" in solve(folder, None, "tqdm")["message"]


def stack(request: Request, target: Target) -> Stack:
    found = resolve(request, target, FACTS)
    assert isinstance(found, Plan)
    return found.stack


def test_pins_of_the_resolver_are_what_conda_reads() -> None:
    gpu = TargetGpu(vendor="nvidia", name="NVIDIA GeForce RTX 3060", capability="8.6")
    new = stack(Request(cuda="12.9"), Target(driver="580.65.06", gpus=(gpu,), glibc="2.39")).conda_packages
    assert (new["cuda-version"], new["pytorch"]) == ("12.9", f"{new['pytorch'].partition('=')[0]}=cuda129*")
    assert "cudatoolkit" not in new
    assert conda_match("pytorch", new["pytorch"]).endswith("=cuda129*")
    old = stack(Request(cuda="11.8", framework_version="2.5.1"), Target(glibc="2.39")).conda_packages
    assert (old["cudatoolkit"], old["cuda-version"], old["pytorch"]) == ("11.8", "11.8", "2.5.1=cuda118*")


@pytest.mark.parametrize(
    ("os_", "arch", "driver", "cuda", "expected"),
    [
        ("linux", "x86_64", None, "11.8", {"__cuda": "11.8", "__glibc": "2.28", "__archspec": "1 x86_64"}),
        ("linux", "x86_64", "580.65.06", "12.9", {"__cuda": "13.0", "__unix": "0"}),
        ("wsl2", "x86_64", "560.81", "11.8", {"__cuda": "12.6", "__linux": "5.10"}),
        ("windows", "x86_64", "560.81", "12.8", {"__win": "0", "__cuda": "12.6"}),
        ("macos", "aarch64", None, "cpu", {"__osx": "11.0", "__archspec": "1 arm64"}),
        ("linux", "x86_64", "580.65.06", "cpu", {"__glibc": "2.28"}),
    ],
)
def test_virtual_packages_are_the_targets(
    os_: TargetOs, arch: str, driver: str | None, cuda: str, expected: dict[str, str]
) -> None:
    target = Target(os=os_, arch=arch, driver=driver)
    found = virtual_packages(stack(Request(cuda=cuda), target), target, FACTS)
    assert {name: found.get(name) for name in expected} == expected
    assert ("__cuda" in found) == (cuda != "cpu")
    assert ("__glibc" in found) == (os_ in ("linux", "wsl2"))


def test_a_platform_conda_forge_has_no_stacks_for() -> None:
    assert subdir_of(Target(os="windows", arch="aarch64")) is None
