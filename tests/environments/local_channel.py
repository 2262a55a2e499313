"""A small conda channel in a folder: packages that hold next to nothing, with an index of their hashes."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any, NamedTuple


class Built(NamedTuple):
    """A package; its name, version and build are its file's name."""

    name: str
    version: str
    build: str
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    subdir: str = "linux-64"

    @property
    def archive(self) -> str:
        return f"{self.name}-{self.version}-{self.build}.tar.bz2"


def _module(name: str, text: str) -> tuple[tuple[str, str], ...]:
    return ((f"lib/python3.11/site-packages/{name}/__init__.py", f"{text}\n"),)


def _torch(version: str, build: str, *depends: str, subdir: str = "linux-64") -> Built:
    text = f"__version__ = {version!r}; build = {build!r}"
    return Built("pytorch", version, build, ("python >=3.11,<3.12.0a0", *depends), (), _module("torch", text), subdir)


_PYTHON = (("bin/python", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'),)
# In the shape of conda-forge: build strings, build numbers 200 higher with CUDA, cuda-version that asks for a driver.
PACKAGES = (
    Built("python", "3.11.7", "hab00c5b_0", ("__glibc >=2.17,<3.0.a0",), (), _PYTHON),
    Built("python", "3.11.7", "h1234567_0", (), (), _PYTHON, "osx-arm64"),
    Built("numpy", "2.2.6", "py311h5d046bc_0", ("python >=3.11,<3.12.0a0",), (), _module("numpy", "")),
    Built("numpy", "2.2.6", "py311h5d046bc_0", (), (), _module("numpy", ""), "osx-arm64"),
    Built("tqdm", "4.66.1", "pyhd8ed1ab_0", ("python >=3.7",), (), (), "noarch"),
    Built("cuda-version", "11.8", "h70ddcb2_3", (), ("cudatoolkit 11.8|11.8.*", "__cuda >=11"), (), "noarch"),
    Built("cuda-version", "12.9", "h4f385c5_3", (), ("cudatoolkit 12.9|12.9.*", "__cuda >=12"), (), "noarch"),
    Built("cudatoolkit", "11.8.0", "h4ba93d1_13", (), ("__cuda >=11",), (("lib/libcudart.so.11.0", "none"),)),
    _torch("2.5.1", "cpu_generic_py311_hd5083e0_101"),
    _torch("2.5.1", "cuda118_py311_h1ee7a2b_301", "__cuda", "cudatoolkit >=11.8,<12", "cuda-version >=11.8,<12"),
    _torch("2.13.0", "cpu_generic_py311_hd5083e0_101"),
    _torch("2.13.0", "cpu_generic_py311_hd5083e0_1", subdir="osx-arm64"),
    _torch("2.13.0", "cuda129_mkl_py311_h1ee7a2b_301", "__cuda", "cuda-version >=12.9,<13"),
    Built("pytorch-gpu", "2.5.1", "cuda118_py311_h1_301", ("pytorch 2.5.1 cuda*301",)),
    Built("pytorch-gpu", "2.13.0", "cuda129_mkl_h1_301", ("pytorch 2.13.0 cuda*_mkl*301",)),
)


def make(folder: Path, packages: tuple[Built, ...] = PACKAGES) -> Path:
    """Write the channel and give its folder."""
    for subdir in {each.subdir for each in packages} | {"linux-64", "noarch", "osx-arm64"}:
        (folder / subdir).mkdir(parents=True, exist_ok=True)
        records: dict[str, Any] = {}
        for package in packages:
            if package.subdir == subdir:
                content = archive(package)
                (folder / subdir / package.archive).write_bytes(content)
                hashes = {"md5": hashlib.md5(content).hexdigest(), "sha256": hashlib.sha256(content).hexdigest()}
                records[package.archive] = {**_index(package), **hashes, "size": len(content)}
        index(folder / subdir, records)
    return folder


def index(folder: Path, records: dict[str, Any]) -> None:
    """Write the index of one platform's folder."""
    content = {"info": {"subdir": folder.name}, "packages": records, "packages.conda": {}, "repodata_version": 1}
    (folder / "repodata.json").write_text(json.dumps(content))


def archive(package: Built) -> bytes:
    """Give the bytes of a package."""
    paths = [
        {"_path": path, "path_type": "hardlink", "sha256": hashlib.sha256(text.encode()).hexdigest()}
        | {"size_in_bytes": len(text.encode())}
        for path, text in package.files
    ]
    members = {
        "info/index.json": json.dumps(_index(package)),
        "info/paths.json": json.dumps({"paths_version": 1, "paths": paths}),
        "info/files": "\n".join(path for path, _ in package.files),
        **dict(package.files),
    }
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:bz2") as packed:
        for path, text in members.items():
            member = tarfile.TarInfo(path)
            member.size, member.mtime = len(text.encode()), 1_700_000_000
            member.mode = 0o755 if path.startswith("bin/") else 0o644
            packed.addfile(member, io.BytesIO(text.encode()))
    return whole.getvalue()


def _index(package: Built) -> dict[str, Any]:
    number = package.build.rpartition("_")[2]
    kind = {"noarch": "generic"} if package.subdir == "noarch" else {}
    return {
        "name": package.name,
        "version": package.version,
        "build": package.build,
        "build_number": int(number),
        "depends": list(package.depends),
        "constrains": list(package.constrains),
        "subdir": package.subdir,
        "timestamp": 1_700_000_000_000,
        **kind,
    }
