from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace

from envdoctor.model.estimate import Range
from envdoctor.model.tuning import Attempt, LeftOut, Prediction, Settings, Tuning, Use
from envdoctor.report import documents, tunings
from envdoctor.report.tuning_plot import svg

GIB = 1 << 30
BASE = Attempt(
    settings=Settings(),
    purpose="base",
    status="ran",
    throughput=20.4,
    peak_memory_bytes=400 << 20,
    predicted=Prediction(memory=Range(low=300 << 20, high=500 << 20), throughput=Range(low=15, high=30)),
)
BEST = Attempt(
    settings=Settings(batch=8, precision="bf16", channels_last=True, threads=4),
    purpose="batch",
    status="ran",
    throughput=80.2,
    peak_memory_bytes=GIB,
    agreement=0.9375,
    file_bytes=23 << 20,
)
DEAD = replace(BEST, settings=replace(BEST.settings, batch=16), status="out-of-memory", throughput=None)
DONE = Tuning(
    model="resnet18",
    goal="inference",
    kind="image",
    unit="images/s",
    framework_version="2.7.1",
    device="cpu",
    device_name="A <Processor>",
    room_bytes=2 * GIB,
    budget_seconds=300,
    seconds=120.4,
    attempts=(BASE, BEST, DEAD),
    left_out=(
        LeftOut(what="torch.compile", reason="no C++ compiler is on PATH"),
        LeftOut(what="fp16 weights", reason="no C++ compiler is on PATH"),
    ),
    best=BEST,
    largest_batch=8,
    failed_batch=16,
    batch_settings=BEST.settings,
    recipe=("model = model.to(torch.bfloat16)",),
    uses=(
        Use(use="prototype", grade="fine", words="quick", measured=True),
        Use(use="training", grade="hopeless", words="years", measured=False),
    ),
)


def test_one_table_with_what_was_predicted_beside_it() -> None:
    lines = tunings.text(DONE).splitlines()
    assert lines[0] == "resnet18, inference, on A <Processor>, torch 2.7.1, 2 GiB free"
    head, base, best, dead = (line.split() for line in lines[1:5])
    assert head == ["size", "batch", "precision", "images/s", "predicted", "memory", "predicted", "also"]
    assert base[:5] == ["224x224", "1", "fp32", "20.4", "15..30"]
    assert base[5:] == ["400", "MiB", "300", "MiB..500", "MiB"]
    assert best[:5] == ["*", "224x224", "8", "bf16", "80.2"]
    assert lines[3].endswith("channels_last, 4 threads, 94% of outputs agree, file 23 MiB")
    assert dead[3:6] == ["out", "of", "memory"]
    columns = {line.index(word) for line, word in zip(lines[2:4], ("fp32", "bf16"), strict=True)}
    assert len(columns) == 1


def test_answers_uses_and_what_was_not_tried() -> None:
    text = tunings.text(DONE)
    assert "8 lives, 16 does not" in text
    assert "+ prototype   quick" in text
    assert "x training    predicted: years" in text
    assert "    model = model.to(torch.bfloat16)" in text
    assert "  not tried   torch.compile; fp16 weights: no C++ compiler is on PATH" in text
    assert "120 s of 300 s" in text and "interrupted" not in text
    assert "120 s of 300 s, interrupted" in tunings.text(replace(DONE, interrupted=True))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(batch=5, accumulation=4), "batch 20 runs in 4 parts of 5"),
        (Settings(batch=20, checkpointing=True), "batch 20 runs with activation checkpointing"),
        (Settings(batch=20), "batch 20 runs as it is"),
    ],
)
def test_how_a_wanted_batch_runs(settings: Settings, words: str) -> None:
    done = replace(DONE, wanted_batch=20, wanted=replace(BEST, settings=settings))
    assert words in tunings.text(done)


def test_where_nothing_ran_the_reason_stands() -> None:
    failed = Attempt(settings=Settings(), purpose="base", status="failed", reason="torch is not installed in x")
    text = tunings.text(Tuning(model="gpt2", goal="training", kind="tokens", unit="tokens/s", attempts=(failed,)))
    assert "torch is not installed in x" in text and "To copy" not in text


def test_the_document_has_everything() -> None:
    document = json.loads(documents.tuning(DONE))
    assert document["schema_version"] and document["largest_batch"] == 8
    assert document["attempts"][0]["predicted"]["memory"] == {"low": 300 << 20, "high": 500 << 20}
    assert document["attempts"][2]["status"] == "out-of-memory"
    assert document["uses"][1] == {"use": "training", "grade": "hopeless", "words": "years", "measured": False}


def test_the_plot_is_svg_with_a_mark_for_each_trial() -> None:
    root = ElementTree.fromstring(svg(DONE))
    name = "{http://www.w3.org/2000/svg}"
    assert root.findtext(f"{name}title") == "resnet18, inference, on A <Processor>"
    points = [each for each in root.iter(f"{name}circle") if each.find(f"{name}title") is not None]
    assert [each.findtext(f"{name}title") for each in points[:2]] == [
        "224, fp32, 1: 20.4",
        "224, bf16, channels_last, 4 threads, 8: 80.2",
    ]
    slow, fast = (float(each.get("cy", "")) for each in points[:2])
    assert fast < slow  # up is faster
    assert len(points) == 4  # speed and memory of what ran
    assert len(list(root.iter(f"{name}path"))) == 2  # a cross in each panel for what did not
    height, width = float(root.get("height", "")), float(root.get("width", ""))
    places = [
        (float(each.get("x", each.get("cx", 0))), float(each.get("y", each.get("cy", 0)))) for each in root.iter()
    ]
    assert all(0 <= x <= width and 0 <= y <= height for x, y in places)


def test_a_plot_of_nothing_is_still_svg() -> None:
    nothing = replace(DONE, attempts=(), best=None)
    assert ElementTree.fromstring(svg(nothing)).tag.endswith("svg")
