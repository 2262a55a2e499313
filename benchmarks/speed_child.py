"""Time real steps on this processor, for benchmarks/speed.py: one JSON row in, one JSON line out.

Runs in the interpreter that has torch, torchvision and transformers; imports nothing of envdoctor.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as functional

TORCHVISION = {"mobilenetv2": "mobilenet_v2"}  # where its name is another


def network(name: str) -> Any:
    """Give the library's network with random weights."""
    # torchvision's kernels need its own build of torch. Its models use none of them, but its import, which transformers
    # does too, describes two that must then exist.
    for kernel in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, kernel):
            torch.library.define("torchvision::" + kernel, "(Tensor boxes, Tensor scores, float threshold) -> Tensor")
    if name.startswith("gpt2"):
        transformers = importlib.import_module("transformers")
        return transformers.GPT2LMHeadModel(transformers.GPT2Config())
    return importlib.import_module("torchvision.models").get_model(TORCHVISION.get(name, name), weights=None)


def once(row: dict[str, Any]) -> Callable[[], object]:
    """Give the function that does one step of a row."""
    half = torch.autocast("cpu", dtype=torch.bfloat16, enabled=row["dtype"] == "amp-bf16")
    model, text = network(row["model"]), row["model"].startswith("gpt2")
    if row["dtype"] == "bf16":
        model = model.bfloat16()
    if text:
        given = labels = torch.randint(0, 50257, (row["batch"], row["seq_len"]))
    else:
        given, labels = torch.randn(row["batch"], 3, 224, 224), torch.randint(0, 1000, (row["batch"],))
    if row["stage"] == "training":
        return _training(model.train(), given, labels, row["optimizer"], half)
    model.eval()
    if row["stage"] == "decode":
        return _writing(model, given, half)
    options = {"use_cache": True, "logits_to_keep": 1} if row["stage"] == "prefill" else {"use_cache": False}

    def infer() -> None:
        with torch.no_grad(), half:
            model(input_ids=given, **options) if text else model(given)

    return infer


def _training(model: Any, given: Any, labels: Any, optimizer: str, half: Any) -> Callable[[], object]:
    weights = model.parameters()
    adam = optimizer == "adamw"
    chosen: Any = torch.optim.AdamW(weights) if adam else torch.optim.SGD(weights, lr=0.01, momentum=0.9)

    def step() -> None:
        chosen.zero_grad()
        with half:
            if given.dtype == torch.int64:
                loss = model(input_ids=given, labels=labels, use_cache=False).loss
            else:
                loss = functional.cross_entropy(model(given), labels)
        loss.backward()
        chosen.step()

    return step


def _writing(model: Any, given: Any, half: Any) -> Callable[[], object]:
    with torch.no_grad():
        past = model(input_ids=given, use_cache=True).past_key_values

    def write() -> None:
        with torch.no_grad(), half:
            model(input_ids=given[:, :1], past_key_values=past, use_cache=True)
        past.crop(-1)

    return write


def fastest(step: Callable[[], object], clock: Callable[[], float], budget: float) -> float:
    """Give the seconds of the fastest step of as many as fit into the budget, at least three after one to warm up."""
    step()
    best, count, end = float("inf"), 0, time.perf_counter() + budget
    while count < 3 or time.perf_counter() < end:
        begun = clock()
        step()
        best = min(best, clock() - begun)
        count += 1
    return best


def main() -> None:
    """Time the row on one thread, in the process's own time, and on all threads by the clock."""
    row = json.loads(sys.argv[1])
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    step = once(row)
    torch.set_num_threads(1)
    alone = fastest(step, time.process_time, row["budget"])
    torch.set_num_threads(threads)
    print(json.dumps({"alone": alone, "together": fastest(step, time.perf_counter, row["budget"])}))


if __name__ == "__main__":
    main()
