"""Prefixes: what the files around a Python tell of it, without starting it."""

from __future__ import annotations

import posixpath
import re

import msgspec

from envdoctor import host as host_package
from envdoctor.host import Host, names, text
from envdoctor.model import Record
from envdoctor.probes import Place

_LIBRARY = re.compile(r"(?:python|pypy)(3\.\d+)t?$")
_RELEASE = re.compile(r"3\.\d+\.\d+(?:(?:a|b|rc)\d+)?")
# The script's path goes through a variable, so that a recorded answer can be replayed where envdoctor lives elsewhere.
_ASK = "import os; exec(open(os.environ['ENVDOCTOR_INSIDE']).read())"
_INSIDE = posixpath.join(posixpath.dirname(host_package.__file__), "inside.py")


def describe(host: Host, executable: str, selected_by: str) -> Place | None:
    """Tell where an interpreter's packages are, from files alone; None: they do not tell, so it must be asked.

    The folder that `executable` stands in decides, links unresolved, as it does for Python itself: that is how the
    `bin/python` of a virtual environment, a link to another Python, finds its packages. Prefixes are given resolved.
    """
    folder = posixpath.dirname(executable)
    for home in (posixpath.dirname(folder), folder):
        settings = pyvenv(text(host, f"{home}/pyvenv.cfg", 1 << 16) or "")
        if "home" in settings:
            return _virtual(host, executable, home, settings, selected_by)
    binary = host.realpath(executable)
    if not posixpath.basename(binary).startswith(("python", "pypy")) or _is_script(host, binary):
        return None
    prefix = posixpath.dirname(posixpath.dirname(binary))
    library = _library(host, prefix, binary)
    if library is None:
        return None
    conda = names(host, f"{prefix}/conda-meta")
    return Place(
        executable=executable,
        prefix=prefix,
        base_prefix=prefix,
        version=_version(host, prefix, library, conda),
        manager=_manager(host, prefix, conda),
        selected_by=selected_by,
        site_dirs=_existing(
            host, (*_from_variable(host), *_user_site(host, library), *_site_packages(host, prefix, library))
        ),
    )


def pyvenv(content: str) -> dict[str, str]:
    """Read a pyvenv.cfg: names in lower case, values as they stand.

    >>> pyvenv("Home = /usr/bin")
    {'home': '/usr/bin'}
    """
    pairs = (line.partition("=") for line in content.splitlines())
    return {name.strip().lower(): value.strip() for name, equals, value in pairs if equals}


def _virtual(host: Host, executable: str, home: str, settings: dict[str, str], selected_by: str) -> Place | None:
    prefix, binary = host.realpath(home), host.realpath(executable)
    library = _library(host, prefix, binary)
    if library is None:
        return None
    if not binary.startswith(prefix + "/"):
        base = posixpath.dirname(posixpath.dirname(binary))
    else:  # made with --copies
        # `home` may be another virtual environment's (Python 3.10 writes that): its link leads on to the base.
        copied = host.realpath(f"{settings['home']}/{posixpath.basename(binary)}")
        base = host.realpath(settings.get("base-prefix") or posixpath.dirname(posixpath.dirname(copied)))
    release = _RELEASE.search(settings.get("version") or settings.get("version_info") or "")
    site_dirs = (*_from_variable(host), *_site_packages(host, prefix, library))
    if settings.get("include-system-site-packages", "").lower() == "true":
        site_dirs += (*_user_site(host, library), *_site_packages(host, base, library))
    return Place(
        executable=executable,
        prefix=prefix,
        base_prefix=base,
        version=release.group() if release else _version(host, base, library, names(host, f"{base}/conda-meta")),
        manager="venv",
        selected_by=selected_by,
        site_dirs=_existing(host, site_dirs),
    )


def _is_script(host: Host, path: str) -> bool:
    try:
        return host.read(path, 2) == b"#!"
    except OSError:
        return False


def _library(host: Host, prefix: str, binary: str) -> str | None:
    """Give the name of the folder below lib that holds this Python's modules: python3.12, python3.13t."""
    named = posixpath.basename(binary)
    if _LIBRARY.match(named) and host.kind(f"{prefix}/lib/{named}") == "directory":
        return named
    there = [name for name in names(host, f"{prefix}/lib") if _LIBRARY.match(name)]
    there = there or [name for name in names(host, f"{prefix}/lib64") if _LIBRARY.match(name)]
    if len(there) > 1:  # /usr/lib may hold several; the link's name tells which of them this one is
        there = [name for name in there if name == named]
    return there[0] if len(there) == 1 else None


