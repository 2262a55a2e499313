"""Forms of issue trackers, TensorFlow's of all years among them: a heading or a dash, a name, a value."""

from __future__ import annotations

import re

from envdoctor.model.snapshot import Snapshot, Toolkit
from envdoctor.readers import names
from envdoctor.readers.joining import joined
from envdoctor.readers.software import environment, framework, version_in

ORIGIN = "report: issue form"
_HEADING = re.compile(r"^ {0,8}#{2,4} {0,3}(\S.{0,80})\n(?: {0,8}\n){0,2} {0,8}(?![# ])(\S.{0,300})$", re.MULTILINE)
_DASHED = re.compile(
    r"^ {0,8}[-*] {0,3}\*{0,2}([A-Za-z][^:\n]{1,80}?)\*{0,2} ?: {0,3}\*{0,2}(\S.{0,300})$", re.MULTILINE
)
_BEGIN = re.compile(r"^ {0,8}(?:#{2,4} |[-*] {1,3}\*{0,2}[A-Za-z])", re.MULTILINE)
_NOTHING = ("no response", "_no response_", "n/a", "none", "no", "-")
_CUDA = re.compile(r"(?i)(?:cuda[^\d\n]{0,30}|^)v?(\d{1,2}\.\d)")


def sniff(text: str) -> bool:
    """Tell whether there are headings or dashes with the words of such a form."""
    return "ersion" in text and _BEGIN.search(text) is not None


def read(text: str) -> Snapshot:
    """Read the fields that name system, versions and cards; the name decides, not the order."""
    fields = [(key.lower(), value.strip()) for key, value in (*_HEADING.findall(text), *_DASHED.findall(text))]
    parts = [_part(key, value) for key, value in fields[:200] if value.lower() not in _NOTHING]
    return joined([part for part in parts if part is not None])


def _part(key: str, value: str) -> Snapshot | None:
    if key.startswith(("os platform", "operating system", "os ", "platform")) or key in ("os", "system"):
        system = names.system_named(value)
        return Snapshot(system=system, origins={"system": ORIGIN}) if system else None
    if key.startswith("python"):
        version = version_in(value)
        return environment(ORIGIN, version=version) if version and version.startswith(("2", "3")) else None
    if key.startswith(("tensorflow version", "tf version")):
        version = version_in(value)
        return environment(ORIGIN, frameworks=(framework("tensorflow", version),)) if version else None
    if key.startswith(("pytorch version", "torch version", "pytorch", "torch")):
        version = version_in(value)
        return environment(ORIGIN, frameworks=(framework("torch", version),)) if version else None
    if key.startswith(("gpu", "graphics")):
        cards = names.cards_in(value) or names.cards_in(f"GPU {value}")
        return Snapshot(gpus=names.gpus_of(cards), origins={"gpus": ORIGIN}) if cards else None
    if key.startswith("cuda"):
        found = _CUDA.search(value)
        kit = (Toolkit(path="", version=found[1], found_by=("report",)),) if found else ()
        return Snapshot(toolkits=kit, origins={"toolkits": ORIGIN}) if kit else None
    return None
