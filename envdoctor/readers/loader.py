"""`ldconfig -p`, `ldd`, listings and images: which GPU libraries and toolkits lie where."""

from __future__ import annotations

import re
from itertools import islice
from typing import Literal

from envdoctor.model.snapshot import Library, Snapshot, Toolkit

ORIGIN = "report: ldconfig"
_CACHED = re.compile(
    r"^\s{0,8}(lib(cudnn|nccl|cudart|cublas|nvJitLink)\.so[\d.]{0,20}) \([^)\n]{1,60}\) => (/\S{1,200})$", re.M
)
_LINKED = re.compile(
    r"^\s{0,8}(lib(cudnn|nccl|cudart|cublas|nvJitLink)\.so[\d.]{0,20}) => (/\S{1,200})(?: \(0x|$)", re.M
)

# Folders of toolkits, of Linux and of Windows, and NVIDIA's images, which hold one. A folder in a line that says it is
# not there is none.
_FOLDER = re.compile(r"(/usr/local/cuda-|CUDA\\v)(\d{1,2}\.\d)(?![\d.]*\.(?:run|deb))")
_NOT_THERE = ("no such file", "does not exist", "install ", "wget ")
_MOST_FOLDERS = 200
_SEARCHED = re.compile(r"LD_LIBRARY_PATH['\"]?\]?\s?[:=]\s?(\S{1,600})")
_IMAGE = re.compile(r"(?:nvidia|nvcr\.io/nvidia)/cuda:(\d{1,2}\.\d)")

_Kind = Literal["cudnn", "nccl", "cudart", "cublas", "nvjitlink"]


def sniff(text: str) -> bool:
    """Tell whether there are lines with an arrow, or folders of toolkits."""
    return " => /" in text or "/usr/local/cuda-" in text or "CUDA\\v" in text or "nvidia/cuda:" in text


def read(text: str) -> Snapshot:
    """Read the GPU libraries and the toolkits."""
    found = {}
    for name, kind, path in (*_CACHED.findall(text), *_LINKED.findall(text)):
        version = re.search(r"\.so\.([\d.]+)$", path) or re.search(r"\.so\.([\d.]+)$", name)
        word: _Kind = kind.lower()
        found[path] = Library(name=word, path=path, version=version[1] if version else None)
    searched = "\n".join(_SEARCHED.findall(text))
    folders = islice(_FOLDER.finditer(text), _MOST_FOLDERS)
    kits = {each[2]: each[0] for each in folders if not _missing(text, each.start())}
    for version in re.findall(r"/cuda-(\d{1,2}\.\d)", searched):
        kits.setdefault(version, f"/usr/local/cuda-{version}")
    for version in _IMAGE.findall(text):
        kits.setdefault(version, "")
    toolkits = tuple(Toolkit(path=path, version=version, found_by=("report",)) for version, path in kits.items())
    origins = {**({"libraries": ORIGIN} if found else {}), **({"toolkits": ORIGIN} if kits else {})}
    return Snapshot(libraries=tuple(found.values()), toolkits=toolkits, origins=origins)


def _missing(text: str, at: int) -> bool:
    """Tell whether the line says that the folder is not there, or is still to be installed."""
    end = text.find("\n", at)
    line = text[text.rfind("\n", 0, at) + 1 : end if end >= 0 else len(text)].lower()
    return any(words in line for words in _NOT_THERE)
