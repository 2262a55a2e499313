from __future__ import annotations

from typing import Literal

import pytest
from msgspec.structs import replace

from envdoctor.estimate.device import Device
from envdoctor.estimate.models import named
from envdoctor.estimate.peaks import likely
from envdoctor.estimate.weighing import Walked
from envdoctor.model.estimate import Mode
from envdoctor.model.snapshot import Cpu
from envdoctor.model.tuning import Settings
from envdoctor.verify.foretelling import Foreteller

MIB = 1 << 20


def foreteller(model: str, goal: Mode, kind: Literal["cuda", "cpu"] = "cpu") -> Foreteller:
    device = Device(kind=kind, free_bytes=8 << 30)
    return Foreteller(Walked(named(model)), goal, device, likely(Cpu()) if kind == "cpu" else None)


@pytest.mark.parametrize(
    ("model", "goal", "settings", "measured"),
    [
        # VmHWM of trial.py, torch 2.13.0+cpu on Linux x86-64, MiB.
        ("mobilenetv2", "inference", Settings(batch=1, size=1024), 549),
        ("mobilenetv2", "inference", Settings(batch=4, size=1024), 1400),
        ("mobilenetv2", "training", Settings(batch=4, size=64), 396),
        ("resnet18", "inference", Settings(batch=8, size=224), 392),
        ("gpt2", "inference", Settings(batch=1, size=512), 913),
    ],
)
def test_a_trial_holds_what_was_predicted(model: str, goal: Mode, settings: Settings, measured: int) -> None:
    memory = foreteller(model, goal).predict(settings).memory
    assert memory is not None
    # 10 % is what the estimator promises; runs of one trial differ by 2 % (ResNet-18 here: 373 to 392 MiB).
    assert (memory.low + memory.high) / 2 == pytest.approx(measured * MIB, rel=0.12)


@pytest.mark.parametrize(
    "changed", [{"pruned": True}, {"precision": "int8"}, {"runtime": "compile"}, {"checkpointing": True}]
)
def test_what_the_estimator_does_not_know_is_not_predicted(changed: dict[str, object]) -> None:
    """A network for images that is checkpointed is not among its workloads."""
    known = foreteller("resnet18", "training")
    settings = replace(Settings(batch=2, size=64), **changed)
    assert known.need(settings) is None
    predicted = known.predict(settings)
    assert (predicted.memory, predicted.throughput) == (None, None)


def test_checkpointing_and_parts_of_a_language_model_are_predicted() -> None:
    known = foreteller("gpt2", "training")
    plain = Settings(batch=4, size=256)
    need, less = known.need(plain), known.need(replace(plain, checkpointing=True))
    assert need is not None and less is not None and less.high < need.high
    assert known.need(replace(plain, accumulation=2)) is not None


def test_a_length_that_the_model_cannot_take_is_not_predicted() -> None:
    assert foreteller("gpt2", "inference").need(Settings(size=4096)) is None


def test_speed_is_of_what_is_measured() -> None:
    """Text: what is written, not what is read; other threads than torch's own are not known."""
    writing = foreteller("gpt2", "inference").predict(Settings(size=256)).throughput
    reading = foreteller("gpt2", "training").predict(Settings(size=256)).throughput
    assert writing is not None and reading is not None and writing.high < 1000
    assert foreteller("gpt2", "inference").predict(Settings(size=256, threads=1)).throughput is None
    other = foreteller("gpt2", "inference").other_goal(Settings(size=256, precision="int8"))
    assert other == reading


def test_a_card_is_judged_by_the_process_and_compared_by_what_torch_allocates() -> None:
    known = foreteller("resnet18", "inference", "cuda")
    need, memory = known.need(Settings(batch=8)), known.predict(Settings(batch=8)).memory
    assert need is not None and memory is not None and memory.low == memory.high
    assert need.low > memory.high + 200 * MIB  # the context
