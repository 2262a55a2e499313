"""Joining, splitting and copying."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envdoctor.estimate.tape import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence


def split(x: Tensor, widths: Sequence[int], axis: int = -1) -> list[Tensor]:
    """See an axis in pieces; backward joins their gradients in one new tensor."""
    run, shape, item = x.run, x.shape, x.item
    before, after = shape[:axis], shape[axis % len(shape) + 1 :]
    pieces = [Tensor(run, (*before, width, *after), item, x.storage) for width in widths]

    def backward(*gradients: Tensor | None) -> list[Tensor | None]:
        made = Tensor(run, shape, item)
        run.count(0, 2 * made.size)
        return [made]

    run.record_all(pieces, (x,), backward)
    return pieces


def narrow(x: Tensor, axis: int, length: int) -> Tensor:
    """See a slice; backward writes its gradient into a new tensor of zeros."""
    run, shape, item = x.run, x.shape, x.item
    sliced = (*shape[:axis], length, *shape[axis + 1 :])

    def backward(gradient: Tensor) -> list[Tensor | None]:
        made = Tensor(run, shape, item)
        run.count(0, made.size + gradient.size)
        return [made]

    return run.record(Tensor(run, sliced, item, x.storage), (x,), backward)


def cat(tensors: Sequence[Tensor], axis: int) -> Tensor:
    """Join into a new tensor; backward hands out views of the gradient."""
    run, item = tensors[0].run, max(t.item for t in tensors)
    shape = tensors[0].shape
    axis %= len(shape)
    y = Tensor(run, (*shape[:axis], sum(t.shape[axis] for t in tensors), *shape[axis + 1 :]), item)
    run.count(0, 2 * y.size)
    shapes = [t.shape for t in tensors]
    return run.record(y, tensors, lambda gradient: [Tensor(run, s, item, gradient.storage) for s in shapes])


def copied(x: Tensor) -> Tensor:
    """Copy into a tensor of its own, as `contiguous` and `reshape` do to a transposed view."""
    y = x.like()
    x.run.count(0, 2 * y.size)
    return x.run.record(y, (x,), lambda gradient: [gradient])
