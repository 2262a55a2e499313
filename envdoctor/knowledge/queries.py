"""Questions about drivers that need several tables: what one starts, and how far a card's drivers go."""

from __future__ import annotations

from collections.abc import Iterable

from envdoctor.knowledge.fit import Side
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.version import at_least, major, numbers


def driver_floor(facts: Knowledge, cuda: str, side: Side | None) -> str | None:
    """Give the oldest driver that runs this CUDA; where the system is not known, the lower of the two floors.

    A driver below the lower floor is too old on either system, which is all that can be said of an unknown one.
    """
    if side:
        return facts.driver_floor(cuda, side)
    linux, windows = facts.driver_floor(cuda, "linux"), facts.driver_floor(cuda, "windows")
    return min((floor for floor in (linux, windows) if floor), key=numbers, default=None)


def driver_starts(facts: Knowledge, cuda: str, driver: str, side: Side | None, offered: str | None) -> bool | None:
    """Tell whether a driver starts programs built with this CUDA; None: not known.

    What the driver says it offers, or else its branch does, decides where that covers the program's CUDA (450.36.06
    is below the floor of CUDA 11 and runs 11.0). If not, the floor of the CUDA family does.
    """
    offered = offered or facts.driver_cuda(driver)
    if offered and at_least(offered, cuda):
        return True
    floor = driver_floor(facts, cuda, side)
    return at_least(driver, floor) if floor else None


def branch_offers(facts: Knowledge, driver: str) -> str | None:
    """Give the CUDA of a driver's branch; None where the branch may be newer than every one known."""
    newer = any(row.branch > major(driver) for row in facts.driver_branches)
    return facts.driver_cuda(driver) if newer else None


def last_branch(facts: Knowledge, capabilities: Iterable[str]) -> int | None:
    """Give the newest driver branch that still knows all these GPUs; None: no end of any of them is known."""
    rows = (facts.architecture(each) for each in capabilities)
    return min((row.last_driver for row in rows if row and row.last_driver), default=None)
