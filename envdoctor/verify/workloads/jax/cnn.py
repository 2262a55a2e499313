"""Prove an environment of JAX with a network for images: ResNet-18, or another with `--model`.

Random weights, nothing is downloaded. Start it by hand with `python cnn.py --device auto`.
"""

import os
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "proving"))

import telling

run = telling.Run("cnn", "jax", ("resnet18", "resnet50", "mobilenetv2"))
with run.importing():
    import engine
    import proof


def work(run):
    """Do everything this workload proves."""
    proof.prove_cnn(run, engine.use(run))


if __name__ == "__main__":
    sys.exit(run.through(work))
