"""What a shared library says of itself, read from its headers; no code of it runs and little of it is touched."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator

from envdoctor.host import ElfFacts
from envdoctor.host.local import READING

# Layouts of ELF64: https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html
_DYNAMIC, _NOBITS = 6, 8
# Symbol versions: a section of entries, each with a chain of names. Of both the size, and the offsets of the fields
# "first name" and "next entry", then of "text" and "next name"
# (https://refspecs.linuxfoundation.org/LSB_5.0.0/LSB-Core-generic/LSB-Core-generic/symversion.html).
_NEEDS, _NEEDED_ENTRY, _NEEDED_NAME = 0x6FFFFFFE, (16, 8, 12), (16, 8, 12)
_DEFINES, _DEFINED_ENTRY, _DEFINED_NAME = 0x6FFFFFFD, (20, 12, 16), (8, 0, 4)
_VERSIONS_READ = 4096
_NEEDED, _SONAME, _RPATH, _RUNPATH = 1, 14, 15, 29

# GPU code lies in these sections as a chain of containers; relocatable device code has the second name. The layout was
# found by comparing with cuobjdump: a header of magic, version, header size, size; then entries of kind (1 PTX,
# 2 machine code), header size, size, …, and the architecture at byte 28.
_GPU_SECTIONS = (b".nv_fatbin", b"__nv_relfatbin")
_GPU_MAGIC = 0xBA55ED50
_GPU_KINDS = {1: "compute", 2: "sm"}

# libtorch_cuda has about 500 containers with the same architectures; these are enough to see them, at 2 ms.
_CONTAINERS_READ = 64
_ENTRIES_READ = 256  # of one container; NVIDIA's compiler knows a tenth of that many architectures


class Section:
    """A row of the section table."""

    __slots__ = ("kind", "link", "name", "offset", "size")

    def __init__(self, row: tuple[int, ...]) -> None:
        self.name, self.kind, _, _, self.offset, self.size, self.link, _, _, _ = row


def inspect(path: str) -> ElfFacts:
    """Read the dynamic section and the GPU architectures of a 64-bit little-endian ELF file.

    Raises:
        ValueError: it is not one, or it is cut short.
        OSError: it cannot be read.
    """
    descriptor = os.open(path, READING)  # a FIFO of that name must not hold us
    try:
        view = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    except ValueError:
        raise ValueError(f"{path} is empty") from None
    finally:
        os.close(descriptor)
    with view:
        try:
            return _facts(view)
        except (struct.error, IndexError, OverflowError):
            raise ValueError(f"{path} is cut short, or damaged") from None
        except ValueError as problem:
            raise ValueError(f"{path} {problem}") from None


def _facts(view: mmap.mmap) -> ElfFacts:
    headers = sections(view)
    tags = _tags(view, headers)
    return ElfFacts(
        soname=next(iter(tags.get(_SONAME, ())), None),
        needed=tuple(tags.get(_NEEDED, ())),
        rpath=next(iter(tags.get(_RPATH, ())), None),
        runpath=next(iter(tags.get(_RUNPATH, ())), None),
        gpu_archs=_gpu_archs(view, headers),
        glibcxx_needed=_newest(_versions(view, headers, _NEEDS, _NEEDED_ENTRY, _NEEDED_NAME)),
        glibcxx_defined=_newest(_versions(view, headers, _DEFINES, _DEFINED_ENTRY, _DEFINED_NAME)),
    )


def sections(view: mmap.mmap) -> list[tuple[bytes, Section]]:
    """Give the section table with its names. Raises ValueError, struct.error, IndexError: it is no ELF, or damaged."""
    if view[:6] != b"\x7fELF\x02\x01":
        raise ValueError("is not a 64-bit little-endian ELF file")
    (table,) = struct.unpack_from("<Q", view, 0x28)
    width, count, names_at = struct.unpack_from("<HHH", view, 0x3A)
    if not table:
        raise ValueError("has no section table")
    first = Section(struct.unpack_from("<IIQQQQIIQQ", view, table))
    count = count or first.size  # more than 65279 sections are counted in the first, empty one
    names_at = first.link if names_at == 0xFFFF else names_at
    if width < 64 or table + width * count > len(view):
        raise ValueError("has a damaged section table")
    rows = [Section(struct.unpack_from("<IIQQQQIIQQ", view, table + number * width)) for number in range(count)]
    names = rows[names_at].offset
    return [(text(view, names + row.name), row) for row in rows]


def _tags(view: mmap.mmap, sections: list[tuple[bytes, Section]]) -> dict[int, list[str]]:
    """Give the texts of the dynamic section by their tag."""
    found: dict[int, list[str]] = {}
    for _, section in sections:
        if section.kind != _DYNAMIC:
            continue
        texts = sections[section.link][1].offset
        for at in range(section.offset, min(section.offset + section.size, len(view)) - 15, 16):
            tag, value = struct.unpack_from("<qQ", view, at)
            if tag == 0:
                break
            if tag in (_NEEDED, _SONAME, _RPATH, _RUNPATH):
                found.setdefault(tag, []).append(text(view, texts + value).decode("utf-8", "replace"))
    return found


def _versions(
    view: mmap.mmap,
    sections: list[tuple[bytes, Section]],
    kind: int,
    entry: tuple[int, int, int],
    name: tuple[int, int, int],
) -> Iterator[bytes]:
    """Give the names of symbol versions that a section of that kind lists."""
    left = _VERSIONS_READ  # a chain that leads back to itself ends here
    for _, section in sections:
        if section.kind != kind:
            continue
        texts = sections[section.link][1].offset
        at, step = section.offset, 1
        while step and left and at + entry[0] <= len(view):
            (first,) = struct.unpack_from("<I", view, at + entry[1])
            (step,) = struct.unpack_from("<I", view, at + entry[2])
            word, further = at + first, 1
            while further and left and word + name[0] <= len(view):
                left -= 1
                (start,) = struct.unpack_from("<I", view, word + name[1])
                (further,) = struct.unpack_from("<I", view, word + name[2])
                yield text(view, texts + start)
                word += further
            at += step


def _newest(versions: Iterator[bytes]) -> str | None:
    """Give the newest of libstdc++'s versions, GLIBCXX_3.4.30 as "3.4.30"; None: there is none."""
    found = [word[8:].decode("ascii", "replace") for word in versions if word.startswith(b"GLIBCXX_3")]
    known = [each for each in found if each.replace(".", "").isdecimal()]
    return max(known, key=lambda each: tuple(int(part or 0) for part in each.split(".")), default=None)


