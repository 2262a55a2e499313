"""Print what `envdoctor run` costs beside the program it watches: CPU as a share of the time that goes by, in one run.

Usage: python benchmarks/run.py [--seconds N]

The program sleeps and wakes a hundred times a second. The start of envdoctor is taken out: it is measured with a
program that ends at once.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys


def cpu(*argv: str) -> float:
    """Give the CPU seconds of a program and all its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure both, and print a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    seconds = parser.parse_args().seconds
    watch = (sys.executable, "-m", "envdoctor", "run", "--")
    code = f"import time\nend = time.monotonic() + {seconds}\nwhile time.monotonic() < end: time.sleep(0.01)"
    idle = (sys.executable, "-c", "pass")
    bare, watched = cpu(sys.executable, "-c", code), cpu(*watch, sys.executable, "-c", code)
    start = cpu(*watch, *idle) - cpu(*idle)
    share = (watched - bare - start) / seconds
    print(f"watching costs {share:.2%} of one core (goal: below 1 %); starting it {start:.2f} s once")


if __name__ == "__main__":
    main()
