"""What frameworks print when a build has no code for a GPU, or the GPU lacks what the run asks for."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.version import compare, minor, readable
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.told import capability, cards_named, mentions, on_jetson, said

TORCH = "https://github.com/pytorch/pytorch/blob/main/torch/cuda/__init__.py"
TF_GPU = "https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/common_runtime/gpu/gpu_device.cc"
GPUS = "https://developer.nvidia.com/cuda-gpus"
ROCM = "https://rocm.docs.amd.com/projects/install-on-linux/en/latest/reference/system-requirements.html"

# Messages of a build without code for the card; which side is too old, versions and capability tell.
_NO_CODE = (
    r"(?i)no kernel image is available",
    r"CUDA_ERROR_NO_BINARY_FOR_GPU|cudaErrorNoKernelImageForDevice",
    r"(?i)CUDA_ERROR_INVALID_PTX|CUDA_ERROR_INVALID_IMAGE|device kernel image is invalid",
    r"(?i)the GPU program failed to execute",
    r"(?i)CUDNN_STATUS_ARCH_MISMATCH",
    r"(?i)(?:is )?not compatible with the current PyTorch installation",
    r"(?i)invalid device function",
)


@rule(
    "MSG601",
    "gpu-too-new-for-build",
    "error",
    needs=("problems",),
    supersedes=("TORCH002", "MSG603", "MSG501"),
    sources=(TORCH, TF_GPU, "https://docs.nvidia.com/cuda/blackwell-compatibility-guide/index.html"),
)
def no_code(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The build has no code for this GPU: the card is newer, or older, than everything it was compiled for.

    Machine code runs on one major capability. PyTorch names the capabilities of the build; other messages say only
    that no kernel image fits, and then the CUDA of the build decides: each one ends with the newest GPU of its time.

    Check: `python -c "import torch; print(torch.cuda.get_arch_list(), torch.cuda.get_device_capability())"`.
    An extension of its own (bitsandbytes, flash-attn) can lack the code although torch has it.
    """
    listed = said(
        machine,
        r"CUDA capability sm_(\d{2,3}) is not compatible[\s\S]{0,160}?supports CUDA capabilities ((?:(?:sm|compute)_\d+a?\s*)+)",
    )
    if listed:
        own, built = (
            int(listed[1]),
            [int("".join(c for c in word.partition("_")[2] if c.isdigit())) for word in listed[2].split()],
        )
        yield _verdict(
            machine,
            listed.evidence,
            newer=own > max(built),
            named=f"it was built for sm_{min(built)} to sm_{max(built)}",
        )
        return
    old = said(
        machine,
        r"(?i)no longer supports this GPU because it is too old",
        r"(?i)Ignoring visible gpu device[^\n]{0,200}minimum required Cuda capability",
        r"(?i)minimum (?:required )?(?:cuda|compute) capability[^\n]{0,40}(?:supported |that we support )?(?:by this library )?is (\d\.\d)",
        r"(?i)(?:legacy|supported through the NVIDIA \d{3}\.xx Legacy)[^\n]{0,20}drivers?",
        r"(?i)too old to be supported|GPU[^\n]{0,40}(?:is )?too old",
    )
    if old and not said(machine, r"(?i)triton"):
        yield _verdict(
            machine, old.evidence, newer=False, named="the message names the oldest capability that is served"
        )
        return
    line = said(machine, *_NO_CODE)
    if line is None or said(machine, r"HIP error|hipError") or on_jetson(machine):
        return
    own_text = capability(machine, facts)
    verdict = _newer(machine, facts, own_text)
    if verdict is None:
        return
    yield _verdict(machine, line.evidence, newer=verdict, named=f"compute capability {own_text}", likely=True)


def _newer(machine: Snapshot, facts: Knowledge, own: str | None) -> bool | None:
    """Tell whether the card is newer than the build; where nothing but the capability is known, by its age."""
    row = facts.architecture(own) if own else None
    built = _built_for(machine)
    if row and row.first_cuda and built and compare(built, row.first_cuda) < 0:
        return True
    if row and row.last_cuda and built and compare(built, row.last_cuda) > 0:
        return False
    if own is None:
        return None
    return compare(own, "7.5") >= 0


