"""Which symbols a compiled extension asks torch for, and which of them no library has; nothing is loaded."""

from __future__ import annotations

import mmap
import os
import re
import struct

from envdoctor.host import elf
from envdoctor.host.local import READING

_SYMBOLS, _GNU_HASH = 11, 0x6FFFFFF6  # kinds of sections
_GLOBAL = 1  # the binding of a symbol that must be found; a weak one (2) may stay away
# The C++ namespaces of torch, as the compiler writes them into names (Itanium ABI): functions, methods, and what
# belongs to a class (_ZTI, _ZTV).
_TORCH = re.compile(rb"_Z(?:T[IVS])?N[VK]*[RO]?(?:3c10|2at|5torch|6caffe2)")
_MOST_SYMBOLS = 1 << 17  # of one library's table; flash-attn has 2000
_LONGEST_CHAIN = 1 << 12  # of symbols in one bucket, where a handful is usual


class _Library:
    """A mapped library with the table by which the loader looks symbols up.

    The table (.gnu.hash): the number of buckets, the first symbol in it, the number of words of a filter and its
    shift; then the filter's words, the buckets and the hashes, of which the last bit ends a chain.
    https://sourceware.org/git/?p=glibc.git;a=blob;f=elf/dl-lookup.c
    """

    def __init__(self, view: mmap.mmap) -> None:
        self.view = view
        self.sections = [section for _, section in elf.sections(view)]
        table = next((each for each in self.sections if each.kind == _GNU_HASH), None)
        if table is None:
            raise ValueError("has no hash table of the kind that is known here")
        self.buckets, self.first, self.words, self.shift = struct.unpack_from("<IIII", view, table.offset)
        self.filter = table.offset + 16
        self.heads = self.filter + 8 * self.words
        self.chain = self.heads + 4 * self.buckets
        self.symbols = self.sections[table.link]
        self.texts = self.sections[self.symbols.link].offset

    def defines(self, name: bytes, hashed: int) -> bool:
        """Tell whether the library offers this symbol."""
        if not (self.words and self.buckets):
            return False
        (word,) = struct.unpack_from("<Q", self.view, self.filter + 8 * (hashed // 64 % self.words))
        if not (word >> hashed % 64 & word >> (hashed >> self.shift) % 64 & 1):
            return False
        (index,) = struct.unpack_from("<I", self.view, self.heads + 4 * (hashed % self.buckets))
        for place in range(index, index + _LONGEST_CHAIN if index >= self.first else index):
            (here,) = struct.unpack_from("<I", self.view, self.chain + 4 * (place - self.first))
            if here | 1 == hashed | 1 and self._is(place, name):
                return True
            if here & 1:
                break
        return False

    def _is(self, index: int, name: bytes) -> bool:
        at, _, _, section = struct.unpack_from("<IBBH", self.view, self.symbols.offset + 24 * index)
        start = self.texts + int(at)
        return bool(section) and self.view[start : start + len(name) + 1] == name + b"\0"


def unresolved(path: str, libraries: tuple[str, ...]) -> tuple[str, ...]:
    """Give the symbols of torch that a library needs and that none of these libraries defines; sorted.

    Raises:
        ValueError: one of them is no ELF file, is cut short, or is looked up in another way.
        OSError: one of them cannot be read.
    """
    missing: dict[bytes, int] = {}
    for place, file in enumerate((path, *libraries)):
        if place and not missing:
            break
        with _mapped(file) as view:
            try:
                missing = _left(_Library(view), missing) if place else _wanted(view)
            except (struct.error, IndexError, OverflowError):
                raise ValueError(f"{file} is cut short, or damaged") from None
            except ValueError as problem:
                raise ValueError(f"{file} {problem}") from None
    return tuple(sorted(name.decode("ascii", "replace") for name in missing))


def _wanted(view: mmap.mmap) -> dict[bytes, int]:
    """Give torch's symbols that the library does not define itself, each with its hash."""
    sections = [section for _, section in elf.sections(view)]
    found = {}
    for table in [each for each in sections if each.kind == _SYMBOLS][:1]:
        texts = sections[table.link].offset
        end = min(table.offset + min(table.size // 24, _MOST_SYMBOLS) * 24, len(view) // 24 * 24)
        for at in range(table.offset, end, 24):
            name_at, info, _, section = struct.unpack_from("<IBBH", view, at)
            if section == 0 and info >> 4 == _GLOBAL and _TORCH.match(view, texts + name_at):
                name = elf.text(view, texts + name_at)
                found[name] = _hash(name)
    return found


def _left(library: _Library, missing: dict[bytes, int]) -> dict[bytes, int]:
    return {name: hashed for name, hashed in missing.items() if not library.defines(name, hashed)}


def _hash(name: bytes) -> int:
    """Hash a name as the loader does (dl_new_hash)."""
    value = 5381
    for letter in name:
        value = (value * 33 + letter) & 0xFFFFFFFF
    return value


def _mapped(path: str) -> mmap.mmap:
    descriptor = os.open(path, READING)  # a FIFO of that name must not hold us
    try:
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    except ValueError:
        raise ValueError(f"{path} is empty") from None
    finally:
        os.close(descriptor)
