"""What the loader of Linux or Windows prints: libraries that are absent, symbols and versions that do not fit."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.version import major, minor
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.told import (
    Said,
    in_wsl,
    mentions,
    newer,
    on_windows,
    said,
    tensorflow_cuda,
    toolkit_versions,
    unseen,
)

TF_PIP = "https://www.tensorflow.org/install/pip"
TF_TESTED = "https://www.tensorflow.org/install/source#gpu"
ORT = "https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html"
LOADER = "https://man7.org/linux/man-pages/man8/ld.so.8.html"

_ABSENT = (
    r"[^\n]{0,60}(?:cannot open shared object|not found|no such file|could not "
    r"be (?:found|loaded)|is not found|cannot be loaded)"
)
_LIBRARY = r"(?:cudart|cublas|cublasLt|cufft|curand|cusolver|cusparse|nvrtc|cupti|nvToolsExt|nvJitLink|nccl|nvinfer)"
_MISSING = (
    rf"lib({_LIBRARY})\.so\.(\d+(?:\.\d+)?){_ABSENT}",
    (
        rf"(?i)(?:could not load|cannot load|unable to load|failed to load|can't find|"
        rf"cannot find|could not find)[^\n]{{0,60}}lib({_LIBRARY})\.so\.(\d+(?:\.\d+)?)"
    ),
    rf"(?i)\b({_LIBRARY})64_(\d{{1,3}})(?:_\d)?\.dll[^\n]{{0,40}}",
    r"(?i)lib(cudnn)\w*\.so\.(\d+)(?:\.\d+)*" + _ABSENT,
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
# What the number behind a library's name says of its CUDA: these follow the toolkit, the others count for themselves.
_FOLLOW = ("cudart", "cublas", "cublaslt", "nvrtc", "cupti", "nvjitlink")


@rule(
    "MSG402",
    "framework-cuda-mismatch",
    "error",
    needs=("problems",),
    supersedes=("MSG401", "MSG403", "MSG501", "MSG905", "MSG502", "MSG613"),
    sources=(TF_TESTED, ORT),
)
def other_cuda(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The framework was built for another CUDA or cuDNN than the one that is installed.

    A library's name carries its major version, for CUDA before 11 the minor one too: libcudart.so.10.1 comes with
    CUDA 10.1 and with no other. A program that is linked to it does not take another.

    Check: the table of tested builds, and `ls /usr/local/cuda/lib64/libcudart.so*`.
    Where the wanted version is installed, the loader does not look there; where none is, it is missing.
    """
    line = _other_needed(machine)
    if line is not None:
        yield _mismatch(line, "The program says itself which versions it needs.")
        return
    missing = said(machine, *_MISSING)
    if missing is None:
        yield from _tested(machine, facts)
        return
    library, wanted = _wanted(missing)
    have = _installed(machine, library)
    if not wanted or not have or any(_serves(version, wanted) for version in have):
        return
    yield _mismatch(
        missing,
        (
            f"The program wants {'cuDNN' if library == 'cudnn' else 'CUDA'} {wanted}; "
            f"the report shows {', '.join(dict.fromkeys(have))}."
        ),
    )


