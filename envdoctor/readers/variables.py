"""Environment variables that a report sets, prints or quotes."""

from __future__ import annotations

import re

from envdoctor.model.snapshot import Snapshot, Variable
from envdoctor.readers.lines import holding

ORIGIN = "report: variables"
_NAMES = (
    "CUDA_VISIBLE_DEVICES|NVIDIA_VISIBLE_DEVICES|NVIDIA_DRIVER_CAPABILITIES|LD_LIBRARY_PATH|CUDA_HOME|CUDA_PATH"
    "|HSA_OVERRIDE_GFX_VERSION|HIP_VISIBLE_DEVICES|NCCL_P2P_DISABLE|TF_FORCE_GPU_ALLOW_GROWTH|PYTORCH_CUDA_ALLOC_CONF"
)
_MARKS = ("NVIDIA_DRIVER_CAPABILITIES", "_VISIBLE_DEVICES", *_NAMES.split("|"))
_SET = re.compile(rf"(?<![\w$])({_NAMES})['\"]?\]? ?= ?(\"[^\"\n]{{0,600}}\"|'[^'\n]{{0,600}}'|[^\s\"'\n;,)]{{0,600}})")
# A list of variables as YAML and JSON write it.
_MAPPED = re.compile(
    r"^[ \t-]{0,20}[\"']?((?:CUDA|NVIDIA|HIP)_VISIBLE_DEVICES|NVIDIA_DRIVER_CAPABILITIES)[\"']?: ?[\"']?([\w,-]{0,80})",
    re.M,
)
_ECHO = re.compile(rf"echo \"?\$\{{?({_NAMES})\}}?\"?\n(?!\$|>)(.{{0,600}})$", re.M)
# TensorFlow adds the variable to what the loader said: "dlerror: …; LD_LIBRARY_PATH: /usr/local/cuda-11.0/lib64".
_DLERROR = re.compile(r"; (LD_LIBRARY_PATH): ([^\s;]{1,600})")


def sniff(text: str) -> bool:
    """Tell whether one of them is named."""
    return any(mark in text for mark in _MARKS)


def read(text: str) -> Snapshot:
    """Read their values; the first one of each counts."""
    found: dict[str, str] = {}
    text = holding(text, *_MARKS, after=1)
    for name, value in (*_ECHO.findall(text), *_SET.findall(text), *_DLERROR.findall(text), *_MAPPED.findall(text)):
        found.setdefault(name, value.strip().strip("\"'"))
    told = tuple(Variable(name=name, value=value) for name, value in found.items())
    return Snapshot(variables=told, origins={"variables": ORIGIN} if told else {})
