from __future__ import annotations

import pytest

from envdoctor.estimate import models
from envdoctor.estimate.advice import changes
from envdoctor.estimate.answer import estimate
from envdoctor.estimate.device import Device
from envdoctor.estimate.weighing import Scales, Walked
from envdoctor.model.estimate import Change, Estimate, Workload

GIB = 1 << 30


def device(gib: float, capability: str | None = "8.6", name: str | None = None) -> Device:
    return Device(free_bytes=int(gib * GIB), capability=capability, name=name)


def answered(workload: Workload, on: Device) -> Estimate:
    return estimate(workload, Scales(Walked(models.named(workload.model))), on)


def words(found: Estimate) -> list[str]:
    return [each.what for each in found.changes]


def weighed(change: Change, on: Device) -> int:
    return Scales(Walked(models.named(change.workload.model))).need(change.workload, on).high


@pytest.mark.parametrize(
    ("workload", "gib"),
    [
        (Workload(model="gpt2", mode="training", batch=8, optimizer="adamw"), 8),
        (Workload(model="resnet50", mode="training", batch=64, optimizer="adam"), 4),
        (Workload(model="gpt2-medium", mode="inference", kv_cache=True, batch=16), 6),
    ],
)
def test_each_change_is_what_it_says(workload: Workload, gib: float) -> None:
    """Its bytes are those of its workload, what is saved is the difference, and what fits comes first."""
    on = device(gib)
    found = answered(workload, on)
    assert found.verdict != "fits"
    assert found.changes
    for change in found.changes:
        assert change.device_bytes == weighed(change, on)
        assert change.saved_bytes == found.device_bytes_high - change.device_bytes > 0
    fits = [change.device_bytes <= (on.free_bytes or 0) for change in found.changes]
    assert fits == sorted(fits, reverse=True)
    assert any(fits)
    rest = [change.saved_bytes for change, so in zip(found.changes, fits, strict=True) if not so]
    assert rest == sorted(rest, reverse=True)


def test_the_wanted_batch_is_kept_by_accumulation() -> None:
    found = answered(Workload(model="gpt2", mode="training", batch=8, optimizer="adamw"), device(8))
    split = next(each for each in found.changes if "accumulation" in each.what)
    assert split.workload.batch * split.workload.accumulation == 8
    assert split.device_bytes <= 8 * GIB


def test_what_does_not_suffice_alone_is_taken_together() -> None:
    workload = Workload(model="gpt2-large", mode="training", batch=4, optimizer="adamw")
    found = answered(workload, device(17))
    first = found.changes[0]
    assert " + " in first.what
    assert first.workload.model == "gpt2-large"
    assert first.workload.checkpointing
    assert first.device_bytes <= 17 * GIB


def test_a_smaller_model_is_of_the_same_family() -> None:
    found = answered(Workload(model="gpt2-xl", mode="training", optimizer="adamw"), device(8))
    smaller = [each.workload.model for each in found.changes if "smaller" in each.what]
    assert set(smaller) <= {"gpt2", "gpt2-medium", "gpt2-large"}
    assert "gpt2" in smaller


def test_half_weights_and_not_autocast_for_inference() -> None:
    """Autocast keeps both copies of each weight: 147 MiB for ResNet-50, 109 in fp32 and 55 in half."""
    found = answered(Workload(model="resnet50", dtype="amp-fp16"), device(8, "7.5"))
    assert found.verdict == "fits"
    (cheaper,) = found.changes
    assert cheaper.workload.dtype == "fp16"
    assert "instead of autocast" in cheaper.what
    assert not any("autocast" in each for each in words(answered(Workload(model="resnet50"), device(0.6))))


def test_what_fits_needs_no_advice() -> None:
    assert answered(Workload(model="resnet50", mode="training", batch=8, optimizer="sgd"), device(8)).changes == ()


def test_the_half_type_is_the_cards() -> None:
    workload = Workload(model="resnet50", mode="training", batch=64, optimizer="sgd")
    newer, older = device(4, "8.6"), device(4, "7.5")
    assert any("bf16 autocast" in each for each in words(answered(workload, newer)))
    assert any("fp16 autocast" in each and "bf16" not in each for each in words(answered(workload, older)))
    # fp16 gives NaN on these cards (https://github.com/pytorch/pytorch/issues/58123).
    gtx = device(4, "7.5", "NVIDIA GeForce GTX 1660 SUPER")
    assert not any("autocast" in each for each in words(answered(workload, gtx)))


def test_nothing_is_advised_where_the_memory_is_not_known() -> None:
    workload = Workload(model="gpt2", mode="training", batch=512, optimizer="adamw")
    assert changes(workload, Scales(Walked(models.named("gpt2"))), Device()) == ()
    assert answered(workload, Device()).verdict == "unknown"


def test_image_advice_names_smaller_images() -> None:
    found = answered(Workload(model="resnet50", mode="training", batch=64, optimizer="sgd", image_size=320), device(6))
    sides = [each.workload.image_size for each in found.changes if each.what.startswith("images")]
    assert set(sides) == {224, 160}
