"""Probes: one file per area, each with a pure parse(text) beside probe(host, place).

A probe answers for the parts of the Snapshot that its FACTS name. It may raise: the runner in `app` turns that into a
Gap over those facts, so that one that hangs or crashes costs its own answers and nobody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from envdoctor.host import Host
from envdoctor.model import Record
from envdoctor.model.snapshot import Snapshot

# The slowest last: when NVML takes its seconds, everything else is already known.
AREAS = (
    "variables",
    "system",
    "cpu",
    "memory",
    "disks",
    "accelerators",
    "pythons",
    "toolkits",
    "libraries",
    "engines",
    "pip_settings",
    "nvidia",
)


class Place(Record):
    """Where the Python that is judged lives; found once, before the probes start."""

    executable: str
    prefix: str
    base_prefix: str
    version: str  # 3.12.4; "" where no file tells
    manager: str  # venv, conda, system, pyenv, other
    selected_by: str  # --python, VIRTUAL_ENV, CONDA_PREFIX, PATH
    site_dirs: tuple[str, ...] = ()
    binary: str = ""  # the program behind a wrapper script; "": what `executable` resolves to


class Probe(NamedTuple):
    """A part of the Snapshot and the function that reads it."""

    name: str
    facts: tuple[str, ...]
    read: Callable[[Host, Place | None], Snapshot]
