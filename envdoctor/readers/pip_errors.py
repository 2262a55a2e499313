"""What pip says of the Python it runs in while it refuses: interpreter, version, bits, and `pip debug`."""

from __future__ import annotations

import re

from envdoctor.model.snapshot import Snapshot
from envdoctor.readers.software import environment

ORIGIN = "report: pip"
_OWNER = re.compile(r"pip[\w .:]{1,60}? from (.{1,200}?) ?\(python (\d\.\d{1,2})\)")
_SYS = re.compile(r"(?:sys\.version: ?|^Python )(\d\.\d{1,2}\.\d{1,2}) [^\n]{0,160}?\b(32|64) bit", re.M)
_PROMPT = re.compile(r"^Python (\d\.\d{1,2}(?:\.\d{1,2})?)(?:\s|$)", re.M)


def sniff(text: str) -> bool:
    """Tell whether pip or Python named itself."""
    return "(python " in text or "sys.version" in text or "Python " in text


def read(text: str) -> Snapshot:
    """Read the interpreter."""
    system, owner, prompt = _SYS.search(text), _OWNER.search(text), _PROMPT.search(text)
    version = system[1] if system else owner[2] if owner else prompt[1] if prompt else None
    if version is None:
        return Snapshot()
    return environment(ORIGIN, version=version, bits=int(system[2]) if system else None)
