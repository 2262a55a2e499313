"""What compilers print: nvcc, ptxas, the host compiler, and the builders of PyTorch extensions."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import compare, major, readable
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.told import Said, built_for, capability, cards_named, said

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
        (
            # nvidia-smi's CUDA is the driver's, and may differ from everything else
            r"(?im)^(?![^\n]*nvidia-smi)[^\n]{0,200}?(?:nvcc|CUDA toolkit|CUDA_HOME)[^\n]{0,60}"
            r"(?:does not match|mismatch|differ)[^\n]{0,60}(?:torch|pytorch)"
        ),
        r"(?i)\b[\w-]{3,40} (?:is )?only supported on CUDA ([\d.]+) and (?:above|newer|later)",
        (
            r"(?i)(?:Torch|PyTorch)[^\n]{0,24} CUDA ([\d.]+)[^\n]{0,30}(?:nvcc|toolkit)"
            r"[^\n]{0,20} ([\d.]+)[^\n]{0,30}(?:mismatch|differ|incompatible)"
        ),
    )
    line = line or _by_facts(machine)
    if line is None:
        return
    yield found(
        say(
            "The extension is compiled with another CUDA than PyTorch was built with: nvcc {toolkit}, torch {torch}",
            toolkit=line.words[1],
            torch=line.words[2],
        )
        if line.words.re.groups >= 2 and line.words[2]
        else say("The extension is compiled with another CUDA than PyTorch was built with"),
        say("The major versions must be the same; a newer minor one of the toolkit is accepted."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Install the CUDA toolkit of PyTorch's version and point CUDA_HOME to it (conda: cuda-nvcc in "
                    "that version)."
                )
            ),
            Fix(
                summary=say(
                    "Or install the build of PyTorch for the toolkit that is there, or a wheel of the extension that "
                    "is already compiled."
                ),
                effect="changes-env",
            ),
        ),
    )


_BUILD_FAILED = (
    r"(?i)failed (?:to build|building)[^\n]{0,60}",
    r"(?i)error compiling objects for extension|ninja: build stopped",
    r"(?i)error: command '[^'\n]{0,80}(?:nvcc|gcc|g\+\+|cl\.exe|ninja)\S{0,8}' failed",
    r"(?i)compil\w+[^\n]{0,60}(?:fail|mismatch|error)|error building extension",
)


def _by_facts(machine: Snapshot) -> Said | None:
    """Find the build that failed while nvcc and torch are of different CUDA majors; None: they fit, or none failed."""
    torch = machine.python.framework("torch") if machine.python else None
    built = readable(torch.cuda) if torch else None
    kits = [version for kit in machine.toolkits if (version := readable(kit.version))]
    if built is None or not kits or any(major(kit) == major(built) for kit in kits):
        return None
    return said(machine, *_BUILD_FAILED)


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
    if "nvrtc" in line.words[0].lower() and machine.python and machine.python.framework("torch"):
        yield found(
            say("The NVRTC inside this PyTorch does not know {cards_named}", cards_named=cards_named(machine)),
            say("torch brings its own compiler for kernels that are made at run time; it is of the build's CUDA."),
            evidence=(line.evidence,),
            slug="gpu-too-new-for-build",
            fixes=(
                Fix(
                    summary=say("Install a build of torch for a CUDA that knows the card."),
                    commands=(("envdoctor", "provision"),),
                    effect="changes-env",
                ),
            ),
        )
        return
    arch = line.words[1] if line.words.re.groups else None
    capability = arch if arch and "." in arch else f"{arch[:-1]}.{arch[-1]}" if arch else None
    row = facts.architecture(capability) if capability else None
    newest = max((major(kit.version) for kit in machine.toolkits if kit.version), default=0)
    dropped = bool(row and row.last_cuda and newest and compare(str(newest), row.last_cuda) > 0)
    if dropped:
        yield found(
            say("This CUDA toolkit has dropped compute capability {capability}", capability=capability),
            say("Older generations leave the compiler with a new major version."),
            evidence=(line.evidence,),
            slug="gpu-too-old-for-build",
            fixes=(
                Fix(
                    summary=say(
                        "Use CUDA {last_cuda} or older, or leave that architecture out of the list to compile for.",
                        last_cuda=row.last_cuda if row else "",
                    )
                ),
            ),
        )
        return
    yield found(
        say("The CUDA toolkit is too old to compile for compute capability {capability}", capability=capability)
        if capability
        else say("The CUDA toolkit is too old to compile for this GPU"),
        say("Support begins with CUDA {first_cuda}.", first_cuda=row.first_cuda)
        if row and row.first_cuda
        else say("It knows only the GPUs of its own time."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say(
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
        r"bits/(?:floatn|mathcalls|stdlib)[\w-]{0,12}\.h(?:\(\d+\)|:\d+:\d+): error",
        r"(?i)STL1002: Unexpected compiler version",
        r"(?i)The current installed version of (?:g\+\+|gcc) \([\d.]+\) is greater than the maximum required version",
    )
    if line is None:
        return
    yield found(
        say("The C++ compiler is newer than this CUDA toolkit accepts"),
        say("It accepts GCC up to {words}.", words=line.words[1])
        if line.words.re.groups and line.words[1]
        else say("Each toolkit knows compilers up to its own time."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Install an older compiler beside the other and name it: export CC=gcc-11 CXX=g++-11 (for nvcc: "
                    "-ccbin), or use a newer toolkit."
                ),
                page=HOSTS,
            ),
        ),
    )


# "libevice" is how XLA has spelt it for years.
_NO_LIBDEVICE = (
    r"(?i)libdevice not found|libdevice is required by this HLO module",
    r"(?i)(?:can't|cannot|couldn't|could not|unable to) find[^\n]{0,40}libd?evice",
    r"(?i)libdevice[\w.]*\.bc[^\n]{0,40}(?:not found|no such|missing)|no such file[^\n]{0,40}libdevice",
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
    )
    if line is None and not said(machine, *_NO_LIBDEVICE):
        line = said(
            machine,
            r"(?i)(?:couldn't|could not|can't|cannot) (?:get|find|run|invoke) ptxas[^\n]{0,60}|"
            r"PTXASError|ptxas exited with non-zero",
        )
    if line is None or _framework_too_old(machine, facts):
        return
    if said(machine, r"ptxas application ptx input") and said(machine, r"UNSUPPORTED_PTX|cuLink"):
        return  # the driver's own ptxas has spoken
    yield found(
        say("The ptxas that is found is older than the code or the GPU needs"),
        say("It belongs to a toolkit of another CUDA version than the framework's."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Take the older toolkit's bin folder off PATH, or update it; JAX and Triton bring a ptxas of "
                    "their own (nvidia-cuda-nvcc, TRITON_PTXAS_PATH)."
                )
            ),
        ),
    )


def _framework_too_old(machine: Snapshot, facts: Knowledge) -> bool:
    """Tell whether the framework itself is older than the card, so that every part of its stack is.

    torch has machine code for the cards of its CUDA; TensorFlow's code for 8.0 serves 8.6 as well, and only a whole
    generation is out of its reach.
    """
    python = machine.python
    own = capability(machine, facts)
    row = facts.architecture(own) if own else None
    built = built_for(machine, facts) if python and python.frameworks else None
    if not (python and row and row.first_cuda and built):
        return False
    if python.framework("torch"):
        return compare(built, row.first_cuda) < 0
    return major(built) < major(row.first_cuda)


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
    line = said(machine, *_NO_LIBDEVICE)
    if line is None:
        return
    yield found(
        say("XLA does not find nvvm/libdevice"),
        say("The part of CUDA with nvcc is not installed, or lies where XLA does not look."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Install cuda-nvcc (conda, channel nvidia) or nvidia-cuda-nvcc-cu12 (pip), and name its root: "
                    "XLA_FLAGS=--xla_gpu_cuda_data_dir=FOLDER, the one that holds nvvm."
                ),
                effect="changes-env",
            ),
        ),
    )