def _built_for(machine: Snapshot) -> str | None:
    python = machine.python
    built = [each.cuda for each in python.frameworks if each.cuda and readable(each.cuda)] if python else []
    kits = [kit.version for kit in machine.toolkits if readable(kit.version)]
    return minor(built[0]) if built else minor(kits[0]) if kits and kits[0] else None


def _verdict(machine: Snapshot, evidence: str, *, newer: bool, named: str, likely: bool = False) -> Found:
    card = cards_named(machine)
    if newer:
        return found(
            f"The build has no code for {card}, which is newer than what it was compiled for",
            f"Here {named}. A newer driver does not help; a newer build does.",
            evidence=(evidence,),
            certainty="likely" if likely else None,
            fixes=(
                Fix(
                    summary="Install a build for a CUDA that knows the card (Ampere 11.1, Ada and Hopper 11.8, Blackwell 12.8 or newer).",
                    commands=(("envdoctor", "provision"),),
                    effect="changes-env",
                    page="https://pytorch.org/get-started/locally/",
                ),
            ),
        )
    return found(
        f"{card[:1].upper()}{card[1:]} is older than what this build serves",
        f"Here {named}. Newer builds drop old cards.",
        evidence=(evidence,),
        slug="gpu-too-old-for-build",
        certainty="likely" if likely else None,
        fixes=(
            Fix(
                summary="Install an older build that still has code for the card, or build from source for its capability.",
                effect="changes-env",
            ),
        ),
    )


@rule(
    "MSG602",
    "gpu-feature-unsupported",
    "error",
    needs=("problems",),
    supersedes=("MSG601",),
    sources=(
        GPUS,
        "https://docs.vllm.ai/en/latest/getting_started/installation/gpu.html",
        "https://github.com/Dao-AILab/flash-attention",
    ),
)
def feature(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The GPU's generation lacks what the run asks for.

    bfloat16 and flash attention begin with Ampere (8.0), fp8 with Ada (8.9), tensor cores with Volta (7.0). Engines
    name the capability that they need.

    Check: `nvidia-smi --query-gpu=name,compute_cap --format=csv`.
    """
    line = said(
        machine,
        r"(?i)bfloat16 is only supported on GPUs with compute capability",
        r"(?i)(?:bf16|bfloat16)[^\n]{0,60}(?:not supported|unsupported|isn't supported|requires? (?:ampere|compute))",
        r"(?i)(?:doesn'?t|does not) support bf16",
        r"(?i)flash ?attention[^\n]{0,20} only supports (?:ampere|turing|hopper)[^\n]{0,30}",
        r"(?i)GPUs with compute capability (?:below|less than|lower than) \d\.\d are not supported",
        r"(?i)not supported (?:for|on) the current GPU\. ?Minimum capability",
        r"(?i)minimum capability:? ?\d+\.? ?current capability",
        r"(?i)(?:fp8\w*|float8\w*|fp4\w*|nvfp4)[^\n]{0,60}(?:not supported|only supported|requires)[^\n]{0,80}",
        r"(?i)triton only supports devices of CUDA capability|too old to be supported by the triton",
        r"(?i)feature '[.\w]+' requires \.target sm_\d+",
        r"(?i)requires? (?:device|gpu)s? with (?:compute )?capability >=? ?\(?\d[^\n]{0,60}",
        r"(?i)(?:requires?|needs?) (?:a gpu with )?compute capability (?:of )?(?:at least |>= ?)?\d\.\d[^\n]{0,60}",
        r"(?i)(?:your|this|the) (?:gpu|device|card)[^\n]{0,30} (?:does not|doesn't) support (?:fp16|bf16|float16|bfloat16|int8|fp8|flash|tf32)[^\n]{0,40}",
        r"(?i)(?:RuntimeError|error)[^\n]{0,40}only (?:supports?|available on)[^\n]{0,30}(?:sm_?[789]\d|ampere|hopper|turing|volta)[^\n]{0,40}",
        r"(?i)Cannot use FlashAttention[^\n]{0,60}",
    )
    if line is None:
        return
    yield found(
        f"{(card := cards_named(machine))[:1].upper()}{card[1:]} lacks what this run asks for",
        "The message names the capability that is needed; no driver or toolkit adds it.",
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary="Ask for float16 instead of bfloat16 and for another attention or quantisation, or use a newer GPU."
            ),
        ),
    )


@rule(
    "MSG604",
    "rocm-gfx-unsupported",
    "error",
    needs=("problems",),
    supersedes=("MSG601", "AMD003", "MSG905"),
    sources=(ROCM, "https://download.pytorch.org/whl/"),
)
def gfx(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The ROCm build has no code for this AMD GPU.

    HIP programs hold machine code for named gfx targets, and there is no portable form. Where the target is not among
    them, the first kernel fails, or rocBLAS finds no table for it.

    Check: `rocminfo | grep gfx` beside `python -c "import torch; print(torch.cuda.get_arch_list())"`.
    """
    line = said(
        machine,
        r"(?i)HIP error: (?:invalid device function|the operation cannot be performed|no kernel image|shared object)",
        r"hipErrorNoBinaryForGpu|hipErrorInvalidDeviceFunction|hipErrorInvalidKernelFile|hipErrorSharedObject\w+",
        r"(?i)Unable to find code object for all current devices",
        r"(?i)Cannot read \S{0,120}TensileLibrary\S{0,60}",
        r"(?i)TensileLibrary[\w.]{0,40}[^\n]{0,60}(?:no such file|not found|for GPU arch)",
        r"(?i)(?:gfx\d{3,4}\w?)[^\n]{0,60}(?:not supported|unsupported|is not)[^\n]{0,40}",
        r"(?i)(?:unsupported|not support\w*)[^\n]{0,60}gfx\d{3,4}",
        r"(?i)amdgpu\[\d\] is not supported",
        r"HSA_OVERRIDE_GFX_VERSION",
    )
    if line is None:
        return
    yield found(
        "The ROCm build has no code for this AMD GPU",
        "Its gfx target is not among those that the build was compiled for.",
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary="Try HSA_OVERRIDE_GFX_VERSION with a target of the same family that is supported (10.3.0 for RDNA 2, 11.0.0 for RDNA 3).",
                commands=(("export", "HSA_OVERRIDE_GFX_VERSION=10.3.0"),),
            ),
            Fix(
                summary="Or take a build for that target: a newer ROCm, AMD's own wheels, or one from source.",
                effect="changes-env",
                page=ROCM,
            ),
        ),
    )


