"""GPUs by the names people type."""

from __future__ import annotations

import re
from functools import lru_cache

from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.tables import GpuModel

# Words that people leave out or add; they do not tell two cards apart.
_NOISE = re.compile(r"\b(nvidia|amd|intel|geforce|radeon|instinct|graphics|gpu)\b")


def gpu_named(facts: Knowledge, name: str) -> GpuModel | None:
    """Find a GPU by what NVML prints, or by what people write: "rtx 3060", "GTX1050Ti", "T4"; None: not known.

    A family's name ("H100", "V100") will do where all its cards are the same to a build; the first of them is given.
    """
    for row in facts.gpus:
        if re.search(row.pattern, name):
            return row
    wanted = _plain(name)
    if not wanted:
        return None
    exact = next((row for row in facts.gpus if _plain(row.name) == wanted), None)
    if exact is not None:
        return exact
    family = [row for row in facts.gpus if _plain(row.name).startswith(wanted)]
    alike = len({(row.vendor, row.capability, row.target) for row in family}) == 1
    # One letter or number is no name: "4" would be a family of its own.
    return family[0] if alike and len(wanted) > 2 else None


def names_whole(row: GpuModel, name: str) -> bool:
    """Tell whether a name is that of one model, and not a family's or one that was cut off ("A100-SXM...")."""
    return _plain(row.name) == _plain(name) or re.search(row.pattern, name) is not None


def gpus_like(facts: Knowledge, name: str) -> tuple[str, ...]:
    """Name the GPUs whose name holds what was typed, shortest first; where none does, those that are spelt alike."""
    wanted = _plain(name)
    found = [row.name for row in facts.gpus if wanted and wanted in _plain(row.name)]
    if found or not wanted:
        return tuple(sorted(found, key=len))
    from difflib import get_close_matches

    plain = {_plain(row.name): row.name for row in facts.gpus}
    return tuple(plain[near] for near in get_close_matches(wanted, plain, 4, 0.6))


@lru_cache(1024)
def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", _NOISE.sub("", name.lower().replace("tesla", "")))
