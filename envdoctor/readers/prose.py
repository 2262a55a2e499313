"""What people write in their own words, English or Chinese: "RTX 3090, Ubuntu 20.04, torch 1.7.1"."""

from __future__ import annotations

import re

from envdoctor.model.snapshot import Driver, Framework, Snapshot, System, Toolkit
from envdoctor.readers import names
from envdoctor.readers.joining import joined
from envdoctor.readers.lines import opening
from envdoctor.readers.software import FrameworkName, environment, framework

ORIGIN = "report: its words"
_IS = r"(?:[ _-]?(?:version|版本|ver\.?|is|v))?[`'\"*]{0,3}(?: ?(?:[:：=]|==|is|为|是)){0,2}[ `'\"*]{0,4}v?"
_TORCH = re.compile(rf"(?i)(?<![\w./-])(?:py)?torch{_IS}(\d\.\d{{1,2}}(?:\.\d{{1,2}})?(?:[\w.]{{0,20}}\+?\w{{0,12}}))")
_TENSORFLOW = re.compile(
    rf"(?i)(?<![\w./-])(?:tensorflow|tf)(?:[ -]gpu)?{_IS}(\d\.\d{{1,2}}(?:\.\d{{1,2}})?(?:[\w.+]{{0,20}}))"
)
_JAX = re.compile(r"(?i)(?<![\w./-])jax(?:lib)?(?:==|[ :=v]{1,4})(\d\.\d{1,2}(?:\.\d{1,2})?(?:[\w.+]{0,20}))")
_CUDA = re.compile(
    rf"(?i)(?<![\w./-])cuda(?: ?(?:toolkit|runtime|/cudnn|tool ?kit))?{_IS}"
    r"(\d{1,2}\.\d{1,2}|(?<=[ _-])(?:[89]|1[0-3]))(?![\d.]*\.\d+\.\d+)(?![\w%-])"
)
_DRIVER = re.compile(
    r"(?i)(?:driver|驱动)(?: ?version| ?版本|程序)?s?[`*]{0,2}(?: ?[:：=]| is| 为)?[ `*(]{0,4}(?:nvidia[ "
    r"-]|v)?(\d{3}\.\d{1,3}(?:\.\d{1,2})?)(?![\d.])|nvidia-driver-(\d{3})\b"
)
_OFFERED = re.compile(r"(?i)nvidia-smi[^\n]{0,60}cuda(?: version)?[: ]{1,3}(\d{1,2}\.\d)")
_PYTHON = re.compile(rf"(?i)(?<![\w./-])python{_IS}(\d\.\d{{1,2}}(?:\.\d{{1,2}})?)(?![\w.]*/)")
_JETSON = re.compile(
    r"(?i)\bjetson(?: (?:agx |xavier |orin )?(?:nano|tx1|tx2|nx|orin|xavier|thor))?|\bjetpack\b|\bl4t\b"
)
_ARM = re.compile(r"(?<![\w-])(?:aarch64|arm64)(?![\w-])|_aarch64\b")


def sniff(text: str) -> bool:
    """Say yes: any text may hold such words."""
    return bool(text)


def read(text: str) -> Snapshot:
    """Read system, versions and cards from the beginning and the end of the text; first mentions count."""
    told = "\n".join(line for line in opening(text).split("\n") if len(line) < 600 and not _banner(line))
    parts = [_system(told), _software(told)]
    driver = _DRIVER.search(told)
    if driver:
        parts.append(Snapshot(driver=Driver(version=driver[1] or driver[2]), origins={"driver": ORIGIN}))
    offered = _OFFERED.search(told)
    if offered:
        parts.append(Snapshot(driver=Driver(cuda=offered[1]), origins={"driver.cuda": ORIGIN}))
    cards = names.cards_in(told)
    if cards:
        parts.append(Snapshot(gpus=names.gpus_of(cards), origins={"gpus": ORIGIN}))
    cuda = _CUDA.search(told)
    if cuda:
        kit = Toolkit(path="", version=cuda[1], found_by=("report",))
        parts.append(Snapshot(toolkits=(kit,), origins={"toolkits": ORIGIN}))
    return joined([part for part in parts if part is not None])


def _banner(line: str) -> bool:
    """Tell whether a line is nvidia-smi's, whose "CUDA Version" is the driver's and not that of a toolkit."""
    return "NVIDIA-SMI" in line or "CUDA Version  " in line or "UMD Version" in line


def _system(text: str) -> Snapshot | None:
    from msgspec.structs import replace

    system = names.system_named(text)
    jetson, arm = _JETSON.search(text), _ARM.search(text)
    if jetson:
        system = replace(system or System(os="linux"), jetson=jetson[0], machine="aarch64")
    elif arm:
        system = replace(system or System(os="linux"), machine="aarch64")
    return Snapshot(system=system, origins={"system": ORIGIN}) if system else None


def _software(text: str) -> Snapshot | None:
    found: list[Framework] = []
    kinds: tuple[tuple[FrameworkName, re.Pattern[str]], ...] = (
        ("torch", _TORCH),
        ("tensorflow", _TENSORFLOW),
        ("jax", _JAX),
    )
    for name, pattern in kinds:
        wanted = [match for match in pattern.finditer(text) if not _asked(text, match.start())]
        if wanted:
            found.append(framework(name, wanted[0][1].rstrip(".")))
    python = _PYTHON.search(text)
    if not found and not python:
        return None
    return environment(ORIGIN, frameworks=tuple(found), version=python[1] if python else None)


def _asked(text: str, at: int) -> bool:
    """Tell whether a command or an error asks for that version, so that it need not be there."""
    line = text[text.rfind("\n", 0, at) + 1 : at].lower()
    return any(
        word in line for word in ("requirement", "install ", "no matching", "built for", "requires", "compiled against")
    )
