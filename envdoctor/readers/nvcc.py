"""`nvcc --version`."""

from __future__ import annotations

import re

from envdoctor.model.snapshot import Snapshot, Toolkit

ORIGIN = "report: nvcc"
_RELEASE = re.compile(r"Cuda compilation tools, release (\d{1,2}\.\d{1,2})")


def sniff(text: str) -> bool:
    """Tell whether nvcc has spoken."""
    return "Cuda compilation tools, release" in text


def read(text: str) -> Snapshot:
    """Read the toolkit's release; where it lies is not said."""
    versions = dict.fromkeys(_RELEASE.findall(text))
    kits = tuple(Toolkit(path="", version=version, found_by=("report",)) for version in list(versions)[:4])
    return Snapshot(toolkits=kits, origins={"toolkits": ORIGIN})
