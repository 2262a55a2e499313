"""What it costs to estimate: the command beside a bare interpreter, and the walks themselves.

    python benchmarks/estimate.py

The bounds: 0.15 s of CPU time for one command, 1 s for the table of every card, 20 ms for a walk.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from functools import partial
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

from envdoctor.estimate import models
from envdoctor.estimate.walk import walk
from envdoctor.model.estimate import Workload

RUNS = 7
COMMAND_BOUND, TABLE_BOUND, WALK_BOUND = 0.15, 1.0, 0.02
TRAINING = ("--mode", "training")
COMMANDS = {
    "fits": ("resnet50", *TRAINING, "--batch", "32", "--gpu", "GTX 1660 Super"),
    "does not fit": ("gpt2", *TRAINING, "--batch", "8", "--memory", "8GiB"),
    "largest model": ("gpt2-xl", "--dtype", "fp16", "--gpu", "RTX 3060"),
    "largest, no room": ("gpt2-xl", *TRAINING, "--batch", "8", "--memory", "8GiB"),
    "largest, some room": ("gpt2-xl", *TRAINING, "--batch", "8", "--dtype", "amp-fp16", "--memory", "40GiB"),
}
TABLES = {
    "every card": ("gpt2", *TRAINING, "--for-gpus"),
    "every card, images": ("resnet50", *TRAINING, "--for-gpus"),
}
WALKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("resnet50", {"optimizer": "sgd"}),
    ("resnet152", {"optimizer": "sgd"}),
    ("gpt2", {"optimizer": "adamw"}),
    ("gpt2-xl", {"optimizer": "adamw"}),
    ("gpt2-xl", {"optimizer": "adamw", "dtype": "amp-fp16"}),
    ("gpt2-xl", {"optimizer": "adamw", "dtype": "amp-fp16", "checkpointing": True}),
)


def cpu_seconds(command: tuple[str, ...]) -> float:
    """Give the median CPU seconds of a process and its children, after one run that warms the caches."""
    spent = []
    for number in range(RUNS + 1):
        before = getrusage(RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = getrusage(RUSAGE_CHILDREN)
        if number:
            spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(spent)


def walk_seconds(workload: Workload) -> float:
    """Give the median seconds of one walk."""
    architecture = models.named(workload.model)
    spent = []
    for _ in range(RUNS):
        started = time.process_time()
        walk(workload, architecture)
        spent.append(time.process_time() - started)
    return statistics.median(spent)


def main() -> int:
    """Print a row each; the status is 1 where a bound does not hold."""
    bare = cpu_seconds((sys.executable, "-c", "pass"))
    print(f"bare interpreter      {bare:6.3f} s CPU")
    late = False
    for names, bound in ((COMMANDS, COMMAND_BOUND), (TABLES, TABLE_BOUND)):
        for name, words in names.items():
            spent = cpu_seconds((sys.executable, "-m", "envdoctor", "estimate", *words))
            late = late or spent > bound
            print(f"{name:<21} {spent:6.3f} s CPU, {spent / bare:4.1f} x bare; the bound is {bound} s")
    training = partial(Workload, mode="training", batch=8)
    for model, how in WALKS:
        spent = walk_seconds(training(model=model, **how))
        late = late or spent > WALK_BOUND
        setting = " ".join(key if value is True else value for key, value in how.items())
        print(f"walk of {model:<9} {setting:<22} {1000 * spent:6.1f} ms CPU; the bound is {1000 * WALK_BOUND:.0f} ms")
    return int(late)


if __name__ == "__main__":
    sys.exit(main())
