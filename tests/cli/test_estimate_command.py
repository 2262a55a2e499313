from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from envdoctor import errors
from envdoctor.cli import run
from envdoctor.knowledge.load import Knowledge

CARD = ("--gpu", "RTX 3060")
LLAMA = {
    "model_type": "llama",
    "vocab_size": 1000,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
NET = """
import torch

class Net(torch.nn.Sequential):
    def __init__(self):
        super().__init__(
            torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.BatchNorm2d(16), torch.nn.ReLU(inplace=True),
            torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(16, 10),
        )

def make():
    print("a word on standard output")
    return Net()

def raises():
    raise ValueError("this model needs\\x1b[31m a file")

def number():
    return 7

def hangs():
    while True:
        pass
"""


def estimate(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = run(["estimate", *arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    status, out, err = estimate(capsys, *arguments, "--format", "json")
    assert status == errors.FINE, err
    found: dict[str, Any] = json.loads(out)
    return found


def test_the_document_holds_what_was_promised(capsys: pytest.CaptureFixture[str]) -> None:
    training = ("gpt2", "--mode", "training", "--batch", "1", "--seq-len", "1024", "--optimizer", "adamw")
    found = document(capsys, *training, "--gpu", "RTX 3090")
    promised = ["model", "parameters", "parts", "allocated_bytes", "reserved_bytes", "device_bytes", "verdict"]
    promised += ["max_batch", "assumptions"]
    assert [name for name in found if name in promised] == promised
    assert found["model"] == "gpt2"
    assert found["parameters"] == 124439808
    assert set(found["parts"]) == {
        "weights",
        "buffers",
        "gradients",
        "optimizer",
        "activations",
        "temporary",
        "inputs",
    }
    assert set(found["device_bytes"]) == {"low", "high"}
    # MemTracker has 3048 MiB for this workload.
    assert found["allocated_bytes"] == pytest.approx(3048 << 20, rel=0.01)
    assert found["allocated_bytes"] < found["reserved_bytes"]
    assert found["allocated_bytes"] < found["device_bytes"]["low"] < found["device_bytes"]["high"]
    assert found["verdict"] == "fits"
    assert found["max_batch"] > 5
    assert found["workload"]["optimizer"] == "adamw"


def test_the_text_says_what_is_needed_whether_it_fits_and_what_would_help(capsys: pytest.CaptureFixture[str]) -> None:
    training = ("gpt2", "--mode", "training", "--batch", "8", "--memory", "8GiB")
    status, out, _ = estimate(capsys, *training)
    assert status == errors.FINE
    lines = out.splitlines()
    assert lines[0] == "gpt2, training, batch 8, fp32, adamw"
    assert any(line.startswith("  activations") and "####" in line for line in lines)
    told = " ".join(out.split())
    assert "x It does not fit: 8 GiB are free" in told
    assert "The largest batch that surely fits is" in told
    assert "4 accumulation steps, which train as batch 8 does" in told
    assert "assuming samples of 1024 tokens" in told


@pytest.mark.parametrize(
    ("memory", "fail_on", "status"),
    [
        ("8GiB", "out-of-memory", errors.FINDINGS),
        ("8GiB", "tight", errors.FINDINGS),
        ("15GiB", "tight", errors.FINDINGS),
        ("15GiB", "out-of-memory", errors.FINE),
        ("40GiB", "tight", errors.FINE),
    ],
)
def test_it_fails_only_when_asked(capsys: pytest.CaptureFixture[str], memory: str, fail_on: str, status: int) -> None:
    training = ("gpt2", "--mode", "training", "--batch", "8", "--memory", memory)
    assert estimate(capsys, *training)[0] == errors.FINE
    assert estimate(capsys, *training, "--fail-on", fail_on)[0] == status


def test_a_1660_super_trains_resnet50_at_batch_32(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "resnet50", "--mode", "training", "--batch", "32", "--gpu", "gtx 1660 super")
    assert found["verdict"] == "fits"
    assert 40 <= found["max_batch"] <= 52
    assert found["device"]["name"] == "NVIDIA GeForce GTX 1660 SUPER"


def test_memory_beside_a_card_says_how_much_of_it_is_free(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "resnet18", "--gpu", "RTX 3060", "--memory", "12GiB")
    assert found["device"] == {"name": "NVIDIA GeForce RTX 3060", "free_bytes": 12 << 30}


def test_this_machine_is_the_default(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = document(capsys, "resnet18")
    assert found["verdict"] in ("fits", "tight", "out-of-memory", "unknown")
    assert found["device"]["free_bytes"] or found["verdict"] == "unknown"
    cpu = document(capsys, "resnet18", "--device", "cpu")
    assert cpu["device"]["name"] == "CPU"
    assert cpu["workload"]["device"] == "cpu"
    # The interpreter with torch alone is 224 MiB.
    assert cpu["device_bytes"]["low"] > 224 << 20


def test_every_card_has_its_largest_batch(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "gpt2", "--mode", "training", "--for-gpus")["capacities"]
    named = {each["device_name"] for each in found}
    assert named == {row.name for row in Knowledge().gpus if row.memory_gib}
    free = [each["free_bytes"] for each in found]
    assert free == sorted(free)
    one = next(each for each in found if each["device_name"] == "NVIDIA GeForce RTX 3090")
    assert one["max_batch"] == document(capsys, "gpt2", "--mode", "training", "--gpu", "RTX 3090")["max_batch"]
    status, out, _ = estimate(capsys, "gpt2", "--mode", "training", "--for-gpus")
    assert status == errors.FINE
    row = next(line for line in out.splitlines() if "RTX 3090 " in line)
    assert row.split()[-1] == str(one["max_batch"])


def test_a_configuration_by_its_path_or_its_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "tiny-llama"
    folder.mkdir()
    path = folder / "config.json"
    path.write_text(json.dumps(LLAMA))
    by_path = document(capsys, str(path), "--memory", "1GiB")
    assert by_path["model"] == "tiny-llama"
    assert by_path["parameters"] > 128000
    assert document(capsys, str(folder), "--memory", "1GiB") == by_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "no model is named"),
        (("gpt3",), "near: gpt2"),
        (("resnet18", "--gpu", "RTX 3061"), "did you mean: NVIDIA GeForce RTX 3060"),
        (("resnet18", "--gpu", "\x1b[31m"), "no GPU called"),
        (("resnet18", "--batch", "0"), "--batch"),
        (("resnet18", "--batch", "-4"), "--batch"),
        (("resnet18", "--batch", str(10**18)), "not in the range"),
        (("resnet18", "--batch", "nan"), "not a valid integer"),
        (("resnet18", "--image-size", "7"), "--image-size"),
        (("resnet18", "--seq-len", "7"), "no --seq-len"),
        (("gpt2", "--image-size", "224"), "no --image-size"),
        (("gpt2", "--memory", "lots"), "is not a size"),
        (("gpt2", "--memory", "9" * 400 + "GiB"), "no memory is that large"),
        (("gpt2", "--mode", "training", "--weight-decay", "nan"), "--weight-decay"),
        (("gpt2", "--mode", "training", "--weight-decay", "-1"), "--weight-decay"),
        (("gpt2", "--mode", "training", "--dtype", "int8"), "cannot be trained"),
        (("gpt2", "--optimizer", "adam"), "is for --mode training"),
        (("gpt2", "--kv-dtype", "int8"), "add --kv-cache"),
        (("gpt2", "--mode", "training", "--kv-cache"), "is for --mode inference"),
        (("gpt2", "--mode", "training", "--zero", "2"), "say how many with --shards"),
        (("gpt2", "--mode", "training", "--shards", "2"), "needs --zero"),
        (("gpt2", "--lora", "8"), "--mode training"),
        (("gpt2", "--torch", "new"), "--torch"),
        (("gpt2", "--for-gpus", *CARD), "--for-gpus"),
        (("gpt2", "--device", "cpu", *CARD), "--device cpu"),
        (("gpt2", "--input", "1,3"), "module.py:factory"),
        (("gpt2", "--batch", "1048576", "--seq-len", "16777216"), "can count|1024 tokens at the most"),
        (("hf:nobody",), "write hf:organisation/model"),
        (("hf:../../etc",), "write hf:organisation/model"),
        (("net.py:make",), "needs to know what it is called with"),
        (("net.py:make", "--input", "1,x"), "is not a list of sizes"),
        (("net.py:make", "--input", "1,0"), "is not a list of sizes"),
        (("net.py:make", "--input", "1,3:complex99"), "is not a list of sizes"),
        (("net.py:make", "--input", "1," + "9" * 30), "is not a list of sizes"),
        (("net.py:make", "--input", "1,3", "--python", "/nowhere"), "/nowhere"),
    ],
)
def test_words_that_do_not_fit_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    status, out, err = estimate(capsys, *arguments)
    assert status == errors.USAGE, err
    assert out == ""
    assert any(each in err for each in words.split("|")), err
    assert "\x1b" not in err and "Traceback" not in err and "defect" not in err
    assert len(err.splitlines()) <= 3


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1, 2]",
        b'"text"',
        b"\xff\xfe\x00",
        b'{"model_type": NaN}',
        b'{"model_type": "unheard-of"}',
        b"{}",
        b"[" * 100_000,
        json.dumps({**LLAMA, "hidden_size": -64}).encode(),
        json.dumps({**LLAMA, "hidden_size": "64"}).encode(),
        json.dumps({**LLAMA, "num_hidden_layers": 10**12}).encode(),
        json.dumps({**LLAMA, "vocab_size": 10**300}).encode(),
        json.dumps({**LLAMA, "num_attention_heads": 0}).encode(),
        b'{"pad": "' + b"x" * (2 << 20) + b'"}',
    ],
    ids=lambda content: repr(content[:24]),
)
def test_a_configuration_that_is_none_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    status, out, err = estimate(capsys, str(path), "--memory", "8GiB")
    assert status in (errors.USAGE, errors.UNREADABLE), err
    assert out == ""
    assert "Traceback" not in err and "defect" not in err
    assert len(err.splitlines()) <= 3


