"""What a report's lines say: found by the words that software prints, with the line as evidence."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

import msgspec

from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.targets import capability_of
from envdoctor.model.snapshot import Problem, Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import at_least, minor, readable


class Said(NamedTuple):
    """A message that was found: its words, what the pattern caught, and the line it begins in."""

    words: re.Match[str]
    evidence: str  # path of the line in the Snapshot

    def group(self, group: int) -> str:
        """Give what a group of the pattern caught; empty where it caught nothing."""
        return self.words[group] or ""


# Rules ask several hundred times for the lines of one report; those of the last one are kept as a text, and in small
# letters.
_text: tuple[tuple[Problem, ...], str, str] = ((), "", "")

# re keeps 512 patterns; the rules have more, and would compile each of them for every report.
_compiled = cache(re.compile)

# Signs that a pattern takes for a letter in whatever case, and that `lower` does not make that letter.
_LIKE_LETTERS = (("\u0130", "i"), ("\u0131", "i"), ("\u017f", "s"))


@cache
def _words() -> dict[str, tuple[str, ...]]:
    """Give for each pattern the words of which a report must hold one; written by tools/refresh_words.py."""
    with open(f"{__file__.rpartition('told')[0]}words.json", "rb") as file:
        return msgspec.json.decode(file.read(), type=dict[str, tuple[str, ...]])


def possible(pattern: str, low: str) -> bool:
    """Tell whether a pattern could match a text, given in small letters: looked at before it is compiled."""
    words = _words().get(pattern)
    return words is None or any(word in low for word in words)


def said(machine: Snapshot, *patterns: str) -> Said | None:
    """Find the first of the patterns that matches anywhere in the report, lines being joined by line feeds."""
    text, low = _texts(machine)
    for pattern in patterns:
        found = _compiled(pattern).search(text) if possible(pattern, low) else None
        if found:
            return Said(found, f"problems[{text.count(chr(10), 0, found.start())}].text")
    return None


def everything(machine: Snapshot) -> str:
    """Give all lines of the report as one text."""
    return _texts(machine)[0]


def _texts(machine: Snapshot) -> tuple[str, str]:
    """Give the lines of the report as they are, and in small letters."""
    global _text
    if _text[0] is not machine.problems:
        text = "\n".join(problem.text for problem in machine.problems)
        _text = (machine.problems, text, in_small_letters(text))
    return _text[1], _text[2]


def in_small_letters(text: str) -> str:
    """Give a text in small letters, with all signs that patterns take for a letter."""
    if not text.isascii():
        for sign, letter in _LIKE_LETTERS:
            text = text.replace(sign, letter)
    return text.lower()


def mentions(machine: Snapshot, *patterns: str) -> bool:
    """Tell whether a report speaks of something, in whatever case its words are written."""
    text, low = _texts(machine)
    return any(possible(pattern, low) and _compiled(pattern, re.IGNORECASE).search(text) for pattern in patterns)


def in_wsl(machine: Snapshot) -> bool:
    """Tell whether the report is about WSL."""
    return machine.wsl is not None


def on_windows(machine: Snapshot) -> bool:
    """Tell whether the report is about Windows itself."""
    return machine.system is not None and machine.system.os == "windows" and machine.wsl is None


def in_container(machine: Snapshot) -> bool:
    """Tell whether a container is spoken of."""
    told = machine.system is not None and machine.system.container is not None
    return told or mentions(
        machine, r"\bdocker\b|\bpodman\b|\bcontainers?\b|kubernetes|\bk8s\b|containerd|enroot|singularity|apptainer"
    )


def on_macos(machine: Snapshot) -> bool:
    """Tell whether the report is about a Mac, where no CUDA runs."""
    return machine.system is not None and machine.system.os == "macos"


def old_processor(machine: Snapshot) -> bool:
    """Tell whether a report shows a processor without AVX: by its flags, or by a name from before 2011.

    Intel's first Core with AVX is the second generation (i5-2400, Xeon E3 and E5-2600), AMD's the FX; Pentium and
    Celeron have had none until 2020, and the plain models of QEMU have none at all.
    """
    flags = machine.cpu.features if machine.cpu else None
    if flags is not None:
        return "avx" not in flags
    return mentions(
        machine,
        r"core(?:\(tm\))? ?2\b|\b(?:pentium|celeron|atom|phenom|athlon|opteron)\b|\bi[357][- ]\d{3}[a-z]{0,2}\b",
        r"xeon[^\n]{0,12}\b[xelw][35]\d{3}\b|\b(?:kvm64|qemu64)\b|\bno avx\b|without avx|not support avx|无 ?avx",
    )


def gpu_expected(machine: Snapshot) -> bool:
    """Tell whether a report names an NVIDIA card or shows its driver, so that a GPU could be used."""
    return bool(machine.nvidia_gpus) or machine.driver is not None


def on_jetson(machine: Snapshot) -> bool:
    """Tell whether the report is about a Jetson."""
    return machine.system is not None and machine.system.jetson is not None


def driver_answers(machine: Snapshot) -> bool:
    """Tell whether the report shows a driver at work: nvidia-smi printed its table."""
    return machine.driver is not None and machine.driver.module_loaded


def capability(machine: Snapshot, facts: Knowledge) -> str | None:
    """Give the compute capability that the messages or the cards of a report tell; the newest one of several."""
    found = said(
        machine,
        (
            r"(?i)(?<!require )(?<!requires )(?<!requiring )(?<!minimum )(?<!needs )compute ?capability:? ?"
            r"(?:of |is |version )?(?:sm_)?(\d{1,2}\.\d)\b(?! ?(?:\+|or|and (?:above|higher|newer|up)|及?以上))"
        ),
        r"CUDA capability sm_(\d{2,3})\b",
        r"(?i)target GPU SM (\d{2,3})\b",
        r"(?i)\bcc ?(\d{1,2}\.\d)\b",
    )
    if found:
        digits = found.group(1)
        return digits if "." in digits else f"{digits[:-1]}.{digits[-1]}"
    known = capabilities(machine, facts)
    return known[0] if known else None


def capabilities(machine: Snapshot, facts: Knowledge) -> list[str]:
    """Give the compute capabilities of the NVIDIA cards of a report, in their order."""
    return [own for gpu in machine.gpus if gpu.vendor == "nvidia" and (own := capability_of(gpu, facts))]


def cards_named(machine: Snapshot) -> str:
    """Name the first card of a report, or say "the GPU"."""
    return next((say("the {name}", name=gpu.name) for gpu in machine.gpus if gpu.name), say("the GPU"))


def toolkit_versions(machine: Snapshot) -> tuple[str, ...]:
    """Give the CUDA versions that a report says are installed, its conda packages among them."""
    versions = [kit.version for kit in machine.toolkits if readable(kit.version)]
    python = machine.python
    if python:
        names = ("cudatoolkit", "cuda-toolkit", "cuda-runtime", "nvidia-cuda-runtime-cu11", "nvidia-cuda-runtime-cu12")
        versions += [p.version for name in names if (p := python.package(name)) and readable(p.version)]
    return tuple(version for version in versions if version)


def newer(version: str | None, floor: str) -> bool:
    """Tell whether a version is known and at least that."""
    return version is not None and readable(version) is not None and at_least(version, floor)


# TensorFlow's table of tested builds, for the releases before those of the knowledge tables: first release, its CUDA
# (https://www.tensorflow.org/install/source#gpu).
_TENSORFLOW_CUDA = (("2.1", "10.1"), ("1.13", "10.0"), ("1.5", "9.0"), ("1.0", "8.0"))


def tensorflow_cuda(facts: Knowledge, version: str) -> str | None:
    """Give the CUDA that a TensorFlow release was built with; None: not known."""
    if readable(version) is None:
        return None
    wanted = ".".join(version.split(".")[:2])
    row = next((row for row in facts.tensorflow_releases if row.version.startswith(f"{wanted}.")), None)
    if row:
        return row.cuda
    return next(
        (cuda for first, cuda in _TENSORFLOW_CUDA if not at_least(version, "2.3") and at_least(version, first)), None
    )


def built_for(machine: Snapshot, facts: Knowledge) -> str | None:
    """Give the CUDA that the framework of a report was built with; else that of the toolkit it names; None: neither.

    A torch without a tag is taken for the plain wheel of its release.
    """
    python = machine.python
    for each in python.frameworks if python else ():
        if each.cuda and readable(each.cuda):
            return minor(each.cuda)
        if each.gpu_build is False:
            continue
        release = facts.torch(each.version) if each.name == "torch" else None
        plain = release.variant(release.default_linux) if release and release.default_linux else None
        inside = tensorflow_cuda(facts, each.version) if each.name == "tensorflow" else None
        if inside:
            return inside
        kits = toolkit_versions(machine)
        if plain and plain.cuda and not any(minor(kit) == plain.cuda for kit in kits):
            named = (
                next((v.cuda for v in release.variants if v.cuda and v.cuda in [minor(k) for k in kits]), None)
                if release
                else None
            )
            return named or plain.cuda
    jaxlib = python.package("jaxlib") if python else None
    tag = re.search(r"\+cuda(\d\d)(\d)", jaxlib.version) if jaxlib else None
    if tag:
        return f"{tag[1]}.{tag[2]}"
    versions = toolkit_versions(machine)
    return minor(versions[0]) if versions else None


# What CUDA's error 100 (38 before CUDA 10.1), and those who pass it on, print.
NO_DEVICE = (
    r"(?i)no CUDA-capable device is detected|CUDA_ERROR_NO_DEVICE|cudaErrorNoDevice|"
    r"no CUDA GPUs are available|No CUDA devices? (?:found|available|detected)"
    r"|No visible GPU devices|no NVIDIA GPU|CUDA error:? 38\b|error=38 |you might not have a CUDA gpu"
)

# What people and programs write when the GPU is there and not used.
UNSEEN = (
    (
        r"(?i)is_available\(\)[^\n]{0,40}\n?[^\n]{0,12}\bFalse\b|Is CUDA available: (?:False|No)"
        r"|PyTorch version \(GPU\?\): \S{1,40} \(False\)"
    ),
    r"(?i)list_physical_devices\([^\n]{0,30}\n?[^\n]{0,6}\[\]|is_gpu_available[^\n]{0,20}\n?[^\n]{0,4}False",
    (
        r"(?i)(?:gpu|cuda|显卡)[^\n]{0,60}(?:not (?:available|found|detected|used|recogni[sz]ed|visible|working"
        r"|accessible|usable|enabled|present)|not being used"
        r"|unavailable|no gpu|isn'?t|doesn'?t|not see|cannot|can'?t|未检测|找不到|无法|不可用|: ?\[\])"
    ),
    (
        r"(?i)\b(?:not|\w{2,5}n'?t|cannot|unable to|fail(?:s|ed) to|never)\b (?:\w+ ){0,3}?(?:us(?:e|ing)|see(?:ing)?"
        r"|detect\w*|find(?:ing)?|found|recogni[sz]\w*|run(?:ning)? on|utili[sz]\w*|access\w*|show\w*|list\w*"
        r"|initiali[sz]\w*|support\w*|work\w* (?:on|with)|return\w*|move\w* to)\b[^\n]{0,30}\b(?:gpus?|cuda)\b"
    ),
    (
        r"(?i)\b(?:no|without(?: an?| any)?) (?:(?:usable|compatible|supported|visible|available|physical|nvidia"
        r"|cuda(?:[- ]capable)?|valid|such) ){0,3}(?:gpus?|cuda)\b"
        r"(?! (?:problem|error|issue|question|memory|knowledge))"
    ),
    (
        r"(?i)falling back to cpu|only (?:sees?|uses?|detects?|shows?|lists?) (?:the )?cpu"
        r"|(?:runs?|running|trains?) on (?:the )?cpu"
    ),
    r"device_type='CPU'\)\]|device_type: ?\"(?:XLA_)?CPU\"|\[CpuDevice\(id=0\)\]|TFRT_CPU_0",
    (
        r"(?i)\b(?:gpu|cuda)\b (?:is |device is )?(?:required|needed)\b|No CUDA runtime is found"
        r"|Failed to infer device type"
    ),
    r"(?i)num(?:ber of)? gpus?(?: available)?:?\D{0,12}\b0\b|device_count\(\)[^\n]{0,12}\n?[^\n]{0,4}\b0\b",
    r"gpu_device_name\(\)\)?[^\n]{0,6}\n?\s{0,3}(?:''|\"\")",
)
# An answer without its question; it says something where the report asks for devices at all.
_ANSWER = r"(?m)^\[\]$|^False$|^[\d.]+ \[\]$"
_QUESTION = r"devices?\b|is_available|is_gpu|gpu_available|cuda_is|\bgpus\b"
# The same question answered by a device.
_SEEN = (
    r"device_type='GPU'|device_type: ?\"GPU\"|/physical_device:GPU:0|Is CUDA available: (?:True|Yes)"
    r"|CudaDevice\(id=0\)|cuda\(id=0\)"
    r"|is_available\(\)[^\n]{0,20}\n?[^\n]{0,6}True"
)


def unseen(machine: Snapshot) -> Said | None:
    """Find the line that says the GPU is not used; None also where another line shows it at work."""
    if said(machine, _SEEN):
        return None
    return said(machine, *UNSEEN) or (said(machine, _ANSWER) if mentions(machine, _QUESTION) else None)


def starts_slowly(machine: Snapshot) -> bool:
    """Tell whether the report says that the first start, or the first use of the GPU, takes minutes."""
    return mentions(
        machine,
        r"(?:first|start|session|import|initiali[sz]|\.cuda\(\)|\.to\()[^\n]{0,120}"
        r"(?:(?:\d+|one|two|three|five|ten|several|few|some) ?min|very slow|takes? (?:so |very |a )?long|forever|分钟)",
        r"(?:第一次|首次|初次)[^\n]{0,60}(?:分钟|很慢|很久)",
        r"\b(?:\d+|one|two|three|five|ten|several|few|some) ?min(?:utes?)?\b[^\n]{0,60}"
        r"(?:the first|on first|first (?:call|run|time|use))",
    )


def slow_once(machine: Snapshot) -> bool:
    """Tell whether it also says that it works afterwards."""
    return starts_slowly(machine) and mentions(
        machine,
        r"(?:after(?:wards| that)?|then|later|second|subsequent|next)\b[^\n]{0,60}"
        r"\b(?:fast|fine|normal|works?|quick|instant)",
        r"(?:之后|以后|然后|第二次|后面)[^\n]{0,24}(?:快|正常|没问题)",
    )
