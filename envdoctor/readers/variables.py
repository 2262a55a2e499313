"""Environment variables that a report sets, prints or quotes."""

from __future__ import annotations

import re

from envdoctor.model.snapshot import Snapshot, Variable

ORIGIN = "report: variables"
_NAMES = (
    "CUDA_VISIBLE_DEVICES|NVIDIA_VISIBLE_DEVICES|NVIDIA_DRIVER_CAPABILITIES|LD_LIBRARY_PATH|CUDA_HOME|CUDA_PATH"
    "|HSA_OVERRIDE_GFX_VERSION|HIP_VISIBLE_DEVICES|NCCL_P2P_DISABLE|TF_FORCE_GPU_ALLOW_GROWTH|PYTORCH_CUDA_ALLOC_CONF"
)
_SET = re.compile(rf"(?<![\w$])({_NAMES})['\"]?\]? ?= ?(\"[^\"\n]{{0,600}}\"|'[^'\n]{{0,600}}'|[^\s\"'\n;,)]{{0,600}})")
_ECHO = re.compile(rf"echo \"?\$\{{?({_NAMES})\}}?\"?\n(?!\$|>)(.{{0,600}})$", re.M)


def sniff(text: str) -> bool:
    """Tell whether one of them is named."""
    return "_VISIBLE_DEVICES" in text or "LD_LIBRARY_PATH" in text or re.search(_NAMES, text) is not None


def read(text: str) -> Snapshot:
    """Read their values; the first one of each counts."""
    found: dict[str, str] = {}
    for name, value in (*_ECHO.findall(text), *_SET.findall(text)):
        found.setdefault(name, value.strip().strip("\"'"))
    told = tuple(Variable(name=name, value=value) for name, value in found.items())
    return Snapshot(variables=told, origins={"variables": ORIGIN} if told else {})
