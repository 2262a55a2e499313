"""What other estimators say of each row: `PYTHON memory_peers.py < ROWS`, where PYTHON has them.

JSON comes out: first their releases, then a line a row. vram-check and hf-vram-calc are given the row's own number of
weights; vramcalc reads the config itself. torch-kitsune and `accelerate estimate-memory` look at the module,
built on torch's device "meta" (memory_truth/networks.py), so that nothing is computed. A refusal is left out. Bytes.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).resolve().parent.parent / "tests" / "estimate" / "configs"
OPTIMIZERS = {"sgdm": "sgd", "adam": "adam", "adamw": "adamw", "none": "none"}
Row = dict[str, Any]


def vram_check(row: Row) -> int:
    """Ask vram-check; mixed precision has fp32 weights."""
    estimate = importlib.import_module("vram_check").estimate
    kind = "fp32" if row["dtype"].startswith("amp") else row["dtype"]
    asked = {"batch_size": row["batch"], "dtype": kind, "optimizer": OPTIMIZERS[row["optimizer"]]}
    trained = row["mode"] == "train"
    return int(estimate(row["n_params"], **asked, training=trained, seq_len=row["seq"] or 128).total_bytes)


def hf_vram_calc(row: Row) -> int:
    """Ask hf-vram-calc, which is for language models."""
    if not row.get("seq"):
        raise ValueError("no language model")
    home = importlib.import_module("hf_vram_calc.calculator")
    calculator = home.VRAMCalculator(importlib.import_module("hf_vram_calc.config").ConfigManager())
    kind = "fp32" if row["dtype"].startswith("amp") else row["dtype"]
    weights = calculator.calculate_model_memory(row["n_params"], kind)
    trained = row["mode"] == "train"
    total = calculator.calculate_training_memory(weights) if trained else calculator.calculate_inference_memory(weights)
    return int(total * 2**30)


def vramcalc(row: Row) -> int:
    """Ask vramcalc, without what it adds for the CUDA context; its inference always has a cache."""
    if row["mode"] == "infer" and not row.get("kv_cache"):
        raise ValueError("inference without a cache")
    config = json.loads((CONFIGS / row["model"]).read_text(encoding="utf-8"))
    mixed = row["dtype"].startswith("amp")
    asked: dict[str, Any] = {"mode": "inference" if row["mode"] == "infer" else "train"}
    if row["mode"] == "train":
        asked |= {"optimizer": OPTIMIZERS[row["optimizer"]], "grad_checkpoint": row["grad_ckpt"]}
        asked |= {"precision": "amp" if mixed else "pure", "lora_rank": row["lora_rank"]}
    asked |= {"dtype": row["dtype"].removeprefix("amp_"), "batch": row["batch"], "seq_len": row["seq"]}
    found = importlib.import_module("vramcalc.estimate").estimate(config, **asked, attn_impl=row["attn"], overhead_gb=0)
    return int(found.total)


def module(row: Row, dtype: str) -> Any:
    """Build the module that a row names, once for each type of its weights."""
    build = importlib.import_module("memory_truth.networks").build
    model = NAMES.get(row["model"], row["model"])
    asked = (model, dtype, row["attn"], row["lora_rank"])
    if asked not in BUILT:
        BUILT.clear()
        BUILT[asked] = build(*asked)
    return BUILT[asked]


def kitsune(row: Row) -> int:
    """Ask torch-kitsune. It has no mixed precision: its weights' type, fp32, is given for that. It gives floats in."""
    torch: Any = importlib.import_module("torch")
    if row["lora_rank"]:
        raise ValueError("adapters")
    kind = "fp32" if row["dtype"].startswith("amp") else row["dtype"]
    model = module(row, kind).train(row["mode"] == "train")
    if row["seq"]:
        model = _of_floats(torch, model)
    shape = (row["seq"],) if row["seq"] else (3, row["resolution"], row["resolution"])
    item = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[kind]
    asked = {"dtype": item, "optimizer": OPTIMIZERS[row["optimizer"]], "training": row["mode"] == "train"}
    predict = importlib.import_module("kitsune.predict").predict_memory
    return int(predict(model, shape, row["batch"], **asked).total_bytes)


def _of_floats(torch: Any, model: Any) -> Any:
    class Ids(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: Any) -> Any:
            return self.model(input_ids=ids.long())[0]

    return Ids()


def accelerate(row: Row) -> int:
    """Ask the two functions of `accelerate estimate-memory`, which itself would look for the model on the Hub."""
    if row["lora_rank"]:
        raise ValueError("adapters")
    sizes = importlib.import_module("accelerate.utils").calculate_maximum_sizes
    total = int(sizes(module(row, "fp32"))[0])
    kind = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}[row["dtype"].removeprefix("amp_")]
    if row["mode"] == "train":
        usage = importlib.import_module("accelerate.commands.estimate").estimate_training_usage
        return int(max(usage(total, kind).values()))
    return total if row["dtype"] in ("fp32", "amp_fp16", "amp_bf16") else total // 2


PEERS: dict[str, Callable[[Row], int]] = {
    "vram-check": vram_check,
    "hf-vram-calc": hf_vram_calc,
    "vramcalc": vramcalc,
    "torch-kitsune": kitsune,
    "accelerate": accelerate,
}
NAMES = {"gpt2": "gpt2.json", "gpt2-medium": "gpt2-medium.json", "mobilenetv2": "mobilenet_v2"}  # what is built
PACKAGES = {"torch-kitsune": "kitsune"}  # what is imported, where it is not the name
BUILT: dict[tuple[Any, ...], Any] = {}


def answers(row: Row) -> dict[str, int]:
    """Give what each says that is there and answers."""
    found = {}
    for name, ask in PEERS.items():
        try:
            found[name] = ask(row)
        except Exception as problem:
            print(f"{name}: {type(problem).__name__}: {problem}", file=sys.stderr)
    return found


def versions() -> dict[str, str]:
    """Name the peers that are there with their releases."""
    places = {name: PACKAGES.get(name, name.replace("-", "_")) for name in PEERS}
    return {name: metadata.version(name) for name, place in places.items() if importlib.util.find_spec(place)}


if __name__ == "__main__":
    print(json.dumps(versions()))
    with contextlib.ExitStack() as stack:
        if importlib.util.find_spec("torch"):
            stack.enter_context(importlib.import_module("torch").device("meta"))
        for line in sys.stdin:
            print(json.dumps(answers(json.loads(line))), flush=True)