@rule(
    "MSG605",
    "ptx-jit-slow-start",
    "warning",
    needs=("problems",),
    sources=(TF_GPU, "https://developer.nvidia.com/blog/cuda-pro-tip-understand-fat-binaries-jit-caching/"),
)
def slow_start(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The build has only PTX for this GPU, which the driver compiles at the first start.

    That takes minutes, once: the result is cached in ~/.nv/ComputeCache, as long as it fits into CUDA_CACHE_MAXSIZE.

    Check: the second start is fast.
    """
    line = said(
        machine,
        r"(?i)kernels? will be jit-compiled from PTX",
        r"(?i)not built with CUDA kernel binaries compatible with compute capability",
        r"(?i)jit[- ]compil\w+[^\n]{0,60}(?:minutes|long|slow|ptx)|ptx[^\n]{0,60}jit",
    )
    if line is None and mentions(
        machine,
        r"(?:first|start|import|initiali[sz]|\.cuda\(\)|\.to\()[^\n]{0,120}(?:\d+ ?(?:min|minutes)|very slow|takes? (?:so |very |a )?long|forever|分钟)",
    ):
        own, built = capability(machine, facts), _built_for(machine)
        row = facts.architecture(own) if own else None
        if row and row.first_cuda and built and compare(built, row.first_cuda) < 0:
            line = said(machine, r"(?i)[^\n]*(?:\d+ ?min|slow|long|forever|分钟)[^\n]*")
    if line is None:
        return
    yield found(
        "The GPU is newer than the build's machine code, so its PTX is compiled at the first start",
        "It works, after minutes, and starts fast once the result is cached.",
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary="Wait once and keep ~/.nv/ComputeCache with room: CUDA_CACHE_MAXSIZE=4294967296; or install a build with code for the card.",
                commands=(("export", "CUDA_CACHE_MAXSIZE=4294967296"),),
            ),
        ),
    )
