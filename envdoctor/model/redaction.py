"""Take out of a text what identifies a person or a machine, and keep what a diagnosis needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Literal, TypeVar, get_args, get_origin

import msgspec

from envdoctor.model.snapshot import Variable

_R = TypeVar("_R", bound=msgspec.Struct)

HIDDEN = "***"
# Names that thousands of machines share: they identify nobody, and as words they mean something else.
_WORDS = """
root user users admin administrator owner guest nobody home host hostname default system local localhost other others
ubuntu debian fedora centos alpine arch linux windows docker podman wsl vagrant jovyan runner build builder ec2-user
azureuser container docker-desktop vm node server pc laptop desktop workstation python conda mamba miniconda anaconda
torch pytorch tensorflow jax keras numpy nvidia cuda cudnn gpu cpu amd intel max min memory none true false yes no
auto all test dev data app apps work workspace project projects code src lib bin opt tmp var usr etc mnt media public
shared share scratch cache env venv site packages
"""
_ORDINARY = frozenset(_WORDS.split())
# A name this short is more often a part of something else than a name.
_SHORTEST_WORD = 3
# What one thing covered may show another: a name behind an address, a token behind a name.
_MOST_PASSES = 6
# The firmware's own variables bear this UUID on every machine.
_EFI = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
# What hidden UUIDs end in; their first eight digits count them.
_ZEROS = "-0000-0000-0000-000000000000"
# Fields that name a thing of the world, a fact or a rule, never a person: a package called like the user stays.
_KEPT_FIELDS = frozenset(("name", "fact", "probe", "id", "rule", "version", "soname", "needed", "supersedes"))

_URL_USER = r"(?<=://)[^/\s\"'@]*(?:@[^/\s\"'@]*)*@"
_BARE_USER = r"(?<![^\s\"'=,;(])[\w.%+-]+:[^\s/@:\"']+@(?=\w)(?!sha256:)"
_QUERY = r"(?<=[?&])((?:access_|auth_|api_?|private_)?(?:token|key|secret|password|signature|sig)=)[^&\s\"']+"
_NAMED = (
    r"(?<![A-Za-z0-9_])([A-Z0-9_]*(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|KEY)(?:_[A-Z0-9_]*)?"
    r"|(?i:_?auth_?token|access_token|token|api_?key|password|passwd|secret))"
    r"(=(?!=)[\"']?|[\"']?\s*[:=]\s*[\"'])[^\s\"'&;,]+"
)
_TOKENS = (
    r"(?<![A-Za-z0-9])(?:hf_[A-Za-z0-9]{16,}|gh[oprsu]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
    r"|pypi-[\w-]{32,}|nvapi-[\w-]{20,}|sk-[\w-]{20,}|AKIA[0-9A-Z]{16}|xox[abeoprs]-[\w-]{10,})"
    r"|(?<=Bearer )[\w.~+/=-]{8,}"
)
_TOKEN_STARTS = ("hf_", "gh", "glpat-", "pypi-", "nvapi-", "sk-", "AKIA", "xox", "Bearer ")
_UUID = r"(?:(?<=pod)|(?<![0-9A-Za-z]))[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Za-z])"
_SHORT_UUID = r"(?<![0-9A-Za-z])(GPU-)([0-9a-f]{6,8}(?:-[0-9a-f]{0,12}){0,3})(?![0-9A-Za-z-])"
_SERIAL = r"(?i)(\bserial(?:[ _-]?(?:number|no\.?|num))?[\"']?\s*[:=]\s*[\"']?)(?!N/A|\[N/A)[^\s\"',;]+"
_DISK_ID = r"(?<=/dev/disk/by-id/)[^\s\"',;:/]+"
_MAC = r"(?<![0-9A-Fa-f:-])(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}(?![0-9A-Fa-f:-])"
# 10.3.9.90 is a version of cuRAND and may be an address: only where an address stands is it taken for one. The other
# private ranges are no versions.
_PART = r"\.(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_TEN = rf"(?<![\w.])(?<!==)10(?:{_PART}){{3}}(?!\w)(?!\.\d)"
_TEN_HERE = rf"(?:(?<=://)|(?<=@)|(?<=host )|(?<=host=)|(?<=inet )|(?<=addr:)){_TEN}|{_TEN}(?=:\d|/\d\d?\b| port )"
_OTHER_PRIVATE = rf"(?<![\w.])(?<!==)(?:192\.168|172\.(?:1[6-9]|2\d|3[01]))(?:{_PART}){{2}}(?!\w)(?!\.\d)"
_HOMES = (
    r"((?<![\w.])/(?:home|Users)/|/mnt/[a-z]/Users/)([^/\\\s:;,\"'*]+(?: [A-Z][^/\\\s:;,\"'*]*(?=/))?)"
    r"|([A-Za-z]:[\\/]+Users[\\/]+)([^\\/:;,\"'*\r\n]+(?=[\\/])|[^\\/\s:;,\"'*]+)"
)


def is_secret(name: str) -> bool:
    """Tell whether a variable of this name holds a secret.

    >>> is_secret("HF_TOKEN"), is_secret("AWS_SECRET_ACCESS_KEY"), is_secret("TOKENIZERS_PARALLELISM")
    (True, True, False)
    """
    upper = name.upper()
    words = ("TOKEN", "KEY", "SECRET", "PASSW", "PASSPHRASE", "CREDENTIAL", "USERNAME", "_AUTH", "COOKIE")
    return not upper.startswith("TOKENIZERS_") and any(word in upper for word in words)


def without_credentials(text: str) -> str:
    """Give a text whose URLs have lost user and password, and whose tokens are hidden.

    >>> without_credentials("https://ann:p@ss@pip.example.com/simple")
    'https://***@pip.example.com/simple'
    """
    # Each pattern costs up to a millisecond to compile; most variables have nothing that it could fit.
    if "@" in text:
        text = re.sub(_URL_USER, f"{HIDDEN}@", text)
        text = re.sub(_BARE_USER, f"{HIDDEN}@", text)
    if "=" in text or '"' in text or "'" in text:
        text = re.sub(_QUERY, rf"\1{HIDDEN}", text)
        text = re.sub(_NAMED, rf"\1\2{HIDDEN}", text)
    if any(start in text for start in _TOKEN_STARTS):
        text = re.sub(_TOKENS, HIDDEN, text)
    return text


class Redactor:
    """Hides one person and one machine, the same thing always in the same way, so that facts still meet.

    `home_as`, `user_as` and `host_as` are what is written instead; a recording, whose paths must stay absolute and
    whose binary tables must keep their length, asks for its own.
    """

    def __init__(
        self,
        user: str = "",
        hostname: str = "",
        home: str = "",
        *,
        home_as: str = "~",
        user_as: str = "user",
        host_as: str = "host",
    ) -> None:
        self._uuids: dict[str, str] = {}
        self._home = home.rstrip("/\\")
        self._home_as = home_as
        self._kept_names = _ORDINARY | {user_as.lower(), home_as.rpartition("/")[2].lower()}
        self._rules: list[tuple[str, str]] = []  # pattern, what is written instead
        if len(self._home) > 1:
            self._rules.append((rf"(?:(?<=://)|(?<![\w.~/-])){re.escape(self._home)}(?![\w.-])", home_as))
        for name, instead, after in (
            (hostname, host_as, ""),
            (hostname.partition(".")[0], host_as, ""),
            (user, user_as, r"(?!\.\w)"),
        ):
            if name and name.lower() not in _ORDINARY:
                before = "" if len(name) >= _SHORTEST_WORD else r"(?<=[/\\@])"
                self._rules.append((rf"{before}(?<![\w.-]){re.escape(name)}(?![\w-]){after}", instead))
        self._user = (user, user_as) if user.lower() not in _ORDINARY else ("", "")

    @classmethod
    def of(cls, environ: Mapping[str, str], hostname: str = "") -> Redactor:
        """Make one for the person and machine whose environment this is."""
        home = environ.get("HOME") or environ.get("USERPROFILE") or ""
        return cls(user_of(environ), hostname or environ.get("HOSTNAME") or environ.get("COMPUTERNAME") or "", home)

    def text(self, text: str) -> str:
        """Give the text without persons, machines and secrets.

        Versions (535.183.01, 10.3.9.90), bus ids (0000:01:00.0) and the structure of paths stay.
        """
        for _ in range(_MOST_PASSES):
            before, text = text, self._pass(text)
            if text == before:
                break
        return text

    def _pass(self, text: str) -> str:
        text = without_credentials(text)
        text = re.sub(_UUID, lambda found: self._uuid(found[0]), text)
        text = re.sub(_SHORT_UUID, lambda found: found[1] + self._start(found[2]), text)
        text = re.sub(_SERIAL, rf"\1{HIDDEN}", text)
        text = re.sub(_DISK_ID, HIDDEN, text)
        text = re.sub(_MAC, lambda found: re.sub("[0-9A-Fa-f]", "0", found[0]), text)
        text = re.sub(f"{_TEN_HERE}|{_OTHER_PRIVATE}", HIDDEN, text)
        for pattern, instead in self._rules:
            text = re.sub(pattern, instead.replace("\\", r"\\"), text)
        return re.sub(_HOMES, self._other_home, text)

    def data(self, data: bytes) -> bytes:
        """Give bytes without home folder and user, where what stands instead is as long: offsets must stay true."""
        user, user_as = self._user
        pairs = [(self._home, self._home_as), (f"/{user}/", f"/{user_as}/")]
        for old, new in pairs:
            if len(old) > 1 and len(old.encode()) == len(new.encode()):
                data = data.replace(old.encode(), new.encode())
        return data

    def environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Give the variables whose names speak of no secret, with their values redacted."""
        return {name: self._variable(value) for name, value in environ.items() if not is_secret(name)}

    def redact(self, record: _R) -> _R:
        """Give the record with every text in it redacted; keys, field names and words of a fixed set stay."""
        self.learn(record)
        return self._record(record)

    def learn(self, value: object) -> None:
        """Number the UUIDs of a record first, so that one written in short later is known for the same card."""
        if isinstance(value, str):
            for found in re.findall(_UUID, value):
                self._uuid(found)
        elif isinstance(value, msgspec.Struct):
            for name in value.__struct_fields__:
                self.learn(getattr(value, name))
        elif isinstance(value, (tuple, dict)):
            for item in value.values() if isinstance(value, dict) else value:
                self.learn(item)

    def _record(self, record: _R) -> _R:
        kept = _kept(type(record))
        fields = {}
        for name in record.__struct_fields__:
            value = getattr(record, name)
            fields[name] = value if name in kept else self._value(value)
        if isinstance(record, Variable):
            fields["value"] = self._variable(record.value)
        return type(record)(**fields)

    def _value(self, value: object) -> object:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes):
            return self.data(value)
        if isinstance(value, msgspec.Struct):
            return self._record(value)
        if isinstance(value, tuple):
            return tuple(self._value(item) for item in value)
        if isinstance(value, dict):
            return {key: self._value(item) for key, item in value.items()}
        return value

    def _variable(self, value: str) -> str:
        # A variable names hosts and never four-part versions: KUBERNETES_SERVICE_HOST, NO_PROXY.
        return self.text(re.sub(_TEN, HIDDEN, value))

    def _uuid(self, uuid: str) -> str:
        known = uuid.lower()
        if known == _EFI or known.endswith(_ZEROS):
            return uuid
        return self._uuids.setdefault(known, f"{len(self._uuids) + 1:08x}{_ZEROS}")

    def _start(self, start: str) -> str:
        """Hide a UUID that is written in short, as CUDA_VISIBLE_DEVICES allows."""
        if start.startswith("0000"):
            return start
        full = next((hidden for uuid, hidden in self._uuids.items() if uuid.startswith(start)), None)
        return (full or self._uuid(start))[:8]

    def _other_home(self, found: re.Match[str]) -> str:
        folder, name = (found[1], found[2]) if found[1] else (found[3], found[4])
        return found[0] if name.lower() in self._kept_names else f"{folder}other"


def user_of(environ: Mapping[str, str]) -> str:
    """Give the name of the person behind an environment, who may have become root; "" where nothing tells."""
    named = (environ.get(name) for name in ("SUDO_USER", "USER", "LOGNAME", "USERNAME"))
    home = (environ.get("HOME") or environ.get("USERPROFILE") or "").replace("\\", "/").rstrip("/")
    return next((name for name in named if name), home.rpartition("/")[2])


@cache
def _kept(kind: type[msgspec.Struct]) -> frozenset[str]:
    """Give the fields of a record that hold a word of a fixed set, or name something that is no person."""
    fixed = set()
    for field in msgspec.structs.fields(kind):
        if Literal in (get_origin(field.type), *(get_origin(part) for part in get_args(field.type))):
            fixed.add(field.name)
    return _KEPT_FIELDS | fixed
