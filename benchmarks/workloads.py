"""How much the code of the workloads costs beside the same loop written bare, in one run: the ratio of their times.

    python benchmarks/workloads.py --python ~/dl/bin/python

The two loops take turns in one process, step by step, so that a busy machine slows both; the ratio is of the medians.
Training takes a batch of 32 pictures through a ResNet-18, speed a batch of 8; both say their progress, as they do
under `verify`. Goal: at most 3 %.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent / "envdoctor" / "verify" / "workloads"
GOAL = 1.03
CHILD = """
import json, os, sys, time
scripts, rounds = sys.argv[1], int(sys.argv[2])
sys.argv = ["cnn.py", "--device", "cpu"]
sys.path[:0] = [os.path.join(scripts, "torch"), os.path.join(scripts, "proving")]
import measure, torch
from networks import CLASSES, build, gratings, loss_of

answer = os.dup(1)
reader, writer = os.pipe()  # its progress, which somebody reads, as under verify
os.dup2(writer, 1)
run = measure.Run("cnn", "torch", ("resnet18",))
os.set_blocking(reader, False)
device = run.use(torch)
generator = torch.Generator().manual_seed(0)
model = build("resnet18", CLASSES)
optimizer = torch.optim.SGD(model.parameters(), lr=0.002, momentum=0.9)
batch = gratings(generator, 32, 64)
images = gratings(generator, 8, 224)[0]
whole = build("resnet18", 1000).eval()

def bare_step():
    optimizer.zero_grad()
    loss = loss_of(model, batch)
    loss.backward()
    optimizer.step()
    return loss.item()

def our_step():
    measure.train(torch, run, model, [batch], loss_of, optimizer)

def bare_speed():
    with torch.no_grad():
        for _ in range(4):
            whole(images)

def our_speed():  # one to warm up, and three that are timed
    with torch.no_grad():
        run.pace(lambda: whole(images), 8, 0.0001)

def timed(step):
    begun = time.perf_counter()
    step()
    spent = time.perf_counter() - begun
    try:
        os.read(reader, 1 << 20)
    except BlockingIOError:
        pass
    return spent

found = {}
for name, bare, ours in (("training", bare_step, our_step), ("speed", bare_speed, our_speed)):
    bare(), ours()
    pairs = []
    for turn in range(rounds):
        first, second = (bare, ours) if turn % 2 else (ours, bare)
        one, two = timed(first), timed(second)
        pairs.append((two, one) if turn % 2 else (one, two))
    found[name] = pairs
os.write(answer, json.dumps(found).encode())
"""


def main() -> int:
    """Print the ratios; 1: one of them is above the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="an interpreter with torch")
    parser.add_argument("--rounds", type=int, default=25)
    asked = parser.parse_args()
    argv = [asked.python, "-c", CHILD, str(SCRIPTS), str(asked.rounds)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
    worst = 0.0
    for name, pairs in json.loads(done.stdout).items():
        ours, bare = (sorted(each)[len(pairs) // 2] for each in zip(*pairs, strict=True))
        worst = max(worst, ours / bare)
        print(f"{name:9} {1000 * ours:8.1f} ms with our code, {1000 * bare:8.1f} ms bare: ratio {ours / bare:.4f}")
    print(f"goal: at most {GOAL}")
    return 0 if worst <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
