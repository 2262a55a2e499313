"""What an interpreter answered: `torch.__version__`, `sys.maxsize > 2**32`, `platform.architecture()`."""

from __future__ import annotations

import re

from envdoctor.model.snapshot import Framework, Package, Snapshot
from envdoctor.readers.lines import holding, opening
from envdoctor.readers.software import FrameworkName, environment, framework, package

ORIGIN = "report: an interpreter's answer"
_NUMBER = r"['\"]?(\d{1,4}\.\d{1,4}[\w.+]{0,40})"
_ANSWER = re.compile(
    r"(?<![\w.])([A-Za-z]\w{1,20})\.(?:__version__|version\.VERSION)"
    # the answer stands behind a sign in the same line, or alone in the next one
    rf"(?:[`'\")]{{0,3}}\s{{0,3}}(?:=(?!=)|:|->|is\b|为|是)\s{{0,3}}|[^\n=<>!]{{0,100}}\n[ ]{{0,4}}){_NUMBER}"
)
_ONE_LINE = re.compile(rf"print\((\w{{2,12}})\.__version__\)[\"']?\s{{1,3}}{_NUMBER}")
_NARROW = re.compile(
    r"maxsize ?> ?2 ?\*\* ?32\)?\s{0,3}[\"']?\s{0,3}(?:#\s{0,3}|->\s{0,3}|\n\s{0,3})?False"
    r"|calcsize\(\s?['\"]P['\"]\s?\)(?: ?\* ?8)?\)?[\"']?[^\n]{0,8}\n?\s{0,4}(?:32|4)\b"
    r"|architecture\(\)\)?[^\n]{0,10}\n?[^\n]{0,6}'32bit'"
    r"|\bcp\d{2,3}m?-win32\b|\bPython\d{2,3}-32\b|32[ -]?(?:bit|位)(?:版|版本)? (?:的 )?python|python[^\n]{0,12}32 ?位",
    re.IGNORECASE,
)
_FRAMEWORKS: dict[str, FrameworkName] = {"torch": "torch", "tf": "tensorflow", "tensorflow": "tensorflow", "jax": "jax"}
_PACKAGES = {"np": "numpy", "ort": "onnxruntime", "pl": "pytorch-lightning", "cp": "cupy", "cv2": "opencv-python"}
_KNOWN = ("numpy", "jaxlib", "torchvision", "torchaudio", "keras", "onnxruntime", "scipy", "triton", "vllm", "xformers")


def sniff(text: str) -> bool:
    """Tell whether something that an interpreter is asked for stands there."""
    return "__version__" in text or "version.VERSION" in text or "32" in text


def read(text: str) -> Snapshot:
    """Read the versions of modules, and whether the interpreter is one of 32 bits."""
    frameworks: dict[str, Framework] = {}
    packages: dict[str, Package] = {}
    asked = holding(text, "__version__", "version.VERSION", after=2)
    answers = (*_ANSWER.findall(asked), *_ONE_LINE.findall(asked))
    for module, version in answers:
        if module in _FRAMEWORKS:
            frameworks.setdefault(module, framework(_FRAMEWORKS[module], version.rstrip(".")))
        elif module in _PACKAGES or module in _KNOWN:
            name = _PACKAGES.get(module, module)
            packages.setdefault(name, package(name, version.rstrip(".")))
    bits = 32 if _NARROW.search(opening(text)) else None
    if not frameworks and not packages and bits is None:
        return Snapshot()
    return environment(ORIGIN, tuple(packages.values()), tuple(frameworks.values()), bits=bits)
