"""The measured memory that estimates are compared with, one row a line, in tests/estimate; and what others published.

memory_truth.json was given; more_truth.json was made by benchmarks/memory_truth, of the models in configs/ and others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from envdoctor.estimate.device import Device, verdict
from envdoctor.estimate.models import NAMES, Architecture, from_config, named
from envdoctor.estimate.weighing import Scales, Walked
from envdoctor.model.estimate import Verdict, Workload

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


class Published(NamedTuple):
    """A measurement that somebody published, and how far the estimate is from it."""

    name: str
    error: float  # predicted / measured - 1
    in_range: bool  # it lies between the ends, give or take a tenth above; torch's own counters have no range


def published_measurements() -> list[Published]:
    """Compare every row that says all of its settings: nvidia-smi's figure with the likely one, torch's with ours."""
    found = []
    for row in rows("published"):
        workload = _published_workload(row)
        if workload is None or not row.get("measured_bytes") or row.get("fits"):
            continue  # where a run filled its card, the figure is that of the card
        scales = Scales(Walked(named(row["model"])))
        name = f"{row['model']} {workload.mode} {workload.batch}"
        if "nvidia-smi" in row["metric"]:
            # GPUMemNet's stack loaded all of CUDA at once: its one-neuron network took 1237 MiB.
            needed = scales.need(workload, Device(capability="8.0", torch="1.12"))
            inside = needed.low <= row["measured_bytes"] <= needed.high * 1.1
            found.append(Published(name, needed.likely / row["measured_bytes"] - 1, inside))
            continue
        memory = scales.memory(workload)
        found.append(Published(name, memory.allocated_bytes / row["measured_bytes"] - 1, in_range=True))
        if reserved := row.get("measured_reserved_bytes"):
            found.append(Published(f"{name} reserved", memory.reserved_bytes / reserved - 1, in_range=True))
    return found


def published_runs() -> dict[str, Verdict]:
    """Judge every run that happened, on the card that it ran on."""
    judged: dict[str, Verdict] = {}
    for row in rows("published"):
        workload = _published_workload(row)
        if workload is None or not row.get("fits") or not row.get("gpu_capacity_bytes"):
            continue
        older = ("2080", "2070", "V100", "RTX", "Titan", "P100")
        capability = "7.5" if row["gpu"].startswith(older) and "3090" not in row["gpu"] else "8.6"
        free = int(row["gpu_capacity_bytes"] * 0.985)
        on = Device(capability=capability, free_bytes=free, torch="1.12")  # the runs are of 2020 to 2022
        needed = Scales(Walked(named(row["model"]))).need(workload, on)
        judged[f"{row['gpu']} {workload.dtype} {workload.batch}"] = verdict(needed, free)
    return judged


def _published_workload(row: dict[str, Any]) -> Workload | None:
    """Give the workload of a published row, where the row says it all and is not of code that keeps other tensors."""
    dtype = {"fp32 (inferred from slope)": "fp32", "amp_fp16": "amp-fp16"}.get(row.get("dtype", ""), row.get("dtype"))
    known = row["model"] in NAMES and row.get("batch") and dtype in ("fp32", "amp-fp16")
    library = row.get("library", "")
    old_code = row["model"].startswith("gpt2") and any(each in library for each in ("2.3 (2019)", "3.x", "nano"))
    if not known or old_code or row["task"] == "train, after forward" or "low" in row.get("trust", ""):
        return None
    training = row["task"].startswith("train")
    name = str(row.get("optimizer", "")).lower()
    optimizer = next((each for each in ("adamw", "adam") if each in name), "sgd") if training else "none"
    return Workload(
        model=row["model"],
        mode="training" if training else "inference",
        batch=row["batch"],
        image_size=row.get("resolution"),
        seq_len=row.get("seq"),
        dtype=dtype,  # type: ignore[arg-type]  # one of two
        optimizer=optimizer,  # type: ignore[arg-type]  # one of four
        weight_decay=1e-4 if optimizer == "sgd" else 0.0,
    )
