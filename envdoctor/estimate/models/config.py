"""Read a Hugging Face `config.json` of a decoder: the library's own defaults where a key is absent."""

from __future__ import annotations

from math import ceil, pi
from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from envdoctor.errors import Unreadable
from envdoctor.model import Record
from envdoctor.model.speech import say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Norm = Literal["layer", "rms", "full"]
    Feed = Literal["gated", "fused", "plain", "experts"]


class BadConfig(Unreadable):
    """A config.json that cannot be read: the message names the key."""


class Decoder(Record):
    """What a decoder's memory depends on. Widths are in elements.

    `norm`: nn.LayerNorm, Llama's RMSNorm, or the one of Gemma and MiniMind that multiplies by its weight in fp32.
    `feed`: gate, up and down; Phi-3's with gate and up in one weight; two linear layers; or a mixture of gated experts.
    """

    model_type: str
    vocabulary: int
    width: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    head_width: int
    positions: int  # the longest sequence
    tied: bool
    norm: Norm = "rms"
    feed: Feed = "gated"
    activation: str = "silu"
    rotary: int = 0  # how much of a head's width is rotated
    windows: tuple[int | None, ...] = ()  # tokens that each layer looks back; None: all
    query_key_norm: bool = False
    input_bias: bool = False  # of queries, keys and values
    output_bias: bool = False
    feed_bias: bool = False
    head_bias: bool = False
    fused: bool = False  # queries, keys and values come out of one weight
    parallel: bool = False  # attention and feed-forward both read the layer's input
    shared_norm: bool = False  # and through the same norm (Phi)
    sandwich: bool = False  # norms after attention and feed-forward too (Gemma 2 and 3)
    scaled_embedding: bool = False
    softcap: bool = False  # of attention scores; eager attention only
    logit_softcap: bool = False
    dropout: bool = False  # of embeddings and of what is added to the residual
    attention_dropout: bool = False
    experts: int = 0
    experts_used: int = 0


