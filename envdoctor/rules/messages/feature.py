"""What engines print when a GPU's generation lacks what the run asks for."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.messages.code import TOO_NEW
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.told import cards_named, said
from envdoctor.rules.wording import sentence

GPUS = "https://developer.nvidia.com/cuda-gpus"


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
        r"(?i)only (?:supported|available|works?|runs?) (?:for|on)[^\n]{0,60}(?:compute )?capability[^\n]{0,60}",
        r"(?i)requires? (?:an? )?(?:A100|H100|ampere|hopper|turing|volta|ada|blackwell)[^\n]{0,40}",
        r"(?i)requires? (?:a |an )?(?:gpu|cuda|device)[^\n]{0,24}(?:compute )?capability[^\n]{0,60}",
        r"(?i)\bno kernel for (?:compute )?capability",
        r"(?i)feature '[.\w]+' requires \.target sm_\d+",
        r"(?i)requires? (?:device|gpu)s? with (?:compute )?capability >=? ?\(?\d[^\n]{0,60}",
        r"(?i)(?:requires?|needs?) (?:a gpu with )?compute capability (?:of )?(?:at least |>= ?)?\d\.\d[^\n]{0,60}",
        (
            r"(?i)(?:your|this|the) (?:gpu|device|card)[^\n]{0,30} (?:does not|doesn't)"
            r" support (?:fp16|bf16|float16|bfloat16|int8|fp8|flash|tf32)[^\n]{0,40}"
        ),
        (
            r"(?i)(?:RuntimeError|error)[^\n]{0,40}only (?:supports?|available on)[^\n]{0,30}(?:sm_?[789]\d|"
            r"ampere|hopper|turing|volta)[^\n]{0,40}"
        ),
    )
    torch = machine.python.framework("torch") if machine.python else None
    if line is None or (torch and torch.gpu_build is False) or said(machine, TOO_NEW):
        return  # a build for the CPU lacks everything, and so may one that is older than the card
    yield found(
        say("{card} lacks what this run asks for", card=sentence(cards_named(machine))),
        say("The message names the capability that is needed; no driver or toolkit adds it."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Ask for float16 instead of bfloat16 and for another attention or quantisation, or use a newer GPU."
                )
            ),
        ),
    )
