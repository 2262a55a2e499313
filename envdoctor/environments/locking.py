"""Locking with uv: every package of a stack, with the hash of each of its files, for the machine it is meant for."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import NamedTuple

from envdoctor import errors
from envdoctor.environments import pip
from envdoctor.environments.running import run
from envdoctor.model.redaction import without_credentials
from envdoctor.model.speech import say
from envdoctor.model.stack import Target

# What uv has a name for; a wheel for an older C library runs on a newer one.
_GLIBC: tuple[int, ...] = (17, 28, *range(31, 41))
_PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s;\\]+)")
_USER = re.compile(r"(?<=://)[^/@\s\"']+@")
_SECONDS = 1800.0


class Locked(NamedTuple):
    """A lock: pip's requirements with hashes, the bare pins, and pylock.toml; texts without a head."""

    requirements: str
    constraints: str
    pylock: str


def uv_program() -> str:
    """Find uv: beside this Python, as the extra puts it, or on PATH.

    Raises:
        errors.MissingPart: there is none.
    """
    beside = shutil.which("uv", path=os.path.dirname(sys.executable))
    found = beside or shutil.which("uv")
    if found is None:
        raise errors.MissingPart(
            say("locking needs uv, which is not here"), say("install it: pip install 'envdoctor[lock]'")
        )
    return found


def platform_of(target: Target) -> str:
    """Name a machine as uv does; without a C library known, PyTorch's wheels decide: glibc 2.28.

    >>> platform_of(Target(glibc="2.35")), platform_of(Target(os="windows")), platform_of(Target(glibc="2.30"))
    ('x86_64-manylinux_2_35', 'x86_64-pc-windows-msvc', 'x86_64-manylinux_2_28')
    """
    if target.os == "windows":
        return f"{target.arch}-pc-windows-msvc"
    if target.os == "macos":
        return f"{target.arch}-apple-darwin"
    if target.libc == "musl":
        return f"{target.arch}-unknown-linux-musl"
    return f"{target.arch}-manylinux_2_{glibc_of(target)}"


def glibc_of(target: Target) -> int:
    """Give the minor version of the newest glibc that wheels may ask for on a machine."""
    have = int((target.glibc or "2.28").split(".")[1])
    fitting = [each for each in _GLIBC if each <= have]
    return fitting[-1] if fitting else _GLIBC[0]


def lock(
    requirements: tuple[str, ...],
    index_lines: tuple[str, ...],
    target: Target,
    python: str,
    *,
    before: str | None,
    line: Callable[[str], None],
) -> Locked:
    """Resolve requirements for a machine, as pip would with the person's own settings, and note every hash.

    Args:
        requirements: of the stack.
        index_lines: what a requirements file says of where they come from; the person's settings stand beside it.
        target: the machine.
        python: its Python, 3.12.
        before: an earlier lock; its versions stay as long as they fit, so that locking again changes nothing.
        line: takes what uv prints.

    Raises:
        errors.MissingPart: there is no uv.
        errors.NotVerified: nothing fits, an index cannot be reached, or one gives no hashes.
    """
    uv = uv_program()
    own = pip.settings_with_secrets(sys.executable)
    with tempfile.TemporaryDirectory(prefix="envdoctor-lock-") as folder:

        def place(name: str) -> str:
            return os.path.join(folder, name)

        lines = (*_sources(own, index_lines), *index_lines, *requirements)
        _put(place("requirements.in"), "\n".join(lines) + "\n")
        if before is not None:
            _put(place("locked.txt"), before)
        limits = [
            word for path in own.get("constraint", "").split() for word in ("--constraints", os.path.abspath(path))
        ]
        command: tuple[str, ...] = (
            uv,
            "pip",
            "compile",
            "requirements.in",
            "--directory",
            folder,
            "--python",
            sys.executable,
        )
        command += ("--no-python-downloads", "--python-version", python, "--python-platform", platform_of(target))
        command += ("--index-strategy", "unsafe-best-match", "--only-binary", ":all:")
        command += ("--no-header", "--no-annotate", "--quiet")
        command += (*limits, *(word for host in own.get("trusted-host", "").split() for word in _insecure(host)))
        _compile((*command, "--generate-hashes", "-o", "locked.txt"), own, line)
        hashed = _USER.sub("", _read(place("locked.txt")))
        pins = _pins(hashed)
        _put(place("pins.txt"), pins)
        _compile((*command, "--constraints", "pins.txt", "--format", "pylock.toml", "-o", "pylock.toml"), own, line)
        return Locked(requirements=hashed, constraints=pins, pylock=_USER.sub("", _read(place("pylock.toml"))))