def _tested(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Compare the toolkit of a report with the one TensorFlow was built with, where it uses no GPU."""
    python = machine.python
    tensorflow = python.framework("tensorflow") if python else None
    wanted = (
        (tensorflow.cuda or tensorflow_cuda(facts, tensorflow.version))
        if tensorflow and tensorflow.gpu_build is not False
        else None
    )
    have = toolkit_versions(machine)
    line = unseen(machine) if wanted and have else None
    if not line or not wanted or any(_serves(version, wanted) for version in have):
        return
    if on_windows(machine) and tensorflow and newer(tensorflow.version, "2.11"):
        return
    assert tensorflow
    found_line = _mismatch(
        line,
        (
            f"TensorFlow {tensorflow.version} is built for CUDA {wanted}; the report shows "
            f"{', '.join(dict.fromkeys(have))}."
        ),
    )
    yield found_line._replace(certainty="likely")


def _mismatch(line: Said, detail: str) -> Found:
    return found(
        "The program was built for another CUDA or cuDNN than the installed one",
        f"{detail} The major version must be the same.",
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=(
                    "Install the build of the program for the CUDA that is there (onnxruntime-gpu "
                    "and others have one index for each CUDA)."
                ),
                effect="changes-env",
                page=ORT,
            ),
            Fix(
                summary="Or install the CUDA and cuDNN that its table of tested builds names.",
                effect="changes-env",
                page=TF_TESTED,
            ),
        ),
    )


def _other_needed(machine: Snapshot) -> Said | None:
    return said(
        machine,
        r"(?i)require cuDNN \d+\.\* and CUDA \d+\.\*",
        (
            r"(?i)The installed Paddle is compiled with CUDA ?[\d.]+,? but CUDA[^\n]{0,30}(?:in "
            r"your machine|version) is [\d.]+"
        ),
        r"(?i)(?:cudnn|cuda) (?:major )?version mismatch[^\n]{0,80}",
    )


def _wanted(missing: Said) -> tuple[str, str]:
    groups = [group for group in missing.words.groups() if group]
    library, number = groups[0].lower(), groups[1]
    if library == "cudnn":
        return library, number
    if ".dll" in missing.words[0] and len(number) == 3:
        number = f"{number[:2]}.{number[2]}"
    return library, number if library in _FOLLOW else ""


def _installed(machine: Snapshot, library: str) -> list[str]:
    if library == "cudnn":
        found_words = said(
            machine,
            r"(?i)\bcudnn(?:[ _-]?(?:version|版本))?[ :=v`*-]{1,5}(\d+\.\d+(?:\.\d+)?)",
            r"(?i)cudnn(\d)[-_ ]cuda",
            r"(?i)cudnn ?v?(\d)(?![\d.])",
        )
        return [found_words.group(1)] if found_words else []
    return list(toolkit_versions(machine))


def _serves(have: str, wanted: str) -> bool:
    if "." in wanted and major(wanted) < 11 and "." in have:
        return minor(have) == minor(wanted)
    return major(have) == major(wanted)


@rule(
    "MSG403",
    "cuda-libraries-not-on-path",
    "error",
    certainty="likely",
    needs=("problems",),
    supersedes=("MSG401", "MSG501", "MSG905", "MSG613"),
    sources=(LOADER, TF_PIP),
)
def not_on_path(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The right CUDA libraries are installed, and the loader does not look where they lie.

    conda keeps them in the environment's lib folder, a toolkit in /usr/local/cuda/lib64, pip in
    site-packages/nvidia/*/lib. A program without a path of its own to them needs LD_LIBRARY_PATH or an entry in
    /etc/ld.so.conf.d; on Windows the bin folder has to be on PATH.

    Check: `ldconfig -p | grep libcudart`, and the program with LD_LIBRARY_PATH set.
    """
    if in_wsl(machine) and said(machine, r"libcuda\.so") and not said(machine, *_MISSING):
        return
    helped = said(
        machine, r"LD_LIBRARY_PATH=\S*[^\n]*\n[^\n]*(?:physical_device:GPU|device_type='GPU'|True|CudaDevice|cuda:0)"
    )
    failed = said(machine, r"(?m)^\[\]$|^False$|Cannot dlopen some GPU libraries|Could not find cuda drivers")
    if helped and failed:
        yield _off_path(helped)
        return
    missing = said(machine, *_MISSING)
    if missing is None:
        return
    library, wanted = _wanted(missing)
    python = machine.python
    by_pip = python and next(
        (
            p
            for p in python.packages
            if p.name.startswith(f"nvidia-{library.replace('cudart', 'cuda-runtime')}-cu")
            and (library != "cudnn" or p.version.split(".")[0] == wanted)
        ),
        None,
    )
    by_conda = python and python.package("cudnn" if library == "cudnn" else "cudatoolkit")
    have = _installed(machine, library)
    lies = (
        said(
            machine,
            (
                rf"(?i)(?:/usr/local/cuda|/usr/lib|/opt|/home|~|site-packages|envs|[A-Z]:\\)"
                rf"[^\n]{{0,100}}lib{library}\.so\.{wanted.split('.')[0] if wanted else ''}"
            ),
        )
        if wanted
        else None
    )
    if (
        (wanted and any(_serves(version, wanted) for version in have))
        or by_pip
        or (by_conda and wanted and _serves(by_conda.version, wanted))
        or lies
    ):
        yield _off_path(missing)


def _off_path(line: Said) -> Found:
    return found(
        "The CUDA libraries are installed, but the loader does not look where they lie",
        "The version that the program wants is there.",
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=(
                    "Add their folder to LD_LIBRARY_PATH ($CONDA_PREFIX/lib for conda, /usr/local/cuda/lib64 "
                    "for a toolkit; on Windows the bin folder to PATH)."
                ),
                page=TF_PIP,
            ),
        ),
    )


