"""Decoders of a Hugging Face config.json, each layer written as the library's module of that model type is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from envdoctor.estimate import ops
from envdoctor.estimate.layers import Embedding, FullRMSNorm, Head, LayerNorm, Linear, RMSNorm
from envdoctor.estimate.models import Architecture
from envdoctor.estimate.models import config as configs
from envdoctor.estimate.models.attending import attend, masks, rotated, tables
from envdoctor.estimate.models.experts import Experts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from envdoctor.estimate.models import Forward
    from envdoctor.estimate.models.config import Decoder
    from envdoctor.estimate.tape import Run, Tensor

    Tables = tuple[Tensor, Tensor]

DEFAULT_TOKENS = 2048

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": ops.silu,
    "swish": ops.silu,
    "gelu": ops.gelu,
    "gelu_pytorch_tanh": ops.gelu,
    "gelu_new": ops.gelu_new,
    "gelu_fast": ops.gelu_new,
    "relu": ops.relu,
    "quick_gelu": lambda x: ops.mul(x, ops.sigmoid(ops.scale(x))),
}


def from_config(name: str, config: Mapping[str, object]) -> Architecture:
    """Return the model that a config describes. Raises BadConfig, which names the key."""
    if config.get("model_type") == "gpt2":
        from envdoctor.estimate.models.gpt2 import from_config as read_gpt2

        return read_gpt2(name, config)
    if config.get("model_type") == "bert":
        from envdoctor.estimate.models.bert import from_config as read_bert

        return read_bert(name, config)
    return _architecture(name, configs.read(config))


def _architecture(name: str, decoder: Decoder) -> Architecture:
    def build(run: Run) -> Forward:
        return _Model(run, decoder)

    return Architecture(
        name=name,
        kind="tokens",
        build=build,
        default_size=min(decoder.positions, DEFAULT_TOKENS),
        maximum_size=decoder.positions,
        loss=_minimind_loss if decoder.model_type == "minimind" else None,
        layers=decoder.layers if len(set(decoder.windows)) == 1 else 0,
        with_layers=lambda layers: _architecture(
            name, replace(decoder, layers=layers, windows=decoder.windows[:layers])
        ),
    )


def _norm(run: Run, decoder: Decoder, width: int) -> Callable[[Tensor], Tensor]:
    if decoder.norm == "layer":
        return LayerNorm(run, width)
    if decoder.norm == "rms":
        return RMSNorm(run, width)
    return FullRMSNorm(run, width, plus_one=decoder.model_type != "minimind")


class _Attention:
    """Queries, keys and values, their norms and rotation, attention, and the projection out."""

    def __init__(self, run: Run, decoder: Decoder, layer: int) -> None:
        self.decoder, self.layer = decoder, layer
        width, head = decoder.width, decoder.head_width
        queries, keys = decoder.heads * head, decoder.key_heads * head
        bias = decoder.input_bias
        if decoder.fused:
            self.inputs = [Linear(run, width, queries + 2 * keys, bias)]
        else:
            self.inputs = [Linear(run, width, size, bias) for size in (queries, keys, keys)]
        self.out = Linear(run, queries, width, decoder.output_bias)
        self.norms = [_norm(run, decoder, head), _norm(run, decoder, head)] if decoder.query_key_norm else []

    def __call__(self, hidden: Tensor, cosine_sine: Tables, mask: Tensor | None) -> Tensor:
        decoder = self.decoder
        query, key, value = self.projected(hidden)
        if self.norms:
            query, key = self.norms[0](query), self.norms[1](key)
        query, key = rotated(query, *cosine_sine), rotated(key, *cosine_sine)
        cache = hidden.run.cache
        if cache is not None:
            key, value = cache.extend(self.layer, key, value, decoder.windows[self.layer])
        out = attend(
            query,
            key,
            value,
            mask,
            by_head=decoder.rotary < decoder.head_width or decoder.fused,
            cached=cache is not None,
            softcap=decoder.softcap,
            dropped=decoder.attention_dropout,
        )
        return self.out(out)

    def projected(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values as (batch, heads, tokens, width of a head)."""
        decoder = self.decoder
        batch, tokens, _ = hidden.shape
        head = decoder.head_width
        q_shape, k_shape = (batch, decoder.heads, tokens, head), (batch, decoder.key_heads, tokens, head)
        if not decoder.fused:
            query, key, value = (project(hidden) for project in self.inputs)
        else:
            whole = self.inputs[0](hidden)
            sizes = (decoder.heads * head, decoder.key_heads * head, decoder.key_heads * head)
            if decoder.model_type == "gpt_neox":
                query, key, value = ops.split(whole, sizes)
            else:
                query, key, value = (ops.narrow(whole, 2, size) for size in sizes)
        return query.view(*q_shape), key.view(*k_shape), value.view(*k_shape)


