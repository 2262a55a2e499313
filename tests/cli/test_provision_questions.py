"""Questions that other tools get wrong, asked as a person would ask them."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from typing import Any

import pytest

from envdoctor import errors


def provision(options: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        (sys.executable, "-m", "envdoctor", "provision", "--dry-run", "--format", "json", *shlex.split(options)),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        # Pascal has code in cu126 only, and PTX never serves an older card.
        ('--gpu "GTX 1080 Ti" --driver 570.124.06', "torch 2.14.1 cu126"),
        ('--gpu "RTX 5090" --driver 570.124.06', "torch 2.11.0 cu128"),
        # Minor-version compatibility: each of these is below the driver that came with the toolkit.
        ('--gpu "RTX 3060" --driver 470.82.01 --cuda 11.6', "torch 1.13.1 cu116"),
        ('--gpu "RTX 3060" --driver 450.80.02 --cuda 11.8', "torch 2.7.1 cu118"),
        ('--gpu "RTX 3060" --driver 525.60.13 --cuda 12.8', "torch 2.11.0 cu128"),
        # The last driver for Volta offers CUDA 13, whose builds have no code for it.
        ('--gpu "Tesla V100-SXM2-16GB" --driver 580.95.05', "torch 2.14.1 cu126"),
        # Machine code of 8.6 runs on 8.9.
        ('--gpu "RTX 4090" --driver 550.54.14 --framework-version 2.6 --cuda 11.8', "torch 2.6.0 cu118"),
        ('--gpu "GTX 1080 Ti" --gpu "RTX 4090" --driver 580.95.05', "torch 2.14.1 cu126"),
        ('--gpu "RTX 3060" --driver 615.71.09', "torch 2.14.1 cu132"),
        ('--gpu "RX 7900 XTX" --os linux', "torch 2.13.0 rocm7.2"),
        ('--framework tensorflow --gpu "RTX 3060" --driver 550.54.14', "tensorflow 2.21.0 cuda12"),
        ('--framework tensorflow --os windows --gpu "RTX 3060" --driver 560.81', "tensorflow 2.21.0 cpu"),
        ('--framework jax --gpu "Tesla V100-SXM2-16GB" --driver 580.95.05', "jax 0.12.0.1 cuda12"),
        ("--framework jax --os windows --gpu 8.6", "jax 0.12.0.1 cpu"),
        ('--with xformers --gpu "Tesla V100-SXM2-16GB" --driver 580.95.05', "torch 2.7.0 cu126"),
    ],
)
def test_a_stack(options: str, chosen: str) -> None:
    status, answer = provision(f"--glibc 2.39 {options}")
    stack = answer["stack"]
    assert (status, f"{stack['framework']} {stack['framework_version']} {stack['variant']}") == (0, chosen)
    assert "not certain" not in [reason["choice"] for reason in answer["reasons"]]
    assert "verify/cnn.py" in answer["artifacts"]


@pytest.mark.parametrize(
    ("options", "words", "alternatives"),
    [
        (
            "--python 3.13 --framework-version 2.4 --cuda cpu",
            ("Python 3.8 to 3.12, not 3.13",),
            ["torch 2.5.1 cpu", "torch 2.4.1 cpu"],
        ),
        (
            "--framework tensorflow --framework-version 2.15 --cuda 11.8",
            ("only 2.15.1 counts", "2.12.0 to 2.14.1"),
            ["tensorflow 2.14.1 cuda11", "tensorflow 2.15.1 cuda12", "tensorflow 2.15.1 cpu"],
        ),
        (
            "--gpu 9.0 --driver 535.183.01 --framework-version 1.12 --cuda 11.3",
            ("no code that runs on",),
            ["torch 1.12.1 cpu"],
        ),
        (
            '--gpu "Tesla V100-SXM2-16GB" --driver 580.95.05 --cuda 13.0',
            ("no code that runs on Tesla V100",),
            ["torch 2.8.0 cu129", "torch 2.14.1 cpu"],
        ),
        (
            '--os wsl2 --gpu "RTX 2080" --driver 451.48 --cuda 11.8',
            ("Windows driver of 452.39 or newer; there is 451.48",),
            ["torch 1.12.1 cu102", "torch 2.14.1 cpu"],
        ),
        ("--framework jax --cuda 11.8", ("it was published for 12, 13",), ["jax 0.12.0.1 cuda12", "jax 0.12.0.1 cpu"]),
        (
            '--with flash-attn --gpu "GTX 1080 Ti" --driver 550.54.14',
            ("flash-attn 2.8.3.post2 needs compute capability 8.0",),
            ["torch 2.14.1 cu126"],
        ),
    ],
)
def test_no_stack(options: str, words: tuple[str, ...], alternatives: list[str]) -> None:
    status, answer = provision(f"--glibc 2.39 {options}")
    conflict = answer["conflict"]
    text = " ".join(reason["because"] for reason in conflict["reasons"])
    assert status == errors.NO_STACK
    assert all(word in text for word in words), text
    offered = [
        f"{each['framework']} {each['framework_version']} {each['variant']}" for each in conflict["alternatives"]
    ]
    assert offered == alternatives


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--with numpy", "--with does not know numpy"),
        ("--framework jax --with vllm", "--with names packages for torch"),
        ("--framework caffe", "caffe"),
    ],
)
def test_what_cannot_be_asked(options: str, words: str) -> None:
    done = subprocess.run(
        (sys.executable, "-m", "envdoctor", "provision", "--dry-run", *shlex.split(options)),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr and "Traceback" not in done.stderr
