from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from envdoctor.model.estimate import Range
from envdoctor.model.tuning import Attempt, Settings, called
from envdoctor.verify.largest import Unknown, largest
from envdoctor.verify.searching import Abilities, Found, Plan, decide

BASE = Settings(size=224)
PLAN = Plan(goal="inference", kind="image", base=BASE, sizes=(160, 320), probe=4, room=1000)
NOTHING = Abilities(choices=dict.fromkeys(("channels_last", "bf16", "fp16", "compile", "int8"), "not here"))


class Machine:
    """A machine of our making: 100 bytes stay, and each image of 224 takes 50, half of them in bf16."""

    def __init__(self, room: int = 1000, glitches: dict[int, int] | None = None) -> None:
        self.room = room
        self.glitches = dict(glitches or {})  # batch -> how often it is killed by somebody else
        self.ran: list[Attempt] = []
        self.unheard: dict[Settings, str] = {}

    def need(self, settings: Settings) -> Range:
        share = (settings.size / 224) ** 2 * (0.5 if settings.precision == "bf16" else 1.0)
        share *= 0.25 if settings.checkpointing else 1.0
        whole = 100 + 50 * settings.batch * share
        return Range(low=0.8 * whole, high=1.2 * whole)

    def run(self, settings: Settings, purpose: str) -> Attempt:
        glitch = self.glitches.get(settings.batch, 0)
        self.glitches[settings.batch] = glitch - 1
        dies = self.need(settings).low / 0.8 > self.room or glitch > 0
        faster = {"bf16": 2.0}.get(settings.precision, 1.0) * (0.9 if settings.channels_last else 1.0)
        throughput = faster * 100 * settings.batch / (settings.batch + 3) * (224 / settings.size) ** 2
        throughput *= 0.7 if settings.checkpointing else 1.0
        attempt = Attempt(
            settings=settings,
            purpose=purpose,  # type: ignore[arg-type]
            status="out-of-memory" if dies else "ran",
            throughput=None if dies else throughput,
            step_seconds=None if dies else settings.batch / throughput,
            seconds=2.0,
        )
        self.ran.append(attempt)
        return attempt


def search(
    machine: Machine,
    plan: Plan = PLAN,
    able: Abilities = NOTHING,
    budget: float = 1e9,
    need: Callable[[Settings], Range | None] | None = None,
) -> Found:
    left = budget
    for _ in range(200):
        found = decide(plan, machine.ran, left, need or machine.need, able)
        if found.next is None:
            return found
        left -= machine.run(*found.next).seconds
    raise AssertionError("it does not end")


def batches(machine: Machine) -> list[int]:
    return [each.settings.batch for each in machine.ran if each.purpose == "batch"]


def test_the_largest_batch_is_found_and_the_next_one_fails() -> None:
    machine = Machine()
    found = search(machine)
    assert (found.largest, found.failed) == (18, 19)
    # 14 surely lives, 24 should not: the estimator says where to look, and the interval is halved from there on.
    assert batches(machine) == [14, 24, 19, 16, 17, 18]
    seen = {each.settings.batch: each.status for each in machine.ran if each.purpose == "confirm"}
    assert seen == {18: "ran", 19: "out-of-memory"}


def test_without_a_prediction_it_doubles() -> None:
    machine = Machine()
    found = search(machine, need=lambda _: None)
    assert (found.largest, found.failed) == (18, 19)
    assert batches(machine)[:3] == [8, 16, 32]


@pytest.mark.parametrize("wrong", [0.2, 4.0])
def test_a_wrong_prediction_costs_trials_and_no_truth(wrong: float) -> None:
    machine = Machine()

    def need(settings: Settings) -> Range:
        true = machine.need(settings)
        return Range(low=true.low * wrong, high=true.high * wrong)

    found = search(machine, need=need)
    assert (found.largest, found.failed) == (18, 19)


@pytest.mark.parametrize("batch", [4, 14, 17, 18])
def test_what_is_killed_once_by_somebody_else_is_tried_again(batch: int) -> None:
    found = search(Machine(glitches={batch: 1}))
    assert (found.largest, found.failed) == (18, 19)


def test_what_lives_once_by_luck_is_not_believed() -> None:
    """A batch at the edge that dies most of the time is not the answer."""
    seen: dict[int, int] = {}
    runs: dict[int, list[bool]] = {}

    def lived(batch: int, again: int) -> bool:
        told = runs.setdefault(batch, [])
        while len(told) < again or sum(told) * 2 == len(told):
            seen[batch] = seen.get(batch, 0) + 1
            told.append(batch < 12 or (batch == 12 and seen[batch] == 1))
        return sum(told) * 2 > len(told)

    assert largest(lived, 1, 12, 13) == (11, 12)
    assert seen[12] == 3