class _MiniMindAttention(_Attention):
    """MiniMind's own: rotated in fp32, keys repeated by hand before torch's attention."""

    def __call__(self, hidden: Tensor, cosine_sine: Tables, mask: Tensor | None) -> Tensor:
        decoder = self.decoder
        query, key, value = self.projected(hidden)
        query, key = self.norms[0](query), self.norms[1](key)
        query = ops.cast(rotated(query, *cosine_sine), query.item)
        key = ops.cast(rotated(key, *cosine_sine), key.item)
        cache = hidden.run.cache
        if cache is not None:
            key, value = cache.extend(self.layer, key, value)
        times = decoder.heads // decoder.key_heads
        keys, values = ops.repeated(key, times), ops.repeated(value, times)
        out = attend(query, keys, values, mask, dropped=decoder.attention_dropout)
        return self.out(out)


class _Gated:
    """Gate and up, their product, and down; Phi-3 has gate and up in one weight."""

    def __init__(self, run: Run, decoder: Decoder) -> None:
        width, inner, bias = decoder.width, decoder.inner, decoder.feed_bias
        self.fused = decoder.feed == "fused"
        self.gate = Linear(run, width, 2 * inner if self.fused else inner, bias)
        self.up = None if self.fused else Linear(run, width, inner, bias)
        self.down = Linear(run, inner, width, bias)
        self.activation = _ACTIVATIONS[decoder.activation]
        self.inner = inner

    def __call__(self, x: Tensor) -> Tensor:
        if self.up is not None:
            return self.down(ops.mul(self.activation(self.gate(x)), self.up(x)))
        both = self.gate(x)
        gate, up = ops.split(both, (self.inner, self.inner))
        up = ops.mul(up, self.activation(gate))
        return self.down(up)


class _Plain:
    """Up, activation, down."""

    def __init__(self, run: Run, decoder: Decoder) -> None:
        self.up = Linear(run, decoder.width, decoder.inner, decoder.feed_bias)
        self.down = Linear(run, decoder.inner, decoder.width, decoder.feed_bias)
        self.activation = _ACTIVATIONS[decoder.activation]

    def __call__(self, x: Tensor) -> Tensor:
        y = self.up(x)
        y = self.activation(y)
        return self.down(y)


class _Layer:
    """One decoder layer; which of the forms below it has, the config says."""

    def __init__(self, run: Run, decoder: Decoder, layer: int) -> None:
        run.unit()
        width = decoder.width
        own = _MiniMindAttention if decoder.model_type == "minimind" else _Attention
        self.decoder = decoder
        self.attention = own(run, decoder, layer)
        if decoder.feed == "experts":
            self.feed: Callable[[Tensor], Tensor] = Experts(run, decoder, _ACTIVATIONS[decoder.activation])
        else:
            self.feed = (_Plain if decoder.feed == "plain" else _Gated)(run, decoder)
        norms = 1 if decoder.shared_norm else 4 if decoder.sandwich else 2
        self.norms = [_norm(run, decoder, width) for _ in range(norms)]
        if decoder.model_type == "minimind":
            self.forward = self.in_place
        elif decoder.parallel:
            self.forward = self.beside
        elif decoder.sandwich:
            self.forward = self.between
        else:
            self.forward = self.after

    def __call__(self, hidden: Tensor, cosine_sine: Tables, mask: Tensor | None) -> Tensor:
        y = self.forward(hidden, cosine_sine, mask)
        hidden.run.held = None
        return y

    def dropped(self, x: Tensor) -> Tensor:
        return ops.dropout(x) if self.decoder.dropout else x

    def after(self, hidden: Tensor, cosine_sine: Tables, mask: Tensor | None) -> Tensor:
        """Do LlamaDecoderLayer: norm, attention, add; norm, feed-forward, add."""
        x = self.norms[0](hidden)
        x = self.attention(x, cosine_sine, mask)
        x = ops.add(hidden, self.dropped(x))
        residual = x
        x = self.norms[1](x)
        x = self.feed(x)
        return ops.add(residual, self.dropped(x))

    def between(self, hidden: Tensor, cosine_sine: Tables, mask: Tensor | None) -> Tensor:
        """Do Gemma2DecoderLayer: as above, with another norm before each addition."""
        x = self.norms[0](hidden)
        x = self.attention(x, cosine_sine, mask)
        x = self.norms[1](x)
        x = ops.add(hidden, x)
        residual = x
        x = self.norms[2](x)
        x = self.feed(x)
        x = self.norms[3](x)
        return ops.add(residual, x)

    def beside(self, hidden: Tensor, cosine_sine: Tables, mask: Tensor | None) -> Tensor:
        """Do GPTNeoXLayer and PhiDecoderLayer: attention and feed-forward of the same input, then one sum of three."""
        if self.decoder.shared_norm:
            x = self.norms[0](hidden)
            attended = self.dropped(self.attention(x, cosine_sine, mask))
            fed = self.dropped(self.feed(x))
            return ops.add(ops.add(attended, fed), hidden)
        attended = self.dropped(self.attention(self.norms[0](hidden), cosine_sine, mask))
        fed = self.dropped(self.feed(self.norms[1](hidden)))
        return ops.add(ops.add(fed, attended), hidden)

    def in_place(self, hidden: Tensor, cosine_sine: Tables, mask: Tensor | None) -> Tensor:
        """Do MiniMindBlock: the residual is added into the attention's output, which keeps that one's type."""
        x = self.dropped(self.attention(self.norms[0](hidden), cosine_sine, mask))
        x = ops.add_in_place(x, hidden)
        return ops.add(x, self.feed(self.norms[1](x)))


