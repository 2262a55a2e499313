"""What the loader of Linux or Windows prints: libraries that are absent, symbols and versions that do not fit."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.messages.missing import ABSENT, LIBRARY, MISSING, NAMELESS, installed, serves, wanted_by
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.told import (
    Said,
    gpu_expected,
    in_wsl,
    mentions,
    on_windows,
    said,
    unseen,
)

TF_PIP = "https://www.tensorflow.org/install/pip"
TF_TESTED = "https://www.tensorflow.org/install/source#gpu"
ORT = "https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html"
LOADER = "https://man7.org/linux/man-pages/man8/ld.so.8.html"


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
    if in_wsl(machine) and said(machine, r"libcuda\.so") and not said(machine, *MISSING):
        return
    helped = said(
        machine, r"LD_LIBRARY_PATH=\S*[^\n]*\n[^\n]*(?:physical_device:GPU|device_type='GPU'|True|CudaDevice|cuda:0)"
    )
    failed = said(machine, r"(?m)^\[\]$|^False$|Cannot dlopen some GPU libraries|Could not find cuda drivers")
    nvcc = said(machine, r"(?m)^(?:/usr/local/cuda|/opt/cuda)[\w.-]{0,8}/bin/nvcc$")
    if nvcc and said(machine, r"(?i)command ['\"]?nvcc['\"]? not found|nvcc: (?:command )?not found|not found: nvcc"):
        yield _off_path(nvcc)
        return
    if helped and failed:
        yield _off_path(helped)
        return
    missing = said(machine, *MISSING)
    if missing is None:
        nameless = said(machine, *NAMELESS)
        if nameless and _is_there(machine, nameless.group(1).lower()):
            yield _off_path(nameless)
        return
    library, wanted = wanted_by(missing)
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
    have = installed(machine, library)
    lies = (
        said(
            machine,
            (
                rf"(?i)(?:/usr/local/cuda|/usr/lib|/opt|/home|~|site-packages|envs|[A-Z]:\\)"
                rf"[^\n]{{0,100}}lib{library}{'_?[a-z_]*' if library == 'cudnn' else ''}"
                rf""
                rf"\.so\.{wanted.split('.')[0] if wanted else ''}"
            ),
        )
        if wanted
        else None
    )
    if (
        (wanted and any(serves(version, wanted) for version in have))
        or by_pip
        or (by_conda and wanted and serves(by_conda.version, wanted))
        or lies
    ):
        yield _off_path(missing)


def _is_there(machine: Snapshot, library: str) -> bool:
    """Tell whether some release of a library is installed, by what the report says or by a list of files."""
    return bool(installed(machine, library)) or bool(
        said(machine, rf"(?m)^(?:[^\n]{{0,80}}=> ?|[^\n]{{0,40}}: )?/\S{{1,120}}/lib{library}\.so(?:\.\d+)*$")
    )


def _off_path(line: Said) -> Found:
    return found(
        say("The CUDA libraries are installed, but the loader does not look where they lie"),
        say("The version that the program wants is there."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Add their folder to LD_LIBRARY_PATH ($CONDA_PREFIX/lib for conda, /usr/local/cuda/lib64 for a "
                    "toolkit; on Windows the bin folder to PATH)."
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
        *MISSING,
        r"(?i)Cannot dlopen some GPU libraries",
        r"(?i)Unable to load (?:cuDNN|cuBLAS|cuFFT|cuSOLVER|cuSPARSE|CUPTI|NVRTC|cuda)[\w ]{0,20}\. ?Is it installed",
        r"(?i)CUDA_HOME (?:environment )?variable is not set|CUDA_HOME does not exist, unable to compile",
        r"(?i)nvcc['\"]? failed: No such file|No such file or directory: ?'\S{0,80}nvcc'",
        r"(?i)failed to (?:open|load) libnvrtc-builtins\.so",
        r"(?i)could not (?:locate|find) (?:cudnn|cublas|cudart|zlibwapi)\w*\.dll",
        r"(?i)libcudart\.so not found in any environmental path",
        r"(?i)Library (?:libcublas|libcudnn|cublas|cudnn)\S{0,20} is not found or cannot be loaded",
        r"(?i)lib(?:" + LIBRARY[3:-1] + r"|cudnn)\w*\.so(?:\.\d+)*" + ABSENT,
        r"(?i)Cannot load (?:cudnn|cublas|cufft|curand|cusolver|cusparse) shared library",
        r"(?i)libNVVM cannot be found|library nvvm not found|nvvm\.dll",
        r"(?i)Missing libdevice file|libdevice cannot be found",
        r"(?i)Failed to create CUDAExecutionProvider",
        (
            r"(?i)(?:LoadLibrary failed|failed to load|error loading)[^\n]{0,160}"
            r"onnxruntime_providers_(?:cuda|tensorrt)\.\w{2,3}"
        ),
        r"(?i)CUDA_PATH is set but CUDA was ?n'?t able to be loaded",
    )
    # Without a compiler a wheel does as well; only what is to be compiled needs one.
    if line is None and mentions(machine, r"error|fail|setup\.py|compil|\bbuild|\bcmake\b|install[^\n]{0,40}flash"):
        line = said(machine, r"(?i)nvcc: (?:command )?not found|command ['\"]?nvcc['\"]? not found")
    drivers = (
        said(machine, r"Could not find cuda drivers on your machine") if line is None and not in_wsl(machine) else None
    )
    tensorflow = machine.python.framework("tensorflow") if machine.python else None
    line = line or drivers
    own_extra = not on_windows(machine) and (
        tensorflow.version.startswith("2.16")
        if tensorflow
        else mentions(machine, r"and-cuda[^\n]{0,40}\b2\.16\b|\b2\.16\.[01]\b")
    )
    line = line or (unseen(machine) if own_extra and mentions(machine, r"and-cuda") else None)
    if line is None:
        return
    if own_extra and not said(machine, *MISSING) and mentions(machine, r"and-cuda|nvidia-cudnn|nvidia-cuda"):
        yield found(
            say(
                "TensorFlow {version} does not find the CUDA libraries of its own extra",
                version=tensorflow.version if tensorflow else "2.16",
            ),
            say("The wheels are installed; that release does not look into their folders."),
            evidence=(line.evidence, *(("pythons[0].frameworks.tensorflow.version",) if tensorflow else ())),
            slug="known-broken-release",
            certainty="likely",
            fixes=(
                Fix(
                    summary=say(
                        "Install TensorFlow 2.17 or newer with [and-cuda], or name the folders nvidia/*/lib in "
                        "LD_LIBRARY_PATH."
                    ),
                    effect="changes-env",
                    page=TF_PIP,
                ),
            ),
        )
        return
    yield found(
        say("Libraries of CUDA or cuDNN that the program needs are not installed"),
        say("The NVIDIA driver does not bring them.")
        + (" " + say("TensorFlow's wheel takes them along with the extra [and-cuda].") if tensorflow else ""),
        evidence=(line.evidence,),
        certainty="likely" if drivers else None,
        severity="warning" if drivers and not gpu_expected(machine) else None,
        fixes=(
            Fix(
                summary=say(
                    "Install them as the program's page says, in the major version that the message names: for "
                    "TensorFlow tensorflow[and-cuda]."
                ),
                effect="changes-env",
                page=TF_PIP,
            ),
        ),
    )
