"""Print what `envdoctor diagnose` and `--help` cost, beside a bare interpreter and the rivals, as ratios in one run.

Usage: python benchmarks/diagnose.py [--runs N] [--rivals] [--torch-python PATH]

CPU time is user + system of the process and its children. Rivals are installed from the configured package index, each
in a virtual environment of its own below the system's temporary folder; `--torch-python` names an interpreter with
torch for `torch.utils.collect_env`.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from pathlib import Path

RIVALS = {
    "env-doctor check": ("env-doctor", ("env-doctor", "check")),
    "cuda-doctor diagnose": ("cuda-doctor", ("cuda-doctor", "diagnose")),
    "rigsolve check": ("rigsolve", ("rigsolve", "check")),
}


def measure(command: tuple[str, ...], runs: int) -> tuple[float, float]:
    """Give the medians of CPU and wall seconds over `runs` runs, after one that warms the caches."""
    cpu, wall = [], []
    for number in range(runs + 1):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
        )
        after, ended = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        if number:
            cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
            wall.append(ended - started)
    return statistics.median(cpu), statistics.median(wall)


def install(name: str) -> Path | None:
    """Install a rival in its own environment and give its folder of programs; None: it cannot be had."""
    folder = Path(tempfile.gettempdir()) / "envdoctor-rivals" / name
    programs = folder / "bin"
    if not (programs / "pip").exists():
        venv.create(folder, with_pip=True)
    done = subprocess.run((programs / "pip", "install", "--quiet", name), capture_output=True, check=False)
    return programs if done.returncode == 0 else None


def main() -> None:
    """Measure everything in one run, and print a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--rivals", action="store_true", help="install and measure the rivals too")
    parser.add_argument("--torch-python", help="an interpreter that has torch, for collect_env")
    options = parser.parse_args()
    envdoctor = str(Path(sysconfig.get_path("scripts")) / "envdoctor")
    commands: dict[str, tuple[str, ...]] = {
        "python -c pass": (sys.executable, "-c", "pass"),
        "envdoctor --help": (envdoctor, "--help"),
        "envdoctor diagnose --help": (envdoctor, "diagnose", "--help"),
        "envdoctor diagnose": (envdoctor, "diagnose"),
        "envdoctor diagnose --format json": (envdoctor, "diagnose", "--format", "json"),
    }
    if options.torch_python:
        commands["envdoctor diagnose --python TORCH"] = (envdoctor, "diagnose", "--python", options.torch_python)
        commands["torch.utils.collect_env"] = (options.torch_python, "-m", "torch.utils.collect_env")
    if options.rivals:
        for title, (name, command) in RIVALS.items():
            programs = install(name)
            if programs is None or not (programs / command[0]).exists():
                print(f"{title}: cannot be installed here", file=sys.stderr)
                continue
            commands[title] = (str(programs / command[0]), *command[1:])
    base = None
    machine = f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs"
    print(f"{'command':<36} {'CPU ms':>8} {'ratio':>7} {'wall ms':>8}   {machine}")
    for title, argv in commands.items():
        runs = options.runs if "doctor" in title or "pass" in title else max(3, options.runs // 5)
        cpu, wall = measure(argv, runs)
        base = base or cpu
        print(f"{title:<36} {cpu * 1000:8.1f} {cpu / base:7.2f} {wall * 1000:8.1f}", flush=True)


if __name__ == "__main__":
    main()
