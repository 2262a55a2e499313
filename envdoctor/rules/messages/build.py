"""What compilers print: nvcc, ptxas, the host compiler, and the builders of PyTorch extensions."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.version import compare, major
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.told import said

EXTENSION = "https://github.com/pytorch/pytorch/blob/main/torch/utils/cpp_extension.py"
HOSTS = "https://docs.nvidia.com/cuda/cuda-installation-guide-linux/index.html"
PTX = "https://docs.nvidia.com/cuda/parallel-thread-execution/index.html#release-notes"


@rule(
    "MSG502",
    "nvcc-differs-from-build-cuda",
    "error",
    needs=("problems",),
    supersedes=("CUDA001",),
    sources=(EXTENSION,),
)
def other_nvcc(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """An extension is compiled with an nvcc of another CUDA than PyTorch was built with.

    PyTorch's builder compares both and refuses another major version. Extensions without that check compile, and fail
    when they are loaded.

    Check: `nvcc --version` beside `python -c "import torch; print(torch.version.cuda)"`.
    """
    line = said(
        machine,
        (
            r"(?i)detected CUDA version \(?([\d.]+)\)?\s+mismatch\w*\s+(?:the )?version "
            r"that was used to compile\s+PyTorch\s+\(?([\d.]+)\)?"
        ),
        r"(?i)Installed CUDA version ([\d.]+) does not match the version torch was compiled with ([\d.]+)",
        r"(?i)Cuda extensions are being compiled with a version of Cuda that does\s*not match",
        r"(?i)(?:nvcc|CUDA toolkit|CUDA_HOME)[^\n]{0,60}(?:does not match|mismatch|differ)[^\n]{0,60}(?:torch|pytorch)",
        (
            r"(?i)(?:FlashAttention|flash[_-]attn|this package|extension)[^\n]{0,40}(?:is "
            r")?only supported on CUDA ([\d.]+) and above"
        ),
        (
            r"(?i)(?:Torch|PyTorch)[^\n]{0,24} CUDA ([\d.]+)[^\n]{0,30}(?:nvcc|toolkit)"
            r"[^\n]{0,20} ([\d.]+)[^\n]{0,30}(?:mismatch|differ|incompatible)"
        ),
    )
    if line is None:
        return
    pair = f": nvcc {line.words[1]}, torch {line.words[2]}" if line.words.re.groups >= 2 and line.words[2] else ""
    yield found(
        f"The extension is compiled with another CUDA than PyTorch was built with{pair}",
        "The major versions must be the same; a newer minor one of the toolkit is accepted.",
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=(
                    "Install the CUDA toolkit of PyTorch's version and point CUDA_HOME to it "
                    "(conda: cuda-nvcc in that version)."
                )
            ),
            Fix(
                summary=(
                    "Or install the build of PyTorch for the toolkit that is there, or a wheel "
                    "of the extension that is already compiled."
                ),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "MSG503",
    "toolkit-too-old-for-gpu",
    "error",
    needs=("problems",),
    supersedes=("MSG601", "MSG502"),
    sources=("https://docs.nvidia.com/cuda/cuda-compiler-driver-nvcc/index.html", HOSTS),
)
def toolkit_too_old(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """This CUDA toolkit cannot compile for the GPU: it is older than the GPU's generation.

    nvcc knows the architectures of its own time. Where the refused one is older than the toolkit, the toolkit has
    dropped it, and only an older one compiles for that card.

    Check: `nvcc --list-gpu-arch`.
    """
    line = said(
        machine,
        r"(?i)unsupported gpu architecture '?(?:compute|sm)_(\d{2,3})",
        r"(?i)Value '(?:compute|sm)_(\d{2,3})\w?' is not defined for option 'gpu-architecture'",
        r"(?i)nvrtc: error: invalid value for --gpu-architecture",
        r"(?i)Unknown CUDA arch \(?(\d{1,2}\.\d)\w*\)? or GPU not supported",
        (
            r"(?i)(?:nvcc|cuda toolkit|cuda)[^\n]{0,40}(?:does not|doesn't) support (?:compute "
            r"capability|sm_?|compute_)[ ]?(\d[\d.]{1,3})"
        ),
        r"NVRTC_ERROR_INVALID_OPTION",
    )
    if line is None:
        return
    arch = line.words[1] if line.words.re.groups else None
    capability = arch if arch and "." in arch else f"{arch[:-1]}.{arch[-1]}" if arch else None
    row = facts.architecture(capability) if capability else None
    newest = max((major(kit.version) for kit in machine.toolkits if kit.version), default=0)
    dropped = bool(row and row.last_cuda and newest and compare(str(newest), row.last_cuda) > 0)
    if dropped:
        yield found(
            f"This CUDA toolkit has dropped compute capability {capability}",
            "Older generations leave the compiler with a new major version.",
            evidence=(line.evidence,),
            slug="gpu-too-old-for-build",
            fixes=(
                Fix(
                    summary=(
                        f"Use CUDA {row.last_cuda if row else ''} or older, or leave that architecture "
                        f"out of the list to compile for."
                    )
                ),
            ),
        )
        return
    yield found(
        "The CUDA toolkit is too old to compile for "
        + (f"compute capability {capability}" if capability else "this GPU"),
        f"Support begins with CUDA {row.first_cuda}."
        if row and row.first_cuda
        else "It knows only the GPUs of its own time.",
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=(
                    "Install a newer toolkit, or set TORCH_CUDA_ARCH_LIST to an architecture that it knows, with +PTX."
                )
            ),
        ),
    )


@rule(
    "MSG504",
    "host-compiler-too-new",
    "error",
    needs=("problems",),
    supersedes=("CUDA004",),
    sources=(HOSTS,),
)
def compiler_too_new(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The C++ compiler is newer than this nvcc accepts.

    nvcc reads the compiler's own headers; each toolkit knows them up to some version, which its crt/host_config.h
    names.

    Check: `gcc --version` beside the table of host compilers in NVIDIA's installation guide.
    """
    line = said(
        machine,
        r"(?i)unsupported GNU version! gcc versions later than ([\d.]+)",
        r"(?i)unsupported (?:GNU|clang|Microsoft Visual Studio|Visual Studio|MSVC|Intel)[^\n]{0,20} version",
        r"(?i)parameter packs not expanded with",
        (
            r"(?i)(?:gcc|g\+\+|clang)[^\n]{0,20}(?:version )?\d+[^\n]{0,40}(?:not supported|"
            r"too new|is unsupported)[^\n]{0,30}(?:nvcc|cuda)?"
        ),
        r"(?i)c\+\+/\d+/[^\n]{0,80}(?:error|undefined)[^\n]{0,80}",
        r"(?i)identifier \"?(?:__builtin_\w+|_Float(?:32|64|128)x?|__ieee128)\"? is undefined",
        r"(?i)The current installed version of (?:g\+\+|gcc) \([\d.]+\) is greater than the maximum required version",
    )
    if line is None:
        return
    yield found(
        "The C++ compiler is newer than this CUDA toolkit accepts",
        f"It accepts GCC up to {line.words[1]}."
        if line.words.re.groups and line.words[1]
        else "Each toolkit knows compilers up to its own time.",
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=(
                    "Install an older compiler beside the other and name it: export CC=gcc-11 "
                    "CXX=g++-11 (for nvcc: -ccbin), or use a newer toolkit."
                ),
                page=HOSTS,
            ),
        ),
    )


