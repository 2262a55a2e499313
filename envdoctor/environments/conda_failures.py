"""Why conda, conda-lock or a solver failed, in one line, and what to do."""

from __future__ import annotations

import re

from envdoctor import errors
from envdoctor.model.speech import say

_FULL = re.compile(r"No space left on device|NoSpaceLeftError|\(os error 28\)", re.IGNORECASE)
_REFUSED = re.compile(r"wrong hash: .*|ChecksumMismatchError.*|\bMD5MismatchError.*|.*hash mismatch.*")
_UNSATISFIABLE = re.compile(
    r"Unsatisfiable|Cannot solve the request|Could not solve|nothing provides|PackagesNotFound|ResolvePackageNotFound"
)
_OUT_OF_REACH = re.compile(
    r"GatewayError|CondaHTTPError|CondaSSLError|ProxyError|UnavailableInvalidChannel|HTTP 000 CONNECTION FAILED"
    r"|error sending request|Connection refused|ConnectionError|Temporary failure in name|Could not resolve host"
    r"|Download error|Max retries exceeded|could not find subdir"
)
_NAMES = re.compile(r"^(\w*(Error|Problem)|UnavailableInvalidChannel): ")
_ADDRESS = re.compile(r"(https?|file)://[^\s'\")]+")
# Lines that say nothing of the cause: the frames of a traceback, what was started, boxes' last words.
_NOISE = re.compile(r"^\s*(Command|STDOUT|STDERR|File \"|Traceback|raise |\^+|subprocess\.CalledProcessError)|^\s*$")
_DEPTH = 4  # lines of a solver's reason; the first have the cause


def failure(said: list[str], subdir: str, *, making: bool = False) -> errors.EnvdoctorError:
    """Turn what the programs said into an error that a person can act on; `making`: an environment was being made."""
    message = _message(said)
    text = "\n".join(said)
    if _FULL.search(text):
        return errors.Unreadable(
            say("the disk is full"),
            say("free some space (conda clean --all, or set TMPDIR), or choose another folder with -o"),
        )
    refused = _REFUSED.search(text)
    if refused:
        return errors.Unreadable(
            refused.group().strip(),
            say("the package is not the one that was locked: do not use it before you know why"),
        )
    if _UNSATISFIABLE.search("\n".join(message)):
        return errors.NoStack(
            say("no set of conda packages fits {subdir}: {reason}", subdir=subdir, reason=_reason(message)),
            say("let envdoctor choose (leave out --framework-version, --python or --cuda), or use pip: --manager venv"),
        )
    if _OUT_OF_REACH.search("\n".join(message)):
        address = _ADDRESS.search("\n".join(message))
        what = address.group().rstrip(".,") if address else say("the conda channel")
        return errors.Unreadable(
            say(
                "{address} cannot be reached: {problem}",
                address=what,
                problem=_NAMES.sub("", message[-1]).removeprefix("Caused by: "),
            ),
            say(
                "check the network and the proxy (HTTPS_PROXY), or take a mirror: --mirror, or channel_alias in "
                "~/.condarc"
            ),
        )
    fetching = re.search(r"(\S+) cannot be fetched: .*", text)
    if fetching:
        return errors.Unreadable(
            fetching.group(), say("check the network and the proxy; started again, it goes on with what is missing")
        )
    did = say("made the environment") if making else say("locked the packages")
    return errors.NotVerified(
        say("conda has not {did} for {subdir}: {reason}", did=did, subdir=subdir, reason=_reason(message)),
        say("the log has the whole output"),
    )


def _message(said: list[str]) -> list[str]:
    """Give the lines that have the cause: what conda-lock repeats of its solver, else all that is no noise."""
    begin = next((at for at, line in enumerate(said) if line.startswith("Could not lock the environment")), None)
    if begin is not None:
        rest = said[begin + 1 :]
        end = next((at for at, line in enumerate(rest) if line.startswith("    Command:")), len(rest))
        lines = [line for line in rest[:end] if line.strip()]
        if lines:
            return lines
    lines = [line for line in said if not _NOISE.match(line)]
    return lines[-_DEPTH:] or [say("it said nothing")]


def _reason(message: list[str]) -> str:
    lines = [re.sub(r"[│├└─\s]+", " ", _NAMES.sub("", line)).strip() for line in message]
    lines = [line for line in lines if line]
    more = " …" if len(lines) > _DEPTH else ""
    return "; ".join(dict.fromkeys(lines[:_DEPTH])) + more
