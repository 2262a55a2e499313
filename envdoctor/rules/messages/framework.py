"""What PyTorch, TensorFlow, JAX and their companions print about how they were built."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.version import at_least, readable
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.told import UNSEEN, Said, mentions, newer, on_jetson, on_windows, said, unseen

START = "https://pytorch.org/get-started/locally/"
TF_PIP = "https://www.tensorflow.org/install/pip"
JAX = "https://docs.jax.dev/en/latest/installation.html"
ORT = "https://onnxruntime.ai/docs/install/"
JETSON = "https://docs.nvidia.com/deeplearning/frameworks/install-pytorch-jetson-platform/index.html"


@rule(
    "MSG608",
    "tensorflow-no-windows-gpu",
    "error",
    needs=("problems",),
    supersedes=("MSG401", "MSG402", "MSG403", "MSG501", "MSG905", "TF003", "MSG609"),
    sources=(TF_PIP,),
)
def tensorflow_windows(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """TensorFlow has no GPU support on Windows itself since 2.11.

    The wheel for Windows holds no CUDA from 2.11 on, whatever is installed beside it. 2.10 was the last one with; newer
    ones use the GPU in WSL 2.

    Check: `python -c "import tensorflow as tf; print(tf.test.is_built_with_cuda())"`.
    Silent in WSL, and where nothing says that the GPU is not used.
    """
    python = machine.python
    tensorflow = python.framework("tensorflow") if python else None
    line = said(machine, r"(?i)TensorFlow GPU support is not available on native Windows for TensorFlow >= 2\.11")
    sure = line is not None
    if line is None and tensorflow and on_windows(machine) and newer(tensorflow.version, "2.11"):
        line = unseen(machine) or said(machine, r"(?i)is_built_with_cuda[^\n]{0,30}\n?[^\n]{0,8}False")
    if line is None:
        return
    shown = tensorflow.version if tensorflow else "2.11 and newer"
    yield found(
        f"TensorFlow {shown} cannot use a GPU on Windows itself",
        "Its wheel for Windows is built without CUDA; an installed toolkit or cuDNN changes nothing.",
        evidence=(line.evidence, *(("pythons[0].frameworks.tensorflow.version",) if tensorflow else ())),
        certainty="certain" if sure or "built_with" in line.words[0] else None,
        fixes=(
            Fix(
                summary=(
                    "Run TensorFlow in WSL 2 with the extra [and-cuda], or install TensorFlow "
                    "2.10 with CUDA 11.2 and cuDNN 8.1."
                ),
                effect="changes-env",
                page=TF_PIP,
            ),
        ),
    )


@rule(
    "MSG606",
    "mps-unavailable",
    "error",
    needs=("problems",),
    supersedes=("MSG501", "MSG218"),
    sources=("https://docs.pytorch.org/docs/stable/notes/mps.html",),
)
def mps(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The build has Apple's MPS backend, and this system does not offer it.

    MPS needs macOS 12.3, or 14 for newer releases of PyTorch, an arm64 Python on Apple silicon, and a real machine: a
    virtual one has no Metal device.

    Check: `python -c "import torch; print(torch.backends.mps.is_built(), torch.backends.mps.is_available())"`.
    """
    line = said(
        machine,
        r"(?i)MPS backend is supported on MacOS",
        r"(?i)MPS[^\n]{0,30} not available because",
        r"(?i)not linked with support for mps devices",
        (
            r"(?i)mps\.is_available\(\)[^\n]{0,20}\n?[^\n]{0,12}False|mps\S* (?:is )?(?:not "
            r"available|unavailable)|mps[^\n]{0,30}(?:not available|unavailable|False)"
        ),
        r"(?i)MPS is not available|MPS device[^\n]{0,20}not",
    )
    if line is None:
        return
    yield found(
        "Apple's MPS is not available here, though PyTorch may have it built in",
        "macOS is too old for this PyTorch, or Python runs as x86_64 under Rosetta.",
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary="Update macOS (14 or newer for current PyTorch), and use an arm64 Python.", effect="changes-env"
            ),
        ),
    )


