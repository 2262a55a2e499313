"""Renew the tables of what people install beside a framework from the package index.

    python tools/refresh_companions.py --check

xformers, bitsandbytes, transformers, onnxruntime-gpu and vllm: the torch or CUDA that their metadata asks for, their
Pythons and wheel tags; flash-attn: its newest release, and whether it has wheels. The GPUs they serve stand on pages.
"""

from __future__ import annotations

import re
import sys

from index import Index
from published import NotUsable, glibc, on, release_metadata, requirements, specifier, wheel_for
from refresh import Fields, Found, Source, main

from envdoctor.knowledge.tables import companions


def xformers(index: Index, version: str, row: Fields, new: bool) -> Found:
    """Say which torch an xformers release asks for, and which wheel CPython 3.11 gets."""
    read = release_metadata(index, "xformers", version, "3.11")
    file = wheel_for(index.releases("xformers")[version], "xformers", version, "3.11")
    columns: Fields = {
        "torch": _wish(read.requires, "torch"),
        "requires_python": read.requires_python,
        "tag": _tag(file),
        "glibc": glibc([file]),
        "any_python": "-cp311-cp311-" not in file,
    }
    return Found(columns, read.asked, ("not documented yet: the capabilities it serves",), read.withdrawn)


def bitsandbytes(index: Index, version: str, row: Fields, new: bool) -> Found:
    """Say which torch a bitsandbytes release asks for."""
    read = release_metadata(index, "bitsandbytes", version)
    columns = {"torch": _wish(read.requires, "torch"), "requires_python": read.requires_python}
    return Found(columns, read.asked, withdrawn=read.withdrawn)


def transformers(index: Index, version: str, row: Fields, new: bool) -> Found:
    """Say which torch a transformers release accepts by its extra of that name."""
    read = release_metadata(index, "transformers", version)
    wish = _wish(read.requires, "torch", extra="torch")
    if wish is None:
        raise NotUsable("it has no extra for torch")
    return Found({"torch": wish, "requires_python": read.requires_python}, read.asked, withdrawn=read.withdrawn)


def onnxruntime(index: Index, version: str, row: Fields, new: bool) -> Found:
    """Say which CUDA and cuDNN an onnxruntime-gpu release brings by its extras."""
    read = release_metadata(index, "onnxruntime-gpu", version)
    pins = [text for extra in ("cuda", "cudnn") for text in requirements(read.requires, extra=extra)]
    columns: Fields = {"requires_python": read.requires_python, "pins": list(dict.fromkeys(pins))}
    for text in columns["pins"]:
        cudnn = re.match(r"nvidia-cudnn-cu\d+", text)
        number = re.search(r"\d+", specifier(text))
        if number and (cudnn or text.startswith("nvidia-cuda-runtime")):
            columns["cudnn" if cudnn else "cuda"] = int(number.group())
    if new and not {"cuda", "cudnn"} <= columns.keys():
        raise NotUsable("its metadata does not say its CUDA and cuDNN")
    return Found(columns, read.asked, withdrawn=read.withdrawn)


def vllm(index: Index, version: str, row: Fields, new: bool) -> Found:
    """Say what a vllm release pins, and which systems its wheel is for."""
    read = release_metadata(index, "vllm", version, "3.11")
    file = wheel_for(index.releases("vllm")[version], "vllm", version, "3.11")
    columns: Fields = {"requires_python": read.requires_python, "tag": _tag(file), "glibc": glibc([file])}
    for name in ("torch", "torchvision", "torchaudio", "xformers", "transformers"):
        columns[name] = _wish(read.requires, name)
    columns["flashinfer"] = _wish(read.requires, "flashinfer-python")
    return Found(columns, read.asked, withdrawn=read.withdrawn)


def flash_attention(index: Index, generation: str, row: Fields, new: bool) -> Found:
    """Say which release of flash-attn is the newest, and whether it has wheels."""
    mine = {version: files for version, files in index.releases("flash-attn").items() if version.startswith("2.")}
    if not mine:
        raise NotUsable("the package index has no flash-attn 2")
    wheels = any(on(files, "linux_x86_64") for files in mine.values())
    return Found({"newest": next(iter(mine)), "wheels": wheels}, index.listed_on("flash-attn"))


def _wish(requires: tuple[str, ...], name: str, extra: str = "") -> str | None:
    wishes = requirements(requires, name, extra=extra)
    return ",".join(filter(None, map(specifier, dict.fromkeys(wishes)))) if wishes else None


def _tag(file: str) -> str:
    return "-".join(file.removesuffix(".whl").split("-")[-3:])


def unread(before: Fields) -> Fields:
    """Make the row of an xformers that no page was read about."""
    return {"capability_min": None, "capability_source": None}


BITSANDBYTES = "https://github.com/bitsandbytes-foundation/bitsandbytes/blob/main/docs/source/installation.mdx"
SOURCES = (
    Source("xformers", companions.Xformers, "xformers", xformers, unread),
    Source(
        "bitsandbytes",
        companions.BitsandbytesRelease,
        "bitsandbytes",
        bitsandbytes,
        lambda before: {},
        elsewhere=(f"tables bitsandbytes_hardware and bitsandbytes_builds ({BITSANDBYTES})",),
    ),
    Source("transformers", companions.Transformers, "transformers", transformers, lambda before: {}),
    Source("onnxruntime_gpu", companions.OnnxruntimeGpu, "onnxruntime-gpu", onnxruntime, lambda before: {}),
    Source(
        "vllm",
        companions.Vllm,
        "vllm",
        vllm,
        lambda before: {},
        elsewhere=("table vllm_hardware (https://docs.vllm.ai/en/latest/getting_started/installation/gpu/)",),
    ),
    Source(
        "flash_attn",
        companions.FlashAttention,
        "flash-attn",
        flash_attention,
        lambda before: {},
        key="generation",
        where={"generation": 2},
        adds=False,
        elsewhere=("GPUs, CUDA and torch (https://github.com/Dao-AILab/flash-attention/blob/main/README.md)",),
    ),
)

if __name__ == "__main__":
    sys.exit(main(SOURCES, "Renew the tables of companion packages from the Python package index."))
