from __future__ import annotations

import pytest
from msgspec.structs import replace

from envdoctor.model.estimate import Range
from envdoctor.model.tuning import Attempt, Settings, Tuning
from envdoctor.verify.uses import recipe, uses


def tuned(kind: str, goal: str, alone: float, together: float, batch: int = 8, device: str = "cpu") -> Tuning:
    first = Attempt(settings=Settings(size=64), purpose="base", status="ran", throughput=alone)
    best = Attempt(settings=Settings(size=64, batch=batch), purpose="batch", status="ran", throughput=together)
    return Tuning(
        model="gpt2" if kind == "tokens" else "resnet18",
        goal=goal,  # type: ignore[arg-type]
        kind=kind,  # type: ignore[arg-type]
        unit="tokens/s" if kind == "tokens" else "images/s",
        device=device,
        attempts=(first, best),
        best=best,
    )


@pytest.mark.parametrize(
    ("kind", "alone", "together", "grades", "words"),
    [
        ("tokens", 40.0, 200.0, ("fine", "fine"), "gpt2 generates 40 tokens/s on this CPU: fine for trying out."),
        ("tokens", 3.0, 20.0, ("slow", "slow"), "slower than people read"),
        ("tokens", 0.5, 1.0, ("hopeless", "hopeless"), "0.5 tokens/s on this CPU: too slow even for trying out. Use a"),
        ("tokens", 8.0, 20.0, ("fine", "slow"), "fine for trying out."),  # 8 texts at 2.5 tokens/s: nobody waits so
        ("image", 50.0, 200.0, ("fine", "fine"), "resnet18 takes 20 ms for an image on this CPU: fine"),
        ("image", 5.0, 9.0, ("fine", "slow"), "200 ms for an image"),
        ("image", 0.5, 0.6, ("slow", "hopeless"), "2 s for an image on this CPU: a patient try"),
        ("image", 0.05, 0.06, ("hopeless", "hopeless"), "too slow even for trying out. Use a GPU."),
    ],
)
def test_first_try_and_service(kind: str, alone: float, together: float, grades: tuple[str, ...], words: str) -> None:
    first, service = uses(tuned(kind, "inference", alone, together), None)
    assert (first.use, service.use) == ("prototype", "production")
    assert (first.grade, service.grade) == grades
    assert words in first.words and first.measured
    assert ("Use a GPU." in service.words) == (service.grade != "fine")


@pytest.mark.parametrize(
    ("kind", "speed", "grade", "words"),
    [
        ("tokens", 2000.0, "fine", "one epoch of 1,000,000 tokens takes 8.3 minutes, 10 of them 83 minutes: fine."),
        ("tokens", 100.0, "slow", "one epoch of 1,000,000 tokens takes 2.8 hours, 10 of them 28 hours. Use a GPU."),
        ("tokens", 1.0, "hopeless", "takes 12 days, 10 of them 116 days. Use a GPU."),
        ("image", 500.0, "fine", "one epoch of 50,000 images takes 100 s"),
    ],
)
def test_training(kind: str, speed: float, grade: str, words: str) -> None:
    (found,) = uses(tuned(kind, "training", speed / 2, speed), None)
    assert (found.use, found.grade, found.measured) == ("training", grade, True)
    assert words.replace("100 s", "1.7 minutes") in found.words


def test_the_other_goal_is_said_as_a_prediction() -> None:
    other = Range(low=50, high=200)
    found = uses(tuned("tokens", "inference", 40, 200), other)
    assert [(each.use, each.measured) for each in found][2] == ("training", False)
    found = uses(tuned("tokens", "training", 40, 200), other)
    assert [(each.use, each.measured) for each in found] == [("prototype", False), ("training", True)]
    assert "gpt2 generates 100 tokens/s" in found[0].words


def test_a_gpu_that_is_too_slow_wants_a_larger_one() -> None:
    found = uses(tuned("tokens", "training", 1, 2, device="cuda"), None)
    assert found[0].words.endswith("Use a larger GPU, or several.")


def test_one_sample_takes_the_fastest_way_found() -> None:
    """The first trial may have been slow for want of threads; a pruned network is another one."""
    slow = tuned("image", "inference", 0.3, 100.0, batch=4)
    pruned = Attempt(settings=Settings(size=64, pruned=True), purpose="option", status="ran", throughput=900.0)
    found = uses(replace(slow, attempts=(*slow.attempts, pruned)), None)
    assert "40 ms for an image" in found[0].words


def test_nothing_ran() -> None:
    assert uses(Tuning(model="gpt2", goal="training", kind="tokens", unit="tokens/s"), Range(low=1, high=2)) == ()


@pytest.mark.parametrize(
    ("settings", "goal"),
    [
        (Settings(precision="bf16", channels_last=True, threads=4, runtime="compile"), "inference"),
        (Settings(precision="int8"), "inference"),
        (Settings(runtime="onnxruntime"), "inference"),
        (Settings(runtime="tensorrt", precision="fp16"), "inference"),
        (Settings(precision="amp-fp16", accumulation=4, checkpointing=True), "training"),
        (Settings(precision="amp-bf16"), "training"),
    ],
)
def test_lines_to_copy_are_python(settings: Settings, goal: str) -> None:
    lines = recipe(settings, goal, "cuda")
    for line in lines:
        compile(line, "recipe", "exec")
    text = "\n".join(lines)
    assert ("set_num_threads(4)" in text) == (settings.threads == 4)
    assert ("bfloat16" in text) == ("bf16" in settings.precision)
    assert ("loss / 4" in text) == (settings.accumulation == 4)
    assert ("inference_mode" in text) == (goal == "inference")
