from __future__ import annotations

from typing import Any

from expecting import fires, silent, variables
from judged import shown
from machines import changed, container, env, package, torch, torch_env, workstation

from envdoctor.model.snapshot import Package, Snapshot, Variable
from envdoctor.rules.python.requirements import met

SITE = "/home/me/env/lib/python3.12/site-packages"


def python(**changes: Any) -> Snapshot:
    return workstation(pythons=(changed(torch_env(), **changes),))


def test_musl() -> None:
    fires("PY004", container(pythons=(changed(torch_env(), libc="musl"),)), "error", "python:3.12-slim")
    silent("PY004", workstation(), python(libc=None))


def test_externally_managed() -> None:
    bare = workstation(pythons=(env(packages=(), externally_managed=True, manager="system", prefix="/usr"),))
    fires("PY006", bare, "note", "/usr", "python3 -m venv")
    silent(
        "PY006",
        changed(bare, system=container().system),
        changed(bare, variables=variables(PIP_BREAK_SYSTEM_PACKAGES="1")),
        python(externally_managed=True),
        workstation(),
    )


def test_environment_without_its_python() -> None:
    fires("PY007", python(home_missing="/opt/python3.11/bin"), "error", "/opt/python3.11/bin", "uv venv")
    silent("PY007", workstation())


def test_old_pip() -> None:
    fires("PY018", python(packages=(package("pip", "19.0.3"),)), "error", "19.0.3", "--upgrade pip")
    silent("PY018", python(packages=(package("pip", "20.3"),)), python(packages=()), workstation())


def test_free_threaded() -> None:
    fires("PY020", python(free_threaded=True), "note", "free-threaded")
    silent("PY020", workstation())


def test_leftovers_and_records() -> None:
    fires("PY010", python(leftovers=("~orch", "~umpy")), "warning", "~orch and ~umpy")
    fires("PY011", python(without_record=("torch",)), "warning", "torch==2.8.0+cu128")
    damaged = python(damaged=(f"{SITE}/torch/lib/libtorch_cuda.so",))
    fires("PY012", damaged, "error", "libtorch_cuda.so", "torch==2.8.0+cu128")
    for code in ("PY010", "PY011", "PY012"):
        silent(code, workstation())


def test_packages_of_the_account() -> None:
    mine = package("numpy", "1.26.4", location="/home/me/.local/lib/python3.12/site-packages")
    own = package("numpy", "2.2.6", location="/home/me/conda/lib/python3.12/site-packages")
    conda = python(manager="conda", prefix="/home/me/conda", packages=(mine, own))
    fires("PY014", conda, "warning", "1.26.4", "2.2.6", "PYTHONNOUSERSITE=1")
    silent(
        "PY014",
        python(packages=(mine, own), prefix="/home/me/conda"),
        changed(conda, variables=variables(PYTHONNOUSERSITE="1")),
        python(manager="conda", prefix="/home/me/conda", packages=(own,)),
    )


def test_pythonpath() -> None:
    fires(
        "PY015",
        workstation(variables=variables(PYTHONHOME="/opt/x")),
        "error",
        "PYTHONHOME=/opt/x",
        certainty="certain",
    )
    foreign = variables(PYTHONPATH="/opt/lib/python3.9/site-packages")
    fires("PY015", workstation(variables=foreign), "error", "python3.9")
    inside = python(packages=(package("numpy", "1.0", location="/opt/stuff"),))
    fires(
        "PY015",
        changed(inside, variables=variables(PYTHONPATH="/opt/stuff/")),
        "warning",
        "numpy 1.0",
        certainty="likely",
    )
    silent("PY015", workstation(variables=variables(PYTHONPATH="/opt/ros/lib/python3.12/site-packages")), workstation())


def test_local_modules() -> None:
    fires("PY016", python(local_modules=("/home/me/home/me/train/torch.py",)), "error", "torch.py", "import torch")
    silent("PY016", workstation())


def requiring(*requires: str, others: tuple[Package, ...] = ()) -> Snapshot:
    owner = package("transformers", "4.55.0", requires=requires)
    return workstation(pythons=(env(torch(), packages=(package("torch", "2.8.0+cu128"), owner, *others)),))


def test_unmet_requirements() -> None:
    hub = (package("huggingface-hub", "0.20.0"),)
    fires("PY019", requiring("huggingface-hub<1.0,>=0.34.0", others=hub), "warning", "0.20.0", "--upgrade transformers")
    fires("PY019", requiring("regex"), "warning", "not installed")
    silent(
        "PY019",
        requiring("huggingface-hub>=0.20", "torch>=2.2", others=hub),
        requiring('regex; extra == "dev"', 'regex; sys_platform == "win32"'),
        workstation(),
    )


def test_simple_requirements_need_no_parser() -> None:
    packages = env(packages=(package("numpy", "2.2.6"),))
    assert met("numpy", packages)
    assert met("numpy>=1.26,<3", packages)
    assert met("numpy (==2.2.6)", packages)
    assert met("x; extra == 'y'", packages)
    assert not met("numpy<2", packages)
    assert not met("numpy~=2.2", packages)
    assert not met("scipy", packages)


def test_a_missing_library_list_is_shown_beside_nothing_else() -> None:
    assert shown(python(leftovers=("~orch",))) == ["PY010"]
    assert shown(workstation(variables=(Variable(name="PATH", value="/x"),))) == []
