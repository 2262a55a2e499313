"""The device that an estimate is for where nobody names one: this machine's GPU, asked of a libnvidia-ml of ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from envdoctor.app import estimating
from envdoctor.host.recorded import RecordedHost, Recording
from native.conftest import FakeNvml
from native.test_nvml import MIXED, PLENTY, RTX_3060, MachineWithFakeNvml

pytestmark = pytest.mark.compiler

MIB = 1 << 20
MEMINFO = {"/proc/meminfo": "MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n"}


def machine(environ: dict[str, str]) -> RecordedHost:
    return MachineWithFakeNvml(Recording(files=MEMINFO), environ, PLENTY)


def test_the_card_with_what_others_left_of_it(fake_nvml: FakeNvml) -> None:
    found = estimating.device_here(machine(fake_nvml(RTX_3060)), "2.8.0")
    assert (found.kind, found.name, found.capability, found.torch) == (
        "cuda",
        "NVIDIA GeForce RTX 3060",
        "8.6",
        "2.8.0",
    )
    assert found.free_bytes == (12288 - 500 - 200) * MIB
    assert found.assumptions == (
        "500 MiB of NVIDIA GeForce RTX 3060 are held by other processes now, and not counted as free",
    )


def test_of_two_cards_the_one_with_more_free_memory(fake_nvml: FakeNvml) -> None:
    found = estimating.device_here(machine(fake_nvml(MIXED.format(fault=""))), None)
    assert found.name == "NVIDIA GeForce RTX 4090"
    assert found.free_bytes == (24564 - 1000 - 300) * MIB
    assert found.assumptions[-1] == "of 2 cards, the one with the most free memory was taken"
    filled = MIXED.format(fault="").replace("memory 24564 1000 300", "memory 24564 20000 300")
    assert estimating.device_here(machine(fake_nvml(filled)), None).name == "NVIDIA GeForce GTX 1080 Ti"


def test_a_driver_without_cards_leaves_the_processor(fake_nvml: FakeNvml) -> None:
    found = estimating.device_here(machine(fake_nvml("driver 550.54.14\ncuda 12040\n")), None)
    assert (found.kind, found.free_bytes) == ("cpu", 8 << 30)
    assert found.assumptions == ("no NVIDIA card is here, so it is judged for the CPU and host memory",)


@pytest.mark.parametrize("words", [("--batch", "8"), ("--batch", "100000")])
def test_the_whole_command_judges_for_this_machines_card(fake_nvml: FakeNvml, words: tuple[str, ...]) -> None:
    command = (sys.executable, "-m", "envdoctor", "estimate", "resnet50", "--mode", "training", *words)
    done = subprocess.run(
        (*command, "--format", "json"),
        capture_output=True,
        env={**os.environ, **fake_nvml(RTX_3060)},
        timeout=60,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["device"] == {"name": "NVIDIA GeForce RTX 3060", "free_bytes": 11588 * MIB}
    assert found["verdict"] == ("fits" if words[1] == "8" else "out-of-memory")
