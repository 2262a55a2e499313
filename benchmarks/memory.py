"""How far the walk is from measured memory, by group: allocated and reserved bytes.

    python benchmarks/memory.py --worst 5
    python benchmarks/memory.py --peers /tmp/peers/bin/python     # asks other estimators anew, and keeps what they say

Rows: tests/estimate/memory_truth.json (what measured them stands in it), and more_truth.json, which memory_truth/ made.
A row that says that the harness measured it wrong is listed and in no goal. Error: predicted / measured - 1; a negative
one is the dangerous side. The other estimators' figures are beside the allocated bytes; they are kept in
memory_peers.json, with their releases and the day.
Goals: allocated median <= 0.5 %, worst <= 5 %, none more than 2 % under; reserved median <= 2 %.
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

from measured import architecture_of, more_rows, rows, workload_of

from envdoctor.estimate.models import Architecture
from envdoctor.estimate.walk import walk
from envdoctor.model.estimate import Memory, Workload

HEAD = f"{'group':24} {'rows':>4}  {'allocated: median, under, over, < 5 %':>40}  {'reserved: the same':>40}  {'ms':>9}"


HERE = Path(__file__).resolve().parent
KEPT = HERE / "memory_peers.json"


class Compared:
    """One row beside its estimate."""

    def __init__(self, row: dict[str, Any], workload: Workload, memory: Memory, seconds: float) -> None:
        allocated, reserved = row["peak_alloc_blocks_sim"], row["peak_reserved_sim"]
        self.measured = allocated
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


def ask_peers(python: str, truth: list[dict[str, Any]]) -> None:
    """Ask the other estimators that an interpreter has for every row, and keep what they say."""
    optional = {"seq": None, "lora_rank": None, "attn": "sdpa", "grad_ckpt": False}
    given = "".join(json.dumps({**optional, **row}) + "\n" for row in truth)
    command = [python, str(HERE / "memory_peers.py")]
    said = subprocess.run(command, input=given, capture_output=True, text=True, check=True).stdout.splitlines()
    releases, *answers = map(json.loads, said)
    kept = {"date": date.today().isoformat(), "versions": releases, "answers": answers}
    KEPT.write_text(json.dumps(kept).replace("}, ", "},\n") + "\n", encoding="utf-8")


def peer_lines(compared: list[Compared]) -> list[str]:
    """Set the kept figures of each peer beside ours for the rows that it answers."""
    if not KEPT.exists():
        return ["no other estimator was asked: --peers PYTHON"]
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    if len(kept["answers"]) != len(compared):
        return ["the kept figures of other estimators are of other rows: --peers PYTHON"]
    lines = [f"other estimators, asked on {kept['date']}: allocated bytes, and ours on the same rows"]
    for peer, release in kept["versions"].items():
        for mode in ("inference", "training"):
            pairs = [
                (answer[peer] / each.measured - 1, each.allocated)
                for each, answer in zip(compared, kept["answers"], strict=True)
                if peer in answer and each.workload.mode == mode and each.harness_error is None
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


def main() -> int:
    """Print the table; 1: a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worst", type=int, default=0, help="also print this many of the worst rows")
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter with vram-check, hf-vram-calc and vramcalc")
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
    for c in sorted(compared, key=lambda c: -abs(c.allocated))[: asked.worst]:
        print(f"{c.allocated:+.2%} allocated, {c.reserved:+.2%} reserved, peak in {c.memory.peak_in}: {c.workload}")
    print("\n".join(peer_lines(everything)))
    for c in everything:
        if c.harness_error is not None:
            print(f"not counted, {c.allocated:+.2%} allocated: {c.group} batch {c.workload.batch}: {c.harness_error}")
    allocated = [c.allocated for c in compared]
    good = median(map(abs, allocated)) <= 0.005 and max(map(abs, allocated)) <= 0.05 and min(allocated) >= -0.02
    return 0 if good and median(abs(c.reserved) for c in compared) <= 0.02 else 1


if __name__ == "__main__":
    sys.exit(main())
