"""Add up a tensor over several processes: `python allreduce.py --backend nccl --processes 2`, one GPU for each.

With gloo it runs on the CPU. The exit status is 0 if every process has the sum.
"""

import argparse
import os
import subprocess
import sys
import tempfile

LENGTH = 1 << 20


def take_part(backend, rank, processes, store):
    """Be one of the processes; tells whether the sum is right."""
    import torch
    from torch import distributed

    if backend == "nccl":
        torch.cuda.set_device(rank)
    distributed.init_process_group(backend, init_method="file://" + store, rank=rank, world_size=processes)
    device = "cuda:%d" % rank if backend == "nccl" else "cpu"
    numbers = torch.full((LENGTH,), float(rank + 1), device=device)
    distributed.all_reduce(numbers)
    right = bool((numbers == processes * (processes + 1) / 2).all())
    distributed.destroy_process_group()
    return right


def main():
    """Start the processes, or be one of them; give the exit status."""
    parser = argparse.ArgumentParser(description="Prove that processes can add up a tensor.")
    parser.add_argument("--backend", choices=("nccl", "gloo"), default="nccl")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--store", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rank is not None:
        return 0 if take_part(options.backend, options.rank, options.processes, options.store) else 1
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, os.path.abspath(__file__), "--backend", options.backend]
        command += ["--processes", str(options.processes), "--store", os.path.join(folder, "store")]
        children = [subprocess.Popen([*command, "--rank", str(rank)]) for rank in range(options.processes)]
        return max(abs(child.wait()) for child in children)


if __name__ == "__main__":
    sys.exit(main())
