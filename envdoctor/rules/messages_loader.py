"""What the loader of Linux or Windows prints: libraries that are absent, symbols and versions that do not fit."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.version import major, minor, numbers, readable
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.told import Said, in_wsl, mentions, said, toolkit_versions

TF_PIP = "https://www.tensorflow.org/install/pip"
TF_TESTED = "https://www.tensorflow.org/install/source#gpu"
ORT = "https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html"
LOADER = "https://man7.org/linux/man-pages/man8/ld.so.8.html"

_ABSENT = r"[^\n]{0,60}(?:cannot open shared object|not found|no such file|could not be (?:found|loaded)|is not found|cannot be loaded)"
_LIBRARY = r"(?:cudart|cublas|cublasLt|cufft|curand|cusolver|cusparse|nvrtc|cupti|nvToolsExt|nvJitLink|nccl|nvinfer)"
_MISSING = (
    rf"lib({_LIBRARY})\.so\.(\d+(?:\.\d+)?){_ABSENT}",
    rf"(?i)(?:could not load|cannot load|unable to load|failed to load|can't find|cannot find|could not find)[^\n]{{0,60}}lib({_LIBRARY})\.so\.(\d+(?:\.\d+)?)",
    rf"(?i)\b({_LIBRARY})64_(\d{{1,3}})(?:_\d)?\.dll[^\n]{{0,40}}",
    r"(?i)lib(cudnn)\w*\.so\.(\d+)(?:\.\d+)*" + _ABSENT,
    r"(?i)(?:could not load|unable to load|failed to load|cannot load|could not find)[^\n]{0,60}lib(cudnn)\w*\.so\.(\d+)",
    r"(?i)unable to load any of \{lib(cudnn)\w*\.so\.(\d+)",
    r"(?i)(cudnn)\w*64_(\d)\.dll[^\n]{0,40}(?:not found|could not|cannot|missing)|(?:not|missing|load)[^\n]{0,40}(cudnn)64_(\d)\.dll",
)
# What the number behind a library's name says of its CUDA: these follow the toolkit, the others count for themselves.
_FOLLOW = ("cudart", "cublas", "cublaslt", "nvrtc", "cupti", "nvjitlink")


@rule(
    "MSG402",
    "framework-cuda-mismatch",
    "error",
    needs=("problems",),
    supersedes=("MSG401", "MSG403", "MSG501", "MSG905", "MSG906", "MSG502", "MSG613"),
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
        return
    library, wanted = _wanted(missing)
    have = _installed(machine, library)
    if not wanted or not have or any(_serves(version, wanted) for version in have):
        return
    yield _mismatch(
        missing,
        f"The program wants {'cuDNN' if library == 'cudnn' else 'CUDA'} {wanted}; the report shows {', '.join(dict.fromkeys(have))}.",
    )


def _mismatch(line: Said, detail: str) -> Found:
    return found(
        "The program was built for another CUDA or cuDNN than the installed one",
        f"{detail} The major version must be the same.",
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary="Install the build of the program for the CUDA that is there (onnxruntime-gpu and others have one index for each CUDA).",
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
        r"(?i)The installed Paddle is compiled with CUDA ?[\d.]+,? but CUDA[^\n]{0,30}(?:in your machine|version) is [\d.]+",
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
        return [found_words[1]] if found_words else []
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
    supersedes=("MSG401", "MSG501", "MSG905", "MSG906", "MSG613"),
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
            rf"(?i)(?:/usr/local/cuda|/usr/lib|/opt|/home|~|site-packages|envs|[A-Z]:\\)[^\n]{{0,100}}lib{library}\.so\.{wanted.split('.')[0] if wanted else ''}",
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
                summary="Add their folder to LD_LIBRARY_PATH ($CONDA_PREFIX/lib for conda, /usr/local/cuda/lib64 for a toolkit; on Windows the bin folder to PATH).",
                page=TF_PIP,
            ),
        ),
    )


@rule(
    "MSG401",
    "cuda-libraries-missing",
    "error",
    needs=("problems",),
    supersedes=("MSG905", "MSG906", "MSG501"),
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
                    summary="Install TensorFlow 2.17 or newer with [and-cuda], or name the folders nvidia/*/lib in LD_LIBRARY_PATH.",
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
                summary="Install them as the program's page says, in the major version that the message names: for TensorFlow tensorflow[and-cuda].",
                effect="changes-env",
                page=TF_PIP,
            ),
        ),
    )


@rule(
    "MSG404",
    "cuda-libraries-shadowed",
    "error",
    needs=("problems",),
    supersedes=("MSG401", "MSG402", "MSG403"),
    sources=(LOADER, "https://github.com/pytorch/pytorch/issues/111469"),
)
def shadowed(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Another CUDA library than the wheel's own is loaded, and it lacks a symbol.

    CUDA wheels find their libraries beside them; a folder in LD_LIBRARY_PATH comes first all the same. An older
    libnvJitLink, libcublasLt or libnccl of a toolkit has the same name and fewer symbols.

    Check: the program with `env -u LD_LIBRARY_PATH`.
    """
    line = said(
        machine,
        r"undefined symbol: _*(?:nvJitLink|cublas|cusparse|cusolver|cufft|nccl|cupti|nvrtc)\w*",
        r"(?i)symbol _*(?:nvJitLink|cublas|cusparse|cusolver|nccl)\w*,? version lib\w+\.so\.\d+ not defined",
        r"(?i)lib(?:nvJitLink|cublas|cublasLt|cusparse|cusolver|nccl)\.so[^\n]{0,40}: version `[^\n]{2,30}' not found",
        r"(?i)CUBLAS_STATUS_INVALID_VALUE[^\n]{0,60}cublas(?:Sgemm|GemmEx|LtMatmul|GemmStridedBatched)",
    )
    if line is None:
        return
    sure = "symbol" in line.words[0] or "version" in line.words[0]
    yield found(
        "A CUDA library from outside is loaded in place of the wheel's own",
        "It has the same name and is of another release, so a symbol is missing.",
        evidence=(line.evidence,),
        certainty="certain" if sure else "likely",
        fixes=(
            Fix(
                summary="Take CUDA folders out of LD_LIBRARY_PATH, which torch's wheels do not need.",
                commands=(("unset", "LD_LIBRARY_PATH"),),
            ),
            Fix(
                summary="Where nothing is set, reinstall the nvidia-* wheels in the versions that torch pins.",
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
        r"CUDNN_STATUS_NOT_INITIALIZED|CUDNN_STATUS_INTERNAL_ERROR|CUDNN_STATUS_NOT_SUPPORTED|CUDNN_STATUS_EXECUTION_FAILED",
    ):
        paths = machine.variable("LD_LIBRARY_PATH") or ""
        many = len({library.path.rpartition("/")[0] for library in machine.libraries if library.name == "cudnn"}) > 1
        if "cudnn" in paths.lower() or "cuda" in paths.lower() or many:
            line = said(machine, r"CUDNN_STATUS_\w+")
    if line is None:
        return
    if "Cannot load symbol" in line.words[0] and said(machine, r"(?i)unable to load any of"):
        return
    yield found(
        "Another cuDNN than the framework's own is loaded, or two are mixed",
        "Everything of cuDNN has to come from one release; torch's wheels bring their own.",
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary="Take folders with a libcudnn out of LD_LIBRARY_PATH.", commands=(("unset", "LD_LIBRARY_PATH"),)
            ),
            Fix(
                summary="Where the system or a second package brings it, remove that copy or match its release to the framework's.",
                effect="changes-env",
            ),
        ),
    )


