"""Print what `envdoctor diagnose --from` costs for pastes of 1 MB; status 1 if one costs over 0.3 s of CPU.

CPU time is user + system of the process, the best of five. The log has a report at its head and an error in its middle;
the other paste is made of every report of the tests, so that every reader has much to read.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

REPORTS = Path(__file__).resolve().parent.parent / "tests" / "reports"
SIZE, BOUND = 1 << 20, 0.3


def filled(lines: Iterator[str]) -> str:
    """Take lines until they are a megabyte."""
    taken, size = [], 0
    for line in lines:
        taken.append(line)
        size += len(line.encode()) + 1
        if size >= SIZE:
            return "\n".join(taken)
    raise ValueError("too few lines")


def log() -> Iterator[str]:
    """Write a training log that never ends."""
    yield from (REPORTS / "causes" / "conda-pip-mixed--collect-env.txt").read_text(encoding="utf-8").splitlines()
    for step in range(1 << 20):
        yield f"2026-01-01 12:00:{step % 60:02d} step {step} loss {step % 997 / 300:.4f} lr 1e-4 tokens/s {step % 977}"
        if step == 7000:
            yield "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB"


def mixture() -> Iterator[str]:
    """Repeat every report of the tests, each line with a number, so that no two are the same."""
    reports = [path.read_text(encoding="utf-8") for path in sorted(REPORTS.glob("*/*.txt"))]
    for number, line in enumerate(cycle([line for report in reports for line in report.splitlines()])):
        yield f"{line} {number}"


def cost(paste: str) -> float:
    """Give the CPU seconds of judging a paste."""
    spent = []
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".txt") as file:
        file.write(paste)
        file.flush()
        for _ in range(5):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            argv = (sys.executable, "-m", "envdoctor", "diagnose", "--from", file.name, "--fail-on", "never")
            subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)


def main() -> int:
    """Measure both."""
    of_log, of_mixture = cost(filled(log())), cost(filled(mixture()))
    print(f"{of_log:6.3f} s CPU   a training log of 1 MB (at most {BOUND})")
    print(f"{of_mixture:6.3f} s CPU   every report of the tests, repeated to 1 MB (at most {BOUND})")
    return int(max(of_log, of_mixture) > BOUND)


if __name__ == "__main__":
    sys.exit(main())
