"""Mixture of experts as transformers runs it: tokens sorted by expert, two grouped products."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envdoctor.estimate import ops
from envdoctor.estimate.tape import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from envdoctor.estimate.models.config import Decoder
    from envdoctor.estimate.tape import Run


class Experts:
    """MixtralSparseMoeBlock: the router, and every expert's gate, up and down in two weights."""

    def __init__(self, run: Run, decoder: Decoder, activation: Callable[[Tensor], Tensor]) -> None:
        self.decoder = decoder
        self.activation = activation
        self.router = run.parameter(decoder.experts, decoder.width)
        self.gate_up = run.parameter(decoder.experts, 2 * decoder.inner, decoder.width)
        self.down = run.parameter(decoder.experts, decoder.width, decoder.inner)

    def __call__(self, hidden: Tensor) -> Tensor:
        """Send each token to its experts."""
        batch, tokens, width = hidden.shape
        flat = hidden.view(batch * tokens, width)
        weights = self.routed(flat)
        return self.combined(flat, weights).view(batch, tokens, width)

    def routed(self, flat: Tensor) -> Tensor:
        """Return the weights of each token's experts, (tokens, experts used), in fp32."""
        logits = ops.linear(flat, self.router)
        shares = ops.softmax(ops.cast(logits, 4))
        chosen = _topk(shares, self.decoder.experts_used)
        return ops.mul(chosen, ops.rsqrt(ops.mean_last(chosen)))

    def combined(self, flat: Tensor, weights: Tensor) -> Tensor:
        """Do grouped_mm_experts_forward: each token once for each of its experts."""
        run, used = flat.run, self.decoder.experts_used
        rows = flat.shape[0] * used
        order = run.tensor((rows, 2), 8)
        selected = _taken(flat, rows)
        scores = _taken(weights.view(rows, 1), rows)
        out = _grouped(selected, self.gate_up)
        gate, up = ops.split(out, (self.decoder.inner, self.decoder.inner))
        out = ops.mul(self.activation(gate), up)
        out = _grouped(out, self.down)
        weighted = ops.mul(out, scores)
        weighted = _taken(weighted, rows)
        del order
        summed = ops.mean_last(weighted.view(flat.shape[0], self.decoder.width, used))
        return ops.cast(summed.view(*flat.shape), flat.item)


def _topk(x: Tensor, count: int) -> Tensor:
    """Take the largest `count` of each row: the indices are saved, the gradient is as large as the input."""
    run, shape, item = x.run, x.shape, x.item
    y = Tensor(run, (shape[0], count), item)
    index = Tensor(run, y.shape, 8)
    run.count(x.count, x.size + y.size)

    def backward(gradient: Tensor, saved: object = index.storage) -> list[Tensor | None]:
        return [Tensor(run, shape, item)]

    return run.record(y, (x,), backward)


def _taken(x: Tensor, rows: int) -> Tensor:
    """Gather rows by an index, which is saved; the gradient is as large as what they were taken from."""
    run, shape, item = x.run, x.shape, x.item
    y = Tensor(run, (rows, shape[1]), item)
    index = Tensor(run, (rows,), 8)
    run.count(0, 2 * y.size)

    def backward(gradient: Tensor, saved: object = index.storage) -> list[Tensor | None]:
        return [Tensor(run, shape, item)]

    return run.record(y, (x,), backward)


def _grouped(x: Tensor, weight: Tensor) -> Tensor:
    """Multiply each row by its expert's matrix: input and weight are saved, as torch's grouped_mm does."""
    run, shape, given, matrices = x.run, x.shape, ops.lowered(x), ops.lowered(weight)
    item = given.item
    y = Tensor(run, (shape[0], weight.shape[1]), item)
    flops, moved = 2 * y.count * weight.shape[2], given.size + matrices.size + y.size
    run.count(flops, moved)
    to_x, to_weight, weight_shape = bool(given.edge), bool(matrices.edge), weight.shape
    saved = (given.storage if to_weight else None, matrices.storage if to_x else None)

    def backward(gradient: Tensor, saved: object = saved) -> list[Tensor | None]:
        run.count(flops * (to_x + to_weight), moved * (to_x + to_weight))
        return [Tensor(run, shape, item) if to_x else None, Tensor(run, weight_shape, item) if to_weight else None]

    return run.record(y, (given, matrices), backward)