@rule(
    "MSG607",
    "jetson-needs-nvidia-wheel",
    "error",
    certainty="likely",
    needs=("problems", "system.jetson"),
    supersedes=("MSG401", "MSG402", "MSG501", "MSG601", "MSG905", "MSG613", "TORCH001", "MSG214"),
    sources=(JETSON,),
)
def jetson(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A Jetson needs wheels that NVIDIA builds for its JetPack.

    Its GPU is integrated and its driver part of the system; wheels of the package index for aarch64 are for the CPU,
    or for servers.

    Check: `python3 -c "import torch; print(torch.version.cuda)"` after installing NVIDIA's wheel.
    """
    if not on_jetson(machine) or said(machine, r"\.whl is not a supported wheel"):
        return
    line = said(
        machine,
        *UNSEEN,
        (
            r"(?i)no kernel image|undefined symbol|cannot open shared object|could not "
            r"find a version|illegal instruction|invalid resource handle|driver version "
            r"is insufficient|found no nvidia driver|error"
        ),
    )
    if line is None:
        return
    yield found(
        "A Jetson needs the wheel that NVIDIA builds for its JetPack",
        "The package index has no wheel for its GPU.",
        evidence=(line.evidence, "system.jetson"),
        fixes=(
            Fix(
                summary=(
                    "Install NVIDIA's wheel for the JetPack release on the board, or use its container l4t-pytorch."
                ),
                effect="changes-env",
                page=JETSON,
            ),
        ),
    )


@rule(
    "MSG501",
    "cpu-only-build",
    "error",
    needs=("problems",),
    supersedes=("MSG613", "MSG905", "TORCH001", "TORCH005", "JAX001", "TF001"),
    sources=(START, JAX, ORT),
)
def cpu_build(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The installed build has no GPU code in it.

    Most packages exist with and without CUDA under the same name; pip takes the plain one, which on Windows, macOS and
    aarch64 is for the CPU. The program says so itself when it is asked for a GPU.

    Check: for torch `python -c "import torch; print(torch.version.cuda)"`, which prints None.
    """
    python = machine.python
    if on_jetson(machine):
        return
    line = said(
        machine,
        r"(?i)torch not compiled with CUDA enabled",
        r"(?i)built for:?\s+PyTorch \S+\+cu\d+[^\n]{0,40}\(you have \S+\+cpu\)",
        r"(?i)CUDA-enabled jaxlib is not installed",
        (
            r"(?i)(?:not (?:been )?compiled|was not built|not built|compiled without|built "
            r"without|without)(?: with)? (?:CUDA|GPU)(?: support| enabled| offload)?\b(?! "
            r"kernel)"
        ),
        r"(?i)you have installed (?:the )?CPU[- ]version",
        r"(?i)USE_CUDA=1 to enable GPU|(?:CUDA|GPU) (?:Tree Learner )?(?:was|is) not enabled (?:in this build)?",
        r"(?i)Device API cuda is not enabled|Please install the cuda version",
        r"(?i)Detected that PyTorch[^\n]{0,80}PyTorch has CUDA [Vv]ersion=? ?None",
        r"(?i)compute platform:? cpu|cpuonly",
        r"(?i)expected[^\n]{0,60}(?:cuda|gpu) (?:build|version|wheel) of (?:torch|pytorch)",
        r"(?i)torch\.version\.cuda\)?[^\n]{0,20}\n?[^\n]{0,6}\bNone\b",
        (
            r"(?i)tf_?[_-]?nightly[\w.+-]*aarch64\.whl|tensorflow[\w.+-]*aarch64\.whl|"
            r"(?<!\w)torch-\d[\w.]*-cp\w+-manylinux\w*aarch64\.whl"
        ),
        r"(?i)is_built_with_cuda\(?\)?[^\n]{0,30}\n?[^\n]{0,8}False",
        r"(?m)\b(?:pytorch|libtorch|jaxlib|tensorflow-base|tensorflow|onnxruntime)\s+\d\S*\s+(?:\S*_)?cpu_\S*",
    )
    if line is None:
        line = _by_facts(machine)
    if line is None:
        return
    tensorflow = python.framework("tensorflow") if python else None
    if tensorflow and on_windows(machine) and newer(tensorflow.version, "2.11"):
        return
    yield found(
        "The installed build has no CUDA in it, so the GPU stays idle",
        "Driver and toolkit are not the matter; another build of the same package is needed.",
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary="Replace it by the GPU build: torch from an index of download.pytorch.org, "
                "jax[cuda12], tensorflow[and-cuda], onnxruntime-gpu. "
                "Where there is no such wheel, as for TensorFlow on aarch64, take the maker's container.",
                commands=(("envdoctor", "provision"),),
                effect="changes-env",
                page=START,
            ),
        ),
    )


