"""Renew the tables cudnn_packages and cuda_toolkit_pypi from the package index.

    python tools/refresh_nvidia.py --check

The package cuda-toolkit pins every component wheel of a toolkit (nvidia-cublas, nvidia-cuda-runtime-cu12 …), so its
rows are the versions of all of them. Which GPUs, drivers and CUDA versions a cuDNN is for stands on NVIDIA's pages.
"""

from __future__ import annotations

import functools
import re
import sys

from index import Index
from published import release_metadata, requirements
from refresh import Fields, Found, Source, main

from envdoctor.knowledge.tables.toolkits import CudaToolkitPackage, CudnnPackage

MATRIX = "https://docs.nvidia.com/deeplearning/cudnn/backend/latest/reference/support-matrix.html"
NOTES = "https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/"


def cudnn(package: str, index: Index, version: str, row: Fields, new: bool) -> Found:
    """Say that a cuDNN wheel is there; only of a new one is it asked whether it was withdrawn."""
    columns = {"cuda": int(package.rpartition("-cu")[2])}
    if not new:
        return Found(columns, index.listed_on(package))
    read = release_metadata(index, package, version)
    return Found(columns, read.asked, withdrawn=read.withdrawn)


def cuda_toolkit(index: Index, version: str, row: Fields, new: bool) -> Found:
    """Say which component wheels a release of cuda-toolkit pins."""
    read = release_metadata(index, "cuda-toolkit", version)
    # Some components are for aarch64 alone; where a platform has a version of its own, x86_64's is taken.
    texts = [text.partition(";")[0].strip() for text in read.requires]
    texts += [text for extra in read.extras for text in requirements(read.requires, extra=extra)]
    pinned = [re.fullmatch(r"([\w.-]+?)\s*\(?==\s*([\w.*]+)\)?", text) for text in texts]
    components = {found.group(1): found.group(2) for found in pinned if found}
    return Found({"components": dict(sorted(components.items()))}, read.asked, withdrawn=read.withdrawn)


SOURCES = (
    *(
        Source(
            "cudnn_packages",
            CudnnPackage,
            package,
            functools.partial(cudnn, package),
            lambda before: {},
            where={"package": package},
        )
        for package in ("nvidia-cudnn-cu13", "nvidia-cudnn-cu12", "nvidia-cudnn-cu11")
    ),
    Source(
        "cuda_toolkit_pypi",
        CudaToolkitPackage,
        "cuda-toolkit",
        cuda_toolkit,
        lambda before: {},
        elsewhere=(f"tables cudnn and tensorrt ({MATRIX})", f"drivers in the table cuda_toolkits ({NOTES})"),
    ),
)

if __name__ == "__main__":
    sys.exit(main(SOURCES, "Renew the tables of cuDNN wheels and CUDA components from the Python package index."))
