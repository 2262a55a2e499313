"""What the loader prints when a library of another release is loaded than the one that is meant."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import numbers, readable
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.told import (
    said,
)

TF_TESTED = "https://www.tensorflow.org/install/source#gpu"
LOADER = "https://man7.org/linux/man-pages/man8/ld.so.8.html"

# Words of a GPU that is full; cuDNN cannot start there either.
LOW_MEMORY = (r"(?i)out of memory|ALLOC_FAILED|RESOURCE_EXHAUSTED",)


@rule(
    "MSG404",
    "cuda-libraries-shadowed",
    "error",
    needs=("problems",),
    supersedes=("MSG401", "MSG402", "MSG403"),
    sources=(LOADER, "pkg:pypi/nvidia-nvjitlink-cu12"),
)
def shadowed(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Another CUDA library than the wheel's own is loaded, and it lacks a symbol.

    CUDA wheels find their libraries beside them; a folder in LD_LIBRARY_PATH comes first all the same. An older
    libnvJitLink, libcublasLt or libnccl of a toolkit has the same name and fewer symbols.

    Check: the program with `env -u LD_LIBRARY_PATH`.
    """
    line = said(
        machine,
        r"undefined symbol: _*(?:nvJitLink|cublas|cusparse|cusolver|cufft|curand|nccl|cupti|nvrtc|cuda[A-Z])\w*",
        r"(?i)symbol _*(?:nvJitLink|cublas|cusparse|cusolver|nccl)\w*,? version lib\w+\.so\.\d+ not defined",
        r"(?i)lib(?:nvJitLink|cublas|cublasLt|cusparse|cusolver|nccl)\.so[^\n]{0,40}: version `[^\n]{2,30}' not found",
        r"(?i)Found (?:CUDA|cuBLAS|cuFFT|cuSOLVER|cuSPARSE|CUPTI) version \d+, but JAX was built against version \d+",
        r"(?i)CUBLAS_STATUS_INVALID_VALUE[^\n]{0,60}cublas(?:Sgemm|GemmEx|LtMatmul|GemmStridedBatched)",
    )
    if line is None:
        return
    sure = "symbol" in line.words[0] or "version" in line.words[0]
    yield found(
        say("A CUDA library from outside is loaded in place of the wheel's own"),
        say("It has the same name and is of another release, so a symbol is missing."),
        evidence=(line.evidence,),
        certainty="certain" if sure else "likely",
        fixes=(
            Fix(
                summary=say("Take CUDA folders out of LD_LIBRARY_PATH, which torch's wheels do not need."),
                commands=(("unset", "LD_LIBRARY_PATH"),),
            ),
            Fix(
                summary=say("Where nothing is set, reinstall the nvidia-* wheels in the versions that torch pins."),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "MSG405",
    "cudnn-shadowed",
    "error",
    needs=("problems",),
    supersedes=("MSG401", "MSG402", "MSG403", "MSG406"),
    sources=(
        "https://github.com/pytorch/pytorch/blob/main/torch/backends/cudnn/__init__.py",
        "https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/overview.html",
    ),
)
def cudnn_shadowed(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Another cuDNN than PyTorch's own is loaded, or parts of two are mixed.

    cuDNN is a family of libraries that load each other by name. With a second cuDNN on the loader's path, some come
    from here and some from there; PyTorch also compares the release it was built with.

    Check: `python -c "import torch; print(torch.backends.cudnn.version())"` with `env -u LD_LIBRARY_PATH`.
    """
    line = said(
        machine,
        r"(?i)PyTorch was compiled against[^\n]{0,40}but (?:linked against|found runtime version)[^\n]{0,40}",
        r"(?i)cuDNN version incompatibility",
        r"CUDNN_STATUS_(?:SUBLIBRARY_)?VERSION_MISMATCH|CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED",
        r"undefined symbol: \w*cudnn\w*|(?i:symbol cudnn\w+,? version \S+ not defined)",
        r"(?i)cannot load symbol cudnn\w+",
        r"(?i)could not load library libcudnn_\w+\.so\.\d[^\n]{0,80}undefined symbol",
        r"(?i)looks like your LD_LIBRARY_PATH contains incompatible version of cudnn",
    )
    if line is None and said(
        machine,
        (
            r"CUDNN_STATUS_NOT_INITIALIZED|CUDNN_STATUS_INTERNAL_ERROR|CUDNN_STATUS_NOT_SUPPORTED|"
            r"CUDNN_STATUS_EXECUTION_FAILED|CUDNN_STATUS_BAD_PARAM|CUDNN_STATUS_MAPPING_ERROR"
            r"|GET was unable to find an engine"
        ),
    ):
        paths = machine.variable("LD_LIBRARY_PATH") or ""
        many = len({library.path.rpartition("/")[0] for library in machine.libraries if library.name == "cudnn"}) > 1
        helped = said(machine, r"unset LD_LIBRARY_PATH|env -u LD_LIBRARY_PATH|LD_LIBRARY_PATH=['\"]{0,2}(?:\s|$)")
        if "cudnn" in paths.lower() or "cuda" in paths.lower() or many or helped:
            line = said(machine, r"CUDNN_STATUS_\w+|GET was unable to find an engine")
    if line is None:
        return
    absent = said(machine, r"(?i)unable to load any of|could not (?:locate|load)[^\n]{0,80}cudnn\w*\.(?:dll|so)")
    if absent and re.search(r"(?i)cannot load symbol", line.words[0]):
        return
    yield found(
        say("Another cuDNN than the framework's own is loaded, or two are mixed"),
        say("Everything of cuDNN has to come from one release; torch's wheels bring their own."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say("Take folders with a libcudnn out of LD_LIBRARY_PATH."),
                commands=(("unset", "LD_LIBRARY_PATH"),),
            ),
            Fix(
                summary=say(
                    "Where the system or a second package brings it, remove that copy or match its release to the "
                    "framework's."
                ),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "MSG406",
    "cudnn-older-than-build",
    "error",
    needs=("problems",),
    supersedes=("MSG401", "TF002", "JAX005"),
    sources=(
        "https://docs.nvidia.com/deeplearning/cudnn/backend/latest/developer/forward-compatibility.html",
        TF_TESTED,
    ),
)
def cudnn_older(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The cuDNN that is loaded is older than the one the framework was built with.

    A newer cuDNN of the same major version serves programs built with an older one, never the other way round.
    TensorFlow, JAX and Paddle compare both when they start.

    Check: the message names the release that was loaded; look for that one.
    """
    line = said(
        machine,
        r"(?i)Loaded runtime CuDNN library: ?([\d.]+)[^\n]{0,40} but source was compiled with:? ?([\d.]+)",
        r"(?i)Found cuDNN version (\d+), but JAX was built against version (\d+), which is newer",
        r"(?i)jax[^\n]{0,80}cuDNN version ([\d.]+)[^\n]{0,60}built (?:with|against)[^\n]{0,20}cuDNN ([\d.]+)",
        r"(?i)compiled with cudnn ?([\d.]+),? but cudnn[^\n]{0,30} is ([\d.]+)",
        (
            r"(?i)requires cuDNN (?:version )?(?:>=|at least|or newer)? ?[\d.]+[^\n]{0,60}(?:found|"
            r"but|loaded) [^\n]{0,20}[\d.]+"
        ),
        r"(?i)cuDNN[^\n]{0,30}(?:is |too )old(?:er)?\b[^\n]{0,60}",
    )
    if line is None and not said(machine, *LOW_MEMORY):
        # JAX's last line when cuDNN refuses to start; a cuDNN of another release is the usual reason.
        line = said(machine, r"(?i)()DNN library initialization failed")
    if line is None:
        return
    loaded = (line.group(1) or None) if line.words.re.groups >= 1 else None
    other = said(machine, r"(?i)cudnn(?:[ _-]?version)?[ :=v]{1,3}(\d+\.\d+(?:\.\d+)?)")
    told = (
        other.group(1)
        if other and loaded and readable(other.group(1)) and numbers(other.group(1))[:2] != numbers(loaded)[:2]
        else None
    )
    yield found(
        say("The loaded cuDNN {version} is older than the one the framework was built with", version=loaded)
        if loaded
        else say("The loaded cuDNN is older than the one the framework was built with"),
        say("It must be of the same major version and at least as new.")
        + (
            " " + say("The report says that {told} is installed, so another copy is found first.", told=told)
            if told
            else ""
        ),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Update cuDNN to the release that the message asks for (conda: cudnn, pip: nvidia-cudnn-cu12), "
                    "and remove older copies on the loader's path."
                ),
                effect="changes-env",
            ),
        ),
    )
    path = machine.variable("LD_LIBRARY_PATH")
    if told or path:
        yield found(
            say("More than one cuDNN may be on the search path, and the older one is found first"),
            say("LD_LIBRARY_PATH is {path}: what stands first wins.", path=path[:200])
            if path
            else say("Another release is said to be installed."),
            evidence=("variables.LD_LIBRARY_PATH" if path else line.evidence,),
            severity="warning",
            certainty="likely",
            slug="several-cuda-on-path",
            fixes=(Fix(summary=say("Put the folder of the wanted cuDNN first, and take the others out.")),),
        )
