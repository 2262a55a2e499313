"""Read the pages that hold what the package index does not say. Pure: text in, facts out.

Each parser takes the page as a browser or git saves it, HTML or Markdown, and finds its table by what the heads of the
columns say; a page without that table is a `NotThatPage`, never an empty answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import NamedTuple

Table = list[list[str]]


class NotThatPage(Exception):
    """The text has no table that this parser knows."""


class Builds(NamedTuple):
    """What one release line of PyTorch was built with, by the matrix in RELEASE.md."""

    cudnn: dict[str, str | None]  # tag of the build, cu126 -> its cuDNN
    rocm: str | None


class Code(NamedTuple):
    """The machine code of one CUDA build of PyTorch: capabilities, and those that are there as PTX too."""

    sm: tuple[str, ...]
    ptx: tuple[str, ...]


class Drivers(NamedTuple):
    """The drivers that a CUDA toolkit came with; None: the page names none."""

    linux: str | None
    windows: str | None


class Tested(NamedTuple):
    """What a TensorFlow release was tested with."""

    pythons: str
    cuda: str
    cudnn: str


def torch_builds(text: str) -> dict[str, Builds]:
    """Read the release compatibility matrix of PyTorch's RELEASE.md, by release line: 2.14."""
    table = _table(text, "pytorch version", "stable cuda")
    stable, experimental = _column(table, "stable cuda"), _column(table, "experimental cuda")
    rocm = _column(table, "stable rocm")
    found = {}
    for row in table[1:]:
        version = re.match(r"\d+\.\d+", row[0])
        if version:
            named = re.search(r"ROCm (\d[\d.]*)", row[rocm])
            cudnn = {**_cudnn(row[stable]), **_cudnn(row[experimental])}
            found[version.group()] = Builds(cudnn, named.group(1) if named else None)
    return found


def _cudnn(cell: str) -> dict[str, str | None]:
    """Read «CUDA 12.6 (CUDNN 9.10.2.21), CUDA 13.0 …»; a cuDNN is that of every CUDA before it that has none."""
    found: dict[str, str | None] = {}
    for kind, version in re.findall(r"(CUDA|CUDNN) (\d[\d.]*)", cell):
        if kind == "CUDA":
            found["cu" + version.replace(".", "")] = None
        else:
            found = {tag: cudnn or version for tag, cudnn in found.items()}
    return found


def torch_code(text: str) -> dict[str, dict[str, dict[str, Code]]]:
    """Read the CUDA support matrix of PyTorch's RELEASE.md.

    Returns:
        release line -> `x86_64` or `aarch64` -> tag of the build -> its code. PTX is that of the Linux wheels.
    """
    lines = re.search(r"For Release ([\d., and]+?) PyTorch", text)
    if lines is None:
        raise NotThatPage("no CUDA support matrix of PyTorch")
    platforms = {
        "x86_64": _code(_table(text, "cuda", "architectures supported for linux x86")),
        "aarch64": _code(_table(text, "cuda", "architectures supported for linux aarch64")),
    }
    return dict.fromkeys(re.findall(r"\d+\.\d+", lines.group(1)), platforms)


def _code(table: Table) -> dict[str, Code]:
    found = {}
    for row in table[1:]:
        version = re.match(r"(\d+)\.(\d+)", row[0])
        if version:
            written = re.findall(r"(\d+\.\d)(\+PTX)?", row[1])
            sm, ptx = tuple(each for each, _ in written), tuple(each for each, mark in written if mark)
            found[f"cu{version.group(1)}{version.group(2)}"] = Code(sm, ptx)
    return found


def toolkit_drivers(text: str) -> dict[tuple[str, str], Drivers]:
    """Read the table of drivers in NVIDIA's CUDA release notes.

    Returns:
        version and update of a toolkit, as the page writes them -> drivers: ("12.8", "Update 1"), ("10.2.89", "").
    """
    found = {}
    for row in _table(text, "cuda toolkit", "driver version")[1:]:
        # «CUDA 12.8 Update 1», «CUDA 10.2.89», «CUDA 9.2 (9.2.148 Update 1)»
        name = re.match(r"CUDA (?:\d[\d.]* \()?(\d[\d.]*)\s*(GA|RC|Update \d+)?", row[0])
        if name and len(row) > 2:
            found[name.group(1), name.group(2) or ""] = Drivers(_version(row[1]), _version(row[2]))
    return found


def _version(cell: str) -> str | None:
    found = re.search(r"\d[\d.]+", cell)
    return found.group() if found else None


def tested_builds(text: str) -> dict[str, Tested]:
    """Read the tested GPU builds for Linux in TensorFlow's source.md, by release: 2.21.0."""
    found: dict[str, Tested] = {}
    for table in tables(text):
        if not _heads(table, ("version", "python version", "cudnn", "cuda")):
            continue
        python, cudnn, cuda = (_column(table, head) for head in ("python version", "cudnn", "cuda"))
        for row in table[1:]:
            version = re.fullmatch(r"tensorflow(?:[-_]gpu)?-(\d[\d.]*)", row[0])
            if version and len(row) == len(table[0]) and row[cuda][:1].isdigit():
                # The first table is that of Linux; one for macOS follows.
                found.setdefault(version.group(1), Tested(row[python], row[cuda], row[cudnn]))
    if not found:
        raise NotThatPage("no tested GPU builds of TensorFlow")
    return found


def image_tags(text: str) -> frozenset[str]:
    """Read the Ubuntu tags from NVIDIA's list of supported nvidia/cuda tags, or from any text that names them."""
    flavour = r"(?:base|runtime|devel|cudnn\d*-runtime|cudnn\d*-devel)"
    found = re.findall(rf"(?<![\w.-])\d+\.\d+\.\d+-{flavour}-ubuntu\d\d\.\d\d(?![\w.-])", text)
    if not found:
        raise NotThatPage("no tags of nvidia/cuda")
    return frozenset(f"nvidia/cuda:{tag}" for tag in found)


def tables(text: str) -> Iterator[Table]:
    """Give every table of a page, HTML or Markdown, its heads in the first row."""
    reader = _Html()
    reader.feed(text)
    yield from reader.tables
    for block in re.findall(r"(?:^[ \t]*\|.*\|[ \t]*$\n?)+", text, flags=re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in block.splitlines()]
        yield [row for row in rows if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]


def _table(text: str, *heads: str) -> Table:
    found = next((table for table in tables(text) if _heads(table, heads)), None)
    if found is None:
        raise NotThatPage(f"no table with the columns {', '.join(heads)}")
    return found


def _heads(table: Table, heads: tuple[str, ...]) -> bool:
    written = " | ".join(table[0]).lower() if table else ""
    return all(head in written for head in heads)


def _column(table: Table, head: str) -> int:
    place = next((place for place, cell in enumerate(table[0]) if head in cell.lower()), None)
    if place is None:
        raise NotThatPage(f"no column {head}")
    return place


class _Html(HTMLParser):
    """Collects the cells of every table."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[Table] = []
        self.cell: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr" and self.tables:
            self._end_cell()
            self.tables[-1].append([])
        elif tag in ("td", "th") and self.tables:
            self._end_cell()
            self.cell = []

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "tr", "table"):
            self._end_cell()

    def handle_data(self, data: str) -> None:
        if self.cell is not None:
            self.cell.append(data)

    def _end_cell(self) -> None:
        if self.cell is not None and self.tables[-1]:
            self.tables[-1][-1].append(" ".join("".join(self.cell).split()))
        self.cell = None
