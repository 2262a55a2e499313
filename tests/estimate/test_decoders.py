"""What a Hugging Face config.json means: sizes, defaults, and errors that name the key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envdoctor.errors import EnvdoctorError
from envdoctor.estimate.models import from_config
from envdoctor.estimate.models.config import BadConfig, read
from envdoctor.estimate.walk import walk
from envdoctor.model.estimate import Workload

CONFIGS = Path(__file__).parent / "configs"


def config(model: str, **changed: object) -> dict[str, Any]:
    return {**json.loads((CONFIGS / f"{model}.json").read_text()), **changed}


def parameters(model: str, **changed: object) -> int:
    return from_config(model, config(model, **changed)).parameters


# Counted by torch: sum(p.numel() for p in model.parameters()) of the library's class, transformers 5.23.
@pytest.mark.parametrize(
    ("kind", "millions"),
    [("llama", 6738.415616), ("mistral", 7241.732096), ("mixtral", 46702.792704), ("phi3", 3821.079552)],
)
def test_an_empty_config_is_the_librarys_default(kind: str, millions: float) -> None:
    assert from_config(kind, {"model_type": kind}).parameters == round(millions * 1e6)


def test_llama_2_7b() -> None:
    assert parameters("llama-2-7b") == 6738415616


def test_tied_embeddings_are_counted_once() -> None:
    assert parameters("llama-3.2-1b", tie_word_embeddings=False) - parameters("llama-3.2-1b") == 128256 * 2048


def test_null_key_heads_are_as_many_as_heads_and_absent_ones_the_default() -> None:
    sizes = config("mistral-small", num_key_value_heads=None)
    assert read(sizes).key_heads == 16
    del sizes["num_key_value_heads"]
    assert read(sizes).key_heads == 8


def test_biases_and_norms_are_where_the_config_says() -> None:
    layers, width, heads, keys, head = 22, 2048, 32, 4, 64
    with_bias = parameters("tinyllama-1.1b", attention_bias=True) - parameters("tinyllama-1.1b")
    assert with_bias == layers * ((heads + 2 * keys) * head + width)
    assert parameters("phi-1_5", qk_layernorm=True) - parameters("phi-1_5") == 24 * 2 * 2 * 64


def test_windows_are_of_the_layers_the_library_gives_them() -> None:
    assert set(read(config("mistral-small")).windows) == {1024}
    assert read(config("gemma-2-2b")).windows[:4] == (4096, None, 4096, None)
    assert read(config("gemma-3-1b")).windows[:6] == (512, 512, 512, 512, 512, None)
    assert set(read(config("qwen2-0.5b")).windows) == {None}
    used = read(config("qwen2-0.5b", use_sliding_window=True, sliding_window=64, max_window_layers=20))
    assert used.windows == (None,) * 20 + (64,) * 4
    named = ["full_attention"] * 23 + ["sliding_attention"]
    assert read(config("qwen2-0.5b", use_sliding_window=True, layer_types=named)).windows[-2:] == (None, 131072)


def test_a_text_config_inside_is_found() -> None:
    inner = config("gemma-3-1b")
    del inner["model_type"]
    assert read({"model_type": "gemma3", "text_config": inner}) == read(config("gemma-3-1b"))


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"model_type": "rwkv"}, "model_type 'rwkv'"),
        ({"model_type": None}, "no model_type"),
        ({"hidden_size": -1}, "hidden_size"),
        ({"hidden_size": 2048.5}, "hidden_size"),
        ({"hidden_size": True}, "hidden_size"),
        ({"vocab_size": "32000"}, "vocab_size"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"num_hidden_layers": 1 << 40}, "num_hidden_layers"),
        ({"num_key_value_heads": 3}, "num_key_value_heads"),
        ({"num_attention_heads": 31, "num_key_value_heads": 1}, "num_attention_heads"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
        ({"hidden_act": "snake"}, "hidden_act"),
        ({"attention_dropout": "a lot"}, "attention_dropout"),
    ],
)
def test_nonsense_is_refused_by_the_name_of_its_key(changed: dict[str, object], key: str) -> None:
    with pytest.raises(BadConfig, match=key) as refused:
        from_config("a", config("tinyllama-1.1b", **changed))
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    ("model", "changed", "key"),
    [
        ("phi-1_5", {"partial_rotary_factor": 1.5}, "partial_rotary_factor"),
        ("mixtral-small", {"num_experts_per_tok": 9}, "num_experts_per_tok"),
        ("gemma-3-1b", {"layer_types": ["full_attention"]}, "layer_types"),
        ("minimind3", {"use_moe": True}, "use_moe"),
        ("bert-base", {"architectures": ["BertForQuestionAnswering"]}, "architectures"),
        ("bert-base", {"num_attention_heads": 7}, "num_attention_heads"),
    ],
)
def test_nonsense_of_one_family(model: str, changed: dict[str, object], key: str) -> None:
    with pytest.raises(BadConfig, match=key):
        from_config(model, config(model, **changed))


VALUES = st.one_of(st.none(), st.booleans(), st.integers(-2, 70), st.floats(), st.text(max_size=5), st.lists(st.none()))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(path.stem for path in CONFIGS.glob("*.json"))), st.data())
def test_any_value_is_read_or_refused(model: str, data: st.DataObject) -> None:
    fields = config(model)
    fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(VALUES)
    try:
        from_config(model, fields)
    except EnvdoctorError as refused:
        assert "config.json" in refused.message


def test_grouped_queries_save_cache() -> None:
    def needs(keys: int) -> int:
        made = from_config("a", config("llama-2-7b", num_hidden_layers=4, num_key_value_heads=keys))
        asked = Workload(model="a", seq_len=4096, dtype="fp16", kv_cache=True, logits="last")
        memory = walk(asked, made)
        return memory.allocated_bytes - memory.parts.weights

    cache = 2 * 4 * 4096 * 4096 * 2  # keys and values, layers, tokens, width, bytes
    assert needs(32) - needs(8) >= cache * 3 // 4


def test_a_window_bounds_what_decoding_adds() -> None:
    def grown(window: int | None) -> int:
        made = from_config("a", config("mistral-small", sliding_window=window))
        walks = [
            walk(Workload(model="a", seq_len=tokens, dtype="bf16", kv_cache=True, logits="last"), made)
            for tokens in (512, 513)
        ]
        return walks[1].allocated_bytes - walks[0].allocated_bytes

    assert grown(256) != 0
    assert grown(None) != 0
