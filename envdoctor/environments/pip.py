"""pip, as the person has configured it: which versions it offers, and installing with it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from typing import NamedTuple

from envdoctor import errors
from envdoctor.environments.running import run
from envdoctor.model.redaction import without_credentials
from envdoctor.model.speech import say

# One try and five seconds: a person waits for this. A slow mirror answers a second question from its cache.
_IMPATIENT = ("--retries", "0", "--timeout", "5")
_VERSIONS = re.compile(r"^Available versions: (.+)$", re.MULTILINE)
# Settings that change where packages come from, which uv does not read from pip.
_SOURCES = ("index-url", "extra-index-url", "find-links", "constraint", "no-index", "cert", "proxy", "trusted-host")


class Configuration(NamedTuple):
    """The settings of pip that decide where packages come from; credentials are taken out."""

    settings: Mapping[str, str]

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.settings.items()) or say("pip's own defaults")


def configuration(python: str) -> Configuration:
    """Read pip's configuration as that interpreter's pip sees it: files and PIP_* variables."""
    return Configuration({name: without_credentials(value) for name, value in settings_with_secrets(python).items()})


def settings_with_secrets(python: str) -> dict[str, str]:
    """Read the same settings with the passwords in their addresses, for programs only: never print or write them."""
    found: dict[str, str] = {}
    listed = _ask(python, "config", "list").splitlines()
    # In the order of their weight: the files, what is for `install` alone, and the variables last.
    for scope in ("global", "install", ":env:"):
        for text in listed:
            name, _, value = text.partition("=")
            section, _, name = name.rpartition(".")
            if section == scope and name in _SOURCES:
                found[name] = value.strip("'\"")
    return found


def offers(python: str, package: str, where: tuple[str, ...] = ()) -> tuple[str, ...]:
    """List the versions of a package that pip could install for that interpreter, newest first; empty: none.

    `where`: pip's options for other places than the configured ones; what they do not replace stays in force, as it
    does when pip installs. An index that cannot be reached offers nothing: pip does not tell the two apart.
    """
    output = _ask(python, "index", "versions", package, *where, *_IMPATIENT)
    found = _VERSIONS.search(output)
    return tuple(found.group(1).split(", ")) if found else ()


def would_install(python: str, requirement: str, where: tuple[str, ...] = ()) -> bool:
    """Tell whether pip, with the person's constraints, would install that requirement; nothing is installed."""
    dry = ("install", "--dry-run", "--no-deps", "--quiet", "--report", "-")
    return bool(_ask(python, *dry, requirement, *where, *_IMPATIENT))


def install(
    python: str, requirements: tuple[str, ...], where: tuple[str, ...], line: Callable[[str], None], timeout: float
) -> None:
    """Install into that interpreter's environment.

    uv does it where it is installed, pip has no settings of its own and one index at most is named in `where`: uv reads
    none of pip's settings and weighs several indexes otherwise, so that then only pip does what is meant.

    Raises:
        errors.NotVerified: it did not work; the message says why, the log has all.
    """
    uv = shutil.which("uv")
    if uv and len(where) < 3 and not configuration(python).settings:
        command = (uv, "pip", "install", "--python", python, *where, *requirements)
    else:
        command = (python, "-m", "pip", "install", "--no-input", "--progress-bar", "off", *where, *requirements)
    try:
        status, said = run(command, line, timeout=timeout, environ=_environ())
    except TimeoutError as late:
        raise errors.NotVerified(
            say("installing took longer than {timeout:g} s", timeout=timeout), say("start it again: it goes on")
        ) from late
    if status != 0:
        raise errors.NotVerified(*_why(said))


def download(python: str, words: tuple[str, ...], line: Callable[[str], None], timeout: float, *, scratch: str) -> None:
    """Download with that interpreter's pip, whose temporary files go to `scratch`.

    Raises:
        errors.NotVerified: it did not work; the message says why.
    """
    command = (python, "-m", "pip", "download", "--no-input", "--progress-bar", "off", *words)
    try:
        status, said = run(command, line, timeout=timeout, environ={**_environ(), "TMPDIR": scratch, "TEMP": scratch})
    except TimeoutError as late:
        raise errors.NotVerified(
            say("downloading took longer than {timeout:g} s", timeout=timeout), say("start it again: it goes on")
        ) from late
    if status != 0:
        raise errors.NotVerified(*_why([without_credentials(text) for text in said], download=True))


def present(python: str) -> bool:
    """Tell whether an interpreter has pip."""
    return bool(_ask(python, "--version"))


def _why(output: list[str], *, download: bool = False) -> tuple[str, str]:
    text = "\n".join(output)
    if "No space left on device" in text:
        return say("the disk is full"), say("free some space (pip cache purge), or choose another folder with -o")
    said = next((each for each in reversed(output) if each.startswith(("ERROR:", "error:", "  ×"))), "")
    reason = said.removeprefix("ERROR:").removeprefix("error:").strip() or (
        output[-1] if output else say("it said nothing")
    )
    if any(word in text for word in ("NewConnectionError", "Connection refused", "Temporary failure in name")):
        what = say("the package index cannot be reached: {reason}", reason=reason)
        hint = say("check the proxy, or set a mirror: pip config set")
    elif download:
        what, hint = (
            say("pip could not download the packages: {reason}", reason=reason),
            say("the log has the whole output"),
        )
    else:
        return say("pip could not install the packages: {reason}", reason=reason), say("the log has the whole output")
    return what, say("{hint}; started again, it goes on", hint=hint) if download else hint


def _ask(python: str, *arguments: str) -> str:
    try:
        done = subprocess.run(
            (python, "-m", "pip", *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=120,
            check=False,
            env=_environ(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _environ() -> dict[str, str]:
    """The person's environment, without what would make pip act on another one or speak another language."""
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH")}
    return {**environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONUNBUFFERED": "1", "LC_ALL": "C.UTF-8"}
