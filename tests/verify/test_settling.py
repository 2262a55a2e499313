"""What a trial does to a model, in a real torch: one process that looks at all of it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from envdoctor.verify.runner import SCRIPTS

pytestmark = pytest.mark.torch

LOOK = """
import json, os, sys
sys.path[:0] = [os.path.join(sys.argv[1], "proving"), os.path.join(sys.argv[1], "torch")]
import torch
import settling
from decoder import Gpt2
from subjects import Pictures, Texts

found = {}
pictures = Pictures("mobilenetv2", 64, "cpu", 0)
plain = {"precision": "fp32", "pruned": False, "channels_last": False, "runtime": "eager"}

def settled(**changes):
    torch.manual_seed(3)
    model = pictures.build().eval()
    return settling.settled(torch, model, dict(plain, **changes), "cpu", pictures)

with torch.no_grad():
    expected = settled()(pictures.sample())
    for name, changes in {
        "same": {}, "bf16": {"precision": "bf16"}, "int8": {"precision": "int8"}, "pruned": {"pruned": True},
        "channels_last": {"channels_last": True},
    }.items():
        model = settled(**changes)
        inputs = settling.cast(torch, pictures.sample(), dict(plain, **changes), "cpu")
        same, moved = settling.agreement(torch, model(inputs), expected)
        found[name] = {"file": settling.file_bytes(torch, model), "same": same, "moved": moved}

found["dropped"] = len(settled().blocks) - len(settled(pruned=True).blocks)
found["droppable"] = len(pictures.droppable(settled()))

texts = Texts("gpt2", 16, "cpu", 0)
small = Gpt2(64, 32, 32, 6, 2)
kept = [id(each) for each in small.layers]
settling.drop(texts.droppable(small))
found["layers"] = [kept.index(id(each)) for each in small.layers]
small.eval()
texts.decoder.VOCABULARY = 64
seconds, last = texts.infer(small, texts.inputs(2), lambda: None)
found["written"] = list(last.shape)

gradients = []
for twice in (False, True):
    torch.manual_seed(5)
    model = Gpt2(64, 32, 32, 2, 2)
    if twice:
        settling.checkpoint(model, texts.layers(model))
    texts.generator.manual_seed(1)
    texts.loss(model, texts.labelled(2)).backward()
    gradients.append(model.wte.weight.grad)
found["gradients"] = bool(torch.allclose(*gradients))

held = torch.zeros(64 << 20)  # 256 MiB
held.fill_(1)
del held
settling.forget_peak(torch, "cpu")
from machine import host_peak_bytes
before = host_peak_bytes()
held = torch.ones(32 << 20)
found["peak_rises"] = host_peak_bytes() - before
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def seen(torch_python: str) -> dict[str, Any]:
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [torch_python, "-W", "ignore", "-c", LOOK, str(Path(SCRIPTS))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_is_unchanged_agrees_wholly(seen: dict[str, Any]) -> None:
    assert (seen["same"]["same"], seen["same"]["moved"]) == (1.0, 0.0)
    assert seen["channels_last"]["moved"] < 1e-4


def test_files_are_measured(seen: dict[str, Any]) -> None:
    whole = seen["same"]["file"]
    assert whole == pytest.approx(4 * 3_504_872, rel=0.03)  # the weights and the running means
    assert seen["bf16"]["file"] == pytest.approx(whole / 2, rel=0.05)
    # Only the classifier is linear: 1,281,000 of the weights take a byte in place of four.
    assert seen["int8"]["file"] == pytest.approx(whole - 3 * 1_281_000, rel=0.03)
    assert seen["pruned"]["file"] < 0.95 * whole


def test_changes_of_the_model_move_its_outputs(seen: dict[str, Any]) -> None:
    assert 0 < seen["bf16"]["moved"] < 0.1 and 0 < seen["int8"]["moved"] < 0.1
    assert seen["pruned"]["moved"] > seen["bf16"]["moved"]


def test_a_quarter_of_the_layers_that_can_go_goes(seen: dict[str, Any]) -> None:
    assert (seen["droppable"], seen["dropped"]) == (10, 3)
    assert seen["layers"] == [0, 1, 2, 4, 5]  # of six: neither the first nor the last
    assert seen["written"] == [2, 64]


def test_layers_that_are_computed_twice_give_the_same_gradients(seen: dict[str, Any]) -> None:
    assert seen["gradients"] is True


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="the peak is counted anew on Linux alone")
def test_the_peak_counts_from_where_it_was_forgotten(seen: dict[str, Any]) -> None:
    assert seen["peak_rises"] == pytest.approx(128 << 20, rel=0.1)
