"""The figures in torch's out-of-memory message, of every era.

0.4 to 1.3: "Tried to allocate 12.50 MiB (GPU 0; 10.92 GiB total capacity; 8.57 MiB already allocated; 9.28 GiB free;
4.68 MiB cached)", where cached is what was reserved and not allocated. 1.4 to 2.0: "... 7.05 GiB reserved in total by
PyTorch)". Since 2.1: "GPU 0 has a total capacity of 23.69 GiB of which 5.56 MiB is free. Process 4711 has 2.10 GiB
memory in use. ... this process has 21.5 GiB memory in use. Of the allocated memory 20.3 GiB is allocated by PyTorch,
and 1.02 GiB is reserved by PyTorch but unallocated." (2.1 spells it "capacty".)
https://github.com/pytorch/pytorch/blob/main/c10/cuda/CUDACachingAllocator.cpp
"""

from __future__ import annotations

import re
from typing import NamedTuple

from envdoctor.model.snapshot import Snapshot
from envdoctor.rules.told import Said, said

_SHIFTS = {"bytes": 0, "B": 0, "KiB": 10, "KB": 10, "MiB": 20, "MB": 20, "GiB": 30, "GB": 30, "TiB": 40}
_AMOUNT = r"(?<![\d.])(\d+(?:\.\d+)?) (bytes|[KMGT]?i?B)\b"
_MESSAGE = (
    rf"Tried to allocate {_AMOUNT}[^\n]{{0,60}}?{_AMOUNT} total capacity[\s\S]{{0,300}}",
    rf"(?:Tried to allocate {_AMOUNT}[\s\S]{{0,60}}?)?total capaci?ty of {_AMOUNT}[\s\S]{{0,1500}}",
)
_FREE = re.compile(rf"{_AMOUNT} free\b|of which {_AMOUNT} is free")
_ALLOCATED = re.compile(
    rf"{_AMOUNT} already allocated|(?:Of the allocated memory|and) {_AMOUNT} is allocated by PyTorch"
)
_RESERVED = re.compile(rf"{_AMOUNT} reserved in total")
_UNUSED = re.compile(rf"{_AMOUNT} cached\b|{_AMOUNT} is reserved by PyTorch but unallocated")
_THIS = re.compile(rf"this process has {_AMOUNT} memory in use")
_OTHERS = re.compile(rf"Process \d+ has {_AMOUNT} memory in use")
_LARGE = 0.4  # of the card: what others hold is then the reason
_LOOSE = 0.1  # of the card: so much that is reserved and unused is more than the usual waste


class Allocation(NamedTuple):
    """What the message says, in bytes. None: its era did not tell."""

    line: Said
    wanted: float | None
    total: float
    free: float | None
    allocated: float | None
    unused: float | None  # reserved by the allocator, but in pieces that nobody uses
    own: float | None  # what the process holds, or at least what its allocator has reserved
    others: float  # what is left over when its own and what is free are taken from the whole

    @property
    def held_by_others(self) -> bool:
        """Tell whether other processes are why it did not fit."""
        return self.others > self.total * _LARGE and (self.wanted or 0.0) < self.total

    @property
    def fragmented(self) -> bool:
        """Tell whether the allocator had reserved enough, but not in one piece."""
        if self.unused is None or self.wanted is None:
            return False
        return self.unused >= max(self.wanted, self.total * _LOOSE)


def allocation(machine: Snapshot) -> Allocation | None:
    """Read the first such message of a report; None: there is none with figures."""
    line = said(machine, *_MESSAGE)
    if line is None:
        return None
    text = line.words[0]
    wanted = _bytes(line.group(1), line.group(2)) if line.group(1) else None
    total = _bytes(line.group(3), line.group(4))
    free, allocated, unused = (_first(each, text) for each in (_FREE, _ALLOCATED, _UNUSED))
    reserved = _first(_RESERVED, text)
    if unused is None and reserved is not None and allocated is not None:
        unused = reserved - allocated
    elif reserved is None and allocated is not None:
        reserved = allocated + (unused or 0.0)
    this = _first(_THIS, text)
    own = this or reserved
    rest = total - free - own if free is not None and own is not None else 0.0
    # Where processes cannot tell their own number, in a container, the program itself is named as another one.
    named = sum(_bytes(each[1], each[2]) for each in _OTHERS.finditer(text)) if this or own is None else 0.0
    return Allocation(line, wanted, total, free, allocated, unused, own, max(named, rest, 0.0))


def _first(pattern: re.Pattern[str], text: str) -> float | None:
    found = pattern.search(text)
    if found is None:
        return None
    number, unit = [each for each in found.groups() if each is not None]
    return _bytes(number, unit)


def _bytes(number: str, unit: str) -> float:
    return float(number) * (1 << _SHIFTS[unit])