def test_a_configuration_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, _, err = estimate(capsys, str(tmp_path / "config.json"))
    assert status == errors.UNREADABLE
    assert "there is no file" in err


def test_the_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = estimate(capsys, "--list")
    assert status == errors.FINE
    assert {"resnet50", "gpt2-xl", "mobilenetv2"} <= set(out.split())


def test_the_hubs_cache_comes_first(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "models--some--tiny"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("abc123")
    (kept / "snapshots" / "abc123").mkdir(parents=True)
    (kept / "snapshots" / "abc123" / "config.json").write_text(json.dumps(LLAMA))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert document(capsys, "hf:some/tiny", "--memory", "1GiB")["model"] == "some/tiny"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    status, _, err = estimate(capsys, "hf:some/other")
    assert status == errors.UNREADABLE
    assert "HF_HUB_OFFLINE" in err and "download the config.json" in err


class _Hub(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.path == "/some/tiny/resolve/main/config.json"
        gated = "gated" in self.path
        self.server.seen.append((self.path, self.headers.get("Authorization")))  # type: ignore[attr-defined]
        self.send_response(200 if known else 401 if gated else 404)
        self.end_headers()
        self.wfile.write(json.dumps(LLAMA).encode() if known else b"no")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name for it
        pass


@pytest.fixture
def hub() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), _Hub)
    server.seen = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("some/tiny", errors.FINE, '"model": "some/tiny"'),
        ("some/gated", errors.UNREADABLE, "does not let everybody read"),
        ("some/absent", errors.UNREADABLE, "status 404"),
    ],
)
def test_the_hub_is_asked_for_the_configuration_alone(
    hub: HTTPServer, tmp_path: Path, name: str, status: int, words: str
) -> None:
    """In a process of its own: connections are refused in this one."""
    done = _ask(f"http://127.0.0.1:{hub.server_address[1]}", name, tmp_path)
    assert done.returncode == status, done.stderr
    assert words in done.stdout + done.stderr
    assert hub.seen == [(f"/{name}/resolve/main/config.json", None)]  # type: ignore[attr-defined]


