"""How far the walk is from measured memory, by group: allocated and reserved bytes.

    python benchmarks/memory.py --worst 5
    python benchmarks/memory.py --peers /tmp/peers/bin/python     # asks other estimators anew, and keeps what they say

Rows: tests/estimate/memory_truth.json (what measured them stands in it), and more_truth.json, which memory_truth/ made.
A row that says that the harness measured it wrong is listed and in no goal. Error: predicted / measured - 1; a negative
one is the dangerous side. The other estimators' figures are beside the allocated bytes; they are kept in
memory_peers.json, with their releases and the day.
Then what others published of their GPUs: nvidia-smi's figure beside the likely one, torch's own counters beside ours.
Goals: allocated median <= 0.5 %, worst <= 5 %, none more than 2 % under; reserved median <= 2 %; nine of ten published
figures within 10 %, and no run that happened called out-of-memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

from measured import architecture_of, more_rows, published_measurements, published_runs, rows, workload_of

from envdoctor.estimate import engine
from envdoctor.estimate.models import Architecture
from envdoctor.estimate.walk import walk
from envdoctor.model.estimate import Memory, Workload

HEAD = f"{'group':24} {'rows':>4}  {'allocated: median, under, over, < 5 %':>40}  {'reserved: the same':>40}  {'ms':>9}"


HERE = Path(__file__).resolve().parent
KEPT = HERE / "memory_peers.json"


def settings(row: dict[str, Any]) -> str:
    """Name a row by what it ran, whatever is written of it and wherever it stands."""
    usual = {"foreach": True, "weight_decay": 0.0, "attn": "sdpa", "kv_cache": False, "logits": "all"}
    usual |= {"accumulation": 1, "lora_rank": None, "resolution": None, "seq": None, "grad_ckpt": False}
    always = ("model", "mode", "batch", "dtype", "optimizer")
    named = [str(row[name]) for name in always]
    return " ".join(named + [f"{name}={row[name]}" for name, value in usual.items() if row.get(name, value) != value])


class Compared:
    """One row beside its estimate."""

    def __init__(self, row: dict[str, Any], workload: Workload, memory: Memory, seconds: float) -> None:
        allocated, reserved = row["peak_alloc_blocks_sim"], row["peak_reserved_sim"]
        self.measured = allocated
        self.settings = settings(row)
        self.harness_error: str | None = row.get("harness_error")
        self.workload = workload
        self.memory = memory
        self.allocated = memory.allocated_bytes / allocated - 1
        self.reserved = memory.reserved_bytes / reserved - 1
        self.seconds = seconds

    @property
    def group(self) -> str:
        model = self.workload.model
        family = "resnet" if model.startswith("resnet") else model.removesuffix(".json").split("-")[0]
        return f"{family} {self.workload.mode}"


def compare(truth: list[dict[str, Any]]) -> list[Compared]:
    """Walk every truth row."""
    models: dict[str, Architecture] = {}
    compared = []
    for row in truth:
        workload = workload_of(row)
        if row["model"] not in models:
            models[row["model"]] = architecture_of(row["model"])
        start = process_time()
        memory = walk(workload, models[row["model"]])
        compared.append(Compared(row, workload, memory, process_time() - start))
    return compared


def compare_out_of_place(truth: list[dict[str, Any]]) -> list[Compared]:
    """Walk every row with gradients that meet added into a third tensor, as autograd adds fake ones.

    Real tensors it adds in place (torch/csrc/autograd/input_buffer.cpp), and so does the estimate. What this changes is
    the harness's own part of the errors: nearly all of those of reserved bytes.
    """
    functions, shared = vars(engine), (0, 0)
    real = functions["holders"]
    functions["holders"] = lambda *_: shared
    try:
        return compare(truth)
    finally:
        functions["holders"] = real


def ask_peers(python: str, truth: list[dict[str, Any]]) -> None:
    """Ask the other estimators that an interpreter has for every row, and keep what they say."""
    optional = {"seq": None, "lora_rank": None, "attn": "sdpa", "grad_ckpt": False, "resolution": None}
    given = "".join(json.dumps({**optional, **row}) + "\n" for row in truth)
    command = [python, str(HERE / "memory_peers.py")]
    said = subprocess.run(command, input=given, capture_output=True, text=True, check=True).stdout.splitlines()
    releases, *answers = map(json.loads, said)
    named = {settings(row): answer for row, answer in zip(truth, answers, strict=True)}
    kept = {"date": date.today().isoformat(), "versions": releases, "answers": named}
    KEPT.write_text(json.dumps(kept).replace("}, ", "},\n") + "\n", encoding="utf-8")


def peer_lines(compared: list[Compared]) -> list[str]:
    """Set the kept figures of each peer beside ours for the rows that it answers."""
    if not KEPT.exists():
        return ["no other estimator was asked: --peers PYTHON"]
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    unasked = sum(each.settings not in kept["answers"] for each in compared)
    lines = [f"other estimators were not asked about {unasked} rows: --peers PYTHON"] if unasked else []
    lines += [f"other estimators, asked on {kept['date']}: allocated bytes, and ours on the same rows"]
    for peer, release in kept["versions"].items():
        for mode in ("inference", "training"):
            pairs = [
                (answer[peer] / each.measured - 1, each.allocated)
                for each in compared
                if peer in (answer := kept["answers"].get(each.settings, {}))
                and each.workload.mode == mode
                and each.harness_error is None
            ]
            if pairs:
                theirs, ours = errors([p[0] for p in pairs]), errors([p[1] for p in pairs])
                lines.append(f"{peer + ' ' + release:18} {mode:10} {theirs:>40}  ours {ours:>40}")
    return lines


def errors(values: list[float]) -> str:
    near = sum(abs(v) < 0.05 for v in values)
    middle = median(abs(v) for v in values)
    return f"{middle:8.3%} {min(values):+8.2%} {max(values):+8.2%} {near:>4}/{len(values):<4}"


def line(name: str, group: list[Compared]) -> str:
    allocated, reserved = errors([c.allocated for c in group]), errors([c.reserved for c in group])
    times = [1000 * c.seconds for c in group]
    return f"{name:24} {len(group):4}  {allocated:>40}  {reserved:>40}  {median(times):4.1f} {max(times):4.1f}"


def publications() -> bool:
    """Print how far what others published is from ours; True: nine of ten figures are near, and no verdict is wrong."""
    measurements, runs = published_measurements(), published_runs()
    near = sum(abs(each.error) <= 0.1 for each in measurements)
    refused = [name for name, judged in runs.items() if judged == "out-of-memory"]
    print(f"published figures: {errors([each.error for each in measurements])} within 5 %, {near} within 10 %")
    print(f"published runs: {len(runs)}, of which called out-of-memory: {', '.join(refused) or 'none'}")
    return near >= 0.9 * len(measurements) and not refused


def main() -> int:
    """Print the table; 1: a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worst", type=int, default=0, help="also print this many of the worst rows")
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter with the estimators of memory_peers.py")
    asked = parser.parse_args()
    truth = [*rows(), *more_rows()]
    if asked.peers:
        ask_peers(asked.peers, truth)
    everything = compare(truth)
    compared = [c for c in everything if c.harness_error is None]
    print(HEAD)
    for group in sorted({c.group for c in compared}):
        print(line(group, [c for c in compared if c.group == group]))
    print(line("all", compared))
    print(line("added as fake ones are", [c for c in compare_out_of_place(truth) if c.harness_error is None]))
    for c in sorted(compared, key=lambda c: -abs(c.allocated))[: asked.worst]:
        print(f"{c.allocated:+.2%} allocated, {c.reserved:+.2%} reserved, peak in {c.memory.peak_in}: {c.workload}")
    print("\n".join(peer_lines(everything)))
    for c in everything:
        if c.harness_error is not None:
            print(f"not counted, {c.allocated:+.2%} allocated: {c.group} batch {c.workload.batch}: {c.harness_error}")
    agreed = publications()
    allocated = [c.allocated for c in compared]
    good = median(map(abs, allocated)) <= 0.005 and max(map(abs, allocated)) <= 0.05 and min(allocated) >= -0.02
    return 0 if good and agreed and median(abs(c.reserved) for c in compared) <= 0.02 else 1


if __name__ == "__main__":
    sys.exit(main())
