"""What pip lists: `pip list`, `pip freeze`, `pip show`, `pip debug`, and the wheels it names while it installs."""

from __future__ import annotations

import re

from envdoctor.model.snapshot import Package, Snapshot
from envdoctor.readers.lines import holding
from envdoctor.readers.software import environment, package

ORIGIN = "report: pip"
STEMS = (
    "torch|torchvision|torchaudio|torchtext|xformers|triton|pytorch-triton|flash[_-]attn|vllm|bitsandbytes|apex|numpy|scipy"
    "|tensorflow|tensorflow[_-](?:gpu|cpu|intel|macos|metal)|tf-nightly|keras|jax|jaxlib|jax-cuda\\d{2}-p\\w{3,6}|onnxruntime(?:-gpu)?"
    "|nvidia-[a-z0-9-]{3,40}|cupy-cuda\\w{3,6}|deepspeed|transformers|accelerate|diffusers|paddlepaddle(?:-gpu)?|mxnet[\\w-]{0,12}"
)
_FROZEN = re.compile(rf"(?<![\w./-])({STEMS}) ?(?:==|@==) ?(\d[\w.+]{{0,40}})(?!\S{{0,3}}\*)")
_LISTED = re.compile(
    rf"^ {{0,4}}({STEMS}) {{1,40}}(\d[\w.+]{{1,40}})(?: {{1,30}}(\S{{1,40}}))?(?: {{1,30}}(\S{{1,40}}))?$", re.M
)
_SHOWN = re.compile(r"^Name: ([\w.-]{1,60})\nVersion: (\S{1,60})", re.M)
_INSTALLED = re.compile(rf"(?<![\w-])({STEMS})-(\d{{1,4}}\.\d[\w.+]{{0,40}})(?=[\s,]|$)")


def sniff(text: str) -> bool:
    """Tell whether anything in it looks like a distribution with its version."""
    return bool(
        "==" in text
        or "\nVersion: " in text
        or "Successfully installed" in text
        or "pypi" in text
        or _LISTED.search(text)
    )


def read(text: str) -> Snapshot:
    """Read the distributions that matter for a GPU; what a command asks pip for is not taken for installed."""
    kept = "\n".join(line for line in text.split("\n") if not _wish(line))
    found: dict[str, Package] = {}
    for name, version in _SHOWN.findall(holding(kept, "Name: ", after=1)):
        _add(found, package(name, version, installer="pip"))
    for name, version, *rest in _LISTED.findall(kept):
        conda = bool(rest[0]) and not rest[0].startswith(("http", "/", "~", "pypi")) and rest[1:] != [""]
        build = rest[0] if conda and "pypi" not in rest else None
        _add(found, package(name, version, build, installer="conda" if build else "pip"))
    for name, version in _INSTALLED.findall(holding(kept, "Successfully installed")):
        _add(found, package(name, version, installer="pip"))
    for name, version in _FROZEN.findall(holding(kept, "==")):
        _add(found, package(name, version, installer="pip"))
    return environment(ORIGIN, tuple(found.values())) if found else Snapshot()


def _add(found: dict[str, Package], one: Package) -> None:
    found.setdefault(f"{one.name} {one.build or ''}", one)


def _wish(line: str) -> bool:
    """Tell whether a line asks for packages, or speaks of requirements, instead of naming what is there."""
    low = line.lower()
    words = (
        " install ",
        "error:",
        "requires",
        "requirement",
        "no matching",
        "collecting",
        "(from ",
        "depends on",
        "conflict",
    )
    return any(word in low for word in words) and "successfully installed" not in low
