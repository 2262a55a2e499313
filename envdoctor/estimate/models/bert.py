"""BERT as transformers writes it: with a head that names tokens, or one that names the whole text, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from envdoctor.estimate import ops
from envdoctor.estimate.layers import Embedding, Head, LayerNorm, Linear
from envdoctor.estimate.models import Architecture
from envdoctor.estimate.models.attending import attend
from envdoctor.estimate.models.config import BadConfig, Reader
from envdoctor.model import Record
from envdoctor.model.speech import say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envdoctor.estimate.models import Forward
    from envdoctor.estimate.tape import Run, Tensor

HeadKind = Literal["tokens", "text"]


class Encoder(Record):
    """Widths of a BERT; the defaults are bert-base-uncased's, and the library's."""

    vocabulary: int = 30522
    width: int = 768
    layers: int = 12
    heads: int = 12
    inner: int = 3072
    positions: int = 512
    kinds: int = 2
    labels: int = 2
    head: HeadKind = "text"
    dropout: bool = True
    attention_dropout: bool = True


# "bert-base" is what is fine-tuned to classify texts; its checkpoint was made with the other head.
SIZES = {
    "bert-base": Encoder(),
    "bert-base-masked-lm": Encoder(head="tokens"),
    "bert-large": Encoder(width=1024, layers=24, heads=16, inner=4096),
}
_HEADS: dict[str, HeadKind] = {"BertForMaskedLM": "tokens", "BertForSequenceClassification": "text"}


def architecture(name: str) -> Architecture:
    """Return one of SIZES."""
    return _architecture(name, SIZES[name])


def from_config(name: str, config: Mapping[str, object]) -> Architecture:
    """Return the BERT of a config.json; its first architecture says which head. Raises BadConfig."""
    reader, base = Reader(config), Encoder()
    classes = config.get("architectures") or ["BertForSequenceClassification"]
    wanted = classes[0] if isinstance(classes, list) and classes else classes
    if wanted not in _HEADS:
        raise BadConfig(
            say("config.json: architectures names {wanted!r}", wanted=wanted),
            say("known: {heads}", heads=", ".join(_HEADS)),
        )
    labels = config.get("id2label")
    width, heads = reader.count("hidden_size", base.width), reader.count("num_attention_heads", base.heads)
    if width % heads:
        raise BadConfig(
            say(
                "config.json: num_attention_heads {heads} does not divide hidden_size {width}", heads=heads, width=width
            )
        )
    encoder = Encoder(
        vocabulary=reader.count("vocab_size", base.vocabulary),
        width=width,
        layers=reader.count("num_hidden_layers", base.layers),
        heads=heads,
        inner=reader.count("intermediate_size", base.inner),
        positions=reader.count("max_position_embeddings", base.positions),
        kinds=reader.count("type_vocab_size", base.kinds),
        labels=len(labels) if isinstance(labels, dict) else base.labels,
        head=_HEADS[str(wanted)],
        dropout=reader.number("hidden_dropout_prob", 0.1) > 0,
        attention_dropout=reader.number("attention_probs_dropout_prob", 0.1) > 0,
    )
    return _architecture(name, encoder)


def _architecture(name: str, encoder: Encoder) -> Architecture:
    def build(run: Run) -> Forward:
        return _Bert(run, encoder)

    def loss(logits: Tensor) -> Tensor:
        rows = logits.count // logits.shape[-1]
        return ops.cross_entropy(logits.view(rows, logits.shape[-1]))

    return Architecture(
        name=name,
        kind="tokens",
        build=build,
        default_size=encoder.positions,
        maximum_size=encoder.positions,
        loss=loss,
    )


class _Layer:
    def __init__(self, run: Run, encoder: Encoder) -> None:
        run.unit()
        width = encoder.width
        self.encoder = encoder
        self.inputs = [Linear(run, width, width) for _ in range(3)]
        self.projection = Linear(run, width, width)
        self.norm = LayerNorm(run, width)
        self.up = Linear(run, width, encoder.inner)
        self.down = Linear(run, encoder.inner, width)
        self.norm_2 = LayerNorm(run, width)

    def __call__(self, hidden: Tensor) -> Tensor:
        attended = self.attend(hidden)
        attended = self.joined(self.projection, self.norm, attended, hidden)
        inner = self.up(attended)
        inner = ops.gelu(inner)
        y = self.joined(self.down, self.norm_2, inner, attended)
        hidden.run.held = None
        return y

    def attend(self, hidden: Tensor) -> Tensor:
        """Do BertSelfAttention."""
        encoder = self.encoder
        batch, tokens, width = hidden.shape
        shape = (batch, encoder.heads, tokens, width // encoder.heads)
        query, key, value = (project(hidden).view(*shape) for project in self.inputs)
        dropped = encoder.attention_dropout
        return attend(query, key, value, None, causal=False, dropped=dropped, full_softmax=False, cast_back=False)

    def joined(self, dense: Linear, norm: LayerNorm, x: Tensor, residual: Tensor) -> Tensor:
        """Do BertSelfOutput and BertOutput: project, drop, add, normalize."""
        y = dense(x)
        if self.encoder.dropout:
            y = ops.dropout(y)
        return norm(ops.add(y, residual))


class _Bert:
    """The embeddings, the layers, and the head of the config."""

    def __init__(self, run: Run, encoder: Encoder) -> None:
        width = encoder.width
        self.encoder = encoder
        self.tokens = Embedding(run, encoder.vocabulary, width)
        self.places = Embedding(run, encoder.positions, width)
        self.kinds = Embedding(run, encoder.kinds, width)
        self.norm = LayerNorm(run, width)
        self.layers = [_Layer(run, encoder) for _ in range(encoder.layers)]
        self.pooler = Linear(run, width, width) if encoder.head == "text" else None
        self.classifier = Head(run, width, encoder.labels) if encoder.head == "text" else None
        self.bias = None if encoder.head == "text" else run.parameter(encoder.vocabulary)
        self.transform = None if encoder.head == "text" else (Head(run, width, width), LayerNorm(run, width))
        self.buffers = (run.buffer(encoder.positions, item=8), run.buffer(encoder.positions, item=8))

    def __call__(self, ids: Tensor) -> Tensor:
        hidden = self.encoded(ids)
        if self.pooler is not None and self.classifier is not None:
            pooled = ops.tanh(self.pooler(ops.narrow(hidden, 1, 1)))
            pooled = ops.dropout(pooled) if self.encoder.dropout else pooled
            return self.classifier(pooled)
        assert self.transform is not None
        dense, norm = self.transform
        x = dense(hidden)
        x = ops.gelu(x)
        x = norm(x)
        return ops.linear(x, self.tokens.weight, self.bias)

    def encoded(self, ids: Tensor) -> Tensor:
        """Do BertModel: its frame holds the embeddings until the end."""
        embedded = self.embedded(ids)
        hidden = embedded
        for layer in self.layers:
            hidden = ops.checkpoint(layer, hidden) if ids.run.checkpointing else layer(hidden)
        return hidden

    def embedded(self, ids: Tensor) -> Tensor:
        """Do BertEmbeddings."""
        run, tokens = ids.run, ids.shape[1]
        words = self.tokens(ids)
        kinds = self.kinds(ids)  # the ids of the kinds are a view of zeros, one a token
        summed = ops.add(words, kinds)
        places = self.places(run.tensor((1, tokens), 8))
        summed = ops.add(summed, places)
        summed = self.norm(summed)
        return ops.dropout(summed) if self.encoder.dropout else summed