# model_type -> the library's defaults: vocabulary, width, inner, layers, heads, key heads (None: as many as heads),
# positions, tied. (transformers 5.23: configuration_<model_type>.py)
_DEFAULTS: dict[str, tuple[int, int, int | None, int, int, int | None, int, bool]] = {
    "llama": (32000, 4096, 11008, 32, 32, None, 2048, False),
    "mistral": (32000, 4096, 14336, 32, 32, 8, 131072, False),
    "mixtral": (32000, 4096, 14336, 32, 32, 8, 131072, False),
    "qwen2": (151936, 4096, 22016, 32, 32, 32, 32768, False),
    "qwen3": (151936, 4096, 22016, 32, 32, 32, 32768, False),
    "gemma": (256000, 3072, 24576, 28, 16, 16, 8192, True),
    "gemma2": (256000, 2304, 9216, 26, 8, 4, 8192, True),
    "gemma3_text": (262208, 2304, 9216, 26, 8, 4, 131072, True),
    "phi": (51200, 2048, 8192, 24, 32, None, 2048, False),
    "phi3": (32064, 3072, 8192, 32, 32, None, 4096, False),
    "gpt_neox": (50432, 6144, 24576, 44, 64, None, 2048, False),
    "minimind": (6400, 768, None, 8, 8, 4, 32768, True),
}
_HEAD_WIDTHS = {"qwen3": 128, "gemma": 256, "gemma2": 256, "gemma3_text": 256}
_ACTIVATIONS = ("silu", "swish", "gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "relu", "quick_gelu")
_LARGEST = 1 << 32  # more is a slip, and would only take long


class Reader:
    """A config's values by key, each checked for what it must be."""

    def __init__(self, config: Mapping[str, object]) -> None:
        self.config = config

    def count(self, key: str, default: int | None, *others: str) -> int:
        """Return a whole number of at least 1; None in the file is as absent."""
        for name in (key, *others):
            value = self.config.get(name)
            if value is not None:
                if type(value) is not int or not 0 < value < _LARGEST:
                    raise BadConfig(
                        say(
                            "config.json: {name} is {value!r}, not a whole number of at least 1", name=name, value=value
                        )
                    )
                return value
        if default is None:
            raise BadConfig(say("config.json has no {key}", key=key))
        return default

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self.config.get(key, default)
        if type(value) is not bool:
            raise BadConfig(say("config.json: {key} is {value!r}, not true or false", key=key, value=value))
        return value

    def number(self, key: str, default: float) -> float:
        """Return a number that is not negative."""
        value = self.config.get(key)
        if value is None:
            return default
        if type(value) not in (int, float) or not 0 <= value < _LARGEST:  # type: ignore[operator]
            raise BadConfig(say("config.json: {key} is {value!r}, not a number of at least 0", key=key, value=value))
        return float(value)  # type: ignore[arg-type]

    def activation(self, default: str, *keys: str) -> str:
        """Return the name of an activation."""
        for key in keys:
            value = self.config.get(key)
            if value is not None:
                if value not in _ACTIVATIONS:
                    raise BadConfig(
                        say(
                            "config.json: {key} is {value!r}, not one of {activations}",
                            key=key,
                            value=value,
                            activations=", ".join(_ACTIVATIONS),
                        )
                    )
                return str(value)
        return default

    def partial(self, default: float, *keys: str) -> float:
        """Return the share of a head that is rotated, of the file or of its `rope_parameters`."""
        inner = self.config.get("rope_parameters")
        for reader in (Reader(inner) if isinstance(inner, dict) else self, self):
            for key in keys:
                if reader.config.get(key) is not None:
                    share = reader.number(key, default)
                    if share > 1:
                        raise BadConfig(
                            say("config.json: {key} is {share}, more than the whole head", key=key, share=share)
                        )
                    return share
        return default


def read(config: Mapping[str, object]) -> Decoder:
    """Return the decoder a config describes. Raises BadConfig, which names the key."""
    kind = config.get("model_type")
    if kind == "gemma3" and isinstance(config.get("text_config"), dict):
        return read({"model_type": "gemma3_text", **config["text_config"]})  # type: ignore[dict-item]
    if kind is None:
        raise BadConfig(say("config.json has no model_type"), say("it must be that of a Hugging Face language model"))
    if not isinstance(kind, str) or kind not in _DEFAULTS:
        known = ", ".join((*_DEFAULTS, "gpt2", "bert"))
        raise BadConfig(
            say("config.json: model_type {kind!r} is not known", kind=kind), say("known: {known}", known=known)
        )
    reader = Reader(config)
    vocabulary, width, inner, layers, heads, key_heads, positions, tied = _DEFAULTS[str(kind)]
    width = reader.count("hidden_size", width)
    heads = reader.count("num_attention_heads", heads)
    if "num_key_value_heads" in config:
        key_heads = None  # null in the file means that none are shared
    key_heads = reader.count("num_key_value_heads", min(key_heads or heads, heads))
    layers = reader.count("num_hidden_layers", layers)
    head_width = reader.count("head_dim", _HEAD_WIDTHS.get(str(kind), max(1, width // heads)))
    if heads % key_heads:
        raise BadConfig(
            say(
                "config.json: num_key_value_heads {key_heads} does not divide num_attention_heads {heads}",
                key_heads=key_heads,
                heads=heads,
            )
        )
    if width % heads and "head_dim" not in config and str(kind) not in _HEAD_WIDTHS:
        raise BadConfig(
            say(
                "config.json: num_attention_heads {heads} does not divide hidden_size {width}", heads=heads, width=width
            )
        )
    shared = Decoder(
        model_type=str(kind),
        vocabulary=reader.count("vocab_size", vocabulary),
        width=width,
        inner=reader.count("intermediate_size", inner or ceil(width * pi / 64) * 64),
        layers=layers,
        heads=heads,
        key_heads=key_heads,
        head_width=head_width,
        positions=reader.count("max_position_embeddings", positions),
        tied=reader.flag("tie_word_embeddings", tied),
        rotary=head_width,
        windows=_windows(str(kind), reader, layers),
        attention_dropout=reader.number("attention_dropout", 0) > 0,
    )
    return _OWN[str(kind)](shared, reader)


def _windows(kind: str, reader: Reader, layers: int) -> tuple[int | None, ...]:
    """Return how far each layer looks back, as `layer_types` says or as the library fills it in."""
    defaults = {"mistral": 4096, "gemma2": 4096, "gemma3_text": 4096}
    if kind in ("qwen2", "qwen3") and not reader.flag("use_sliding_window", False):
        return (None,) * layers
    if kind in ("llama", "gemma", "phi", "gpt_neox", "minimind"):
        return (None,) * layers
    if "sliding_window" in reader.config and reader.config["sliding_window"] is None:
        return (None,) * layers
    known = kind in defaults or "sliding_window" in reader.config
    window = reader.count("sliding_window", defaults.get(kind, 4096)) if known else None
    types = reader.config.get("layer_types")
    if types is not None:
        if not isinstance(types, list) or len(types) != layers:
            raise BadConfig(say("config.json: layer_types is not a list of {layers} names, one a layer", layers=layers))
        return tuple(window if name == "sliding_attention" else None for name in types)
    if kind in ("qwen2", "qwen3"):
        first = int(reader.number("max_window_layers", 28))
        return tuple(window if layer >= first else None for layer in range(layers))
    if kind == "gemma2":
        return tuple(None if layer % 2 else window for layer in range(layers))
    if kind == "gemma3_text":
        pattern = reader.count("sliding_window_pattern", 6)
        return tuple(window if (layer + 1) % pattern else None for layer in range(layers))
    return (window,) * layers


def _plain(shared: Decoder, reader: Reader) -> Decoder:
    return replace(shared, activation=reader.activation("silu", "hidden_act"))


def _llama(shared: Decoder, reader: Reader) -> Decoder:
    bias = reader.flag("attention_bias", False)
    return replace(
        shared,
        activation=reader.activation("silu", "hidden_act"),
        input_bias=bias,
        output_bias=bias,
        feed_bias=reader.flag("mlp_bias", False),
    )


def _mixtral(shared: Decoder, reader: Reader) -> Decoder:
    experts = reader.count("num_local_experts", 8)
    used = reader.count("num_experts_per_tok", 2)
    if used > experts:
        raise BadConfig(
            say(
                "config.json: num_experts_per_tok {used} is more than num_local_experts {experts}",
                used=used,
                experts=experts,
            )
        )
    activation = reader.activation("silu", "hidden_act")
    return replace(shared, feed="experts", experts=experts, experts_used=used, activation=activation)


def _qwen3(shared: Decoder, reader: Reader) -> Decoder:
    return replace(_llama(shared, reader), query_key_norm=True, feed_bias=False)


def _gemma(shared: Decoder, reader: Reader) -> Decoder:
    bias = reader.flag("attention_bias", False)
    return replace(
        shared,
        norm="full",
        # The first Gemma's files say "gelu" and mean the tanh form; either is one kernel.
        activation=reader.activation("gelu_pytorch_tanh", "hidden_activation", "hidden_act"),
        input_bias=bias,
        output_bias=bias,
        scaled_embedding=True,
    )


def _gemma2(shared: Decoder, reader: Reader) -> Decoder:
    config = {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, **reader.config}
    return replace(
        _gemma(shared, reader),
        sandwich=True,
        softcap=config["attn_logit_softcapping"] is not None,
        logit_softcap=config["final_logit_softcapping"] is not None,
    )


def _gemma3(shared: Decoder, reader: Reader) -> Decoder:
    return replace(
        _gemma(shared, reader),
        sandwich=True,
        query_key_norm=True,
        softcap=reader.config.get("attn_logit_softcapping") is not None,
        logit_softcap=reader.config.get("final_logit_softcapping") is not None,
    )


def _phi(shared: Decoder, reader: Reader) -> Decoder:
    share = reader.partial(0.5, "partial_rotary_factor")
    return replace(
        shared,
        norm="layer",
        feed="plain",
        activation=reader.activation("gelu_new", "hidden_act"),
        rotary=int(shared.head_width * share),
        query_key_norm=reader.flag("qk_layernorm", False),
        input_bias=True,
        output_bias=True,
        feed_bias=True,
        head_bias=True,
        parallel=True,
        shared_norm=True,
        dropout=reader.number("resid_pdrop", 0) > 0,
    )


def _phi3(shared: Decoder, reader: Reader) -> Decoder:
    share = reader.partial(1.0, "partial_rotary_factor")
    return replace(
        shared,
        feed="fused",
        fused=True,
        activation=reader.activation("silu", "hidden_act"),
        rotary=int(shared.head_width * share),
        dropout=reader.number("resid_pdrop", 0) > 0,
    )


def _gpt_neox(shared: Decoder, reader: Reader) -> Decoder:
    share = reader.partial(0.25, "partial_rotary_factor", "rotary_pct")
    bias = reader.flag("attention_bias", True)
    return replace(
        shared,
        norm="layer",
        feed="plain",
        key_heads=shared.heads,
        fused=True,
        activation=reader.activation("gelu", "hidden_act"),
        rotary=int(shared.head_width * share),
        input_bias=bias,
        output_bias=bias,
        feed_bias=True,
        parallel=reader.flag("use_parallel_residual", True),
        dropout=reader.number("hidden_dropout", 0) > 0,
    )


def _minimind(shared: Decoder, reader: Reader) -> Decoder:
    if reader.flag("use_moe", False):
        raise BadConfig(say("config.json: use_moe is true, and MiniMind's mixture of experts is not modelled"))
    return replace(
        shared,
        norm="full",
        activation=reader.activation("silu", "hidden_act"),
        query_key_norm=True,
        dropout=reader.number("dropout", 0) > 0,
        attention_dropout=reader.number("dropout", 0) > 0,
    )


_OWN: dict[str, Callable[[Decoder, Reader], Decoder]] = {
    "llama": _llama,
    "mistral": _plain,
    "mixtral": _mixtral,
    "qwen2": lambda shared, reader: replace(_plain(shared, reader), input_bias=True),
    "qwen3": _qwen3,
    "gemma": _gemma,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "phi": _phi,
    "phi3": _phi3,
    "gpt_neox": _gpt_neox,
    "minimind": _minimind,
}