@rule(
    "MSG505",
    "ptxas-too-old",
    "error",
    needs=("problems",),
    supersedes=("MSG601", "MSG503", "MSG214"),
    sources=(PTX,),
)
def ptxas_too_old(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The ptxas that is found is older than the PTX it gets, or than the GPU.

    XLA and Triton write PTX and have ptxas turn it into machine code. Each CUDA release brings a newer PTX version;
    an older ptxas of a toolkit that comes first on PATH refuses it.

    Check: `which -a ptxas` and `ptxas --version`.
    """
    line = said(
        machine,
        r"(?i)ptxas[^\n]{0,60}unsupported \.version ([\d.]+)",
        r"(?i)unsupported \.version [\d.]+; current version is",
        r"(?i)ptxas[^\n]{0,80}'sm_\w+' is not (?:defined|a recogni)",
        r"(?i)Value 'sm_\w+' is not defined for option 'gpu-name'",
        (
            r"(?i)ptxas (?:is |version )?(?:[\d.]+ )?(?:is )?too old|ptxas too old|using "
            r"ptxas (?:version )?[\d.]+, (?:which is )?older than"
        ),
        r"(?i)ptxas[^\n]{0,40}does not support (?:CC|compute capability|sm_)[^\n]{0,20}",
        r"(?i)invoking ptxas with version [\d.]+, which corresponds",
        (
            r"(?i)(?:couldn't|could not|can't|cannot) (?:get|find|run|invoke) ptxas[^\n]{0,60}|"
            r"PTXASError|ptxas exited with non-zero"
        ),
    )
    if line is None:
        return
    yield found(
        "The ptxas that is found is older than the code or the GPU needs",
        "It belongs to a toolkit of another CUDA version than the framework's.",
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=(
                    "Take the older toolkit's bin folder off PATH, or update it; JAX and Triton "
                    "bring a ptxas of their own (nvidia-cuda-nvcc, TRITON_PTXAS_PATH)."
                )
            ),
        ),
    )


@rule(
    "MSG506",
    "xla-libdevice-missing",
    "error",
    needs=("problems",),
    sources=("https://github.com/openxla/xla/blob/main/xla/service/gpu/llvm_gpu_backend/nvptx_backend.cc",),
)
def libdevice(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """XLA does not find libdevice, NVIDIA's library of mathematical functions for its compiler.

    It lies in nvvm/libdevice of a toolkit. conda's cudatoolkit leaves it elsewhere, and wheels have it only in
    nvidia-cuda-nvcc.

    Check: `find / -name 'libdevice.10.bc' 2>/dev/null`.
    """
    line = said(
        machine,
        r"(?i)libdevice not found",
        r"(?i)(?:can't|cannot|couldn't|could not|unable to) find[^\n]{0,30}libdevice",
        r"libdevice[\w.]*\.bc[^\n]{0,40}(?:not found|no such|missing)",
    )
    if line is None:
        return
    yield found(
        "XLA does not find nvvm/libdevice",
        "The part of CUDA with nvcc is not installed, or lies where XLA does not look.",
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=(
                    "Install cuda-nvcc (conda, channel nvidia) or nvidia-cuda-nvcc-cu12 (pip), "
                    "and name its root: XLA_FLAGS=--xla_gpu_cuda_data_dir=FOLDER, the one that "
                    "holds nvvm."
                ),
                effect="changes-env",
            ),
        ),
    )