def test_a_hub_that_cannot_be_reached(tmp_path: Path) -> None:
    done = _ask("http://127.0.0.1:9", "some/tiny", tmp_path)
    assert done.returncode == errors.UNREADABLE
    assert "cannot be reached" in done.stderr and "HF_ENDPOINT" in done.stderr
    assert len(done.stderr.splitlines()) <= 3


def _ask(endpoint: str, name: str, home: Path) -> subprocess.CompletedProcess[str]:
    netrc = home / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    environ = {
        key: value for key, value in os.environ.items() if not key.startswith("HF_") and "proxy" not in key.lower()
    }
    environ.update(HF_ENDPOINT=endpoint, HOME=str(home), HF_TOKEN="secret", HF_HUB_CACHE=str(home / "hub"))
    command = (sys.executable, "-m", "envdoctor", "estimate", f"hf:{name}", "--memory", "1GiB", "--format", "json")
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def net(tmp_path: Path) -> str:
    path = tmp_path / "net.py"
    path.write_text(NET)
    return str(path)


def test_an_environment_without_torch(capsys: pytest.CaptureFixture[str], bare_python: str, net: str) -> None:
    status, _, err = estimate(capsys, f"{net}:make", "--input", "1,3,32,32", "--python", bare_python, *CARD)
    assert status == errors.USAGE
    assert "torch cannot be imported" in err


