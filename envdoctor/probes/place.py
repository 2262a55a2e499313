"""Place: which Python environment is judged. Never the one envdoctor happens to run in, unless it is the active one."""

from __future__ import annotations

import os.path
import posixpath

from envdoctor.errors import UsageProblem
from envdoctor.host import Host
from envdoctor.model.speech import say
from envdoctor.probes import Place, commands, prefixes

_NAMES = ("python3", "python")


def locate(host: Host, python: str | None) -> Place | None:
    """Find the environment to judge: `python`, else VIRTUAL_ENV, else CONDA_PREFIX, else the first Python on PATH.

    `python` is an interpreter, an environment's folder or a command's name. None: there is no Python.

    Raises:
        UsageProblem: `python` is not there, or is no Python.
    """
    if host.uname()[0] == "Windows":
        from envdoctor.probes import windows_place  # other folders, other separators

        return windows_place.locate(host, python)
    if python is not None:
        return _asked_for(host, python)
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        folder = host.environ.get(variable, "")
        place = _in_folder(host, folder.rstrip("/"), variable) if folder.startswith("/") else None
        if place:
            return place
    for command in commands.found(host, *_NAMES):
        executable = commands.unshimmed(host, command)
        place = _read(host, executable, "PATH") if executable else None
        if place and not _of_one_tool(host, place.prefix):
            return place
    return None


def _asked_for(host: Host, python: str) -> Place:
    path = os.path.abspath(python)
    kind = host.kind(path)
    if kind is None and "/" not in python:
        path = next(commands.found(host, python), "")
        kind = host.kind(path) if path else None
    if kind is None:
        raise UsageProblem(
            say("--python {python}: there is no such file", python=python),
            say("Give the path of an interpreter or a folder."),
        )
    if kind == "directory":
        place = _in_folder(host, path, "--python")
        if place is None:
            raise UsageProblem(
                say("--python {python}: no Python environment in this folder", python=python),
                say("An environment's folder has bin/python in it, and pyvenv.cfg or conda-meta."),
            )
        return place
    executable = commands.unshimmed(host, path) if host.executable(path) else None
    place = _read(host, executable, "--python") if executable else None
    if place is None:
        raise UsageProblem(say("--python {python}: this is not a Python interpreter (3.7 or newer)", python=python))
    return place


def _in_folder(host: Host, folder: str, selected_by: str) -> Place | None:
    for name in reversed(_NAMES):
        executable = f"{folder}/bin/{name}"
        if host.executable(executable):
            return _read(host, executable, selected_by)
    # The Python that a virtual environment was made with is gone; its packages can still be read.
    if selected_by != "--python" and host.kind(f"{folder}/pyvenv.cfg") == "file":
        return prefixes.describe(host, f"{folder}/bin/python", selected_by)
    return None


def _read(host: Host, executable: str, selected_by: str) -> Place | None:
    return prefixes.describe(host, executable, selected_by) or prefixes.ask(host, executable, selected_by)


def _of_one_tool(host: Host, prefix: str) -> bool:
    """Tell whether pipx or uv made this environment for one command: `uvx envdoctor` puts its own first on PATH."""
    if "/uv/archive-v" in prefix or "/pipx/.cache/" in prefix:
        return True
    return any(host.kind(posixpath.join(prefix, name)) for name in ("uv-receipt.toml", "pipx_metadata.json"))
