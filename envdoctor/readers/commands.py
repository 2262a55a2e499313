"""What a person had installed: versions in the commands of pip, uv and conda, where nothing says that they failed."""

from __future__ import annotations

import re

from envdoctor.model.snapshot import Package, Snapshot
from envdoctor.readers.pip_packages import STEMS
from envdoctor.readers.software import environment, package

ORIGIN = "report: a command"
_INSTALLS = re.compile(
    r"\b(pip3?|conda|mamba|micromamba|uv)(?:\.exe)?(?: [\w./=-]{1,40}){0,8}? install\b(.{0,600})$", re.M
)
_CONDA = "pytorch|pytorch-cuda|cudatoolkit|cudnn|cuda-(?:toolkit|nvcc|runtime|version)|tensorflow-base"
_PINNED = re.compile(rf"(?<![\w./-])({STEMS}|{_CONDA})(?:\[[\w,-]{{1,40}}\])?={{1,2}}(\d[\w.+]{{0,40}})(?![*\w.])")
# After these the command installed nothing, or something else than it asked for.
_REFUSED = (
    "Could not find a version",
    "No matching distribution",
    "UnsatisfiableError",
    "Could not solve",
    "No solution found",
    "PackagesNotFoundError",
    "not a supported wheel",
    "different Python",
    "ResolutionImpossible",
)


def sniff(text: str) -> bool:
    """Tell whether something is installed in it, and nothing refused."""
    return " install" in text and not any(words in text for words in _REFUSED)


def read(text: str) -> Snapshot:
    """Read the pinned versions; the last command counts, for it overwrites what came before."""
    found: dict[str, Package] = {}
    for manager, rest in _INSTALLS.findall(text):
        for name, version in _PINNED.findall(rest):
            one = package(name, version, installer="conda" if "conda" in manager or "mamba" in manager else "pip")
            found[one.name] = one
    return environment(ORIGIN, tuple(found.values())) if found else Snapshot()
