"""Memory of the host: against measured processes, and the heap against what glibc does."""

from __future__ import annotations

from typing import Any

import pytest
from measured import MODES, OPTIMIZERS, rows

from envdoctor.estimate.heap import LAST_THRESHOLD, Heap
from envdoctor.estimate.host_memory import MIB, TORCH, host_bytes, loading_bytes
from envdoctor.estimate.models import named
from envdoctor.estimate.walk import walk
from envdoctor.model.estimate import Workload

# `small` rows ran with MALLOC_MMAP_THRESHOLD_ set, which nobody does who has not heard of it.
MEASURED = [row for row in rows("cpu_rss") if row["mmap_small"] == "0"]


@pytest.mark.parametrize("row", MEASURED, ids=lambda r: f"{r['model']}-{r['mode']}-{r['batch']}-{r.get('seq')}")
def test_measured_processes_lie_within_ten_percent(row: dict[str, Any]) -> None:
    workload = Workload(
        model=row["model"],
        mode=MODES[row["mode"]],
        batch=row["batch"],
        image_size=row.get("res"),
        seq_len=row.get("seq"),
        optimizer=OPTIMIZERS[row.get("opt", "none")],
    )
    found = host_bytes(workload, named(row["model"]))
    assert (found.low + found.high) / 2 == pytest.approx(row["peak_rss"], rel=0.1)
    assert found.low <= row["peak_rss"] <= found.high


def test_there_are_rows_of_every_kind() -> None:
    assert {(row["model"], row["mode"]) for row in MEASURED} == {
        (model, mode) for model in ("resnet18", "resnet50", "mobilenetv2", "gpt2") for mode in ("infer", "train")
    }


def test_dropout_on_attention_costs_its_scores_on_a_cpu() -> None:
    gpt2 = named("gpt2")
    workload = Workload(model="gpt2", batch=1, seq_len=1024, mode="training", optimizer="adamw", foreach=False)
    on_card = walk(workload, gpt2)
    on_cpu = walk(Workload(**{**{f: getattr(workload, f) for f in workload.__struct_fields__}, "device": "cpu"}), gpt2)
    # Softmax, noise and their product, fp32: 12 bytes for each pair of tokens, head and layer.
    assert on_cpu.allocated_bytes - on_card.allocated_bytes > 12 * 12 * 12 * 1024**2 * 0.9


def test_inference_needs_no_scores() -> None:
    gpt2 = named("gpt2")
    found = [walk(Workload(model="gpt2", seq_len=1024, device=d), gpt2).allocated_bytes for d in ("cuda", "cpu")]
    assert found[0] == pytest.approx(found[1], rel=0.02)


def test_loading_holds_the_model_and_the_file() -> None:
    found = loading_bytes(500 * MIB, "image")
    assert found.low == TORCH + 500 * MIB
    assert found.high == TORCH + 1000 * MIB
    assert loading_bytes(0).low > TORCH


def replayed(*events: int) -> Heap:
    """Replay events: a positive one takes so many bytes, a negative one gives back what the event of that number took.

    Event 1 is the first.
    """
    heap = Heap()
    deltas = [event if event > 0 else -1 for event in events]
    mates = [0 if event > 0 else -event - 1 for event in events]
    heap.replay(deltas, mates, 0, len(events))
    return heap


def test_a_large_block_is_mapped_and_given_back() -> None:
    size = LAST_THRESHOLD + MIB
    heap = replayed(size, -1, size, -3, size)
    assert heap.highest == pytest.approx(size, rel=0.001)
    assert heap.fresh == pytest.approx(3 * size, rel=0.001)


def test_a_block_that_was_let_go_raises_the_threshold() -> None:
    # The first is mapped; from then on blocks of its size come from the heap. The second leaves a hole there, because
    # the third stands above it, and the hole stays resident beside what does not fit into it.
    size = 8 * MIB
    heap = replayed(size, -1, size, size, -3, size + 4096)
    assert heap.highest == pytest.approx(3 * size, rel=0.001)


def test_a_hole_is_used_again_by_what_is_smaller() -> None:
    size = 8 * MIB
    heap = replayed(size, -1, size, size, -3, size - 4096)
    assert heap.highest == pytest.approx(2 * size, rel=0.001)


def test_neighbouring_holes_become_one() -> None:
    size = 4 * MIB
    heap = replayed(16 * MIB, -1, size, size, size, -3, -4, 2 * size - 4096)
    assert heap.highest == pytest.approx(16 * MIB, rel=0.001)


def test_the_top_is_given_back() -> None:
    size = 4 * MIB
    heap = replayed(size, -1, size, size, size, -3, -4, -5, size)
    before = replayed(size, -1, size, size, size, -3, -4, -5)
    assert heap.fresh - before.fresh == pytest.approx(size, rel=0.001)
