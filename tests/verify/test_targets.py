from __future__ import annotations

import json
from typing import Any

import pytest

from envdoctor import errors
from envdoctor.host import Completed
from envdoctor.host.recorded import RecordedHost, Recording
from envdoctor.verify.targets import VerifyTarget, conda, interpreter, variables

ENVS = ("/opt/conda/envs/dl", "/home/u/other/envs/dl", "/home/u/other/envs/nlp")
FILES = {f"{env}/conda-meta/history": "" for env in ENVS}
PYTHONS = tuple(f"{env}/bin/python" for env in ENVS)


def machine(**fields: Any) -> RecordedHost:
    return RecordedHost(Recording(**{"environ": {"HOME": "/home/u"}, "files": FILES, "executables": PYTHONS, **fields}))


def info(**answer: Any) -> dict[str, Completed]:
    return {"conda info --json": Completed(returncode=0, stdout=json.dumps(answer), stderr="")}


def test_the_kind_of_an_interpreter() -> None:
    host = machine(
        files={"/v/pyvenv.cfg": "", "/c/conda-meta/history": ""},
        executables=("/v/bin/python", "/c/bin/python", "/usr/bin/python3"),
    )
    assert interpreter(host, "/v/bin/python") == VerifyTarget(executable="/v/bin/python", kind="venv", prefix="/v")
    assert interpreter(host, "/c/bin/python") == VerifyTarget(executable="/c/bin/python", kind="conda", prefix="/c")
    assert interpreter(host, "/usr/bin/python3") == VerifyTarget(executable="/usr/bin/python3", kind="python")


def test_no_interpreter() -> None:
    host = machine(files={"/notes.txt": "hello"}, folders=("/v",))
    for path, word in (("/nowhere/python", "there is no"), ("/notes.txt", "not a program"), ("/v", "is a folder")):
        with pytest.raises(errors.UsageProblem, match=word):
            interpreter(host, path)


def test_conda_tells_which_of_two_environments_a_name_means() -> None:
    host = machine(commands=info(envs=list(ENVS), envs_dirs=["/home/u/other/envs", "/opt/conda/envs"]))
    assert conda(host, "dl").prefix == "/home/u/other/envs/dl"
    assert conda(host, "nlp").executable == "/home/u/other/envs/nlp/bin/python"


def test_base_is_the_root_of_conda() -> None:
    files = {**FILES, "/opt/conda/conda-meta/history": ""}
    host = machine(
        files=files, executables=("/opt/conda/bin/python",), commands=info(root_prefix="/opt/conda", envs=list(ENVS))
    )
    assert conda(host, "base").prefix == "/opt/conda"


def test_the_list_that_conda_keeps_serves_without_conda() -> None:
    listed = {**FILES, "/home/u/.conda/environments.txt": "\n".join(ENVS)}
    assert conda(machine(files=listed), "nlp").prefix == "/home/u/other/envs/nlp"
    with pytest.raises(errors.UsageProblem, match="several conda environments") as raised:
        conda(machine(files=listed), "dl")
    assert raised.value.hint is not None and "/opt/conda/envs/dl" in raised.value.hint


def test_conda_exe_comes_before_the_name_on_the_path() -> None:
    answer = Completed(returncode=0, stdout=json.dumps({"envs_dirs": ["/opt/conda/envs"]}), stderr="")
    host = machine(environ={"CONDA_EXE": "/opt/conda/bin/conda"}, commands={"/opt/conda/bin/conda info --json": answer})
    assert conda(host, "dl").prefix == "/opt/conda/envs/dl"


def test_an_environment_by_its_folder_needs_no_conda() -> None:
    assert conda(machine(), "/opt/conda/envs/dl").executable == "/opt/conda/envs/dl/bin/python"
    with pytest.raises(errors.UsageProblem, match="not a conda environment"):
        conda(machine(), "/opt/conda/envs")


def test_no_conda_and_no_such_environment() -> None:
    with pytest.raises(errors.MissingPart, match="no conda was found"):
        conda(machine(), "dl")
    with pytest.raises(errors.UsageProblem, match="no conda environment is called x") as raised:
        conda(machine(commands=info(envs=list(ENVS))), "x")
    assert raised.value.hint == "there are: dl, nlp"


def test_a_conda_that_answers_nonsense_is_no_conda() -> None:
    broken = {"conda info --json": Completed(returncode=0, stdout="<html>", stderr="")}
    with pytest.raises(errors.MissingPart):
        conda(machine(commands=broken), "dl")


def test_an_environment_without_python() -> None:
    with pytest.raises(errors.UsageProblem, match="has no Python"):
        conda(machine(executables=()), "/opt/conda/envs/dl")


def test_the_target_is_the_active_environment_and_no_other() -> None:
    around = {
        "PATH": "/usr/bin",
        "HOME": "/home/u",
        "PYTHONHOME": "/own",
        "PYTHONSAFEPATH": "1",
        "VIRTUAL_ENV": "/own",
        "CONDA_PREFIX": "/opt/conda",
        "LD_LIBRARY_PATH": "/usr/local/cuda/lib64",
    }
    made = variables(VerifyTarget(executable="/v/bin/python", kind="venv", prefix="/v"), around)
    assert made == {
        "PATH": "/v/bin:/usr/bin",
        "HOME": "/home/u",
        "VIRTUAL_ENV": "/v",
        "LD_LIBRARY_PATH": "/usr/local/cuda/lib64",  # the person's own: what it breaks must show
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    made = variables(VerifyTarget(executable="/c/bin/python", kind="conda", prefix="/c"), around)
    assert (made["CONDA_PREFIX"], made.get("VIRTUAL_ENV")) == ("/c", None)