@pytest.mark.torch
def test_a_model_of_ones_own_is_followed(capsys: pytest.CaptureFixture[str], torch_python: str, net: str) -> None:
    training = ("--mode", "training", "--batch", "64", "--optimizer", "adam", "--memory", "1TiB")
    inputs = ("--input", "1,3,32,32", "--python", torch_python)
    status, out, err = estimate(capsys, f"{net}:make", *inputs, *training, "--format", "json")
    assert status == errors.FINE, err
    found = json.loads(out)
    assert found["parameters"] == 3 * 16 * 9 + 16 + 2 * 16 + 16 * 10 + 10
    # conv and norm save their inputs, ReLU its output: two maps of 16 channels live at the turn, and a gradient.
    one = 64 * 16 * 32 * 32 * 4
    assert 2 * one < found["allocated_bytes"] < 5 * one
    assert found["parts"]["inputs"] == 64 * 3 * 32 * 32 * 4
    assert found["parts"]["optimizer"] > 0
    assert any("over shapes on the CPU" in each for each in found["assumptions"])
    assert f"following {net}:make with batch 64" in err
    assert found["speeds"] == []  # no card was named


@pytest.mark.torch
def test_the_speed_of_a_model_of_ones_own_is_a_doubtful_range(
    capsys: pytest.CaptureFixture[str], torch_python: str, net: str
) -> None:
    training = ("--mode", "training", "--batch", "256", "--gpu", "T4", "--memory", "1TiB", "--format", "json")
    inputs = ("--input", "1,3,32,32", "--python", torch_python)
    status, out, err = estimate(capsys, f"{net}:make", *inputs, *training)
    assert status == errors.FINE, err
    found = json.loads(out)
    (speed,) = found["speeds"]
    assert (speed["unit"], speed["stage"]) == ("images/s", "training")
    assert "its operations were seen over shapes on a CPU" in speed["basis"]
    assert speed["step_seconds"]["high"] > 4 * speed["step_seconds"]["low"] > 0
    assert speed["throughput"]["low"] == pytest.approx(256 / speed["step_seconds"]["high"])
    # Not faster than the card's 320 GB/s, twice over, could move what was seen to be moved.
    assert speed["step_seconds"]["low"] > found["bytes_moved"] / 320e9 / 2
    (outlook,) = found["outlooks"]
    assert outlook["words"].startswith("training is fine")


