"""How far predicted speed is from measured: on this processor, on other people's cards, and on rows measured before.

    python benchmarks/speed.py --python PATH     # an interpreter with torch, torchvision and transformers

Each row is timed on one thread, in the process's own time, which other programs cannot stretch, and on all threads by
the clock. The ratio is predicted / measured; predicted is the middle of the range. The goal is a factor of two.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

from measured import rows

from envdoctor.app.calibrating import SCRIPT
from envdoctor.estimate import peaks
from envdoctor.estimate.models import named
from envdoctor.estimate.speed import middle
from envdoctor.estimate.weighing import Walked
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.names import gpu_named
from envdoctor.model.estimate import Peaks, Speed, Workload

CHILD = Path(__file__).resolve().parent / "speed_child.py"
GOAL = 2.0


def images(model: str, batch: int, dtype: str = "fp32", optimizer: str = "none") -> Workload:
    """Describe a step on images of 224 x 224."""
    return Workload(
        model=model,
        batch=batch,
        image_size=224,
        dtype=dtype,  # type: ignore[arg-type]
        optimizer=optimizer,  # type: ignore[arg-type]
        mode="inference" if optimizer == "none" else "training",
    )


def tokens(seq_len: int, dtype: str = "fp32", optimizer: str = "none", cache: bool = False) -> Workload:
    """Describe a step of GPT-2 small."""
    return Workload(
        model="gpt2",
        seq_len=seq_len,
        dtype=dtype,  # type: ignore[arg-type]
        optimizer=optimizer,  # type: ignore[arg-type]
        kv_cache=cache,
        mode="inference" if optimizer == "none" else "training",
    )


HERE_ROWS = (
    images("resnet18", 1),
    images("resnet18", 8),
    images("resnet18", 8, "amp-bf16"),
    images("resnet18", 8, optimizer="sgd"),
    images("resnet50", 1),
    images("resnet50", 8),
    images("resnet50", 4, optimizer="sgd"),
    images("mobilenetv2", 1),
    images("mobilenetv2", 8),
    images("mobilenetv2", 8, optimizer="sgd"),
    tokens(64, cache=True),
    tokens(256, cache=True),
    tokens(64, "bf16", cache=True),
    tokens(128, optimizer="adamw"),
    tokens(256, optimizer="adamw"),
    tokens(128, "amp-bf16", "adamw"),
)

# Rows of ../memory_truth.json that were measured on an AMD EPYC with 2 threads, and what they ran.
EARLIER = {
    ("resnet18_infer_b1", "fp32"): images("resnet18", 1),
    ("resnet18_infer_b8", "fp32"): images("resnet18", 8),
    ("resnet18_infer_b1", "bf16_autocast"): images("resnet18", 1, "amp-bf16"),
    ("resnet18_infer_b8", "bf16_autocast"): images("resnet18", 8, "amp-bf16"),
    ("resnet50_infer_b1", "fp32"): images("resnet50", 1),
    ("resnet50_infer_b8", "fp32"): images("resnet50", 8),
    ("resnet50_infer_b8", "bf16_autocast"): images("resnet50", 8, "amp-bf16"),
    ("mobilenetv2_infer_b1", "fp32"): images("mobilenetv2", 1),
    ("mobilenetv2_infer_b8", "fp32"): images("mobilenetv2", 8),
    ("gpt2_forward_s64", "fp32"): tokens(64),
    ("gpt2_forward_s64", "bf16_autocast"): tokens(64, "amp-bf16"),
    ("gpt2_train_b1_s128", "fp32"): tokens(128, optimizer="adamw"),
    ("gpt2_train_b1_s128", "bf16_autocast"): tokens(128, "amp-bf16", "adamw"),
    ("gpt2_generate_50", "fp32_kv"): tokens(33, cache=True),
    ("gpt2_generate_50_bf16w", "bf16_weights_kv"): tokens(33, "bf16", cache=True),
}

# Images a second of ResNet-50 that NVIDIA measured in its container 21.03, channels last and data included:
# https://github.com/NVIDIA/DeepLearningExamples, PyTorch/Classification/ConvNets/resnet50v1.5/README.md
V100, T4, A100 = "Tesla V100-SXM2-16GB", "Tesla T4", "NVIDIA A100-SXM4-80GB"
PUBLISHED = (
    (V100, images("resnet50", 1), 96),
    (V100, images("resnet50", 8), 709),
    (V100, images("resnet50", 128), 1229),
    (V100, images("resnet50", 32, "amp-fp16"), 2146),
    (V100, images("resnet50", 128, "amp-fp16"), 3249),
    (V100, images("resnet50", 112, optimizer="sgd"), 367),
    (V100, images("resnet50", 256, "amp-fp16", "sgd"), 1200),
    (T4, images("resnet50", 1), 98),
    (T4, images("resnet50", 8), 363),
    (T4, images("resnet50", 128), 426),
    (T4, images("resnet50", 128, "amp-fp16"), 1190),
    (A100, images("resnet50", 256, optimizer="sgd"), 938),
    (A100, images("resnet50", 256, "amp-fp16", "sgd"), 2470),
)


def on_cpu(workload: Workload) -> Workload:
    return msgspec.structs.replace(workload, device="cpu", foreach=False)


def predict(workload: Workload, on: Peaks) -> Speed:
    """Predict; of a model with a cache, the last: writing."""
    return Walked(named(workload.model)).speeds(workload, on)[-1]


def say(what: str, workload: Workload, speed: Speed, measured: float) -> float:
    """Print a row and give its ratio, at least 1; `measured` is seconds."""
    ratio = middle(speed.step_seconds) / measured
    within = "in the range" if speed.step_seconds.low <= measured <= speed.step_seconds.high else ""
    size = f"s{workload.seq_len}" if workload.seq_len else f"b{workload.batch}"
    name = f"{workload.model} {speed.stage} {size} {workload.dtype}"
    low, high = speed.step_seconds.low * 1000, speed.step_seconds.high * 1000
    print(f"{what:12} {name:36} {low:8.1f} to {high:8.1f} ms, measured {measured * 1000:8.1f}: {ratio:.2f} {within}")
    return max(ratio, 1 / ratio)


def calibration(python: str) -> peaks.Calibration:
    done = subprocess.run((python, SCRIPT), capture_output=True, check=True, timeout=120)
    return msgspec.json.decode(done.stdout, type=peaks.Calibration)


def time_row(python: str, workload: Workload, stage: str, budget: float) -> dict[str, float]:
    """Time a step of a row in the interpreter; seconds alone and together."""
    row: dict[str, Any] = {"stage": stage, "budget": budget, **msgspec.to_builtins(workload)}
    argv = (python, "-W", "ignore", str(CHILD), json.dumps(row))
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True, timeout=600)
    timed: dict[str, float] = json.loads(done.stdout)
    return timed


def here(python: str, budget: float) -> tuple[list[float], list[float]]:
    """Compare every row on one thread and on all; calibrate right before each, since a shared machine changes."""
    alone, together = [], []
    for workload in map(on_cpu, HERE_ROWS):
        found = calibration(python)
        one = msgspec.structs.replace(found, threads=1, together=found.alone)
        for number, speed in enumerate(Walked(named(workload.model)).speeds(workload, peaks.measured(one, None))):
            timed = time_row(python, workload, speed.stage, budget)
            alone.append(say("one thread", workload, speed, timed["alone"]))
            all_threads = Walked(named(workload.model)).speeds(workload, peaks.measured(found, None))[number]
            together.append(say("all threads", workload, all_threads, timed["together"]))
    return alone, together


def earlier(python: str) -> list[float]:
    """Compare with what was measured on such a machine before, at its best of several rounds."""
    on = peaks.measured(calibration(python), None)
    ratios = []
    for row in rows("cpu_speed"):
        workload = EARLIER.get((row["test"], row.get("variant", "")))
        if workload is not None and row["loadavg"] < 4:
            seconds = row["wall_min"] / (50 if "generate" in row["test"] else 1)
            ratios.append(say("earlier", on_cpu(workload), predict(on_cpu(workload), on), seconds))
    return ratios


def published() -> list[float]:
    """Compare with measurements of others on their cards."""
    facts, ratios = Knowledge(), []
    for card, workload, rate in PUBLISHED:
        found = gpu_named(facts, card)
        on = found and peaks.of_gpu(found)
        assert on, card
        ratios.append(say(card.split("-")[0].split()[-1], workload, predict(workload, on), workload.batch / rate))
    return ratios


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=os.environ.get("ENVDOCTOR_TEST_TORCH_PYTHON"))
    parser.add_argument("--budget", type=float, default=2.0, help="seconds for each row, at least")
    options = parser.parse_args()
    found = {"published cards": published()}
    if options.python:
        found["one thread"], found["all threads"] = here(options.python, options.budget)
        found["earlier, such a processor"] = earlier(options.python)
    for name, ratios in found.items():
        near = sum(ratio <= GOAL for ratio in ratios)
        print(f"{name}: {near} of {len(ratios)} within a factor of {GOAL:g}; worst {max(ratios):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
