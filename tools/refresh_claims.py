"""Write docs/claims.md: advice that circulates, beside what the estimator says and what was measured.

    python tools/refresh_claims.py

Every number of the page comes from the estimator, from the knowledge tables or from the measured rows of
tests/estimate/memory_truth.json; a test runs this and compares.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from measured import rows

from envdoctor.estimate import peaks
from envdoctor.estimate.device import Device, of_model
from envdoctor.estimate.host_memory import host_bytes, loading_bytes
from envdoctor.estimate.models import from_config, named
from envdoctor.estimate.speed import middle
from envdoctor.estimate.walk import walk
from envdoctor.estimate.weighing import Scales, Walked
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.names import gpu_named
from envdoctor.model.estimate import Memory, Workload

PAGE = Path(__file__).resolve().parent.parent / "docs" / "claims.md"
MIB, GIB = 1 << 20, 1 << 30
IMAGE_BYTES = 110_000  # of a JPEG of ImageNet on average: 1.28 million of them are 138 GB


class Evidence(NamedTuple):
    """What stands below a claim."""

    estimated: str
    measured: str
    verdict: str


def mib(count: float) -> str:
    return f"{count / MIB:,.0f} MiB"


def gib(count: float) -> str:
    return f"{count / GIB:.1f} GiB"


@cache
def facts() -> Knowledge:
    return Knowledge()


@cache
def scales(model: str) -> Scales:
    return Scales(Walked(named(model)))


def memory(**settings: Any) -> Memory:
    workload = Workload(**settings)
    return scales(workload.model).memory(workload)


def card(name: str) -> Device:
    found = gpu_named(facts(), name)
    assert found, name
    return of_model(found)[-1]


def process(name: str, **settings: Any) -> str:
    """Give the range of what the process takes of a card."""
    workload = Workload(**settings)
    need = scales(workload.model).need(workload, card(name))
    return f"{gib(need.low)} to {gib(need.high)}"


def largest(name: str, **settings: Any) -> int:
    workload = Workload(**settings)
    found = scales(workload.model).largest_batch(workload, card(name))
    assert found
    return found


def truth(**wanted: Any) -> dict[str, Any]:
    """Give the one measured row that has these values; without a match the page must not be written."""
    found = [row for row in rows() if all(row.get(key) == value for key, value in wanted.items())]
    if len(found) != 1:
        raise LookupError(f"{len(found)} measured rows are {wanted}")
    return found[0]


def timed(test: str, variant: str = "") -> dict[str, Any]:
    """Give the first row of measured speed or file size of that name."""
    return next(row for row in rows("cpu_speed") if row["test"] == test and row.get("variant", "") == variant)


def file_sizes(model: str) -> dict[str, Any]:
    return next(row for row in rows("cpu_speed") if row["test"] == "size" and row["model"] == model)


GENERATE: dict[str, Any] = {"mode": "inference", "dtype": "fp16", "kv_cache": True, "logits": "last", "seq_len": 1024}
ADAMW: dict[str, Any] = {"mode": "training", "optimizer": "adamw"}
SGD: dict[str, Any] = {"model": "resnet50", "mode": "training", "optimizer": "sgd"}


def gpt2_inference() -> Evidence:
    found = memory(model="gpt2", **GENERATE)
    row = truth(model="gpt2", mode="infer", dtype="fp16", batch=1, seq=512, kv_cache=True, logits="last")
    return Evidence(
        f"{mib(found.parts.weights)} of weights, {mib(found.allocated_bytes)} at 1,024 tokens with their cache; "
        f"the whole process takes {process('GeForce RTX 3060', model='gpt2', **GENERATE)} of the card",
        f"{mib(row['peak_alloc_blocks_sim'])} allocated at 512 tokens (MemTracker)",
        f"wrong: {4 * GIB / scales('gpt2').need(Workload(model='gpt2', **GENERATE), card('RTX 3060')).high:.0f} times "
        "too high",
    )


def gpt2_training() -> Evidence:
    one, eight = (
        memory(model="gpt2", batch=1, seq_len=1024, **ADAMW),
        memory(model="gpt2", batch=8, seq_len=512, **ADAMW),
    )
    row = truth(model="gpt2", mode="train", dtype="fp32", batch=1, seq=1024, optimizer="adamw", **PLAIN)
    floor = 5 * 4 * one.parameters
    return Evidence(
        f"{gib(floor)} is the floor of AdamW whatever the batch (weights, gradients, two moments and a list of one "
        f"value a weight); {gib(one.allocated_bytes)} for 1 text of 1,024 tokens, {gib(eight.allocated_bytes)} for "
        "8 of 512",
        f"{gib(row['peak_alloc_blocks_sim'])} for 1 text of 1,024 tokens (MemTracker); 8 GiB for 8 of 512 (a plot in "
        "https://discuss.huggingface.co/t/172332)",
        "wrong as the least there must be; true for the batch of 8 that Hugging Face's Trainer takes by default",
    )


PLAIN: dict[str, Any] = {"attn": "sdpa", "grad_ckpt": False, "foreach": True}


def medium() -> Evidence:
    found = memory(model="gpt2-medium", **GENERATE)
    floor = 5 * 4 * found.parameters
    return Evidence(
        f"{mib(found.parts.weights)} of weights, {mib(found.allocated_bytes)} at 1,024 tokens; "
        f"{mib(floor)} is the floor of *training* it in fp32 with AdamW",
        "not measured",
        f"wrong for inference, {6.8e9 / found.allocated_bytes:.0f} times too high: it looks like a figure of training "
        "under the wrong heading",
    )


def int8_size() -> Evidence:
    half, eight = memory(model="gpt2", **GENERATE), memory(model="gpt2", **{**GENERATE, "dtype": "int8"})
    names = ("resnet18", "resnet50", "mobilenetv2", "gpt2")
    sizes = {name: file_sizes(name) for name in names}
    smaller = ", ".join(f"{name} {size['fp32'] / size['dyn_int8']:.2f} times" for name, size in sizes.items())
    rewritten = sizes["gpt2"]["fp32"] / sizes["gpt2"]["dyn_int8_linearised"]
    speed = timed("gpt2_generate_50", "dyn_int8_asis_kv")["speedup_wall_median"]
    linear = timed("gpt2_generate_50", "dyn_int8_linear_kv")["speedup_wall_median"]
    images = [timed(f"{name}_infer_b1", "dyn_int8")["speedup_wall_median"] for name in names[:3]]
    return Evidence(
        f"int8 weights of GPT-2's linear layers: {mib(eight.parts.weights)} in place of {mib(half.parts.weights)} in "
        "fp16; what is not a linear layer stays as it is",
        f"torch's dynamic int8 makes files smaller by: {smaller} (GPT-2 by {rewritten:.2f} after its Conv1D layers are "
        f"rewritten as Linear). On a CPU image networks run {min(images):.2f} to {max(images):.2f} times as fast, "
        f"GPT-2 writes {speed:.1f} times as fast, rewritten {linear:.1f} times",
        "wrong for these models: dynamic int8 touches only `nn.Linear`",
    )


def int8_memory() -> Evidence:
    full = memory(model="gpt2", **{**GENERATE, "dtype": "fp32"})
    half, eight = memory(model="gpt2", **GENERATE), memory(model="gpt2", **{**GENERATE, "dtype": "int8"})
    return Evidence(
        f"GPT-2 at 1,024 tokens: {mib(full.allocated_bytes)} in fp32, {mib(half.allocated_bytes)} in fp16, "
        f"{mib(eight.allocated_bytes)} with int8 weights, which is {share(eight, full)} less than fp32 and "
        f"{share(eight, half)} less than fp16",
        "not measured on a GPU",
        "true only of the weights it touches, and against fp32; cache and activations are what they were",
    )


def share(less: Memory, more: Memory) -> str:
    return f"{1 - less.allocated_bytes / more.allocated_bytes:.0%}"


def pruning() -> Evidence:
    config = {"model_type": "gpt2", "n_head": 12, "n_embd": 768, "vocab_size": 50257, "n_positions": 1024}
    whole, fewer = (from_config(f"gpt2 of {n} layers", {**config, "n_layer": n}) for n in (12, 8))
    saved = []
    for settings in (GENERATE, {**ADAMW, "seq_len": 512, "batch": 4}):
        before, after = (walk(Workload(model=a.name, **settings), a) for a in (whole, fewer))
        saved.append(share(after, before))
    return Evidence(
        f"4 of GPT-2's 12 layers taken out save {saved[0]} of inference and {saved[1]} of training: embeddings and "
        "logits stay",
        "not measured; zeros that stay in a tensor save nothing at all",
        "wrong as a rule: it saves less than its share",
    )


def gtx_1660() -> Evidence:
    found = memory(batch=32, **SGD)
    row = truth(
        model="resnet50", mode="train", dtype="fp32", batch=32, optimizer="sgdm", resolution=224, grad_ckpt=False
    )
    name = "GeForce GTX 1660 SUPER"
    return Evidence(
        f"{gib(found.allocated_bytes)} allocated, {gib(found.reserved_bytes)} reserved; the process takes "
        f"{process(name, batch=32, **SGD)} of 6 GiB; batch {largest(name, **SGD)} surely fits",
        f"{gib(row['peak_alloc_blocks_sim'])} allocated with weight decay (MemTracker)",
        "true in fp32. In fp16 and with AMP the cards GTX 16xx give NaN (https://github.com/pytorch/pytorch/issues/58123)",
    )


def small_batches() -> Evidence:
    eight, four = "GeForce RTX 2070", "GeForce GTX 1650"
    amp = largest(eight, dtype="amp-fp16", **SGD)
    return Evidence(
        f"ResNet-50, 224 pixels: batch {largest(eight, **SGD)} in fp32 and {amp} with AMP surely fit 8 GiB; "
        f"{largest(four, **SGD)} in fp32 fit 4 GiB",
        "batch 64 in fp32 and 112 with AMP ran on three cards of 8 GB (Lambda's benchmark, RTX 2070 and 2080 Max-Q)",
        f"wrong: {largest(eight, **SGD) // 4} and {largest(four, **SGD) // 2} times too low",
    )


def rtx_3060() -> Evidence:
    found = memory(batch=4, **SGD)
    return Evidence(
        f"ResNet-50: {gib(found.allocated_bytes)} allocated, the process takes "
        f"{process('GeForce RTX 3060', batch=4, **SGD)}",
        "not measured at this batch",
        "wrong for ResNet-50; the advice names no model",
    )


def twice_the_memory() -> Evidence:
    gpt2, xl = named("gpt2"), named("gpt2-xl")
    load = loading_bytes(4 * xl.parameters)
    training = host_bytes(Workload(model="gpt2", batch=4, seq_len=512, **ADAMW), gpt2)
    row = next(r for r in rows("cpu_rss") if r["model"] == "gpt2" and r["mode"] == "train" and r["batch"] == 4)
    return Evidence(
        f"What the host needs follows from the checkpoint and not from the card: loading GPT-2 XL in fp32 takes "
        f"{gib(load.low)} to {gib(load.high)}. Training GPT-2 on the CPU itself (4 texts of 512 tokens) takes "
        f"{gib(training.low)} to {gib(training.high)}",
        f"{gib(row['peak_rss'])} for that training, torch 2.13.0+cpu",
        "a rule of thumb: enough for small models on one card, too little for loading large ones without mapping the "
        "file, and twice the card's memory is needed by nothing that the estimator knows",
    )


def disks() -> Evidence:
    row = gpu_named(facts(), "GeForce RTX 3060")
    on = row and peaks.of_gpu(row)
    assert on
    rate = middle(Walked(named("resnet50")).speeds(Workload(batch=64, dtype="amp-fp16", **SGD), on)[0].throughput)
    return Evidence(
        f"An RTX 3060 trains ResNet-50 with AMP at about {rate:.0f} images a second, which are "
        f"{rate * IMAGE_BYTES / 1e6:.0f} MB of JPEG a second; SATA brings 550 MB a second, NVMe (PCIe 3.0, four lanes) "
        "3,500",
        "not measured",
        f"true of the two interfaces ({3500 / 550:.0f} times), not of training: one such card asks for "
        f"{rate * IMAGE_BYTES / 550e6:.0%} of what SATA brings",
    )


def wsl() -> Evidence:
    return Evidence(
        "nothing: the estimator does not know WSL's cost",
        "by NVIDIA, within 1 % of Linux where kernels run long, more where very many short ones are started "
        "(https://developer.nvidia.com/blog/leveling-up-cuda-performance-on-wsl2-with-new-enhancements/); not by us",
        "not proven as a general figure: it depends on how short the kernels are, and on files, which are slow under "
        "/mnt/c",
    )


def driver() -> Evidence:
    toolkits = facts().cuda_toolkits
    first = next(t for t in toolkits if t.version == "11.6.0")
    named_driver = [t.version for t in toolkits if t.driver_linux == "470.82.01"]
    family = facts().cuda_family("11.6")
    assert family
    return Evidence(
        f"CUDA 11.6.0 comes with driver {first.driver_linux}; programs built for it run from {family.linux} on, as all "
        f"of CUDA 11 does. 470.82.01 comes with CUDA {' and '.join(sorted(named_driver))}",
        f"published by NVIDIA: {first.source}",
        "wrong: neither the driver it comes with nor the oldest that runs it",
    )


CLAIMS = (
    ("GPT-2 needs 4 GB for inference in fp16", gpt2_inference),
    ("GPT-2 needs 8 GB or more for training", gpt2_training),
    ("GPT-2 medium in fp16 takes about 6.8 GB", medium),
    ("Dynamic int8 makes a model 4 times smaller and 2 to 3 times faster", int8_size),
    ("INT8 saves 75 % of the memory", int8_memory),
    ("Pruning 30 % of the layers saves 40 % of the memory", pruning),
    ("A GTX 1660 Super (6 GB) trains ResNet-50 at batch 32", gtx_1660),
    ("8 GB: batch 4; 4 GB: batch 2", small_batches),
    ("RTX 3060, 224 x 224, batch 4: 6.5 GB", rtx_3060),
    ("16 GB of RAM, or twice the VRAM", twice_the_memory),
    ("NVMe in place of SATA: 6 times as fast", disks),
    ("WSL2 costs 10 to 15 %", wsl),
    ("CUDA 11.6 needs driver 470.82.01", driver),
)

HEAD = """# Advice that circulates, and what is true of it

Written by `python tools/refresh_claims.py`; a test runs it again and compares. "The estimator" is what
`envdoctor estimate` computes, "allocated" what the tensors take, and "the process" that with CUDA's context and
libraries. ResNet-50 is trained with SGD and momentum in fp32 on images of 224 pixels, unless another type is named.
MemTracker is torch's own count of its tensors (torch 2.13.0, benchmarks/memory_truth); speeds on a CPU are of two
threads of an AMD EPYC. A predicted speed may be off by a factor of two. MiB are 2^20 bytes, GiB 2^30.
"""


def page() -> str:
    """Write the page."""
    parts = [HEAD]
    for claim, evidence in CLAIMS:
        estimated, measured, verdict = evidence()
        parts.append(f"\n## {claim}\n\n- The estimator: {estimated}.\n- Measured: {measured}.\n- Verdict: {verdict}.\n")
    return "".join(parts)


def main() -> int:
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
