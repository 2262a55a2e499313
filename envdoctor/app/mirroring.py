"""From the word behind --mirror to a Mirror, and what conda and uv are told on this machine."""

from __future__ import annotations

import re

from msgspec.structs import replace

from envdoctor import errors
from envdoctor.host import Host
from envdoctor.knowledge.catalogue import near
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.redaction import without_credentials
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.model.stack import Mirror, Plan, Reason

_URL = re.compile(r"https?://([^/@]*@)?(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?((/[\w.~%+,:=-]*)*)", re.ASCII)
_UV_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")


def mirror_named(name: str | None, facts: Knowledge) -> Mirror | None:
    """Find a mirror by its name, or make one of an index's address; None: the public indexes, as clients are set up.

    Raises:
        errors.UsageProblem: there is none of that name, or the address is not one.
    """
    if name is None or name.lower() == "none":
        return None
    known = names(facts)
    if name.lower() in known:
        return _known(name.lower(), facts)
    if "/" in name or ":" in name:
        return _of_address(name)
    alike = ", ".join((name.strip() and near(name, (*known, "none"))) or known)
    raise errors.UsageProblem(
        say("no mirror called {name} is known", name=name),
        say("did you mean {alike}, or its https:// address?", alike=alike),
    )


def sourced(plan: Plan, machine: Snapshot, mirror: Mirror | None, facts: Knowledge, *, here: bool) -> Plan:
    """Take a plan's packages from a mirror, and say what pip, conda and uv are told on this machine.

    `here`: the machine is this one, so that its files may be looked at.
    """
    from envdoctor.resolver.mirrors import mirrored, settings_reasons

    told = settings_reasons(machine, mirror)
    if here:
        from envdoctor.host.local import LocalHost

        told += client_reasons(LocalHost(), mirror)
    chosen = mirrored(plan, mirror, facts) if mirror else plan
    return replace(chosen, reasons=(*chosen.reasons, *told))


def names(facts: Knowledge) -> tuple[str, ...]:
    """Name the mirrors that are known."""
    return tuple(row.mirror for row in facts.mirrors if row.kind == "pip")


def _known(name: str, facts: Knowledge) -> Mirror:
    rows = {row.kind: row for row in facts.mirrors if row.mirror in (name, "hf-mirror")}
    urls = {kind: row.url for kind, row in rows.items()}
    notes = [f"{row.url}: {row.doubt}" for row in rows.values() if row.url and row.doubt]
    return Mirror(
        name=name,
        pip=urls.get("pip"),
        torch=urls.get("torch"),
        links="torch" in rows and rows["torch"].links,
        conda=urls.get("conda"),
        ubuntu=urls.get("ubuntu"),
        debian=urls.get("debian"),
        hub=urls.get("hub"),
        notes=tuple(notes),
    )


def _of_address(text: str) -> Mirror:
    """Take an address as a stand-in for the package index alone; what else its host may have is not known."""
    found = _URL.fullmatch(text)
    if found is None:
        raise errors.UsageProblem(
            say(
                "--mirror {without_credentials} is not the address of a package index",
                without_credentials=without_credentials(text),
            ),
            say("it looks like https://mirror.example.org/simple, without ?, # or blanks (write those as %XX)"),
        )
    user, host, port, path = found[1], found[2], found[3] or "", found[4].rstrip("/")
    scheme = text.partition("://")[0]
    notes = []
    if user:
        notes.append(
            say("the user and the password of its address are written nowhere: pip and uv take them from ~/.netrc")
        )
    if scheme == "http":
        notes.append(say("pip takes an index over http only with the setting trusted-host {host}", host=host))
    return Mirror(name=host + port, pip=f"{scheme}://{host}{port}{path}", notes=tuple(notes))


def client_reasons(host: Host, mirror: Mirror | None) -> tuple[Reason, ...]:
    """Say that conda and uv have settings of their own here, and what becomes of them."""
    environ = host.environ
    home = environ.get("HOME") or environ.get("USERPROFILE") or ""
    settings = environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    found = []
    condarc = _first(host, environ.get("CONDARC"), f"{home}/.condarc", f"{settings}/conda/.condarc")
    if condarc:
        because = say(
            "environment.yml names conda-forge only, so that a channel_alias or custom_channels there leads it on"
        )
        if mirror and mirror.conda:
            because = say(
                "environment.yml names {conda} in full, so that its channels are not asked for this", conda=mirror.conda
            )
        found.append(Reason(choice=say("your conda settings stay ({condarc})", condarc=condarc), because=because))
    uv = next((name for name in _UV_VARIABLES if environ.get(name)), None)
    uv = uv or _first(host, environ.get("UV_CONFIG_FILE"), f"{settings}/uv/uv.toml", "/etc/uv/uv.toml")
    if uv:
        because = say("what the commands name goes before it; the rest comes from where it says")
        found.append(Reason(choice=say("your uv settings stay ({uv})", uv=uv), because=because))
    return tuple(found)


def _first(host: Host, *paths: str | None) -> str | None:
    for path in paths:
        try:
            if path and host.kind(path) == "file":
                return path
        except OSError:
            continue
    return None
