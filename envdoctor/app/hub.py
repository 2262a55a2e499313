"""The configuration of a model on the Hugging Face hub: from this machine's cache, else from the hub itself.

Only config.json is fetched, a few kilobytes; never weights, and with nobody's token.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from time import monotonic

from envdoctor import errors
from envdoctor.host.local import LocalHost
from envdoctor.model.speech import say

HUB = "https://huggingface.co"
LARGEST_CONFIG = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_SECONDS = 15.0


def config(name: str, environ: Mapping[str, str]) -> tuple[bytes, str]:
    """Give the text of a model's config.json and where it is from. `name` is org/name.

    Raises:
        errors.UsageProblem: the name is not one.
        errors.Unreadable: there is no such model, it may not be read, or the hub cannot be reached.
        errors.MissingPart: requests is not installed.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise errors.UsageProblem(
            say("hf:{name} is not a model of the hub", name=name), say("write hf:organisation/model")
        )
    kept = _cached(name, environ)
    if kept is not None:
        return kept
    if environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        reason = say("{name} is not in the cache, and HF_HUB_OFFLINE forbids asking the hub", name=name)
        raise errors.Unreadable(reason, _by_hand(name))
    return _fetched(name, (environ.get("HF_ENDPOINT") or HUB).rstrip("/"))


def _cached(name: str, environ: Mapping[str, str]) -> tuple[bytes, str] | None:
    """Read it as huggingface_hub keeps it: the revision that refs/main names, else the last one by name."""
    home = environ.get("HF_HOME") or os.path.join(
        environ.get("XDG_CACHE_HOME") or os.path.join(environ.get("HOME", "/"), ".cache"), "huggingface"
    )
    cache = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")
    folder = os.path.abspath(os.path.join(os.path.expanduser(cache), "models--" + name.replace("/", "--")))
    host = LocalHost()
    try:
        revisions = [host.read(f"{folder}/refs/main", 256).decode("ascii", "replace").strip()]
    except OSError:
        revisions = []
    try:
        revisions += reversed(host.list(f"{folder}/snapshots"))
    except OSError:
        pass
    for revision in revisions:
        path = f"{folder}/snapshots/{revision}/config.json"
        try:
            return host.read(path, LARGEST_CONFIG), path
        except OSError:
            continue
    return None


def _fetched(name: str, endpoint: str) -> tuple[bytes, str]:
    from urllib.request import getproxies

    try:
        import requests
    except ImportError:
        raise errors.MissingPart(
            say("the Python package requests is needed to ask the hub"),
            say("pip install 'envdoctor[hub]', or {by_hand}", by_hand=_by_hand(name)),
        ) from None
    address = f"{endpoint}/{name}/resolve/main/config.json"
    try:
        # A bare session: a .netrc would send somebody's password along.
        session = requests.Session()
        session.trust_env = False
        session.proxies.update(getproxies())
        with session.get(address, timeout=_SECONDS, stream=True) as answer:
            status = answer.status_code
            content = _body(answer.iter_content(1 << 14)) if status == 200 else b""
    except (requests.RequestException, OSError) as problem:
        reason = type(problem).__name__
        raise errors.Unreadable(
            say("{endpoint} cannot be reached to read {name} ({reason})", endpoint=endpoint, name=name, reason=reason),
            say("set HF_ENDPOINT to a mirror such as https://hf-mirror.com, or {by_hand}", by_hand=_by_hand(name)),
        ) from None
    if status in (401, 403):
        raise errors.Unreadable(
            say(
                "{endpoint} does not let everybody read {name}, or has no such model (status {status})",
                endpoint=endpoint,
                name=name,
                status=status,
            ),
            _by_hand(name),
        )
    if status != 200:
        raise errors.Unreadable(
            say(
                "{endpoint} has no config.json of {name} (status {status})", endpoint=endpoint, name=name, status=status
            ),
            say("look at its page there"),
        )
    return content, address


def _body(pieces: Iterable[bytes]) -> bytes:
    """Join what comes, as far as it is no longer than a configuration and does not take for ever."""
    content, deadline = b"", monotonic() + _SECONDS
    for piece in pieces:
        content += piece
        if len(content) > LARGEST_CONFIG or monotonic() > deadline:
            break
    return content


def _by_hand(name: str) -> str:
    return say("download the config.json of {name} and give its path", name=name)
