"""What frameworks print when a build has no code for a GPU, or the GPU lacks what the run asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge, code_runs
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import compare
from envdoctor.rules.frameworks.compiled import code_of
from envdoctor.rules.frameworks.installed import torch
from envdoctor.rules.python.reinstall import cards
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.told import (
    Said,
    built_for,
    capabilities,
    capability,
    cards_named,
    mentions,
    on_jetson,
    said,
    slow_once,
    starts_slowly,
)
from envdoctor.rules.wording import listed, sentence

TORCH = "https://github.com/pytorch/pytorch/blob/main/torch/cuda/__init__.py"
TF_GPU = "https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/common_runtime/gpu/gpu_device.cc"
GPUS = "https://developer.nvidia.com/cuda-gpus"
ROCM = "https://rocm.docs.amd.com/projects/install-on-linux/en/latest/reference/system-requirements.html"

_SUPPORTS = (
    r"CUDA capability sm_(\d{2,3}) is not compatible[\s\S]{0,160}?supports CUDA "
    r"capabilities ((?:(?:sm|compute)_\d+a?\s*)+)"
)
# xformers, of each kind of attention that it was built with.
TOO_NEW = r"your GPU has capability \(\d+, \d+\) \(too new\)"
# Messages of a build without code for the card; which side is too old, versions and capability tell.
_NO_CODE = (
    r"(?i)no kernel image is available",
    r"CUDA_ERROR_NO_BINARY_FOR_GPU|cudaErrorNoKernelImageForDevice",
    r"(?i)CUDA_ERROR_INVALID_PTX|CUDA_ERROR_INVALID_IMAGE|device kernel image is invalid",
    r"(?i)the GPU program failed to execute",
    r"(?i)CUDNN_STATUS_ARCH_MISMATCH",
    r"(?i)(?:is )?not compatible with the current PyTorch installation",
    r"(?i)invalid device function",
    r"(?i)No supported GPU\(s\) detected to run this container",
    r"(?i)GPU,? which is not yet supported in this version",
    r"(?i)which is of compute capability \(CC\) \d",
    r"(?i)unsupported SM: 0x|target GPU SM \d{2,3} is not supported",
    r"(?i)cuLaunchKernel[^\n]{0,300}CUDA_ERROR_INVALID_HANDLE",
)
# What a library without code for the card may print as well; only versions make it proof.
_ODD = (
    (
        r"CUBLAS_STATUS_(?:EXECUTION_FAILED|ARCH_MISMATCH|INTERNAL_ERROR)|CUDNN_STATUS_(?:EXECUTION_FAILED|"
        r"MAPPING_ERROR|NOT_INITIALIZED|INTERNAL_ERROR)"
    ),
    r"(?i)\b(?:hangs?|stuck|freez\w+|nan\b|wrong results?|garbage)",
    r"(?i)Failed to get convolution algorithm|launch failed|internal error",
    r"Value 'sm_\w+' is not defined for option|ptxas does not support CC",
)


@rule(
    "MSG601",
    "gpu-too-new-for-build",
    "error",
    needs=("problems",),
    supersedes=("MSG501", "MSG609"),
    sources=(TORCH, TF_GPU, "https://docs.nvidia.com/cuda/blackwell-compatibility-guide/index.html"),
)
def no_code(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The build has no code for this GPU: the card is newer, or older, than everything it was compiled for.

    Machine code runs on one major capability. PyTorch names the capabilities of the build; other messages say only
    that no kernel image fits, and then the CUDA of the build decides: each one ends with the newest GPU of its time.

    Check: `python -c "import torch; print(torch.cuda.get_arch_list(), torch.cuda.get_device_capability())"`.
    An extension of its own (bitsandbytes, flash-attn) can lack the code although torch has it.
    """
    refused = said(machine, TOO_NEW)
    if refused:
        yield _verdict(
            machine, refused.evidence, newer=True, named=say("the message names the newest capability that is served")
        )
        return
    named = said(machine, _SUPPORTS)
    if named:
        if _served_by_ptx(machine, named):
            return  # the report says that it works, in the end
        own, codes_built = (
            int(named.group(1)),
            [int("".join(c for c in word.partition("_")[2] if c.isdigit())) for word in named.group(2).split()],
        )
        yield _verdict(
            machine,
            named.evidence,
            newer=own > max(codes_built),
            named=say("it was built for sm_{oldest} to sm_{newest}", oldest=min(codes_built), newest=max(codes_built)),
        )
        return
    listing = said(
        machine,
        (
            r"\[((?:'sm_\d{2,3}a?',? ?)+)(?:'compute_\d+',?"
            r" ?)*\][\s\S]{0,200}?capability[^\n]{0,20}\n?[^\n]{0,6}\((\d{1,2}), (\d)\)"
        ),
    )
    if listing:
        archs = [int(each) for each in re.findall(r"sm_(\d+)", listing.group(1))]
        own_code = int(listing.group(2) + listing.group(3))
        if all(own_code // 10 != arch // 10 or own_code < arch for arch in archs):
            yield _verdict(
                machine,
                listing.evidence,
                newer=own_code > max(archs),
                named=say("it was built for sm_{oldest} to sm_{newest}", oldest=min(archs), newest=max(archs)),
            )
            return
    requires = said(machine, r"which requires CUDA_VERSION >= (\d{4,5})\s+to\s+work properly")
    if requires:
        need = int(requires.group(1))
        yield _verdict(
            machine,
            requires.evidence,
            newer=True,
            named=say("the card needs CUDA {needed}", needed=f"{need // 1000}.{need % 1000 // 10}"),
        )
        return
    codes = said(
        machine, r"which is of compute capability \(CC\) (\d{1,2}\.\d)[\s\S]{0,200}?((?:\n?- \d{1,2}\.\d which[^\n]*)+)"
    )
    if codes and not on_jetson(machine):
        built = list(re.findall(r"- (\d{1,2}\.\d) which", codes.group(2)))
        yield _verdict(
            machine,
            codes.evidence,
            newer=compare(codes.group(1), built[0]) > 0,
            named=say("it was built for compute capability {built}", built=listed(built)),
        )
        return
    span = said(
        machine,
        r"(?i)which is of (?:cuda |compute )?capability(?: \(CC\))? (\d{1,2}\.\d)[\s\S]{0,160}?"
        r"\((\d{1,2}\.\d)\) ?- ?\((\d{1,2}\.\d)\)",
    )
    if span:
        yield _verdict(
            machine,
            span.evidence,
            newer=compare(span.group(1), span.group(3)) > 0,
            named=say(
                "it was built for compute capability {oldest} to {newest}", oldest=span.group(2), newest=span.group(3)
            ),
        )
        return
    old = said(
        machine,
        r"(?i)no longer supports this GPU because it is too old",
        r"(?i)Ignoring visible gpu device[^\n]{0,200}minimum required Cuda capability",
        r"(?i)minimum (?:required |supported )?(?:cuda |compute )+capability[^\n]{0,60}?\d\.\d",
        r"(?i)(?:legacy|supported through the NVIDIA \d{3}\.xx Legacy)[^\n]{0,20}drivers?",
        r"(?i)installed in this system is not supported by the[^\n]{0,8}\n[^\n]{0,60}nvidia [\d.]+ driver release",
        r"(?i)too old to be supported|GPU[^\n]{0,40}(?:is )?too old",
    )
    if old and not said(machine, r"(?i)triton"):
        yield _verdict(
            machine, old.evidence, newer=False, named=say("the message names the oldest capability that is served")
        )
        return
    line = said(machine, *_NO_CODE) or (None if slow_once(machine) else said(machine, *_ODD))
    if line is None or said(machine, r"HIP error|hipError") or on_jetson(machine):
        return
    own_text = capability(machine, facts)
    verdict = _newer(machine, facts, own_text, guess=said(machine, *_NO_CODE) is not None)
    if verdict is None:
        return
    yield _verdict(
        machine,
        line.evidence,
        newer=verdict,
        named=say("compute capability {own_text}", own_text=own_text),
        likely=True,
    )


def _newer(machine: Snapshot, facts: Knowledge, own: str | None, *, guess: bool) -> bool | None:
    """Tell whether the card is newer than the build; where nothing but the capability is known, `guess` by its age."""
    row = facts.architecture(own) if own else None
    built = built_for(machine, facts)
    if row and row.first_cuda and built and compare(built, row.first_cuda) < 0:
        return True
    if row and row.last_cuda and built and compare(built, row.last_cuda) > 0:
        return False
    driver = machine.driver.cuda if machine.driver else None
    if own is None or not guess or (built and driver and compare(driver, built) < 0):
        return None
    return compare(own, "7.5") >= 0


def _verdict(machine: Snapshot, evidence: str, *, newer: bool, named: str, likely: bool = False) -> Found:
    card = cards_named(machine)
    if newer:
        return found(
            say("The build has no code for {card}, which is newer than what it was compiled for", card=card),
            say("Here {named}. A newer driver does not help; a newer build does.", named=named),
            evidence=(evidence,),
            certainty="likely" if likely else None,
            fixes=(
                Fix(
                    summary=say(
                        "Install a build for a CUDA that knows the card (Ampere 11.1, Ada and Hopper 11.8, Blackwell "
                        "12.8 or newer)."
                    ),
                    commands=(("envdoctor", "provision"),),
                    effect="changes-env",
                    page="https://pytorch.org/get-started/locally/",
                ),
            ),
        )
    return found(
        say("{card} is older than what this build serves", card=sentence(card)),
        say("Here {named}. Newer builds drop old cards.", named=named),
        evidence=(evidence,),
        slug="gpu-too-old-for-build",
        certainty="likely" if likely else None,
        fixes=(
            Fix(
                summary=say(
                    "Install an older build that still has code for the card, or build from source for its capability."
                ),
                effect="changes-env",
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
        r"HSA_STATUS_ERROR_(?:INVALID_ISA|INVALID_CODE_OBJECT|INCOMPATIBLE_ARGUMENTS)\w*",
        r"(?i)Cannot read \S{0,120}TensileLibrary\S{0,60}",
        r"(?i)TensileLibrary[\w.]{0,40}[^\n]{0,60}(?:no such file|not found|for GPU arch)",
        r"(?i)(?:gfx\d{3,4}\w?)[^\n]{0,60}(?:not supported|unsupported|is not)[^\n]{0,40}",
        r"(?i)(?:unsupported|not support\w*)[^\n]{0,60}gfx\d{3,4}",
        r"(?i)amdgpu\[\d\] is not supported",
        r"(?i)No paths matched [^\n]{0,120}gfx\d{3,4}",
        r"(?i)hipBLASLt on an unsupported architecture",
        # Targets that ROCm's own list leaves out, and a crash at the first kernel.
        (
            r"(?i)gfx(?:8\d\d|90c|10(?!30)\d\d|1103|115\d)[\s\S]{0,600}?(?:segmentation fault|core dumped"
            r"|memory access fault)"
        ),
    )
    if line is None and mentions(machine, r"error|fail|crash|segfault|segmentation|core dumped|hang|unsupported|报错"):
        line = said(machine, r"HSA_OVERRIDE_GFX_VERSION")
    if line is None:
        return
    yield found(
        say("The ROCm build has no code for this AMD GPU"),
        say("Its gfx target is not among those that the build was compiled for."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Try HSA_OVERRIDE_GFX_VERSION with a target of the same family that is supported (10.3.0 for RDNA "
                    "2, 11.0.0 for RDNA 3)."
                ),
                commands=(("export", "HSA_OVERRIDE_GFX_VERSION=10.3.0"),),
            ),
            Fix(
                summary=say("Or take a build for that target: a newer ROCm, AMD's own wheels, or one from source."),
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
        r"(?i)jit[- ]compil\w+[^\n]{0,60}(?:minutes|long|slow|ptx)|\bptx\b[^\n]{0,60}\bjit\b",
    )
    warned = said(machine, _SUPPORTS)
    if warned and _served_by_ptx(machine, warned):
        line = warned
    if line is None and starts_slowly(machine) and _portable_code(machine, facts):
        line = said(machine, r"(?i)[^\n]*(?:\bmin(?:utes?)?\b|\d ?min|slow|long|forever|分钟)[^\n]*")
    if line is None:
        return
    yield found(
        say("The GPU is newer than the build's machine code, so its PTX is compiled at the first start"),
        say("It works, after minutes, and starts fast once the result is cached."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Wait once and keep ~/.nv/ComputeCache with room: CUDA_CACHE_MAXSIZE=4294967296; or install a "
                    "build with code for the card."
                ),
                commands=(("export", "CUDA_CACHE_MAXSIZE=4294967296"),),
            ),
        ),
    )


def _served_by_ptx(machine: Snapshot, named: Said) -> bool:
    """Tell whether PTX in the list that torch printed serves the card, and the report says that it did, in the end."""
    own, built = named.group(1), named.group(2).split()
    portable = [code for code in built if code.startswith("compute_")]
    return code_runs(portable, f"{own[:-1]}.{own[-1]}") and slow_once(machine)


def _portable_code(machine: Snapshot, facts: Knowledge) -> bool:
    """Tell whether a card is newer than all machine code of the build, and nothing says that there is no PTX for it."""
    built = built_for(machine, facts)
    rows = [facts.architecture(own) for own in capabilities(machine, facts)]
    if not built or not any(row and row.first_cuda and compare(built, row.first_cuda) < 0 for row in rows):
        return False
    framework = torch(machine)
    code = code_of(framework, machine, facts) if framework else None
    return code is None or any(code.runs(gpu, facts) for gpu in cards(machine, facts))
