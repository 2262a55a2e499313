"""Vision transformers as torchvision writes them: patches, torch's own MultiheadAttention, the first token's class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envdoctor.errors import UsageProblem
from envdoctor.estimate import ops
from envdoctor.estimate.layers import Conv, Head, LayerNorm, Linear
from envdoctor.estimate.models import Architecture
from envdoctor.estimate.tape import Tensor
from envdoctor.model.speech import say

if TYPE_CHECKING:
    from envdoctor.estimate.models import Forward
    from envdoctor.estimate.tape import Run

CLASSES = 1000
SIDE = 224  # the positions are learned for this one size

# Patch's side, layers, heads, width, inner width.
SIZES = {"vit-b-16": (16, 12, 12, 768, 3072), "vit-l-16": (16, 24, 16, 1024, 4096)}


def architecture(name: str) -> Architecture:
    """Return one of SIZES."""
    sizes = SIZES[name]

    def build(run: Run) -> Forward:
        return _ViT(run, *sizes)

    return Architecture(name=name, kind="image", build=build, default_size=SIDE, maximum_size=SIDE)


class _Block:
    def __init__(self, run: Run, heads: int, width: int, inner: int) -> None:
        run.unit()
        self.heads = heads
        self.norm = LayerNorm(run, width)
        self.weight = run.parameter(3 * width, width)
        self.bias = run.parameter(3 * width)
        self.projection = Linear(run, width, width)
        self.norm_2 = LayerNorm(run, width)
        self.up = Linear(run, width, inner)
        self.down = Linear(run, inner, width)

    def __call__(self, given: Tensor) -> Tensor:
        x = self.norm(given)
        x = self.attend(x)
        x = ops.add(x, given)
        y = self.norm_2(x)
        y = self.feed_forward(y)
        return ops.add(x, y)

    def attend(self, x: Tensor) -> Tensor:
        """Do nn.MultiheadAttention with tokens first: the transposed input is copied, and so is what comes of it.

        Its one weight is multiplied first and its bias added then; queries, keys and values are cut from a copy.
        """
        batch, tokens, width = x.shape
        copy = ops.copied(ops.lowered(x))
        together = ops.linear(copy, self.weight)
        del copy
        together = ops.add(together, ops.lowered(self.bias))
        together = ops.copied(together).view(3, batch, tokens, width)
        shape = (batch, self.heads, tokens, width // self.heads)
        query, key, value = (ops.narrow(together, 0, 1).view(*shape) for _ in range(3))
        out = ops.scaled_dot_product(query, key, value, None, False)
        if out.item == 4:  # the memory-efficient kernel leaves batches first
            out = ops.copied(out)
        return self.projection(out)

    def feed_forward(self, x: Tensor) -> Tensor:
        """Do MLPBlock: each step lets go of what it was given, but the caller holds the first."""
        y = self.up(x)
        y = ops.gelu(y)
        return self.down(y)


class _ViT:
    def __init__(self, run: Run, patch: int, layers: int, heads: int, width: int, inner: int) -> None:
        self.token = run.parameter(1, 1, width)
        self.patches = Conv(run, 3, width, patch, patch, padding=0, bias=True)
        self.places = run.parameter(1, (SIDE // patch) ** 2 + 1, width)
        self.blocks = [_Block(run, heads, width, inner) for _ in range(layers)]
        self.norm = LayerNorm(run, width)
        self.head = Head(run, width, CLASSES)

    def __call__(self, pixels: Tensor) -> Tensor:
        if pixels.shape[2:] != (SIDE, SIDE):
            raise UsageProblem(
                say("a vision transformer takes {side} x {side} pixels", side=SIDE),
                say("its positions are learned for those"),
            )
        x = self.embedded(pixels)
        x = self.encoded(x)
        x = ops.narrow(x, 1, 1)
        return self.head(x).view(pixels.shape[0], CLASSES)

    def embedded(self, pixels: Tensor) -> Tensor:
        """Cut patches and put the class token before them."""
        x = self.patches(pixels)
        batch, width, high, wide = x.shape
        tokens = x.view(batch, high * wide, width)
        return ops.cat([_spread(self.token, batch), tokens], 1)

    def encoded(self, x: Tensor) -> Tensor:
        """Do Encoder."""
        hidden = embedded = ops.add(x, self.places)
        for block in self.blocks:
            hidden = ops.checkpoint(block, hidden) if x.run.checkpointing else block(hidden)
        del embedded
        return self.norm(hidden)


def _spread(token: Tensor, batch: int) -> Tensor:
    """See one token in every sample; the gradient is summed over them."""
    shape = token.shape
    seen = Tensor(token.run, (batch, *shape[1:]), token.item, token.storage)
    return token.run.record(seen, (token,), lambda gradient: [ops.summed_to(gradient, shape)])
