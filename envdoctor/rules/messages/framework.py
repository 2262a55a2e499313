"""What PyTorch, TensorFlow, JAX and their companions print about how they were built."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import at_least, readable
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.told import (
    Said,
    gpu_expected,
    mentions,
    newer,
    on_jetson,
    on_macos,
    on_windows,
    said,
    unseen,
)

START = "https://pytorch.org/get-started/locally/"
TF_PIP = "https://www.tensorflow.org/install/pip"
JAX = "https://docs.jax.dev/en/latest/installation.html"
ORT = "https://onnxruntime.ai/docs/install/"
_JAX_FALLS_BACK = r"(?i)No GPU/TPU found, falling back to CPU"
# The providers of a build of onnxruntime that has none for CUDA.
_CPU_PROVIDERS = r"\[(?:'\w+ExecutionProvider', ?)?'CPUExecutionProvider'\]"
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
    line = said(machine, r"(?i)GPU support is not available on native Windows for (?:TensorFlow|TF)")
    sure = line is not None
    if line is None and tensorflow and on_windows(machine) and newer(tensorflow.version, "2.11"):
        line = unseen(machine) or said(
            machine, r"(?i)is_built_with_cuda[^\n]{0,30}\n?[^\n]{0,8}False", r"['\"]is_cuda_build['\"][,:] ?False"
        )
    if line is None:
        return
    shown = tensorflow.version if tensorflow else say("2.11 and newer")
    # A person who says only that there is no GPU may have none.
    wanted = gpu_expected(machine) or mentions(
        machine, r"list_physical|gpu_available|built_with|cuda(?!/cudnn are installed)|cudnn(?! are installed)"
    )
    yield found(
        say("TensorFlow {shown} cannot use a GPU on Windows itself", shown=shown),
        say("Its wheel for Windows is built without CUDA; an installed toolkit or cuDNN changes nothing."),
        evidence=(line.evidence, *(("pythons[0].frameworks.tensorflow.version",) if tensorflow else ())),
        certainty="certain" if sure or "built_with" in line.words[0] or gpu_expected(machine) else "likely",
        severity=None if wanted else "warning" if sure else "note",  # every such TensorFlow prints that line
        fixes=(
            Fix(
                summary=say(
                    "Run TensorFlow in WSL 2 with the extra [and-cuda], or install TensorFlow 2.10 with CUDA 11.2 and "
                    "cuDNN 8.1."
                ),
                effect="changes-env",
                page=TF_PIP,
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
        r"(?i)not linked with support for cuda devices",
        r"libbitsandbytes_cpu\.so: undefined symbol",
        r"module 'faiss' has no attribute '(?:StandardGpuResources|get_num_gpus|index_cpu_to_gpu)",
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
        r"(?i)is_built_with_cuda\(?\)?[^\n]{0,30}\n?[^\n]{0,8}False|['\"]is_cuda_build['\"][,:] ?False",
        r"(?i)Operator \w+ is not implemented for GPU|is_compiled_with_cuda\(\)[^\n]{0,12}\n?[^\n]{0,4}False",
        r"(?m)\b(?:pytorch|libtorch|jaxlib|tensorflow-base|tensorflow|onnxruntime)\s+\d\S*\s+(?:\S*_)?cpu_\S*",
    )
    told = line is not None
    if line is None:
        line = _by_facts(machine) or _jax_without_gpu(machine)
    if line is None:
        return
    tensorflow = python.framework("tensorflow") if python else None
    if tensorflow and on_windows(machine) and newer(tensorflow.version, "2.11"):
        return
    # JAX says that it falls back on every machine without a GPU as well.
    # So says a list of facts on every machine without a GPU, where the build for the CPU is the right one.
    listed = not told and re.search(r"Is CUDA available|\(GPU\?\)", line.words[0]) and not gpu_expected(machine)
    idle = re.search(_JAX_FALLS_BACK, line.words[0]) and not gpu_expected(machine)
    yield found(
        say("The installed build has no CUDA in it, so the GPU stays idle"),
        say("Driver and toolkit are not the matter; another build of the same package is needed."),
        evidence=(line.evidence,),
        severity="note"
        if listed
        else "warning"
        if idle and not mentions(machine, r"\b(?:gpu|nvidia|cuda)\b(?!/TPU)")
        else None,
        fixes=(
            Fix(
                summary=say(
                    "Replace it by the GPU build: torch from an index of download.pytorch.org, jax[cuda12], "
                    "tensorflow[and-cuda], onnxruntime-gpu. Where there is no such wheel, as for TensorFlow on "
                    "aarch64, take the maker's container."
                ),
                commands=(("envdoctor", "provision"),),
                effect="changes-env",
                page=START,
            ),
        ),
    )


def _by_facts(machine: Snapshot) -> Said | None:
    """Find the line that shows a GPU unused, where the versions tell that the build is for the CPU."""
    python = machine.python
    plain = (python and python.package("onnxruntime")) or mentions(
        machine, r"pip3? install (?:-U )?onnxruntime(?![\w-])"
    )
    if plain and not (python and python.package("onnxruntime-gpu")):
        asked = said(machine, r"CUDAExecutionProvider") or (unseen(machine) and said(machine, _CPU_PROVIDERS))
        if asked:
            return asked
    if _cpu_by_command(machine):
        return unseen(machine)
    if python is None:
        return None
    torch, tensorflow = python.framework("torch"), python.framework("tensorflow")
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
        or bool(tensorflow and tensorflow.gpu_build is False)
        or bool(python.package("tensorflow-cpu"))
        or (arm and bool(torch or tensorflow) and not (torch and torch.cuda))
    )
    return unseen(machine) if cpu else None


def _cpu_by_command(machine: Snapshot) -> bool:
    """Tell whether the command that installed torch gives the build for the CPU.

    The index whl/cpu does everywhere, a plain `pip install torch` on Windows.
    """
    if mentions(machine, r"install [^\n]{0,120}\btorch\b[^\n]{0,200}/whl/cpu\b"):
        return True
    torch = machine.python.framework("torch") if machine.python else None
    return (
        on_windows(machine)
        and not (torch and torch.cuda)
        and mentions(machine, r"pip3? install (?:-U |--upgrade )?torch\b(?![^\n]*(?:whl/|\+cu|-f |download\.pytorch))")
        and not mentions(machine, r"download\.pytorch\.org/whl/cu")
    )


def _jax_without_gpu(machine: Snapshot) -> Said | None:
    """Find the line in which JAX has no GPU backend at all, where nothing tells of one that failed to start."""
    python = machine.python
    packages = python.packages if python else ()
    plugin = any(p.name.startswith(("jax-cuda", "jaxlib-cuda")) for p in packages) or mentions(
        machine, r"jax\[(?:cuda|gpu|tpu)|jaxlib\S{0,20}\+cuda"
    )
    if (
        plugin
        or on_macos(machine)
        or mentions(machine, r"cuInit|CUDA_ERROR|No visible GPU|incompatible|not compatible|(?<!['\"])\bROCm\b|\bTPU v")
    ):
        return None
    asked = said(
        machine,
        r"(?i)Unknown backend:? ['\"]?(?:gpu|cuda)\b|no platforms that are instances of (?:gpu|cuda) are present",
        r"(?i)unable to initialize backend ['\"]cuda['\"]",
        _JAX_FALLS_BACK,
    )
    if asked is None and gpu_expected(machine) and mentions(machine, r"\bjax(?:lib)?\b"):
        asked = said(machine, r"CpuDevice|TFRT_CPU|jax\.devices\(\)[^\n]{0,20}cpu")
    return asked


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
        r"(?i)Fail to find the dnn implementation|failed to create cusolverDn instance|cuSolverDN call failed",
        r"(?i)No algorithm worked!|cudnn PoolForward launch failed|DNN library is not found",
    )
    if line is None or said(machine, r"(?i)Loaded runtime CuDNN library"):
        return
    if said(machine, r"(?i)(?:PyTorch|torch)\.\w+Error|import torch") and not mentions(machine, r"tensorflow|keras"):
        return
    yield found(
        say("TensorFlow's allocation leaves no memory for cuBLAS or cuDNN"),
        say("The same message comes from a cuDNN that does not fit; there a line before it says so."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say("Let TensorFlow take memory as it needs it."),
                commands=(("export", "TF_FORCE_GPU_ALLOW_GROWTH=true"),),
            ),
        ),
    )