def text(view: mmap.mmap, start: int) -> bytes:
    """Give a name of a table of texts, without the zero that ends it."""
    if start >= len(view):
        raise IndexError(start)
    end = view.find(b"\0", start, start + 4096)
    return view[start : end if end >= 0 else start + 4096]


def _gpu_archs(view: mmap.mmap, sections: list[tuple[bytes, Section]]) -> tuple[str, ...] | None:
    """Name the architectures that the library's kernels are generally built for; None: it has no GPU section.

    A few special kernels carry additional ones (sm_89, sm_103 in torch 2.14), which say nothing of the rest: what
    counts are those of at least half as many containers as the most frequent one.
    """
    chains = [each for name, each in sections if name in _GPU_SECTIONS and each.kind != _NOBITS]
    if not chains:
        return None
    seen: dict[tuple[int, int], int] = {}
    containers = (entries for chain in chains for entries in _containers(view, chain))
    for entries, _ in zip(containers, range(_CONTAINERS_READ), strict=False):
        for arch in entries:
            seen[arch] = seen.get(arch, 0) + 1
    most = max(seen.values(), default=0)
    kept = sorted((number, kind) for (kind, number), count in seen.items() if 2 * count >= most)
    ordered = sorted(kept, key=lambda arch: (arch[1] == 1, arch[0]))
    return tuple(f"{_GPU_KINDS[kind]}_{number}" for number, kind in ordered)


def _containers(view: mmap.mmap, section: Section) -> Iterator[set[tuple[int, int]]]:
    """Give each container's kinds and architectures."""
    at, end = section.offset, min(section.offset + section.size, len(view))
    magic = _GPU_MAGIC.to_bytes(4, "little")
    while at + 16 <= end:
        if view[at : at + 4] != magic:
            at = view.find(magic, at, end)
            if at < 0:
                return
            continue
        header, size = struct.unpack_from("<HQ", view, at + 6)
        stop = min(at + header + size, end)
        yield set(_entries(view, at + header, stop))
        at = max(stop, at + 16)  # there may be padding before the next one


def _entries(view: mmap.mmap, at: int, stop: int) -> Iterator[tuple[int, int]]:
    for _ in range(_ENTRIES_READ):
        if at + 32 > stop:
            return
        kind, _, header, size = struct.unpack_from("<HHIQ", view, at)
        (arch,) = struct.unpack_from("<I", view, at + 28)
        if header < 32:  # not an entry; what follows cannot be told apart
            return
        if kind in _GPU_KINDS:
            yield kind, arch
        at += header + size
