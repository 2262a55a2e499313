"""Taking out of what is handed on what names this person, this machine, or a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envdoctor.model.redaction import Redactor


def redactor() -> Redactor:
    """Make the one for the person and the machine at hand; what it hides twice, it hides in the same way."""
    from envdoctor.host import text
    from envdoctor.host.local import LocalHost
    from envdoctor.model.redaction import Redactor

    host = LocalHost()
    return Redactor.of(host.environ, hostname=text(host, "/proc/sys/kernel/hostname") or "")