def test_noise_of_any_kind_ends_and_is_near() -> None:
    """One run in ten dies without a reason; three in a row of one batch are rare."""
    right = 0
    for seed in range(40):
        chance = random.Random(seed)
        runs: dict[int, list[bool]] = {}

        def lived(batch: int, again: int, chance: random.Random = chance, runs: dict[int, list[bool]] = runs) -> bool:
            told = runs.setdefault(batch, [])
            while len(told) < again or sum(told) * 2 == len(told):
                told.append(batch <= 100 and chance.random() > 0.1)
            return sum(told) * 2 > len(told)

        lives, dies = largest(lived, 4, None, None)
        assert lives <= 100 and dies is not None and dies > lives
        right += lives >= 96
    assert right >= 30


def test_a_batch_that_cannot_be_tried_ends_the_search_with_what_is_known() -> None:
    with pytest.raises(Unknown) as stopped:
        largest(lambda batch, _: True if batch < 50 else None, 4, None, None)
    assert (stopped.value.batch, stopped.value.lives, stopped.value.dies) == (64, 32, None)


def test_nothing_lives() -> None:
    assert largest(lambda batch, _: False, 1, None, None) == (0, 1)


def test_what_is_faster_is_kept_and_what_is_slower_is_not() -> None:
    machine = Machine()
    able = Abilities(choices={"channels_last": None, "bf16": None, "fp16": "emulated", "int8": None}, threads=2)
    found = search(machine, able=able)
    assert found.chosen is not None
    assert (found.chosen.precision, found.chosen.channels_last, found.chosen.threads) == ("bf16", False, None)
    assert found.largest == 36
    assert ("fp16 weights", "emulated") in {(each.what, each.reason) for each in found.left_out}
    tried = {each.settings.threads for each in machine.ran}
    assert {1, 4} <= tried
    assert any(each.settings.pruned for each in machine.ran) and not found.chosen.pruned
    assert {each.settings.size for each in machine.ran if each.purpose == "size"} == {160, 320}


def test_hopeless_settings_are_never_started() -> None:
    machine = Machine(room=160)
    plan = replace(PLAN, room=160, probe=2, sizes=(320, 640))
    found = search(machine, plan)
    assert found.largest == 1
    assert 640 not in {each.settings.size for each in machine.ran}
    assert "batch 1, 640, fp32" in {each.what for each in found.left_out}


def test_the_budget_is_kept_and_what_was_left_out_is_said() -> None:
    machine = Machine()
    found = search(machine, budget=9.0)
    assert sum(each.seconds for each in machine.ran) <= 10.0
    said = {each.what for each in found.left_out if "--budget" in each.reason}
    assert "batch 4, 160, fp32" in said and "batch 4, 320, fp32" in said


def test_a_base_that_does_not_fit_gives_way_to_smaller_images() -> None:
    machine = Machine(room=130)
    found = search(machine, replace(PLAN, room=130))
    assert [each.settings.size for each in machine.ran[:2]] == [224, 160]
    assert found.chosen is not None and found.chosen.size == 160


def test_a_base_that_fails_otherwise_ends_it() -> None:
    failed = Attempt(settings=BASE, purpose="base", status="failed", reason="torch is not installed")
    found = decide(PLAN, (failed,), 100.0, lambda _: None, NOTHING)
    assert found.next is None and found.chosen is None


def test_a_wanted_batch_is_summed_of_parts_or_checkpointed() -> None:
    machine = Machine()
    plan = replace(PLAN, goal="training", wanted=40)
    found = search(machine, plan, Abilities(choices={"amp-bf16": "no", "amp-fp16": "no", "compile": "no"}))
    tried = {(e.settings.batch, e.settings.accumulation, e.settings.checkpointing) for e in machine.ran}
    assert {(10, 4, False), (40, 1, True)} <= tried
    assert found.wanted is not None and found.wanted.batch * found.wanted.accumulation == 40


def test_a_wanted_batch_that_inference_cannot_hold_is_said() -> None:
    found = search(Machine(), replace(PLAN, wanted=30))
    assert ("batch 30", "the largest that lives here is 18") in {(e.what, e.reason) for e in found.left_out}


def test_names() -> None:
    assert called(Settings(batch=2, size=160, threads=4, runtime="compile")) == "batch 2, 160, fp32, 4 threads, compile"
