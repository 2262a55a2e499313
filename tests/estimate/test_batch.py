from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from envdoctor.estimate import models
from envdoctor.estimate.answer import capacities
from envdoctor.estimate.batch import LIMIT, largest
from envdoctor.estimate.device import Device
from envdoctor.estimate.weighing import Scales, Walked
from envdoctor.model.estimate import Memory, Workload

GIB = 1 << 30


def counted(needs: Callable[[int], int]) -> tuple[Callable[[int], int], list[int]]:
    asked: list[int] = []

    def ask(batch: int) -> int:
        asked.append(batch)
        return needs(batch)

    return ask, asked


@given(
    fixed=st.integers(0, 1000),
    slope=st.integers(1, 50),
    kink=st.integers(1, 300),
    steeper=st.integers(0, 90),
    room=st.integers(0, 20000),
    first=st.integers(1, 5000),
)
def test_the_answer_fits_and_the_next_one_does_not(
    fixed: int, slope: int, kink: int, steeper: int, room: int, first: int
) -> None:
    """Also where the line bends, and wherever the search begins."""

    def needs(batch: int) -> int:
        return fixed + slope * batch + steeper * max(0, batch - kink)

    found = largest(needs, room, first)
    assert found == 0 or needs(found) <= room
    assert needs(found + 1) > room


def test_a_line_takes_few_questions() -> None:
    ask, asked = counted(lambda batch: 700 + 37 * batch)
    assert largest(ask, 70_000, 8) == (70_000 - 700) // 37
    assert len(asked) <= 5


def test_what_never_grows_ends_at_the_limit() -> None:
    ask, asked = counted(lambda batch: 5)
    assert largest(ask, 5) == LIMIT
    assert len(asked) < 40


def test_nothing_fits() -> None:
    assert largest(lambda batch: 100, 99, 64) == 0


@pytest.mark.parametrize("name", ["resnet18", "gpt2"])
def test_the_largest_batch_of_a_model_fits_and_the_next_does_not(name: str) -> None:
    scales = Scales(Walked(models.named(name)))
    workload = Workload(model=name, mode="training", optimizer="adamw", batch=4)
    device = Device(free_bytes=8 * GIB, capability="8.6")
    most = scales.largest_batch(workload, device)
    assert most is not None and most > 1
    assert scales.verdict(replace(workload, batch=most), device) == "fits"
    assert scales.verdict(replace(workload, batch=most + 1), device) != "fits"


def test_more_memory_never_means_a_smaller_batch() -> None:
    scales = Scales(Walked(models.named("resnet50")))
    workload = Workload(model="resnet50", mode="training", optimizer="sgd")
    devices = [Device(name=f"{gib} GiB", free_bytes=gib * GIB) for gib in (80, 1, 4, 2, 24, 8, 48)]
    found = capacities(workload, scales, devices)
    assert [each.device_name for each in found] == [f"{gib} GiB" for gib in (1, 2, 4, 8, 24, 48, 80)]
    batches = [each.max_batch for each in found]
    assert batches == sorted(batches)
    assert batches[0] < 10 < batches[3] < batches[-1]


def test_free_memory_that_is_not_known_has_no_largest_batch() -> None:
    assert Scales(Walked(models.named("resnet18"))).largest_batch(Workload(model="resnet18"), Device()) is None


def test_no_other_batch_is_walked_where_what_stays_is_too_much() -> None:
    workload = Workload(model="gpt2", mode="training", batch=8, optimizer="adamw")
    walks: list[int] = []

    class Counted(Walked):
        def memory(self, workload: Workload) -> Memory:
            walks.append(workload.batch)
            return super().memory(workload)

    counting = Counted(models.named("gpt2"))
    assert Scales(counting).largest_batch(workload, Device(free_bytes=GIB)) == 0
    assert walks == [8]
    walks.clear()
    assert Scales(counting).largest_batch(workload, Device(free_bytes=2 * GIB)) == 0
    assert len(walks) > 1