@pytest.mark.torch
@pytest.mark.parametrize(
    ("factory", "arguments", "status", "words"),
    [
        ("raises", (), errors.USAGE, "the model raised ValueError: this model needs"),
        ("number", (), errors.USAGE, "gave int"),
        ("absent", (), errors.USAGE, "has no function or class absent"),
        ("make", ("--input", "1,4,32,32"), errors.USAGE, "expected input"),
        ("make", ("--checkpointing", "--mode", "training"), errors.USAGE, "--checkpointing is not for a model"),
        ("hangs", ("--timeout", "8"), errors.UNREADABLE, "did not come to an end within 8 s"),
    ],
)
def test_a_model_that_cannot_be_followed(
    capsys: pytest.CaptureFixture[str],
    torch_python: str,
    net: str,
    factory: str,
    arguments: tuple[str, ...],
    status: int,
    words: str,
) -> None:
    inputs = () if "--input" in arguments else ("--input", "1,3,32,32")
    found, out, err = estimate(capsys, f"{net}:{factory}", *inputs, "--python", torch_python, *CARD, *arguments)
    assert found == status, err
    assert out == ""
    assert words in err
    assert "\x1b" not in err and "Traceback" not in err


@pytest.mark.torch
def test_a_module_that_is_not_there(capsys: pytest.CaptureFixture[str], torch_python: str) -> None:
    options = ("--input", "1,3", "--python", torch_python, *CARD)
    assert "there is no file /nowhere.py" in estimate(capsys, "/nowhere.py:make", *options)[2]
    assert "No module named 'nowhere'" in estimate(capsys, "nowhere.at.all:make", *options)[2]


def test_a_named_card_is_told_its_speed(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = estimate(capsys, "gpt2", "--kv-cache", "--seq-len", "64", *CARD, "--format", "json")
    told = json.loads(out)
    assert status == 0
    assert [each["stage"] for each in told["speeds"]] == ["prefill", "decode"]
    assert all(0 < each["throughput"]["low"] < each["throughput"]["high"] for each in told["speeds"])
    assert [each["grade"] for each in told["outlooks"]] == ["fine", "fine"]
    _, text, _ = estimate(capsys, "gpt2", "--kv-cache", "--seq-len", "64", *CARD)
    assert "times as fast as people read" in " ".join(text.split()) and "basis" in text


def test_memory_alone_says_nothing_of_speed(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = estimate(capsys, "gpt2", "--memory", "8GiB", "--format", "json")
    assert json.loads(out)["speeds"] == []


def test_a_processor_is_judged_by_what_was_measured_on_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cpu = ("--device", "cpu", "--format", "json")
    _, out, _ = estimate(capsys, "resnet18", *cpu)
    assert "not a measurement" in json.loads(out)["speeds"][0]["basis"]
    figures = dict.fromkeys(("fp32", "convolution", "stream", "fresh", "cached", "calls"), 1e10)
    answer = {"library": "torch 9.9", "threads": 1, "alone": figures, "together": figures}
    python = tmp_path / "python"
    shows = f'case $* in *calibrate.py*) echo {shlex.quote(json.dumps(answer))};; *) exec {sys.executable} "$@";; esac'
    python.write_text(f"#!/bin/sh\n{shows}\n")
    python.chmod(0o755)
    estimate(capsys, "resnet18", *cpu, "--speed", "--python", str(python))
    _, out, _ = estimate(capsys, "resnet18", *cpu)
    assert json.loads(out)["speeds"][0]["basis"].startswith("measured with torch 9.9")


@pytest.mark.parametrize("wrong", [("--speed", *CARD), ("--speed", "--for-gpus"), ("--speed", "--memory", "1GiB")])
def test_only_this_processor_is_measured(capsys: pytest.CaptureFixture[str], wrong: tuple[str, ...]) -> None:
    status, _, error = estimate(capsys, "resnet18", *wrong)
    assert status == errors.USAGE and "--speed" in error
