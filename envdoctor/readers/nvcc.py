"""`nvcc --version`."""

from __future__ import annotations

import re

from envdoctor.model.snapshot import Snapshot, Toolkit

ORIGIN = "report: nvcc"
_RELEASE = re.compile(
    r"(?i)(?:cuda compilation tools, |\bnvcc\b(?:[ :]{1,3}(?:-V|--version|version|is|says?|shows?"
    r"|reports?)){0,3}[ :=]{1,3})"
    r"(?:release )?v?(\d{1,2}\.\d{1,2})(?![\d.]*\d\.)"
)


def sniff(text: str) -> bool:
    """Tell whether nvcc has spoken."""
    return "Cuda compilation tools, release" in text or "nvcc" in text.lower()


def read(text: str) -> Snapshot:
    """Read the toolkit's release; where it lies is not said."""
    lines = [line for line in text.split("\n") if "nvcc" in line.lower() or "compilation tools" in line.lower()]
    versions = dict.fromkeys(_RELEASE.findall("\n".join(lines)))
    kits = tuple(Toolkit(path="", version=version, found_by=("report",)) for version in list(versions)[:4])
    return Snapshot(toolkits=kits, origins={"toolkits": ORIGIN})
