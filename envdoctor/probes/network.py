"""Whether the package index and the proxy can be reached: asked only where a person asks for it (--network)."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from threading import Thread
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from msgspec.structs import replace

from envdoctor.host import Host
from envdoctor.host import text as read_text
from envdoctor.model.snapshot import Asked, Gap, Outcome, Setting, Snapshot
from envdoctor.model.speech import say

# For one connection. All run at once; looking a name up has no limit of its own, so that all of it has one.
CONNECT_SECONDS = 1.0
ALL_SECONDS = 4.0
# An environment with more indexes than this is not asked for all of them.
MOST_TARGETS = 16

_PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
_TRUE = ("1", "true", "yes", "on", "y", "t")


class Target(NamedTuple):
    """Where to connect to; what the answer is filed under."""

    name: str
    port: int
    kind: Literal["index", "extra-index", "proxy"]
    source: str

    @property
    def address(self) -> str:
        """host:port."""
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


class _Url(NamedTuple):
    scheme: str
    name: str
    port: int


def asked(host: Host, machine: Snapshot) -> Snapshot:
    """Connect to each index and proxy that this machine installs through, and put the outcomes into the snapshot.

    A connection that is taken is closed at once; nothing is sent, so that a server which wants a password counts as
    reached.
    """
    wanted = targets(host, machine)
    if not wanted:
        detail = say("no package index and no proxy is set up here, and pip's own index is not known")
        gap = Gap(probe="network", fact="network", kind="not-reported", detail=detail)
        return replace(machine, gaps=(*machine.gaps, gap))
    outcomes: dict[Target, Outcome] = {}
    problems: list[OSError] = []

    def ask(target: Target) -> None:
        try:
            outcomes[target] = host.connect(target.name, target.port, CONNECT_SECONDS)
        except OSError as problem:
            problems.append(problem)

    threads = [Thread(target=ask, args=(each,), daemon=True) for each in wanted]
    for thread in threads:
        thread.start()
    end = time.monotonic() + ALL_SECONDS
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0))
    if problems:
        gap = Gap(probe="network", fact="network", kind="denied", detail=str(problems[0]))
        return replace(machine, gaps=(*machine.gaps, gap))
    answers = outcomes.copy()
    network = tuple(
        Asked(target=each.address, kind=each.kind, source=each.source, outcome=answers.get(each, "no-answer"))
        for each in wanted
    )
    return replace(machine, network=network, origins={**machine.origins, "network": say("a connection attempt")})


def targets(host: Host, machine: Snapshot) -> tuple[Target, ...]:
    """Give what is to be asked, each server once: an index, or the proxy that stands before it."""
    found: dict[str, Target] = {}
    known = False
    for kind, value, source in (*_of_pip(host, machine), *_of_uv(machine)):
        url = _parsed(value)
        if url is None or url.scheme not in ("http", "https"):
            continue
        known = known or kind == "index"
        proxy = _proxy(machine, url, uv=source.startswith("UV_"))
        target = proxy or Target(url.name, url.port, kind, source)
        found.setdefault(target.address, target)
    if not known and not _offline(machine):  # pip's own index, wherever it is, is asked by https
        proxy = _proxy(machine, _Url("https", "", 443), uv=False)
        if proxy:
            found.setdefault(proxy.address, proxy)
    return tuple(found.values())[:MOST_TARGETS]


def own_index(content: str) -> str | None:
    r"""Read the index that pip takes where none is set from its own file, pip/_internal/models/index.py.

    >>> own_index('PyPI = PackageIndex("https://index.example.org/", file_storage_domain="files.example.org")\n')
    'https://index.example.org/'
    """
    found = re.search(r"^PyPI\s*=\s*PackageIndex\(\s*[\"'](https?://[^\"'\s]+)[\"']", content, re.MULTILINE)
    return found[1] if found else None


def _setting(machine: Snapshot, name: str) -> Setting | None:
    """Give the setting of pip that counts."""
    return next((each for each in machine.pip.settings if each.name == name), None) if machine.pip else None


def _offline(machine: Snapshot) -> bool:
    off = _setting(machine, "no-index")
    return off is not None and off.value.lower() in _TRUE


def _of_pip(host: Host, machine: Snapshot) -> Iterator[tuple[Literal["index", "extra-index"], str, str]]:
    if _offline(machine):
        return
    main, extra = _setting(machine, "index-url"), _setting(machine, "extra-index-url")
    if main:
        yield "index", main.value, main.source
    elif machine.python and (pip := machine.python.package("pip")) and pip.location:
        path = f"{pip.location}/pip/_internal/models/index.py"
        try:
            own = own_index(read_text(host, path, 1 << 14) or "")
        except OSError:
            own = None
        if own:
            yield "index", own, path
    for each in extra.value.split() if extra else ():
        yield "extra-index", each, extra.source if extra else ""


def _of_uv(machine: Snapshot) -> Iterator[tuple[Literal["index"], str, str]]:
    """Give the indexes of uv's variables, which fails where any of them does not answer: https://docs.astral.sh/uv."""
    if any((machine.variable(name) or "").lower() in _TRUE for name in ("UV_OFFLINE", "UV_NO_INDEX")):
        return
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"):
        for each in (machine.variable(name) or "").split():
            before, equals, url = each.partition("=")  # an index may have a name: acme=https://…
            yield "index", url if equals and "/" not in before else each, name


def _parsed(text: str) -> _Url | None:
    """Read scheme, host and port; None: it is no address of a server."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or parts.scheme not in _PORTS:
        return None
    return _Url(parts.scheme, parts.hostname, _PORTS[parts.scheme] if port is None else port)


def _proxy(machine: Snapshot, url: _Url, *, uv: bool) -> Target | None:
    """Give the proxy that a request to this address goes through; None: it goes there itself."""
    own = None if uv else _setting(machine, "proxy")
    if own:  # pip then looks at no variable, no_proxy included
        value, source = own.value, own.source
    elif _exempt(url, _variable(machine, "no_proxy")[0]):
        return None
    else:
        value, source = _variable(machine, f"{url.scheme}_proxy")
        if not value:
            value, source = _variable(machine, "all_proxy")
    proxy = _parsed(value if "://" in value else f"http://{value}") if value else None
    return Target(proxy.name, proxy.port, "proxy", source) if proxy else None


def _variable(machine: Snapshot, name: str) -> tuple[str, str]:
    """Give a variable of proxies and its name; the one in small letters counts, also where it is empty."""
    for each in (name, name.upper()):
        value = machine.variable(each)
        if value is not None:
            return value.strip(), each
    return "", name


def _exempt(url: _Url, exceptions: str) -> bool:
    """Tell whether no_proxy names a host: itself, a domain above it, with its port, a network, or all by *."""
    for each in exceptions.lower().replace(",", " ").split():
        name = each.lstrip(".")
        if each == "*" or url.name == name or f"{url.name}:{url.port}" == name or url.name.endswith(f".{name}"):
            return True
        if "/" in each and _within(url.name, each):
            return True
    return False


def _within(name: str, network: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(name) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
