"""What people write in their own words, English or Chinese: "RTX 3090, Ubuntu 20.04, torch 1.7.1"."""

from __future__ import annotations

import re

from envdoctor.model.snapshot import Driver, Framework, Snapshot, System, Toolkit
from envdoctor.readers import names
from envdoctor.readers.joining import joined
from envdoctor.readers.lines import opening
from envdoctor.readers.software import FrameworkName, environment, framework, package

ORIGIN = "report: its words"
_IS = (
    r"(?:[ _-]?(?:version|版本|ver\.?|is|v))?[`'\"*]{0,3}(?: ?(?:[:：=]|==|is|为|是)){0,2}[ `'\"*]{0,4}(?:version |v)?"
)
_TORCH = re.compile(rf"(?i)(?<![\w./-])(?:py)?torch{_IS}(\d\.\d{{1,2}}(?:\.\d{{1,2}})?(?:[\w.]{{0,20}}\+?\w{{0,12}}))")
_TAG_APART = re.compile(r"(?i)[`'\"]{0,2}[ ,(_-]{1,3}(cu\d{2,3}|cpu)\b(?! time)")
_BUILT = re.compile(r"torch\.version\.cuda\)?['\"`]{0,2}(?: ?[:=>]{1,2} ?| is | |\n)['\"`]{0,2}(\d{1,2}\.\d)(?![\d.])")
# Only torch's versions have such a tag; its companions' are told apart by their name before it.
_TAGGED = re.compile(
    r"(?i)(?<![\w.+-])(?<!vision )(?<!audio )(?<!vision==)(?<!audio==)(?<!vision-)(?<!audio-)"
    r"(?:torch-)?([12]\.\d{1,2}\.\d\+(?:cpu|cu\d{2,3}|rocm[\d.]{1,5}))(?![\w.])"
)
_TENSORFLOW = re.compile(
    rf"(?i)(?<![\w./-])(?:tensorflow|tf)(?:[ -]gpu)?{_IS}(\d\.\d{{1,2}}(?:\.\d{{1,2}})?(?:[\w.+]{{0,20}}))"
)
_JAX = re.compile(r"(?i)(?<![\w./-])jax(?:lib)?(?:==|[ :=v]{1,4})(\d\.\d{1,2}(?:\.\d{1,2})?(?:[\w.+]{0,20}))")
_CUDA = re.compile(
    rf"(?i)(?<![\w./-])cuda(?: ?(?:toolkit|runtime|/cudnn|tool ?kit))?{_IS}"
    r"(\d{1,2}\.\d{1,2}|(?<=[ _-])(?:[89]|1[0-3]))(?![\d.]*\.\d+\.\d+)(?![\w%-])"
)
# Packages whose release decides something; a version right behind the name.
_PACKAGE = re.compile(
    r"(?<![\w./-])(jaxlib|onnx ?runtime(?:[ .-]gpu)?|numpy|torchvision|torchaudio|xformers|flash[_-]attn|vllm|keras"
    r"|protobuf|tensorflow-(?:gpu|cpu|intel)|paddlepaddle(?:-gpu)?|cupy-cuda\w{3,4}|nvidia-[a-z]{3,20}-cu1\d"
    r"|ctranslate2|transformers|triton)"
    r"(?:==| version:? |[ :=v]{1,3})(\d{1,4}\.\d[\w.+]{0,30})",
    re.IGNORECASE,
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
# A prompt or a path of Windows, its wheels and its way to say that a library is missing.
_WINDOWS_PATHS = re.compile(
    r"(?m)^\s{0,4}(?:PS )?[A-Za-z]:\\[^\n>]{0,100}> ?"
    r"|(?<![\w/])[A-Za-z]:\\(?:Users|Program|Windows|Python|Anaconda)"
    r"|\[WinError \d|win_amd64\.whl|(?:cudart|cublas|cudnn)64_\d{1,3}\.dll",
    re.IGNORECASE,
)
_WINDOWS_NAME = re.compile(r"\bWindows\b(?! Subsystem)")
_ARM = re.compile(r"(?<![\w-])(?:aarch64|arm64)(?![\w-])|_aarch64\b")


def sniff(text: str) -> bool:
    """Say yes: any text may hold such words."""
    return bool(text)


def read(text: str) -> Snapshot:
    """Read system, versions and cards from the beginning and the end of the text; first mentions count."""
    short = [line for line in opening(text).split("\n") if len(line) < 600]
    told, apart = "\n".join(short), "\n".join(line for line in short if not _banner(line))
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
    cuda = next((each for each in _CUDA.finditer(apart) if not _wanted(apart, each.start())), None)
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
    if system is None and not jetson and (_WINDOWS_PATHS.search(text) or _WINDOWS_NAME.search(text)):
        system = System(os="windows", machine="AMD64")
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
        wanted = [
            match for match in pattern.finditer(text) if not _asked(text, match.start()) and not _left(text, match)
        ]
        if wanted and name == "torch":
            found.append(_torch(text, wanted[0]))
        elif wanted:
            found.append(framework(name, wanted[0][1].rstrip(".")))
        elif name == "torch" and (tagged := _TAGGED.search(text)) and not _asked(text, tagged.start()):
            found.append(framework(name, tagged[1]))
    python = _PYTHON.search(text)
    packages = {
        known: package(known, each[2].rstrip("."))
        for each in reversed([*_PACKAGE.finditer(text)])
        if not _asked(text, each.start()) and (known := _distribution(each[1]))
    }
    if not found and not python and not packages:
        return None
    return environment(ORIGIN, tuple(packages.values()), tuple(found), python[1] if python else None)


def _distribution(name: str) -> str:
    """Give a package's name as its index has it: "ONNX Runtime GPU", "OnnxRuntime.Gpu"."""
    return re.sub(r"[ .]gpu$", "-gpu", name.lower()).replace("onnx runtime", "onnxruntime")


def _torch(text: str, told: re.Match[str]) -> Framework:
    """Give torch with its CUDA, where a tag stands apart from the version, or the build is told of elsewhere."""
    version = told[1].rstrip(".")
    tag = _TAG_APART.match(text, told.end())
    if tag and "+" not in version:
        version = f"{version}+{tag[1].lower()}"
    built = _BUILT.search(text)
    return framework("torch", version, built[1] if built else None)


def _left(text: str, version: re.Match[str]) -> bool:
    """Tell whether that release was replaced: "after upgrading from TF 2.10 to 2.12"."""
    before = text[max(0, version.start() - 6) : version.start()].lower()
    return before.endswith("from ") and text[version.end() : version.end() + 4] == " to "


def _wanted(text: str, at: int) -> bool:
    """Tell whether a message names that CUDA as what it needs or was made for."""
    line = text[text.rfind("\n", 0, at) + 1 : at].lower()
    words = ("requires", "download and install", "compiled with", "built with", "built for")
    return any(word in line for word in words)


def _asked(text: str, at: int) -> bool:
    """Tell whether a command or an error asks for that version, so that it need not be there."""
    line = text[text.rfind("\n", 0, at) + 1 : at].lower()
    return any(
        word in line for word in ("requirement", "install ", "no matching", "built for", "requires", "compiled against")
    )
