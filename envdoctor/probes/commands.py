"""Commands: what a name on PATH really starts, found without starting it."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from envdoctor.host import Host, names, text

# Where a shell looks that was told nothing; also what a mounted machine, which has no environment, is searched with.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def folders(host: Host) -> tuple[str, ...]:
    """List PATH's folders, each once; relative ones depend on where one stands and are left out."""
    listed = host.environ.get("PATH", DEFAULT_PATH).split(":")
    return tuple(dict.fromkeys(folder.rstrip("/") or "/" for folder in listed if folder.startswith("/")))


def found(host: Host, *wanted: str) -> Iterator[str]:
    """Give every program of these names, in the order of PATH and inside a folder in the order of the names."""
    for folder in folders(host):
        for name in wanted:
            path = posixpath.join(folder, name)
            if host.executable(path):
                yield path


def interpreter_of(host: Host, script: str) -> str | None:
    """Tell which interpreter a script names on its first line; None: it is no script, or is not readable.

    A path that is too long for a `#!` line stands on the second one, behind the word `exec`, as pip writes it.
    """
    try:
        head = host.read(script, 1024)
    except OSError:
        return None
    if not head.startswith(b"#!"):
        return None
    first, _, rest = head[2:].decode("utf-8", "replace").partition("\n")
    words = first.split()
    if not words:
        return None
    if posixpath.basename(words[0]) == "env":
        name = next((word for word in words[1:] if not word.startswith("-") and "=" not in word), None)
        return next(found(host, name), None) if name else None
    if rest.startswith("'''exec'"):
        line = rest.partition("\n")[0][len("'''exec'") :].strip()
        return line.split('"')[1] if line.startswith('"') and line.count('"') > 1 else line.partition(" ")[0]
    return words[0]


def unshimmed(host: Host, path: str) -> str | None:
    """Follow a pyenv shim to the program it starts; any other path is given back as it is.

    None: the chosen version has no such program, or is `system`, which means whatever comes later on PATH. The order
    is pyenv's: PYENV_VERSION, the nearest .python-version, the global choice
    (https://github.com/pyenv/pyenv#understanding-python-version-selection).
    """
    folder, name = posixpath.split(path)
    root = host.environ.get("PYENV_ROOT") or posixpath.dirname(folder)
    if posixpath.basename(folder) != "shims" or host.kind(f"{root}/versions") != "directory":
        return path
    installed = names(host, f"{root}/versions")
    for version in _pyenv_versions(host, root):
        home = version if version in installed else _newest(version, installed)
        if home and host.executable(f"{root}/versions/{home}/bin/{name}"):
            return f"{root}/versions/{home}/bin/{name}"
    return None


def _pyenv_versions(host: Host, root: str) -> list[str]:
    chosen = host.environ.get("PYENV_VERSION")
    if chosen:
        return chosen.split(":")
    here = host.environ.get("PWD", "")
    while here.startswith("/"):
        local = text(host, posixpath.join(here, ".python-version"), 4096)
        if local:
            return _words(local)
        if here == "/":
            break
        here = posixpath.dirname(here)
    return _words(text(host, f"{root}/version", 4096) or "system")


def _words(content: str) -> list[str]:
    return [word for line in content.splitlines() for word in line.partition("#")[0].split()]


def _newest(prefix: str, installed: tuple[str, ...]) -> str | None:
    """Give the newest installed release that a short version such as 3.11 stands for."""
    fitting = [name for name in installed if name.startswith(prefix + ".") and name[len(prefix) + 1 :].isdigit()]
    return max(fitting, key=lambda name: int(name[len(prefix) + 1 :]), default=None)
