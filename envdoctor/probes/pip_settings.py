"""How pip is set up: its files and variables, which apply to every call and which nobody remembers."""

from __future__ import annotations

from envdoctor.host import Host
from envdoctor.host import text as read_text
from envdoctor.model.redaction import without_credentials
from envdoctor.model.snapshot import Pip, Setting, Snapshot
from envdoctor.model.speech import say
from envdoctor.probes import Place, Probe
from envdoctor.probes.partial import Gaps

# What decides where packages come from, and which are allowed.
_KEYS = frozenset(
    "index-url extra-index-url no-index find-links constraint require-virtualenv only-binary no-binary user proxy "  # noqa: SIM905
    "cert trusted-host target prefix".split()
)
_FILES_IN_SETTINGS = ("constraint", "cert")


def read(host: Host, place: Place | None) -> Snapshot:
    """Give pip's settings in the order they count: variables, the environment's file, the person's, the machine's.

    https://pip.pypa.io/en/stable/topics/configuration/
    """
    gaps = Gaps("pip_settings")
    found = [
        Setting(name=key, value=without_credentials(host.environ[name]), source=name)
        for name in sorted(host.environ)
        if name.startswith("PIP_") and (key := name[4:].lower().replace("_", "-")) in _KEYS
    ]
    for path in _paths(host, place):
        content = gaps.ask("pip", lambda path=path: read_text(host, path, 1 << 16))  # type: ignore[misc]
        found += parse(content, path) if content else []
    missing = [
        each.value
        for each in found
        if each.name in _FILES_IN_SETTINGS and each.value.startswith("/") and host.kind(each.value) is None
    ]
    pip = Pip(settings=tuple(found), missing=tuple(missing))
    return Snapshot(pip=pip, gaps=tuple(gaps.found), origins={"pip": say("pip's configuration files and variables")})


PROBE = Probe("pip_settings", ("pip",), read)


def parse(content: str, source: str) -> list[Setting]:
    r"""Read the settings of a pip.conf that matter; those of one command stand beside the global ones.

    >>> parse("[global]\nindex-url = https://example.org/simple\ntimeout = 60\n", "/etc/pip.conf")
    [Setting(name='index-url', value='https://example.org/simple', source='/etc/pip.conf')]
    """
    settings, section = [], ""
    for line in content.splitlines():
        if line.startswith("["):
            section = line.strip().strip("[]").lower()
        elif line[:1] not in ("#", ";", " ", "\t") and section in ("global", "install"):
            key, equals, value = line.partition("=")
            name = key.strip().lower().replace("_", "-")
            if equals and name in _KEYS and value.strip():
                settings.append(Setting(name=name, value=without_credentials(value.strip()), source=source))
    return settings


def _paths(host: Host, place: Place | None) -> list[str]:
    chosen = host.environ.get("PIP_CONFIG_FILE", "")
    if chosen:
        return [chosen] if chosen.startswith("/") and chosen != "/dev/null" else []
    home, config = host.environ.get("HOME", ""), host.environ.get("XDG_CONFIG_HOME", "")
    paths = [f"{place.prefix}/pip.conf"] if place and place.prefix != place.base_prefix else []
    if home.startswith("/"):
        paths += [f"{config or home + '/.config'}/pip/pip.conf", f"{home}/.pip/pip.conf"]
    return [*paths, "/etc/xdg/pip/pip.conf", "/etc/pip.conf"]