def _version(host: Host, prefix: str, library: str, conda: tuple[str, ...]) -> str:
    """Find the full version; where only the folder's name tells, give major.minor."""
    for name in conda:
        parts = name.rsplit("-", 2)
        if len(parts) == 3 and parts[0] == "python":
            return parts[1]
    parent, name = posixpath.split(prefix)
    release = _RELEASE.search(name)
    if release and (name.startswith("cpython-") or posixpath.basename(parent) == "versions"):
        return release.group()  # uv and pyenv name the folder after the release
    header = text(host, f"{prefix}/include/{library}/patchlevel.h", 1 << 16) or ""
    line = next((line for line in header.splitlines() if line.startswith("#define PY_VERSION ")), "")
    if line.count('"') == 2:
        return line.split('"')[1]
    named = _LIBRARY.match(library)
    return named.group(1) if named else ""


def _manager(host: Host, prefix: str, conda: tuple[str, ...]) -> str:
    if conda:
        return "conda"
    parent = posixpath.dirname(prefix)
    if posixpath.basename(parent) == "versions":
        root = posixpath.dirname(parent)
        configured = host.environ.get("PYENV_ROOT")
        if posixpath.basename(root) == ".pyenv" or (configured and host.realpath(configured) == root):
            return "pyenv"
    return "system" if prefix == "/usr" else "other"


def _site_packages(host: Host, prefix: str, library: str) -> tuple[str, ...]:
    """Name the folders that distributions go to, in the order that each system's Python searches them."""
    plain: tuple[str, ...] = (f"{prefix}/lib/{library}/site-packages",)
    if host.realpath(f"{prefix}/lib64") != host.realpath(f"{prefix}/lib"):  # Fedora's; mostly one is a link
        plain = (f"{prefix}/lib64/{library}/site-packages", *plain)
    if prefix != "/usr":
        return plain
    if host.kind("/usr/lib/python3/dist-packages") == "directory":  # Debian and its children
        return (
            f"/usr/local/lib/{library}/dist-packages",
            "/usr/lib/python3/dist-packages",
            f"/usr/lib/{library}/dist-packages",
        )
    if host.kind("/etc/redhat-release"):
        return (f"/usr/local/lib64/{library}/site-packages", f"/usr/local/lib/{library}/site-packages", *plain)
    return plain


def _user_site(host: Host, library: str) -> tuple[str, ...]:
    home = host.environ.get("HOME")
    base = host.environ.get("PYTHONUSERBASE") or (home and f"{home}/.local")
    if not base or host.environ.get("PYTHONNOUSERSITE"):
        return ()
    return (f"{base}/lib/{library}/site-packages",)


def _from_variable(host: Host) -> tuple[str, ...]:
    return tuple(folder for folder in host.environ.get("PYTHONPATH", "").split(":") if folder.startswith("/"))


def _existing(host: Host, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Keep folders that are there, each once even where one is a link to another."""
    kept: dict[str, str] = {}
    for folder in wanted:
        real = host.realpath(folder)
        if real not in kept and host.kind(real) == "directory":
            kept[real] = folder
    return tuple(kept.values())


class _Answer(Record):
    """What host/inside.py prints."""

    version: str
    prefix: str
    base_prefix: str
    binary: str
    site_dirs: tuple[str, ...]


def ask(host: Host, executable: str, selected_by: str) -> Place | None:
    """Start an interpreter that files say too little of, and let it tell; None: it is no Python 3.7 or newer.

    Only a program whose name says Python is started, so that `--python` with a slip of the pen runs nothing else.
    """
    if not any("py" in posixpath.basename(path) for path in (executable, host.realpath(executable))):
        return None
    environ = {**host.environ, "ENVDOCTOR_INSIDE": _INSIDE}
    try:
        done = host.run((executable, "-I", "-c", _ASK), timeout=host.patience, environ=environ)
        answer = msgspec.json.decode(done.stdout.encode(), type=_Answer)
    except (OSError, msgspec.MsgspecError):
        return None
    prefix, base = host.realpath(answer.prefix), host.realpath(answer.base_prefix)
    library = "python" + ".".join(answer.version.split(".")[:2])
    user = _user_site(host, library) if prefix == base else ()
    return Place(
        executable=executable,
        prefix=prefix,
        base_prefix=base,
        version=answer.version,
        manager="venv" if prefix != base else _manager(host, prefix, names(host, f"{prefix}/conda-meta")),
        selected_by=selected_by,
        site_dirs=_existing(host, (*_from_variable(host), *user, *answer.site_dirs)),
        binary=answer.binary,
    )
