"""Two machines, or one at two times, and what makes the difference."""

from __future__ import annotations

from envdoctor.app.examining import examine
from envdoctor.app.reading import read_snapshot
from envdoctor.host import text
from envdoctor.host.local import LocalHost
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.difference import Difference, compare
from envdoctor.model.redaction import Redactor
from envdoctor.model.snapshot import Snapshot
from envdoctor.rules.registry import evaluate


def difference(before: Snapshot, after: Snapshot) -> Difference:
    """Compare two snapshots and their findings."""
    facts = Knowledge()
    return compare(before, after, evaluate(before, facts), evaluate(after, facts))


def side(name: str | None, python: str | None, timeout: float) -> Snapshot:
    """Read a snapshot, a recording or a report; None: look at this machine, and hide what a snapshot hides.

    Raises:
        errors.Unreadable: the file is none of these.
        errors.UsageProblem: `python` is no Python.
    """
    if name is not None:
        return read_snapshot(name)
    host = LocalHost()
    hostname = text(host, "/proc/sys/kernel/hostname") or ""
    return Redactor.of(host.environ, hostname=hostname).redact(examine(host, python, timeout))