@rule(
    "MSG406",
    "cudnn-older-than-build",
    "error",
    needs=("problems",),
    supersedes=("MSG401", "MSG603", "TF002", "JAX005"),
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
        r"(?i)Loaded runtime CuDNN library: ?([\d.]+) but source was compiled with: ?([\d.]+)",
        r"(?i)compiled with cudnn ?([\d.]+),? but cudnn[^\n]{0,30} is ([\d.]+)",
        r"(?i)requires cuDNN (?:version )?(?:>=|at least|or newer)? ?[\d.]+[^\n]{0,60}(?:found|but|loaded) [^\n]{0,20}[\d.]+",
        r"(?i)cuDNN[^\n]{0,30}(?:is |too )old(?:er)?\b[^\n]{0,60}",
    )
    if line is None:
        return
    loaded = line.words[1] if line.words.re.groups >= 1 else None
    other = said(machine, r"(?i)cudnn(?:[ _-]?version)?[ :=v]{1,3}(\d+\.\d+(?:\.\d+)?)")
    told = (
        other[1] if other and loaded and readable(other[1]) and numbers(other[1])[:2] != numbers(loaded)[:2] else None
    )
    yield found(
        f"The loaded cuDNN{f' {loaded}' if loaded else ''} is older than the one the framework was built with",
        "It must be of the same major version and at least as new."
        + (f" The report says that {told} is installed, so another copy is found first." if told else ""),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary="Update cuDNN to the release that the message asks for (conda: cudnn, pip: nvidia-cudnn-cu12), and remove older copies on the loader's path.",
                effect="changes-env",
            ),
        ),
    )