def _by_facts(machine: Snapshot) -> Said | None:
    """Find the line that shows a GPU unused, where the versions tell that the build is for the CPU."""
    python = machine.python
    if python is None:
        return None
    torch, tensorflow, jax = (python.framework(name) for name in ("torch", "tensorflow", "jax"))
    jaxlib = python.package("jaxlib")
    plugin = any(p.name.startswith(("jax-cuda", "jaxlib-cuda")) for p in python.packages) or (
        jaxlib and "cuda" in jaxlib.version
    )
    arm = machine.system is not None and machine.system.machine == "aarch64" and not on_jetson(machine)
    cpu = bool(torch and torch.gpu_build is False) or bool(
        tensorflow
        and readable(tensorflow.version)
        and not at_least(tensorflow.version, "2.1")
        and python.package("tensorflow")
        and not python.package("tensorflow-gpu")
    )
    cpu = (
        cpu
        or bool(python.package("tensorflow-cpu"))
        or (arm and bool(torch or tensorflow) and not (torch and torch.cuda))
    )
    ort = python.package("onnxruntime") and not python.package("onnxruntime-gpu")
    if ort and said(machine, r"CUDAExecutionProvider"):
        return said(machine, r"CUDAExecutionProvider")
    if jax and not plugin and not torch:
        return said(
            machine,
            (
                r"(?i)No GPU/TPU found, falling back to CPU|CpuDevice|TFRT_CPU|unable to initialize "
                r"backend 'cuda'|Unknown backend:? '?(?:gpu|cuda)"
            ),
        )
    return unseen(machine) if cpu else None


@rule(
    "MSG609",
    "tensorflow-memory-growth",
    "error",
    certainty="likely",
    needs=("problems",),
    sources=("https://www.tensorflow.org/guide/gpu#limiting_gpu_memory_growth",),
)
def memory_growth(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """TensorFlow took the GPU's memory for itself and left too little for cuBLAS and cuDNN.

    It reserves nearly all of it at the start; cuDNN and cuBLAS allocate their workspaces outside, when they are first
    used, and report that they cannot be initialised.

    Check: the program with TF_FORCE_GPU_ALLOW_GROWTH=true.
    Silent where a cuDNN of the wrong release is named, which gives the same last line.
    """
    line = said(
        machine,
        r"(?i)Failed to get convolution algorithm",
        r"(?i)could not create cudnn handle",
        r"(?i)failed to create cublas handle",
        r"(?i)Blas (?:xGEMM|GEMM|SGEMM|xGEMV|GEMV)[\w ]* launch failed",
        r"(?i)Attempting to perform BLAS operation using StreamExecutor without BLAS support",
        r"(?i)No algorithm worked!|cudnn PoolForward launch failed|DNN library is not found",
    )
    if line is None or said(machine, r"(?i)Loaded runtime CuDNN library"):
        return
    if said(machine, r"(?i)(?:PyTorch|torch)\.\w+Error|import torch") and not mentions(machine, r"tensorflow|keras"):
        return
    yield found(
        "TensorFlow's allocation leaves no memory for cuBLAS or cuDNN",
        "The same message comes from a cuDNN that does not fit; there a line before it says so.",
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary="Let TensorFlow take memory as it needs it.",
                commands=(("export", "TF_FORCE_GPU_ALLOW_GROWTH=true"),),
            ),
        ),
    )
