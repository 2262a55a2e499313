"""GPT-2 as transformers writes it: fused query-key-value, gelu_new in Python, the head tied to the embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from envdoctor.estimate import ops
from envdoctor.estimate.layers import Embedding, LayerNorm, Linear
from envdoctor.estimate.models import Architecture
from envdoctor.estimate.models.attending import attend, masks
from envdoctor.model.speech import say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envdoctor.estimate.models import Forward
    from envdoctor.estimate.tape import Run, Tensor

VOCABULARY = 50257
CONTEXT = 1024


class _Size(NamedTuple):
    layers: int
    heads: int
    width: int
    inner: int
    vocabulary: int = VOCABULARY
    context: int = CONTEXT


SIZES = {
    "gpt2": _Size(12, 12, 768, 3072),
    "gpt2-medium": _Size(24, 16, 1024, 4096),
    "gpt2-large": _Size(36, 20, 1280, 5120),
    "gpt2-xl": _Size(48, 25, 1600, 6400),
}


def architecture(name: str) -> Architecture:
    """Return one of SIZES."""
    return _architecture(name, SIZES[name])


def from_config(name: str, config: Mapping[str, object]) -> Architecture:
    """Return the GPT-2 that a config describes. Raises BadConfig, which names the key."""
    from envdoctor.estimate.models.config import BadConfig, Reader

    reader = Reader(config)
    small = SIZES["gpt2"]
    width = reader.count("n_embd", small.width)
    size = _Size(
        layers=reader.count("n_layer", small.layers),
        heads=reader.count("n_head", small.heads),
        width=width,
        inner=reader.count("n_inner", 4 * width),
        vocabulary=reader.count("vocab_size", VOCABULARY),
        context=reader.count("n_positions", CONTEXT),
    )
    if width % size.heads:
        raise BadConfig(
            say("config.json: n_embd {width} is no multiple of n_head {heads}", width=width, heads=size.heads)
        )
    return _architecture(name, size)


def _architecture(name: str, size: _Size) -> Architecture:
    def build(run: Run) -> Forward:
        return _GPT2(run, size)

    return Architecture(
        name=name,
        kind="tokens",
        build=build,
        default_size=size.context,
        maximum_size=size.context,
        layers=size.layers,
        with_layers=lambda layers: _architecture(name, size._replace(layers=layers)),
    )


class _Block:
    def __init__(self, run: Run, layer: int, size: _Size) -> None:
        run.unit()
        width = size.width
        self.layer = layer
        self.heads = size.heads
        self.norm = LayerNorm(run, width)
        self.qkv = Linear(run, width, 3 * width)
        self.projection = Linear(run, width, width)
        self.norm_2 = LayerNorm(run, width)
        self.up = Linear(run, width, size.inner)
        self.down = Linear(run, size.inner, width)

    def __call__(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        attended = self.attend(self.norm(hidden), mask)  # held to the end, as GPT2Block's frame does
        summed = ops.add(attended, hidden)
        y = ops.add(summed, self.feed_forward(self.norm_2(summed)))
        hidden.run.held = None
        return y

    def attend(self, normed: Tensor, mask: Tensor | None) -> Tensor:
        """Do GPT2Attention: queries, keys and values are views of one tensor, and held until the projection is done."""
        batch, tokens, width = normed.shape
        heads = self.heads
        shape = (batch, heads, tokens, width // heads)
        query, key, value = (part.view(*shape) for part in ops.split(self.qkv(normed), (width, width, width)))
        cache = normed.run.cache
        if cache is not None:
            key, value = cache.extend(self.layer, key, value)
        out = attend(query, key, value, mask, cached=cache is not None, dropped=True, full_softmax=False)
        out = self.projection(out)
        return ops.dropout(out)

    def feed_forward(self, normed: Tensor) -> Tensor:
        """Do GPT2MLP."""
        x = self.up(normed)
        x = ops.gelu_new(x)
        x = self.down(x)
        return ops.dropout(x)


class _GPT2:
    def __init__(self, run: Run, size: _Size) -> None:
        self.tokens = Embedding(run, size.vocabulary, size.width)
        self.positions = Embedding(run, size.context, size.width)
        self.blocks = [_Block(run, layer, size) for layer in range(size.layers)]
        self.norm = LayerNorm(run, size.width)

    def __call__(self, ids: Tensor) -> Tensor:
        run = ids.run
        hidden = self.transformer(ids)
        if run.last_logits:
            hidden = ops.narrow(hidden, 1, 1)
        return ops.linear(hidden, self.tokens.weight)

    def transformer(self, ids: Tensor) -> Tensor:
        """Do GPT2Model: its frame holds both embeddings until the end."""
        run = ids.run
        batch, tokens = ids.shape
        past = 0 if run.cache is None else run.cache.length
        embedded = self.tokens(ids)
        places = run.tensor((1, tokens), 8)
        positions = self.positions(places)
        hidden = ops.dropout(ops.add(embedded, positions))
        mask = masks(run, batch, tokens, [(None, past)], hidden.item).get(None)
        for block in self.blocks:
            hidden = ops.checkpoint(block, hidden, mask) if run.checkpointing else block(hidden, mask)
        return self.norm(hidden)