@rule(
    "MSG407",
    "glibc-too-old",
    "error",
    needs=("problems",),
    supersedes=("MSG603", "PY003"),
    sources=("https://peps.python.org/pep-0600/", LOADER),
)
def glibc(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The system's glibc is older than a binary needs.

    glibc is part of the operating system; a binary that was linked against a newer one does not start with it. pip
    avoids such wheels by their tag, manylinux_2_28 for glibc 2.28.

    Check: `ldd --version`.
    """
    line = said(
        machine,
        r"version [`'‘]?GLIBC_(\d\.\d+(?:\.\d+)?)['’]? not found",
        r"(?i)GLIBC_2\.\d+[^\n]{0,20}not found",
        r"(?i)requires?[^\n]{0,30}glibc ?(?:>=)? ?(\d\.\d+)[^\n]{0,40}",
    )
    if line is None and not said(machine, r"__cuda"):
        line = said(
            machine,
            r"(?i)__glibc ?>=? ?\d\.\d+[^\n]{0,80}",
            r"(?i)manylinux_2_(?:2[6-9]|3\d)\S*\.whl is not a supported wheel",
        )
    if line is None:
        return
    yield found(
        "The glibc of this system is older than the program needs",
        "It cannot be updated apart from the operating system.",
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary="Use a newer release of the system, a container, or an older version of the package that was built for this glibc.",
                effect="changes-env",
            ),
        ),
    )


@rule(
    "MSG408",
    "libstdcxx-too-old",
    "error",
    needs=("problems",),
    supersedes=("MSG603", "PY017"),
    sources=("https://gcc.gnu.org/onlinedocs/libstdc++/manual/abi.html", LOADER),
)
def libstdcxx(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The libstdc++ that is loaded lacks a version that a binary was built with.

    GLIBCXX and CXXABI versions belong to GCC's C++ library. conda brings a newer one than most systems; the older one
    is loaded where something names the system's folder first, or was loaded before.

    Check: `strings $CONDA_PREFIX/lib/libstdc++.so.6 | grep GLIBCXX`.
    """
    line = said(
        machine,
        r"(?i)version [`'‘]?(?:GLIBCXX|CXXABI)_[\d.]+['’]? not found",
        r"(?:GLIBCXX|CXXABI)_\d[\d.]+[^\n]{0,30}not found",
    )
    if line is None:
        return
    yield found(
        "The libstdc++ that is loaded is older than the program was built with",
        "The message names the copy that was loaded.",
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary="Let the environment's copy be loaded: install libstdcxx-ng from conda-forge and put $CONDA_PREFIX/lib first, or drop an LD_LIBRARY_PATH that prefers the system's.",
                commands=(("conda", "install", "-c", "conda-forge", "libstdcxx-ng"),),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "MSG409",
    "windows-dll-missing",
    "error",
    certainty="likely",
    needs=("problems",),
    sources=(
        "https://learn.microsoft.com/cpp/windows/latest-supported-vc-redist",
        "https://docs.pytorch.org/docs/stable/notes/windows.html",
    ),
)
def dll(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A DLL that the framework needs is missing on this Windows.

    Error 126 names the library that was asked for, though mostly one that it needs in turn is absent: the Visual C++
    runtime, Intel's OpenMP, or a library of CUDA.

    Check: the Visual C++ Redistributable 2015-2022 (x64) is among the installed programs.
    """
    line = said(
        machine,
        r"(?i)\[?WinError (?:126|127|1114|182)\]?[^\n]{0,200}",
        r"(?i)DLL load failed[^\n]{0,120}",
        r"(?i)Could not find the DLL\(s\)? [^\n]{0,80}",
        r"(?i)(?:msvcp140|vcruntime140|libomp140|fbgemm|asmjit|shm|c10|torch_\w+|caffe2\w*)[\w.]{0,12}\.dll[^\n]{0,60}(?:missing|not found|could not|dependencies)",
        r"(?i)Error loading \"[^\n]{0,160}\.dll\" or one of its dependencies",
        r"(?i)LoadLibrary failed with error 126",
    )
    if line is None:
        return
    yield found(
        "A Windows DLL that the framework needs is missing",
        "Mostly it is the Visual C++ runtime; the file that the message names is only the one that needed it.",
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary="Install the Visual C++ Redistributable 2015-2022 (x64), start a new shell, and try again.",
                page="https://learn.microsoft.com/cpp/windows/latest-supported-vc-redist",
            ),
            Fix(summary="If it stays, reinstall the package, or another release of it.", effect="changes-env"),
        ),
    )
