"""Prove an environment of JAX with a language model: GPT-2 small, or medium with `--model gpt2-medium`.

Random weights, nothing is downloaded. Start it by hand with `python gpt2.py --device auto`.
"""

import os
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "proving"))

import telling

run = telling.Run("gpt2", "jax", ("gpt2", "gpt2-medium"))
with run.importing():
    import engine
    import proof


def work(run):
    """Do everything this workload proves."""
    proof.prove_gpt2(run, engine.use(run))


if __name__ == "__main__":
    sys.exit(run.through(work))