class _Model:
    """The embedding, the layers, the last norm and the head."""

    def __init__(self, run: Run, decoder: Decoder) -> None:
        if decoder.softcap:
            run.attention = "eager"  # the only one that caps scores, and so the library's default
        self.decoder = decoder
        self.embedding = Embedding(run, decoder.vocabulary, decoder.width)
        self.layers = [_Layer(run, decoder, layer) for layer in range(decoder.layers)]
        self.norm = _norm(run, decoder, decoder.width)
        self.head = None if decoder.tied else Head(run, decoder.width, decoder.vocabulary, decoder.head_bias)
        self.windows = tuple(dict.fromkeys(decoder.windows))
        self.buffers = self.made_once(run)

    def made_once(self, run: Run) -> list[Tensor]:
        """Make what is no weight: the frequencies, twice for each kind of layer; MiniMind's whole tables."""
        decoder = self.decoder
        if decoder.model_type == "minimind":
            return [run.buffer(decoder.positions, decoder.head_width) for _ in range(2)]
        kinds = len(self.windows) if decoder.model_type == "gemma3_text" else 1
        frequencies = [run.buffer(decoder.rotary // 2) for _ in range(2 * kinds)]
        return [*frequencies, run.buffer(1)] if decoder.scaled_embedding else frequencies

    def __call__(self, ids: Tensor) -> Tensor:
        run = ids.run
        hidden = self.transformer(ids)
        kept = ops.narrow(hidden, 1, 1) if run.last_logits else hidden
        logits = self.head(kept) if self.head is not None else ops.linear(kept, self.embedding.weight)
        if self.decoder.logit_softcap:
            logits = ops.scale(logits)
            logits = ops.tanh(logits)
            logits = ops.scale(logits)
        return logits

    def transformer(self, ids: Tensor) -> Tensor:
        """Do LlamaModel: its frame holds the embeddings until the end."""
        run, decoder = ids.run, self.decoder
        batch, tokens = ids.shape
        embedded = self.embedding(ids)
        if decoder.scaled_embedding:
            embedded = ops.scale(embedded)
        hidden = ops.dropout(embedded) if decoder.dropout else embedded
        item = 4 if decoder.model_type == "minimind" else hidden.item
        before = 0 if run.cache is None else run.cache.length
        past = [(w, min(before, w - 1) if w else before) for w in self.windows]
        made = {} if decoder.model_type == "minimind" else masks(run, batch, tokens, past, hidden.item)
        both = tables(run, tokens, decoder.rotary, item)
        kinds = dict.fromkeys(self.windows, both)
        if decoder.model_type == "gemma3_text" and len(self.windows) > 1:
            kinds[self.windows[1]] = tables(run, tokens, decoder.rotary, item)
        for layer, window in zip(self.layers, decoder.windows, strict=True):
            cosine_sine, mask = kinds[window], made.get(window)
            if run.checkpointing:
                hidden = ops.checkpoint(layer, hidden, cosine_sine, mask)
            else:
                hidden = layer(hidden, cosine_sine, mask)
        return self.norm(hidden)


def _minimind_loss(logits: Tensor) -> Tensor:
    """Copy all but the last token's logits, and compare them in the type they have."""
    shifted = ops.copied(ops.narrow(logits, 1, logits.shape[1] - 1))
    return ops.cross_entropy(shifted.view(shifted.shape[0] * shifted.shape[1], shifted.shape[2]))
