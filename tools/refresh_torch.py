"""Renew the tables torch and torch_pins from the package index.

    python tools/refresh_torch.py --check

From the index: Pythons per platform, glibc, the CUDA of the plain wheel and what it pins, triton, and the torchvision
and torchaudio that belong to a release. A torchvision belongs to the torch that it pins; where none pins it, the newest
one that accepts it is taken for a new row, with a doubt, and a known row keeps its own.
"""

from __future__ import annotations

import re
import sys
from typing import NamedTuple

from index import Index, Metadata
from packaging.version import Version
from published import NotUsable, Platform, admits, glibc, on, pinned, pythons, release_metadata, requirements
from refresh import Fields, Found, Source, main

from envdoctor.knowledge.tables import TorchRelease
from envdoctor.knowledge.tables.frameworks import TorchPins

RELEASES = "https://github.com/pytorch/pytorch/blob/main/RELEASE.md"
WHEELS = "https://download.pytorch.org/whl"
CANDIDATES = 4  # newest releases of torchvision or torchaudio that may belong to a torch not seen before


class Companion(NamedTuple):
    """A package that belongs to a torch release."""

    version: str | None
    pinned: bool
    doubt: str | None
    asked: str | None


def torch(index: Index, version: str, row: Fields, new: bool) -> Found:
    """Say what the index knows of a torch release."""
    read = release_metadata(index, "torch", version)
    files = index.releases("torch")[version]
    linux = on(files, "linux_x86_64")
    if not pythons(linux):
        raise NotUsable("its wheels do not name their Pythons")
    columns: Fields = {
        "python_min": pythons(linux)[0],
        "python_max": pythons(linux)[-1],
        "free_threaded": pythons(linux, free_threaded=True),
        "triton": next(iter(requirements(read.requires, "triton", "pytorch-triton")), None),
    }
    for name, platform in PLATFORMS.items():
        columns[name] = pythons(on(files, platform))
    for name, wheels in (("glibc", linux), ("glibc_aarch64", on(files, "linux_aarch64"))):
        # Until 2.6 wheels bore manylinux1, but needed what CentOS 7 has: an older tag than that says nothing.
        oldest = glibc(wheels)
        if not wheels or (oldest and Version(oldest) >= Version("2.17")):
            columns[name] = oldest
    doubts = []
    cuda = toolkit(read)
    if cuda:
        tag = "cu" + "".join(cuda.split(".")[:2])
        columns["default_linux"] = tag
        columns["variants"] = _variants(row["variants"], tag, pinned(read.requires, f"nvidia-cudnn-{tag[:4]}"))
    elif new:
        raise NotUsable(f"the plain wheel of torch {version} does not say its CUDA")
    answers = [read.asked]
    for package in ("torchvision", "torchaudio"):
        own = _companion(index, package, version, row[package])
        columns[package] = own.version
        if package == "torchaudio":
            columns["torchaudio_pinned"] = own.pinned
        doubts += [own.doubt] if own.doubt else []
        answers += [own.asked] if own.asked else []
    if new:
        doubts.insert(0, f"not documented yet: variants but {columns['default_linux']}, machine code, ROCm, XPU")
    return Found(columns, min(answers), tuple(doubts), read.withdrawn)


PLATFORMS: dict[str, Platform] = {
    "pythons_aarch64": "linux_aarch64",
    "pythons_windows": "windows",
    "pythons_macos_arm64": "macos_arm64",
    "pythons_macos_x86_64": "macos_x86_64",
}


def toolkit(read: Metadata) -> str | None:
    """Give the version of the CUDA runtime that a wheel brings by its requirements, or None."""
    return pinned(read.requires, "cuda-toolkit") or pinned(
        read.requires, *(f"nvidia-cuda-runtime{suffix}" for suffix in ("", "-cu11", "-cu12", "-cu13"))
    )


def _variants(known: list[Fields], tag: str, cudnn: str | None) -> list[Fields]:
    if not known:
        cuda = f"{tag[2:-1]}.{tag[-1]}"
        plain: Fields = {
            "tag": tag,
            "cuda": cuda,
            "index_url": f"{WHEELS}/{tag}",
            "cudnn": cudnn,
            "sm": None,
            "ptx": [],
        }
        cpu: Fields = {"tag": "cpu", "cuda": None, "index_url": f"{WHEELS}/cpu", "cudnn": None, "sm": [], "ptx": []}
        # Every release had one, but no page that says so of this one was read.
        return [plain, {**cpu, "doubt": "as every release before; not documented yet"}]
    return [{**each, "cudnn": cudnn} if each["tag"] == tag and cudnn else each for each in known]


def _companion(index: Index, package: str, torch_version: str, known: str | None) -> Companion:
    releases = list(index.releases(package))
    if known:
        series = known.rpartition(".")[0]
        asked = [each for each in releases if each.rpartition(".")[0] == series and Version(each) >= Version(known)]
    else:
        asked = releases[:CANDIDATES]
    accepting: list[str] = []
    day = None
    for version in asked:
        try:
            read = release_metadata(index, package, version)
        except NotUsable:
            continue
        day = min(filter(None, (day, read.asked)))
        if read.withdrawn:
            continue
        if pinned(read.requires, "torch") == torch_version:
            return Companion(version, True, None, day)
        if admits(read.requires, "torch", torch_version):
            accepting.append(version)
    if known or not accepting:
        return Companion(known, False, None, day)
    wish = ", ".join(requirements(release_metadata(index, package, accepting[0]).requires, "torch")) or "torch"
    return Companion(accepting[0], False, f"{package} {accepting[0]} asks for {wish}, without an exact pin", day)


def pins(index: Index, version: str, row: Fields, new: bool) -> Found:
    """Say what the plain wheel of a torch release pins."""
    read = release_metadata(index, "torch", version)
    cuda = toolkit(read)
    if cuda is None:
        if new:
            raise NotUsable(f"the plain wheel of torch {version} pins no CUDA")
        return Found({}, read.asked, withdrawn=read.withdrawn)
    listed = sorted(text for text in requirements(read.requires) if re.match(r"(?:nvidia|cuda)-", text))
    tag = "cu" + "".join(cuda.split(".")[:2])
    return Found({"variant": tag, "cuda": cuda, "pins": listed}, read.asked, withdrawn=read.withdrawn)


def fresh(before: Fields) -> Fields:
    """Make the row of a release that no page was read about."""
    unread: Fields = {"released": None, "variants": [], "variants_source": None, "rocm": [], "xpu": None}
    return {**unread, "numpy2": True, "numpy2_windows": True, "torchvision": None, "torchaudio": None}


SOURCES = (
    Source(
        "torch",
        TorchRelease,
        "torch",
        torch,
        fresh,
        elsewhere=(f"variants beside the plain wheel's, machine code, ROCm, XPU ({RELEASES})", "release dates"),
    ),
    Source("torch_pins", TorchPins, "torch", pins, lambda before: {}),
)

if __name__ == "__main__":
    sys.exit(main(SOURCES, "Renew the tables of torch releases from the Python package index."))
