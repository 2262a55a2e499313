"""Renew the table tensorflow from the package index.

    python tools/refresh_tensorflow.py --check

From the index: Pythons, platform tags, what tensorflow[and-cuda] brings, and the requirements on keras, numpy,
protobuf, ml_dtypes and h5py. The CUDA and cuDNN that a release was tested with stand on a page; for a new row they are
the lowest that its extra accepts, and the row carries that as a doubt.
"""

from __future__ import annotations

import re
import sys

from index import Index
from published import NotUsable, glibc, on, platform_tags, pythons, release_metadata, requirements, specifier
from refresh import Fields, Found, Source, main

from envdoctor.knowledge.tables.frameworks import TensorflowRelease

TESTED = "https://github.com/tensorflow/docs/blob/master/site/en/install/source.md"


def tensorflow(index: Index, version: str, row: Fields, new: bool) -> Found:
    """Say what the index knows of a TensorFlow release."""
    read = release_metadata(index, "tensorflow", version)
    files = index.releases("tensorflow")[version]
    linux = on(files, "linux_x86_64")
    columns: Fields = {
        "pythons": pythons(linux),
        "requires_python": read.requires_python,
        "tags": platform_tags(linux),
        "glibc": glibc(linux),
        "and_cuda": _and_cuda(read.requires),
        "windows_wheel": bool(on(files, "windows")),
    }
    for name in ("keras", "numpy", "protobuf", "ml_dtypes", "h5py"):
        columns[name] = requirements(read.requires, name)
    if not new:
        return Found(columns, read.asked, withdrawn=read.withdrawn)
    keras = next((re.search(r"\d+", specifier(text)) for text in columns["keras"]), None)
    if keras is None or not columns["pythons"]:
        raise NotUsable("its files do not say which Pythons and which keras it needs")
    columns |= {"keras_major": int(keras.group()), **_lowest(columns["and_cuda"])}
    columns |= {"tested": version, "tested_pythons": f"{columns['pythons'][0]}-{columns['pythons'][-1]}"}
    columns["tested_source"] = f"pkg:pypi/tensorflow@{version}"
    return Found(columns, read.asked, ("not documented yet: the builds it was tested with",), read.withdrawn)


def _and_cuda(requires: tuple[str, ...]) -> dict[str, str] | None:
    found = {}
    for text in requirements(requires, extra="and-cuda"):
        name = re.match(r"[\w.-]+", text)
        if name:
            found[name.group()] = specifier(text)
    return found or None


def _lowest(and_cuda: dict[str, str] | None) -> Fields:
    found = {}
    for name, specifiers in (and_cuda or {}).items():
        lowest = re.search(r"[>=]=\s*(\d+\.\d+)", specifiers)
        if lowest and name.startswith(("nvidia-cuda-runtime", "nvidia-cudnn")):
            found["cudnn" if "cudnn" in name else "cuda"] = lowest.group(1)
    if len(found) < 2:
        raise NotUsable("its extra and-cuda does not say which CUDA and cuDNN it needs")
    doubt = f"CUDA {found['cuda']} and cuDNN {found['cudnn']} are the lowest that its extra and-cuda accepts"
    return {**found, "cuda_doubt": doubt}


def fresh(before: Fields) -> Fields:
    """Make the row of a release that no page was read about."""
    return {"windows_gpu": False, "avx": True}


SOURCES = (
    Source(
        "tensorflow",
        TensorflowRelease,
        "tensorflow",
        tensorflow,
        fresh,
        elsewhere=(f"CUDA, cuDNN and Pythons of the tested builds ({TESTED})",),
    ),
)

if __name__ == "__main__":
    sys.exit(main(SOURCES, "Renew the table of TensorFlow releases from the Python package index."))
