"""Matrix products, embeddings, and autocast's casts before them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envdoctor.estimate.tape import Parameter, Tensor

if TYPE_CHECKING:
    from envdoctor.estimate.tape import Shape

HALF = 2


def cast(x: Tensor, item: int) -> Tensor:
    """Convert to another type: a new tensor, nothing saved. The same type costs nothing."""
    if x.item == item:
        return x
    run, shape, before = x.run, x.shape, x.item
    run.count(0, x.count * (before + item))

    def backward(gradient: Tensor) -> list[Tensor | None]:
        run.count(0, gradient.count * (before + item))
        return [Tensor(run, shape, before)]

    return run.record(Tensor(run, shape, item), (x,), backward)


def lowered(x: Tensor) -> Tensor:
    """Take what a matrix product under autocast reads: a half copy; a weight's is kept until the region ends.

    Only leaves that require a gradient are kept, which weights are also under no_grad; a tensor that is cast again is
    copied again. (aten/src/ATen/autocast_mode.cpp, cached_cast)
    """
    run = x.run
    if not run.autocast or x.item != 4:
        return x
    if not isinstance(x, Parameter):
        return cast(x, HALF)
    kept = run.casts.get(x)
    if kept is None:
        kept = run.casts[x] = cast(x, HALF)
    return kept


def raised(x: Tensor) -> Tensor:
    """Take what an operation that autocast runs in fp32 reads."""
    return cast(x, 4) if x.run.autocast else x


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply (..., in) by a weight of (out, in): the input is saved if the weight is trained, else only the weight.

    (derivatives.yaml: addmm, mm)
    """
    run, shape, given, matrix = x.run, x.shape, lowered(x), lowered(weight)
    added = None if bias is None else lowered(bias)
    item = given.item
    out_features, in_features = weight.shape
    y = Tensor(run, (*shape[:-1], out_features), item)
    flops = 2 * y.count * in_features
    moved = given.size + matrix.size + y.size
    run.count(flops, moved, "product")
    if not run.recording:
        return y
    to_x, to_weight, weight_shape = bool(given.edge), bool(matrix.edge), matrix.shape
    bias_shape = added.shape if added is not None and added.edge else None
    saved = (given.storage if to_weight else None, matrix.storage if to_x else None)

    def backward(gradient: Tensor, saved: object = saved) -> list[Tensor | None]:
        run.count(flops * (to_x + to_weight), moved * (to_x + to_weight), "product")
        return [
            Tensor(run, shape, item) if to_x else None,
            Tensor(run, weight_shape, item) if to_weight else None,
            Tensor(run, bias_shape, item) if bias_shape else None,
        ]

    return run.record(y, (given, matrix, added), backward)


def matmul(a: Tensor, b: Tensor, shape: Shape, inner: int) -> Tensor:
    """Multiply two batches of matrices into `shape`, over `inner` elements: both are saved.

    (derivatives.yaml: bmm)
    """
    left, right = lowered(a), lowered(b)
    run, item, a_shape, b_shape = a.run, left.item, a.shape, b.shape
    y = Tensor(run, shape, item)
    flops, moved = 2 * y.count * inner, left.size + right.size + y.size
    run.count(flops, moved, "product")
    if not run.recording:
        return y
    to_a, to_b = bool(left.edge), bool(right.edge)
    saved = (left.storage if to_b else None, right.storage if to_a else None)

    def backward(gradient: Tensor, saved: object = saved) -> list[Tensor | None]:
        run.count(flops * (to_a + to_b), moved * (to_a + to_b), "product")
        return [Tensor(run, a_shape, item) if to_a else None, Tensor(run, b_shape, item) if to_b else None]

    return run.record(y, (left, right), backward)


def embedding(ids: Tensor, weight: Tensor) -> Tensor:
    """Look rows up: the indices are saved; the weight's gradient is as large as the weight.

    (embedding_dense_backward; `sparse=True` is rare and not meant here.)
    """
    run, weight_shape, item = weight.run, weight.shape, weight.item
    y = Tensor(run, (*ids.shape, weight_shape[-1]), item)
    run.count(0, ids.size + 2 * y.size)
    saved = ids.storage

    def backward(gradient: Tensor, saved: object = saved) -> list[Tensor | None]:
        made = Tensor(run, weight_shape, item)
        run.count(gradient.count, 2 * gradient.size + made.size)
        return [made]

    return run.record(y, (weight,), backward)