@rule(
    "MSG401",
    "cuda-libraries-missing",
    "error",
    needs=("problems",),
    supersedes=("MSG905", "MSG501"),
    sources=(TF_PIP, ORT),
)
def libraries_missing(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A program needs libraries of CUDA or cuDNN that are not installed.

    The driver brings libcuda alone. libcudart, libcublas, libcudnn and their like come with a toolkit, with conda, or
    as wheels called nvidia-*; TensorFlow's wheel takes them only with the extra [and-cuda].

    Check: `ldconfig -p | grep -E 'libcudart|libcudnn'` and `pip list | grep nvidia`.
    """
    line = said(
        machine,
        *_MISSING,
        r"(?i)Cannot dlopen some GPU libraries",
        r"(?i)Unable to load (?:cuDNN|cuBLAS|cuFFT|cuSOLVER|cuSPARSE|CUPTI|NVRTC|cuda)[\w ]{0,20}\. ?Is it installed",
        r"(?i)Library (?:libcublas|libcudnn|cublas|cudnn)\S{0,20} is not found or cannot be loaded",
        r"(?i)lib(?:" + _LIBRARY[3:-1] + r"|cudnn)\w*\.so(?:\.\d+)*" + _ABSENT,
    )
    drivers = (
        said(machine, r"Could not find cuda drivers on your machine") if line is None and not in_wsl(machine) else None
    )
    tensorflow = machine.python.framework("tensorflow") if machine.python else None
    line = line or drivers
    if line is None:
        return
    if (
        tensorflow
        and tensorflow.version.startswith("2.16")
        and (said(machine, r"Cannot dlopen some GPU libraries") or drivers)
        and mentions(machine, r"and-cuda|nvidia-cudnn|nvidia-cuda")
    ):
        yield found(
            f"TensorFlow {tensorflow.version} does not find the CUDA libraries of its own extra",
            "The wheels are installed; that release does not look into their folders.",
            evidence=(line.evidence, "pythons[0].frameworks.tensorflow.version"),
            slug="known-broken-release",
            certainty="likely",
            fixes=(
                Fix(
                    summary=(
                        "Install TensorFlow 2.17 or newer with [and-cuda], or name the folders nvidia/*/lib "
                        "in LD_LIBRARY_PATH."
                    ),
                    effect="changes-env",
                    page=TF_PIP,
                ),
            ),
        )
        return
    yield found(
        "Libraries of CUDA or cuDNN that the program needs are not installed",
        "The NVIDIA driver does not bring them."
        + (" TensorFlow's wheel takes them along with the extra [and-cuda]." if tensorflow else ""),
        evidence=(line.evidence,),
        certainty="likely" if drivers else None,
        fixes=(
            Fix(
                summary=(
                    "Install them as the program's page says, in the major version that the message "
                    "names: for TensorFlow tensorflow[and-cuda]."
                ),
                effect="changes-env",
                page=TF_PIP,
            ),
        ),
    )
