"""The measured memory that estimates are compared with, one row a line, in tests/estimate.

memory_truth.json was given; more_truth.json was made by benchmarks/memory_truth, of the models in configs/ and others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from envdoctor.estimate.models import Architecture, from_config, named
from envdoctor.model.estimate import Workload

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "estimate"
HERE = FOLDER / "memory_truth.json"
MORE = FOLDER / "more_truth.json"
CONFIGS = FOLDER / "configs"

MODES: dict[str, Any] = {"infer": "inference", "train": "training"}
OPTIMIZERS: dict[str, Any] = {"none": "none", "sgdm": "sgd", "adam": "adam", "adamw": "adamw"}


def rows(kind: str = "truth") -> list[dict[str, Any]]:
    """Read the rows of a kind: truth, published, cpu_rss or cpu_speed."""
    found: list[dict[str, Any]] = json.loads(HERE.read_text(encoding="utf-8"))[kind]
    return found


def more_rows() -> list[dict[str, Any]]:
    """Read the rows that benchmarks/memory_truth made."""
    found: list[dict[str, Any]] = json.loads(MORE.read_text(encoding="utf-8"))
    return found


def architecture_of(model: str) -> Architecture:
    """Return what a row's model is: a file in configs, or a name."""
    if not model.endswith(".json"):
        return named(model)
    return from_config(model, json.loads((CONFIGS / model).read_text(encoding="utf-8")))


def workload_of(row: dict[str, Any]) -> Workload:
    """Say what a truth row ran."""
    return Workload(
        model=row["model"],
        mode=MODES[row["mode"]],
        batch=row["batch"],
        image_size=row.get("resolution"),
        seq_len=row.get("seq"),
        dtype=row["dtype"].replace("_", "-"),
        optimizer=OPTIMIZERS[row["optimizer"]],
        weight_decay=row.get("weight_decay", 0.0),
        foreach=row.get("foreach", True),
        attention=row.get("attn", "sdpa"),
        kv_cache=row.get("kv_cache", False),
        logits=row.get("logits", "all"),
        checkpointing=row["grad_ckpt"],
        accumulation=row.get("accumulation", 1),
        lora_rank=row.get("lora_rank"),
    )
