"""What it costs to choose a stack: one `provision --dry-run`, and a thousand queries in one process.

    python benchmarks/resolver.py

The bounds: 0.25 s of CPU time for the command, 5 ms for the median query.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from random import Random

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.stack import Request, Target, TargetGpu
from envdoctor.resolver.choice import resolve

QUERIES = 1000
COMMANDS = (
    ("--cuda", "11.8"),
    ("--gpu", "RTX 5090", "--driver", "575.57.08"),
    ("--framework", "tensorflow", "--gpu", "RTX 3060", "--driver", "550.54.14"),
    ("--framework", "jax", "--gpu", "RTX 3060", "--driver", "580.95.05"),
    ("--with", "vllm,transformers", "--gpu", "RTX 4090", "--driver", "580.95.05"),
)
COMMAND_BOUND, QUERY_BOUND = 0.25, 0.005


def command(options: tuple[str, ...]) -> float:
    """Give the CPU seconds of one command, the best of three."""
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        argv = (sys.executable, "-m", "envdoctor", "provision", "--dry-run", *options)
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)


def queries(framework: str) -> list[float]:
    """Give the CPU seconds of each of a thousand queries, the tables being read already."""
    facts, random = Knowledge(), Random(1)
    capabilities = [row.capability for row in facts.architectures if not row.integrated]
    drivers = [row.first for row in facts.driver_branches]
    spent = []
    for _ in range(QUERIES):
        request = Request(
            framework=framework,  # type: ignore[arg-type]
            cuda=random.choice(("auto", "auto", "11.8", "12.6")),
            python=random.choice((None, "3.10", "3.12")),
        )
        target = Target(
            os=random.choice(("linux", "wsl2", "windows")),
            driver=random.choice(drivers),
            gpus=(TargetGpu(vendor="nvidia", capability=random.choice(capabilities)),),
        )
        begun = time.process_time()
        resolve(request, target, facts)
        spent.append(time.process_time() - begun)
    return spent


def main() -> int:
    over = False
    for options in COMMANDS:
        seconds = command(options)
        over |= seconds > COMMAND_BOUND
        print(f"{seconds:6.3f} s CPU   provision --dry-run {' '.join(options)}")
    for framework in ("torch", "tensorflow", "jax"):
        spent = queries(framework)
        median, slow = statistics.median(spent), statistics.quantiles(spent, n=100)[94]
        over |= median > QUERY_BOUND
        print(f"{median * 1000:6.2f} ms median, {slow * 1000:.2f} ms for 95 in 100: {QUERIES} queries, {framework}")
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
