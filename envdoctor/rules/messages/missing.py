"""Libraries of CUDA and cuDNN that a report's loader does not find: how it says so, and which release is meant."""

from __future__ import annotations

from envdoctor.model.snapshot import Snapshot
from envdoctor.model.version import major, minor
from envdoctor.rules.told import Said, said, toolkit_versions

ABSENT = (
    r"[^\n]{0,60}(?:cannot open shared object|not found|no such file|could not "
    r"be (?:found|loaded)|is not found|cannot be loaded)"
)
LIBRARY = (
    r"(?:cudart|cublas|cublasLt|cufft|curand|cusolver|cusparse|cusparseLt"
    r"|cufile|nvrtc-builtins|nvrtc|cupti|nvToolsExt|nvJitLink|nccl|nvinfer|npp\w{1,4})"
)
MISSING = (
    rf"lib({LIBRARY})\.so\.(\d+(?:\.\d+)?){ABSENT}",
    (
        rf"(?i)(?:could not load|cannot load|unable to load|failed to load|can't find|"
        rf"cannot find|could not find)[^\n]{{0,60}}lib({LIBRARY})\.so\.(\d+(?:\.\d+)?)"
    ),
    rf"(?i)\b({LIBRARY})64_(\d{{1,3}})(?:_\d)?\.dll[^\n]{{0,40}}",
    r"(?i)could not (?:locate|load|find|open)[^\n]{0,80}\b(cudnn)\w*?64_(\d)\.dll",
    r"(?i)lib(cudnn)\w*\.so\.(\d+)(?:\.\d+)*" + ABSENT,
    (
        r"(?i)(?:could not load|unable to load|failed to load|cannot load|could not "
        r"find)[^\n]{0,60}lib(cudnn)\w*\.so\.(\d+)"
    ),
    r"(?i)unable to load any of \{lib(cudnn)\w*\.so\.(\d+)",
    (
        r"(?i)(cudnn)\w*64_(\d)\.dll[^\n]{0,40}(?:not found|could not|cannot|missing)"
        r"|(?:not|missing|load)[^\n]{0,40}(cudnn)64_(\d)\.dll"
    ),
)
# The same without a number: how Paddle opens a library, and what it says when that failed.
NAMELESS = (
    rf"(?i)third-party dynamic library \(lib(cudnn|{LIBRARY[3:-1]})\.so\)",
    rf"(?i)lib(cudnn|{LIBRARY[3:-1]})\.so(?!\.?\d){ABSENT}",
    r"(?i)Cannot load (cudnn|cublas|cufft|curand|cusolver|cusparse) shared library",
)
# The major versions of CUDA that come with a library of that number, where it counts for itself: as the wheels
# nvidia-cufft, -cusolver and -cusparse of CUDA 11, 12 and 13 have them.
MAJORS = {
    ("cufft", "10"): ("10", "11"),
    ("cufft", "11"): ("12",),
    ("cufft", "12"): ("13",),
    ("cusolver", "10"): ("10", "11"),
    ("cusolver", "11"): ("11", "12"),
    ("cusolver", "12"): ("13",),
    ("cusparse", "10"): ("10",),
    ("cusparse", "11"): ("11",),
    ("cusparse", "12"): ("12", "13"),
}
# These are numbered as their toolkit is.
_FOLLOW = ("cudart", "cublas", "cublaslt", "nvrtc", "cupti", "nvjitlink")


def number(missing: Said) -> str:
    """Give the number behind the library's name."""
    return [group for group in missing.words.groups() if group][1]


def wanted_by(missing: Said) -> tuple[str, str]:
    """Give the library in lower case, and the CUDA or cuDNN that its number stands for; empty: it tells neither."""
    library = next(group for group in missing.words.groups() if group).lower()
    digits = number(missing)
    if library == "cudnn":
        return library, digits
    if ".dll" in missing.words[0] and (len(digits) == 3 or digits in ("80", "90", "91", "92")):
        digits = f"{digits[:-1]}.{digits[-1]}"
    return library, digits if library in _FOLLOW else ""


def installed(machine: Snapshot, library: str) -> list[str]:
    """Give the releases of cuDNN, or of CUDA, that a report says are installed."""
    if library == "cudnn":
        found_words = said(
            machine,
            r"(?i)\bcudnn(?:[ _-]?(?:version|版本))?[ :=v`*-]{1,5}(\d+\.\d+(?:\.\d+)?)",
            r"(?i)cudnn(\d)[-_ ]cuda",
            r"(?i)cudnn ?v?(\d)(?![\d.])",
        )
        return [found_words.group(1)] if found_words else []
    return list(toolkit_versions(machine))


def serves(have: str, wanted: str) -> bool:
    """Tell whether an installed release serves a program that wants another one."""
    if "." in wanted and major(wanted) < 11 and "." in have:
        return minor(have) == minor(wanted)
    return major(have) == major(wanted)
