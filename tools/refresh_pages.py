"""Compare saved pages with the tables: what the package index does not say.

    python tools/refresh_pages.py --page RELEASE.md --page release-notes.html

A page is known by what it holds, so its file may have any name. Nothing is written: a page contradicts others often
enough (docs and metadata disagree on cuDNN, notes and installers on drivers) that a person decides, and a row says so
in its doubt. Pages that were not given are named with the table that could therefore not be renewed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pages
from pages import NotThatPage
from refresh import DIFFERS, FINE, NO_ANSWER, TABLES, Fields, read

from envdoctor.model.version import minor


class Page(NamedTuple):
    """A page, where it is to be had, and how it is compared with a table."""

    table: str
    what: str
    address: str
    differences: Callable[[str, list[Fields]], Iterator[str]]


def torch_builds(text: str, rows: list[Fields]) -> Iterator[str]:
    """Name the builds and cuDNN versions that page and table see differently."""
    for line, builds in pages.torch_builds(text).items():
        releases = [row for row in rows if minor(row["version"]) == line]
        if not releases:
            yield f"torch {line}: not in the table"
        for row in releases:
            own = {each["tag"]: each["cudnn"] for each in row["variants"] if each["cuda"]}
            for tag, cudnn in builds.cudnn.items():
                if tag not in own:
                    yield f"torch {row['version']} {tag}: not in the table"
                elif cudnn and own[tag] != cudnn:
                    yield f"torch {row['version']} {tag}: cuDNN {cudnn}, in the table {own[tag]}"
            for tag in sorted(own.keys() - builds.cudnn.keys()):
                yield f"torch {row['version']} {tag}: not on the page"
            # The page leaves a third number out: rocm5.4.2 is its 5.4.
            if builds.rocm and not any(f"{tag}.".startswith(f"rocm{builds.rocm}.") for tag in row["rocm"]):
                yield f"torch {row['version']}: ROCm {builds.rocm}, in the table {', '.join(row['rocm']) or 'none'}"


def torch_code(text: str, rows: list[Fields]) -> Iterator[str]:
    """Name the builds whose machine code page and table see differently."""
    columns = {"x86_64": ("sm", "ptx"), "aarch64": ("aarch64_sm", "aarch64_ptx")}
    for line, platforms in pages.torch_code(text).items():
        for row in (row for row in rows if minor(row["version"]) == line):
            for platform, builds in platforms.items():
                sm, ptx = columns[platform]
                own = {each["tag"]: pages.Code(_all(each, sm), _all(each, ptx)) for each in row["variants"]}
                for tag, code in builds.items():
                    if tag in own and own[tag] != code:
                        name = f"torch {row['version']} {tag} {platform}"
                        yield f"{name}: {_code(code)}, in the table {_code(own[tag])}"


def _all(variant: Fields, column: str) -> tuple[str, ...]:
    return tuple(variant.get(column) or ())


def _code(code: pages.Code) -> str:
    return " ".join(f"{each}+PTX" if each in code.ptx else each for each in code.sm) or "not known"


def toolkit_drivers(text: str, rows: list[Fields]) -> Iterator[str]:
    """Name the toolkits whose drivers page and table see differently."""
    for (version, release), drivers in pages.toolkit_drivers(text).items():
        own = next((row for row in rows if _same_toolkit(row, version, release)), None)
        name = f"CUDA {version} {release}".strip()
        if own is None:
            yield f"{name}: not in the table"
            continue
        for system, driver in (("linux", drivers.linux), ("windows", drivers.windows)):
            if own[f"driver_{system}"] != driver:
                yield f"{name} {system}: {driver or 'no driver'}, in the table {own[f'driver_{system}'] or 'none'}"


def _same_toolkit(row: Fields, version: str, release: str) -> bool:
    # 12.8 names its releases GA and Update 1; up to 10.2 the third number tells them apart.
    if version.count(".") > 1:
        return bool(row["version"] == version)
    return bool(row["cuda"] == version and row["release"] == release)


def tested_builds(text: str, rows: list[Fields]) -> Iterator[str]:
    """Name the TensorFlow releases whose tested builds page and table see differently."""
    for version, tested in pages.tested_builds(text).items():
        if minor(version) not in {minor(row["version"]) for row in rows}:
            if version.startswith("2.") and int(version.split(".")[1]) >= 3:
                yield f"tensorflow {version}: not in the table"
            continue
        for row in (row for row in rows if row["tested"] == version):
            own = pages.Tested(row["tested_pythons"], row["cuda"], row["cudnn"])
            if own != tested:
                yield f"tensorflow {row['version']}: {_tested(tested)}, in the table {_tested(own)}"


def _tested(tested: pages.Tested) -> str:
    return f"Python {tested.pythons}, CUDA {tested.cuda}, cuDNN {tested.cudnn}"


def image_tags(text: str, rows: list[Fields]) -> Iterator[str]:
    """Name the tags that are not in the table, and those of the same CUDA in the table that the page has not."""
    listed = pages.image_tags(text)
    own = {row["tag"]: row["cuda"] for row in rows}
    for tag in sorted(listed - own.keys()):
        yield f"{tag}: not in the table"
    cudas = {tag.partition(":")[2].partition("-")[0] for tag in listed}
    for tag in sorted(tag for tag, cuda in own.items() if cuda in cudas and tag not in listed):
        yield f"{tag}: not on the page"


PAGES = (
    Page("torch", "builds and cuDNN", "https://github.com/pytorch/pytorch/blob/main/RELEASE.md", torch_builds),
    Page("torch", "machine code", "https://github.com/pytorch/pytorch/blob/main/RELEASE.md", torch_code),
    Page("cuda_toolkits", "drivers", "https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/", toolkit_drivers),
    Page(
        "tensorflow",
        "tested builds",
        "https://github.com/tensorflow/docs/blob/master/site/en/install/source.md",
        tested_builds,
    ),
    Page(
        "cuda_images",
        "tags",
        "https://gitlab.com/nvidia/container-images/cuda/-/blob/master/doc/supported-tags.md",
        image_tags,
    ),
)


def main() -> int:
    """Compare, and give the exit status: 0 the same, 1 something differs, 3 a file is none of the pages."""
    options = _options()
    compared: set[Page] = set()
    differs = False
    for file in options.page:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError as problem:
            print(f"refresh_pages.py: {file}: {problem.strerror}", file=sys.stderr)
            return NO_ANSWER
        known = False
        for page in PAGES:
            try:
                found = list(page.differences(text, read(options.tables / f"{page.table}.json")[1]))
            except NotThatPage:
                continue
            known = True
            compared.add(page)
            differs |= bool(found)
            print(f"{page.table}, {page.what}: {len(found) or 'no'} differences from {file.name}")
            for line in found:
                print(f"  {line}")
        if not known:
            print(f"refresh_pages.py: {file}: none of the pages that are known here", file=sys.stderr)
            return NO_ANSWER
    for page in PAGES:
        if page not in compared:
            print(f"could not be renewed: {page.table}, {page.what}; save {page.address} and give it with --page")
    return DIFFERS if differs else FINE


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare saved pages with the tables; nothing is written.")
    parser.add_argument("--page", type=Path, action="append", default=[], metavar="FILE", help="a saved page")
    parser.add_argument("--tables", type=Path, default=TABLES, metavar="FOLDER", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
