"""Keys and values: `transformers env`, `accelerate env`, `ds_report`, JAX's environment info, ultralytics."""

from __future__ import annotations

import re

from envdoctor.model.snapshot import Snapshot, Toolkit
from envdoctor.readers import names
from envdoctor.readers.joining import joined
from envdoctor.readers.software import cuda_of, environment, framework, package, version_in

_PACKAGE = re.compile(
    (
        r"^ {0,4}(?:- )?`?([a-zA-Z][\w.-]{1,40})`? (?:version|install path|wheel compiled "
        r"w\.)[^:\n]{0,40}\.{0,40}[: ]{1,3}(\S.{0,120})$"
    ),
    re.M,
)
_TORCH = re.compile(
    r"^ {0,4}(?:- )?(?:PyTorch|torch) version[^:\n.]{0,24}[:. ]{1,40}(\d\S{2,40})(?: \((True|False|NA)\))?", re.M
)
_DOTTED = re.compile(r"^([a-z][a-z /,.]{2,40}?) ?\.{2,40} ?(\S.{0,120})$", re.M)
_JAX = re.compile(r"^(jax|jaxlib|numpy|python):? {1,12}(\d\S{1,40})", re.M)
_PLATFORM = re.compile(r"^ {0,4}(?:- )?(?:Platform|OS)(?: |:)[: ]{0,20}(\S.{2,120})$", re.M)
_GPU_TYPE = re.compile(r"^ {0,4}(?:- )?(?:GPU type|GPU|Using GPU in script\?)[: ]{1,4}(\S.{2,80})$", re.M)
_YOLO = re.compile(
    r"(?:Ultralytics|YOLOv\d)[^\n]{0,80}? Python-(\S{3,12}) torch-(\S{3,30})(?: (CUDA:\d{1,2} \(([^,\n]{2,60}),|CPU))?"
)


def sniff(text: str) -> bool:
    """Tell whether such a list is there."""
    marks = (
        "` version:",
        "` Version:",
        "ds_report",
        "DeepSpeed general environment",
        "jaxlib:",
        "device info:",
        "Ultralytics",
        "YOLOv",
    )
    return any(mark in text for mark in marks)


def read(text: str) -> Snapshot:
    """Read versions, platform and cards."""
    parts = []
    packages = [package(name, v) for name, value in _PACKAGE.findall(text) if (v := version_in(value))]
    torch = _TORCH.search(text)
    dotted = {key.strip(): value.strip() for key, value in _DOTTED.findall(text)}
    cuda = dotted.get("torch cuda version")
    number = torch[1] if torch else dotted.get("torch version")
    if number:
        parts.append(environment("report: env", tuple(packages), (framework("torch", number, cuda_of(cuda or "")),)))
    elif packages:
        parts.append(environment("report: env", tuple(packages)))
    if (nvcc := version_in(dotted.get("nvcc version", ""))) is not None:
        parts.append(Snapshot(toolkits=(Toolkit(path="", version=nvcc, found_by=("report",)),)))
    jax = dict(_JAX.findall(text))
    if "jax" in jax:
        found = tuple(package(name, jax[name]) for name in ("jax", "jaxlib", "numpy") if name in jax)
        parts.append(environment("report: jax", found))
    parts += [part for part in (_platform(text), _cards(text), _yolo(text)) if part is not None]
    return joined(parts)


def _platform(text: str) -> Snapshot | None:
    found = _PLATFORM.search(text)
    system = names.system_named(found[1], platform=found[1]) if found else None
    return Snapshot(system=system, origins={"system": "report: env"}) if system else None


def _cards(text: str) -> Snapshot | None:
    cards = [each for line in _GPU_TYPE.findall(text)[:8] for each in names.cards_in(line)]
    return Snapshot(gpus=names.gpus_of(cards), origins={"gpus": "report: env"}) if cards else None


def _yolo(text: str) -> Snapshot | None:
    found = _YOLO.search(text)
    if found is None:
        return None
    told = environment("report: ultralytics", frameworks=(framework("torch", found[2]),), version=found[1])
    if not found[4]:
        return told
    return joined([told, Snapshot(gpus=names.gpus_of([found[4].strip()]), origins={"gpus": "report: ultralytics"})])
