"""Targets: which interpreter the workloads run in, and with which variables."""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from typing import Literal

import msgspec

from envdoctor import errors
from envdoctor.host import Host, text
from envdoctor.model import Record
from envdoctor.model.speech import say

CONDA_TIMEOUT = 60.0  # conda needs seconds to start from a cold disk

# What would take the interpreter to another environment than its own, or keep it from finding the script's neighbour.
_MISLEADING = (
    "PYTHONHOME",
    "PYTHONSAFEPATH",
    "PYTHONINSPECT",
    "PYTHONEXECUTABLE",
    "__PYVENV_LAUNCHER__",
    "VIRTUAL_ENV",
    "VIRTUAL_ENV_PROMPT",
    "CONDA_PREFIX",
    "CONDA_DEFAULT_ENV",
)


class VerifyTarget(Record):
    """An interpreter and the environment it belongs to."""

    executable: str
    kind: Literal["venv", "conda", "python"]
    prefix: str | None = None  # None: the system's Python, which has no folder of its own


class _CondaInfo(msgspec.Struct):
    """The parts of `conda info --json` that tell where environments are."""

    envs: list[str] = []
    envs_dirs: list[str] = []
    root_prefix: str | None = None


def interpreter(host: Host, path: str) -> VerifyTarget:
    """Take an interpreter by its path. Links are kept: a virtual environment's Python is a link to another one.

    Raises:
        errors.UsageProblem: nothing that can be run stands there.
    """
    path = os.path.abspath(path)
    kind = host.kind(path)
    if kind == "directory":
        raise errors.UsageProblem(
            say("{path} is a folder", path=path),
            say("name the interpreter in it, for example {path}/bin/python", path=path),
        )
    if kind is None:
        raise errors.UsageProblem(say("there is no interpreter {path}", path=path))
    if not host.executable(path):
        raise errors.UsageProblem(say("{path} is not a program that may be run", path=path))
    prefix = os.path.dirname(os.path.dirname(path))
    if host.kind(f"{prefix}/pyvenv.cfg") == "file":
        return VerifyTarget(executable=path, kind="venv", prefix=prefix)
    if host.kind(f"{prefix}/conda-meta") == "directory":
        return VerifyTarget(executable=path, kind="conda", prefix=prefix)
    return VerifyTarget(executable=path, kind="python")


def conda(host: Host, name: str) -> VerifyTarget:
    """Find a conda environment by its name or its folder.

    conda is asked where it is installed; the list it keeps in ~/.conda/environments.txt serves where it is not.

    Raises:
        errors.UsageProblem: there is no such environment, there are several, or it has no Python.
        errors.MissingPart: a name was given, and neither conda nor its list is here.
    """
    prefix = os.path.abspath(name) if "/" in name else _prefix(host, name)
    if host.kind(f"{prefix}/conda-meta") != "directory":
        raise errors.UsageProblem(
            say("{prefix} is not a conda environment: it has no folder conda-meta", prefix=prefix)
        )
    python = f"{prefix}/bin/python"
    if not host.executable(python):
        raise errors.UsageProblem(
            say("the conda environment {prefix} has no Python", prefix=prefix),
            say("conda install -p {prefix} python", prefix=prefix),
        )
    return VerifyTarget(executable=python, kind="conda", prefix=prefix)


def _prefix(host: Host, name: str) -> str:
    info = _ask_conda(host)
    listed = _listed(host)
    if info is None and listed is None:
        raise errors.MissingPart(
            say("no conda was found on this machine, so {name} cannot be looked up", name=name),
            say("name the environment's Python instead: --python FOLDER/bin/python"),
        )
    info = info or _CondaInfo()
    if name == "base" and info.root_prefix:
        return info.root_prefix
    # conda itself takes the first of these folders that holds the name.
    first = [f"{folder}/{name}" for folder in info.envs_dirs if host.kind(f"{folder}/{name}/conda-meta")]
    every = (*info.envs, *(listed or ()))
    found = first[:1] or sorted({env for env in every if env.rpartition("/")[2] == name and host.kind(env)})
    if len(found) > 1:
        raise errors.UsageProblem(
            say("several conda environments are called {name}", name=name),
            say("name one: {folders}", folders=", ".join(found)),
        )
    if not found:
        names = sorted({env.rpartition("/")[2] for env in every if "/envs/" in env})
        hint = (
            say("there are: {names}", names=", ".join(names)) if names else say("`conda env list` shows what there is")
        )
        raise errors.UsageProblem(say("no conda environment is called {name}", name=name), hint)
    return found[0]


def _ask_conda(host: Host) -> _CondaInfo | None:
    for program in (host.environ.get("CONDA_EXE"), "conda"):
        if not program:
            continue
        try:
            answer = host.run((program, "info", "--json"), timeout=CONDA_TIMEOUT)
            return msgspec.json.decode(answer.stdout, type=_CondaInfo) if answer.returncode == 0 else None
        except (FileNotFoundError, PermissionError):
            continue
        except (TimeoutError, msgspec.DecodeError):
            return None
    return None


def _listed(host: Host) -> tuple[str, ...] | None:
    home = host.environ.get("HOME")
    content = text(host, f"{home}/.conda/environments.txt") if home else None
    return None if content is None else tuple(line.strip() for line in content.splitlines() if line.startswith("/"))


def variables(target: VerifyTarget, environ: Mapping[str, str]) -> dict[str, str]:
    """Give the variables of a shell in which the target is the active environment, and nothing else is."""
    kept = {name: value for name, value in environ.items() if name not in _MISLEADING}
    if target.prefix is not None:
        kept["CONDA_PREFIX" if target.kind == "conda" else "VIRTUAL_ENV"] = target.prefix
    kept["PATH"] = os.pathsep.join(
        part for part in (os.path.dirname(target.executable), environ.get("PATH", os.defpath)) if part
    )
    # The scripts lie in envdoctor's own folder, which belongs to another Python and may be read-only.
    kept["PYTHONDONTWRITEBYTECODE"] = "1"
    return kept