def names_and_hashes(requirements: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Read a lock: name -> the version, and the SHA-256 of each of its files.

    >>> names_and_hashes("six==1.17.0 --hash=sha256:4721")
    {'six': ('1.17.0', ('4721',))}
    """
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for text in requirements.replace("\\\n", " ").splitlines():
        pin = _PIN.match(text)
        if pin:
            found[pin[1]] = (pin[2], tuple(re.findall(r"--hash=sha256:([0-9a-f]+)", text)))
    return found


def _sources(own: Mapping[str, str], index_lines: tuple[str, ...]) -> list[str]:
    """Write the person's own places as lines of requirements, which uv reads too; a file keeps passwords off argv."""
    lines = []
    if "index-url" in own and not any(each.startswith("--index-url") for each in index_lines):
        lines.append(f"--index-url {own['index-url']}")
    lines += [f"--extra-index-url {url}" for url in own.get("extra-index-url", "").split()]
    lines += [f"--find-links {url}" for url in own.get("find-links", "").split()]
    return lines + (["--no-index"] if own.get("no-index", "").lower() in ("1", "true", "yes", "on") else [])


def _insecure(host: str) -> tuple[str, str]:
    return "--allow-insecure-host", host


def _compile(command: tuple[str, ...], own: Mapping[str, str], line: Callable[[str], None]) -> None:
    environ = {**os.environ, "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}
    if own.get("cert"):
        environ.setdefault("SSL_CERT_FILE", own["cert"])
    for name in ("HTTPS_PROXY", "HTTP_PROXY") if own.get("proxy") else ():
        environ.setdefault(name, own["proxy"])
    try:
        status, said = run(command, lambda text: line(without_credentials(text)), timeout=_SECONDS, environ=environ)
    except TimeoutError as late:
        raise errors.NotVerified(
            say("locking took longer than {seconds:g} s", seconds=_SECONDS), say("start it again")
        ) from late
    if status != 0:
        raise errors.NotVerified(*_why([without_credentials(text) for text in said]))


def _why(said: list[str]) -> tuple[str, str]:
    text = "\n".join(said)
    words = " ".join(" ".join(each.strip(" ╰─▶├│×") for each in said if not each.startswith("warning")).split())
    words = words.removeprefix("error:").strip()
    shown = words if len(words) <= 400 else f"{words[:400]} …"
    if "No space left on device" in text:
        return say("the disk is full"), say("free some space (uv cache prune); nothing was written")
    if any(
        each in text for each in ("dns error", "error sending request", "Connection refused", "operation timed out")
    ):
        return say("the package index cannot be reached: {shown}", shown=shown), say(
            "check the proxy, or name a mirror: --mirror"
        )
    return say("the stack cannot be locked: {shown}", shown=shown), say(
        "without --lock the files are written all the same"
    )


def _pins(hashed: str) -> str:
    found = names_and_hashes(hashed)
    bare = [name for name, (_, hashes) in found.items() if not hashes]
    if bare or not found:
        raise errors.NotVerified(
            say("the index gives no hashes for {packages}", packages=", ".join(bare) or say("these packages")),
            say("lock with another index (--mirror), or leave out --lock"),
        )
    return "".join(f"{name}=={version}\n" for name, (version, _) in found.items())


def _put(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()
