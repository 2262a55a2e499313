"""What packages print that do not go with each other, or with the processor."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.told import mentions, old_processor, on_jetson, said

START = "https://pytorch.org/get-started/locally/"
TF_PIP = "https://www.tensorflow.org/install/pip"
JAX = "https://docs.jax.dev/en/latest/installation.html"
ORT = "https://onnxruntime.ai/docs/install/"
JETSON = "https://docs.nvidia.com/deeplearning/frameworks/install-pytorch-jetson-platform/index.html"


@rule(
    "MSG613",
    "companion-built-for-other-torch",
    "error",
    needs=("problems",),
    supersedes=("TORCH004", "TORCH005", "TORCH006", "MSG409"),
    sources=(
        "https://github.com/pytorch/vision#installation",
        "https://github.com/facebookresearch/xformers",
        "https://docs.pytorch.org/cppdocs/",
    ),
)
def companion(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A package with compiled code was built for another PyTorch than the one that is installed.

    torchvision, torchaudio, xformers, flash-attn, vLLM and others are linked to one release of torch. With another
    one a C++ symbol is missing, an operator is not registered, or their own check says so.

    Check: `pip check`, and the table of matching releases of the package.
    """
    line = said(
        machine,
        r"(?i)(?:was )?built for:?\s+PyTorch [^\n]{0,60}\(you have",
        r"(?i)Detected that PyTorch and torch\w+ were compiled with different CUDA",
        r"(?i)operator torch\w+::\w+ does not exist",
        r"(?i)Couldn't load custom C\+\+ ops",
        r"(?i)Could not run 'torchvision::\w+' with arguments from the 'CUDA' backend",
        r"undefined symbol: _?_?Z\w*(?:c10|torch|at\d|caffe2|2at|5torch|3c10|5aoti)\w*",
        r"undefined symbol: (?:aoti_torch|torch_|THP|_THP|THC)\w*",
        r"(?i)lib(?:torch\w*|c10\w*)\.so[^\n]{0,30}cannot open shared object",
        r"(?i)module 'torchvision' has no attribute 'extension'|'_OpNamespace' '\w+' object has no attribute",
        (
            r"(?i)(?:torchvision|torchaudio|xformers|torchtext|vllm|flash[-_]attn|fastai|"
            r"pytorch-lightning|torch-\w+) \S+ (?:requires|depends on|has requirement)"
            r" torch ?[=<>!~][^\n]{0,60}(?:but you(?:'ll)? have|incompatible)"
        ),
        (
            r"(?i)(?:torchvision|torchaudio|xformers|flash[-_]attn|vllm)[^\n]{0,60}(?:built|"
            r"compiled) (?:for|with|against) (?:a different |another )?(?:py)?torch[^\n]{0,60}"
        ),
        (
            # A DLL that is there and lacks an entry is of another release; torch's own files are a matter of their own.
            r"(?i)(?:WinError 127|procedure could not be found|找不到指定的程序)(?![^\n]{0,200}[\\/]torch[\\/]lib)"
        ),
        r"(?i)No module named 'torch\._six'|cannot import name '\w+' from 'torch(?:vision|audio|\.\w+)*'",
        r"(?i)cannot import name '\w+' from 'triton|module 'triton\S*' has no attribute",
        r"(?i)could not load this library: ?\S{1,200}\.(?:so|dll|pyd)",
        r"(?i)No module named '?\w+\._(?:ext|C|cuda)\b",
        r"(?i)No module named 'torchvision\.transforms\.functional_tensor'",
        r"(?i)(?:torch|pytorch|torchvision|torchaudio)[^\n]{0,40}versions? (?:are|is) (?:incompatible|not compatible)",
        r"(?i)cxx11[_ -]?abi[^\n]{0,60}(?:mismatch|differ|wrong|true|false)",
    )
    torch = machine.python.framework("torch") if machine.python else None
    if line is None or ("No module named" in line.words[0] and torch and torch.gpu_build is False):
        return
    yield found(
        say("A compiled package does not belong to the installed PyTorch"),
        say("It was built for another release, CUDA or C++ ABI of torch."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Install the release of the package that belongs to this torch, from the same index, or both anew "
                    "in one command."
                ),
                effect="changes-env",
                page=START,
            ),
        ),
    )


