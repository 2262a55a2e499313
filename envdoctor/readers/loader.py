"""`ldconfig -p`, `ldd` and listings: which GPU libraries lie where."""

from __future__ import annotations

import re
from typing import Literal

from envdoctor.model.snapshot import Library, Snapshot

ORIGIN = "report: ldconfig"
_CACHED = re.compile(
    r"^\s{0,8}(lib(cudnn|nccl|cudart|cublas|nvJitLink)\.so[\d.]{0,20}) \([^)\n]{1,60}\) => (/\S{1,200})$", re.M
)
_LINKED = re.compile(
    r"^\s{0,8}(lib(cudnn|nccl|cudart|cublas|nvJitLink)\.so[\d.]{0,20}) => (/\S{1,200})(?: \(0x|$)", re.M
)

_Kind = Literal["cudnn", "nccl", "cudart", "cublas", "nvjitlink"]


def sniff(text: str) -> bool:
    """Tell whether there are lines with an arrow."""
    return " => /" in text


def read(text: str) -> Snapshot:
    """Read the GPU libraries."""
    found = {}
    for name, kind, path in (*_CACHED.findall(text), *_LINKED.findall(text)):
        version = re.search(r"\.so\.([\d.]+)$", path) or re.search(r"\.so\.([\d.]+)$", name)
        word: _Kind = kind.lower()
        found[path] = Library(name=word, path=path, version=version[1] if version else None)
    return Snapshot(libraries=tuple(found.values()), origins={"libraries": ORIGIN} if found else {})
