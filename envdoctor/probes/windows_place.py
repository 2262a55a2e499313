"""Which Python environment is judged on Windows: its folders, its separators and its programs differ from all others.

Paths are kept with forward slashes, which Windows takes as well, so that everything after this reads them as it does
elsewhere.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from envdoctor.errors import UsageProblem
from envdoctor.host import Host, names, text
from envdoctor.model.speech import say
from envdoctor.probes import Place
from envdoctor.probes.prefixes import ask, pyvenv

_RELEASE = re.compile(r"3\.\d+\.\d+(?:(?:a|b|rc)\d+)?")
# The Store puts a program of this folder on PATH that only opens the Store.
_STORE = "/microsoft/windowsapps"


def locate(host: Host, python: str | None) -> Place | None:
    """Find the environment as on other systems: `python`, else VIRTUAL_ENV, else CONDA_PREFIX, else PATH.

    Raises:
        UsageProblem: `python` is not there, or is no Python.
    """
    if python is not None:
        path = slashes(python)
        place = _in_folder(host, path, "--python") if host.kind(path) == "directory" else _of(host, path, "--python")
        if place is None:
            raise UsageProblem(say("--python {python}: this is no Python, and no folder with one", python=python))
        return place
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        folder = slashes(host.environ.get(variable, ""))
        place = _in_folder(host, folder, variable) if folder else None
        if place:
            return place
    return next((place for path in _on_path(host) if (place := _of(host, path, "PATH"))), None)


def slashes(path: str) -> str:
    r"""Give a path of Windows with forward slashes and without one at its end.

    >>> slashes("C:\\Users\\ann\\env\\")
    'C:/Users/ann/env'
    """
    return path.replace("\\", "/").rstrip("/")


def _on_path(host: Host) -> Iterator[str]:
    listed = host.environ.get("PATH") or host.environ.get("Path") or ""
    for folder in dict.fromkeys(slashes(each.strip('"')) for each in listed.split(";")):
        path = f"{folder}/python.exe"
        if folder[1:2] == ":" and not folder.lower().endswith(_STORE) and host.kind(path) == "file":
            yield path


def _in_folder(host: Host, folder: str, selected_by: str) -> Place | None:
    for path in (f"{folder}/Scripts/python.exe", f"{folder}/python.exe"):
        if host.kind(path) == "file":
            return _of(host, path, selected_by)
    return None


def _of(host: Host, executable: str, selected_by: str) -> Place | None:
    """Describe an interpreter by the files around it; where they say too little it is asked."""
    if host.kind(executable) != "file":
        return None
    folder = posixpath.dirname(executable)
    for prefix in (posixpath.dirname(folder), folder):
        settings = pyvenv(text(host, f"{prefix}/pyvenv.cfg", 1 << 16) or "")
        release = _RELEASE.search(settings.get("version") or settings.get("version_info") or "")
        if "home" in settings and release:
            base = slashes(settings["home"])
            return _place(host, executable, prefix, base, release.group(), "venv", selected_by)
    conda = names(host, f"{folder}/conda-meta")
    version = next((name.split("-")[1] for name in conda if re.match(r"python-\d", name)), "") or _header(host, folder)
    if not version:
        return ask(host, executable, selected_by)
    return _place(host, executable, folder, folder, version, "conda" if conda else "other", selected_by)


def _header(host: Host, prefix: str) -> str:
    header = text(host, f"{prefix}/include/patchlevel.h", 1 << 16) or ""
    found = re.search(r'^#define PY_VERSION\s+"([^"+]+)', header, re.MULTILINE)
    return found[1] if found else ""


def _place(host: Host, executable: str, prefix: str, base: str, version: str, manager: str, selected_by: str) -> Place:
    site = f"{prefix}/Lib/site-packages"
    return Place(
        executable=executable,
        prefix=prefix,
        base_prefix=base,
        version=version,
        manager=manager,
        selected_by=selected_by,
        site_dirs=(site,) if host.kind(site) == "directory" else (),
    )