@rule(
    "MSG614",
    "known-broken-release",
    "error",
    needs=("problems",),
    supersedes=("MSG613", "MSG404"),
    sources=("pkg:conda/mkl@2024.1.0", "pkg:conda/pytorch@2.1.2"),
)
def broken(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The package as it was published is defective with what is installed beside it.

    PyTorch of conda before 2.3 calls a symbol that MKL 2024.1 no longer has (iJIT_NotifyEvent).

    Check: the maker's list of known issues for that release.
    """
    line = said(machine, r"undefined symbol: iJIT_\w+")
    if line is None:
        return
    yield found(
        say("This conda build of PyTorch does not go with MKL 2024.1 or newer"),
        say("The symbol was in MKL's libraries up to 2024.0."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say("Pin MKL in the environment."),
                commands=(("conda", "install", "mkl<2024.1"),),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "MSG610",
    "cpu-without-avx",
    "error",
    needs=("problems",),
    supersedes=("HW011",),
    sources=(
        "https://www.tensorflow.org/install/pip#hardware-requirements",
        "https://github.com/tensorflow/tensorflow/releases/tag/v1.6.0",
    ),
)
def no_avx(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The processor lacks AVX, which the wheel was compiled to use.

    An unknown instruction ends the process at once, mostly at the import. Official TensorFlow wheels use AVX since 1.6;
    virtual machines may hide it from their guests.

    Check: `grep -o -w -m1 avx /proc/cpuinfo`.
    """
    line = said(
        machine,
        r"(?i)was compiled to use (?:AVX2?|SSE4\.\d|FMA)[^\n]{0,40}instructions,? but these aren'?t available",
        r"(?i)built using AVX2? instructions, which your CPU",
        r"(?i)illegal instruction|trap invalid opcode|非法指令",
        r"(?i)exit(?:ed|s)?(?: with)? (?:code|status)[ :=]{0,3}\(?(?:132|-4)\b|signal 4\b|SIGILL",
        r"0xC000001D|-1073741795",
        r"(?i)(?:cpu|processor)[^\n]{0,40}(?:does not|doesn't|without|no|lacks?)[^\n]{0,16}\bAVX2?\b",
    )
    if line is None and old_processor(machine):
        line = said(machine, r"(?i)initiali[sz]ation routine failed")
    if line is None or on_jetson(machine):
        return
    flags = machine.cpu.features if machine.cpu else None
    if flags is not None and "avx2" in flags:
        return
    proven = (
        "compiled to use" in line.words[0]
        or "built using" in line.words[0]
        or (flags is not None and "avx" not in flags)
    )
    yield found(
        say("The processor lacks the AVX instructions that the package was compiled for"),
        say("The program stops at the first such instruction."),
        evidence=(line.evidence,),
        certainty="certain" if proven else "likely",
        fixes=(
            Fix(
                summary=say(
                    "Use a build without AVX (conda-forge, or from source), TensorFlow 1.5, or another machine; in a "
                    "virtual machine pass the host's CPU through."
                ),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "MSG611",
    "numpy2-abi",
    "error",
    needs=("problems",),
    supersedes=("NP001",),
    sources=("https://numpy.org/doc/stable/dev/depending_on_numpy.html",),
)
def numpy_two(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A module compiled for NumPy 1 is used with NumPy 2.

    The binary interface changed with 2.0. What was compiled for 1.x does not load, and modules compiled for 2.x serve
    both. torch is built for NumPy 2 since 2.3 on Linux and 2.4.1 on Windows.

    Check: `python -c "import numpy, torch; torch.zeros(1).numpy()"`.
    """
    line = said(
        machine,
        r"(?i)compiled using NumPy 1\.x cannot be run in",
        r"_ARRAY_API not found",
        r"(?i)numpy\.core\.multiarray failed to import",
        r"(?i)numpy\.(?:dtype|ndarray) size changed, may indicate binary incompatibility",
        r"(?i)RuntimeError: Numpy is not available",
        r"(?i)`?np\.\w+`? was removed in the NumPy 2\.0 release",
        r"(?i)numpy\.core\.(?:umath|_multiarray_umath) failed to import",
        r"(?i)no behavior change in NumPy 1\.x|Unable to avoid copy while creating an array as requested",
        r"(?i)module compiled against API version 0x\w+ but this version of numpy is",
    )
    if line is None:
        return
    yield found(
        say("NumPy 2 is installed under a module that was compiled for NumPy 1"),
        say("Modules for NumPy 1 do not load with NumPy 2."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say("Install numpy<2, or a release of the module that was built for NumPy 2."),
                commands=(("python", "-m", "pip", "install", "numpy<2"),),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "MSG612",
    "cpu-and-gpu-packages-conflict",
    "error",
    certainty="likely",
    needs=("problems",),
    supersedes=("TF006", "MSG501"),
    sources=(ORT,),
)
def both_packages(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The CPU and the GPU package of one program are both installed, and overwrite each other's files.

    onnxruntime and onnxruntime-gpu are the same module in two distributions. The one that was installed last wins, and
    removing one leaves the other broken.

    Check: `pip list | grep -i onnxruntime` shows one.
    """
    python = machine.python
    both = python is not None and any(
        bool(python.package(name)) and bool(python.package(f"{name}-gpu")) for name in ("onnxruntime", "paddlepaddle")
    )
    line = (
        said(
            machine,
            r"CUDAExecutionProvider",
            r"(?i)onnxruntime-gpu[^\n]{0,80}onnxruntime\b(?!-)|onnxruntime\b(?!-)[^\n]{0,80}onnxruntime-gpu",
            r"onnxruntime-gpu|paddlepaddle-gpu",
        )
        if both or mentions(machine, r"both[^\n]{0,30}onnxruntime")
        else None
    )
    if line is None:
        return
    yield found(
        say("onnxruntime and onnxruntime-gpu are both installed and overwrite each other"),
        say("They are one module in two distributions."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say("Remove both, then install the GPU package alone."),
                commands=(
                    ("python", "-m", "pip", "uninstall", "--yes", "onnxruntime", "onnxruntime-gpu"),
                    ("python", "-m", "pip", "install", "onnxruntime-gpu"),
                ),
                effect="changes-env",
            ),
        ),
    )
