"""What other estimators say of each row: `PYTHON memory_peers.py < ROWS`, where PYTHON has them.

JSON comes out: first their releases, then a line a row. Closed forms only: vram-check and hf-vram-calc, given the row's
own number of weights; vramcalc reads the config itself. A refusal is left out. Bytes.
"""

from __future__ import annotations

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


PEERS: dict[str, Callable[[Row], int]] = {"vram-check": vram_check, "hf-vram-calc": hf_vram_calc, "vramcalc": vramcalc}


def answers(row: Row) -> dict[str, int]:
    """Give what each says that is there and answers."""
    found = {}
    for name, ask in PEERS.items():
        try:
            found[name] = ask(row)
        except (ImportError, OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
            print(f"{name}: {type(problem).__name__}: {problem}", file=sys.stderr)
    return found


def versions() -> dict[str, str]:
    """Name the peers that are there with their releases."""
    return {name: metadata.version(name) for name in PEERS if importlib.util.find_spec(name.replace("-", "_"))}


if __name__ == "__main__":
    print(json.dumps(versions()))
    for line in sys.stdin:
        print(json.dumps(answers(json.loads(line))))
