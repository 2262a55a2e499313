"""Activation checkpointing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envdoctor.estimate.tape import ACTIVATIONS, Node, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable


def checkpoint(block: Callable[..., Tensor], x: Tensor, *others: object) -> Tensor:
    """Keep only a block's input; in backward run it again, then walk back over what that made.

    It is torch.utils.checkpoint, not the reentrant one. Under autocast the second run is a region of its own: it casts
    each weight anew. `others` need no gradient.
    """
    run = x.run
    if not run.recording:
        return block(x, *others)
    run.recording = False
    y = block(x, *others)
    run.recording = True

    source, wanted = x.detached(), x.edge is not None

    def backward(given: list[Tensor | None], kept: Tensor = source) -> list[Tensor | None]:
        arrived: list[Tensor] = []

        def arrive(found: Tensor) -> list[Tensor | None]:
            arrived.append(found)
            return []

        if wanted:
            kept.edge = (Node(0, (), arrive, 1), 0, kept.item)
        casts, kind = run.casts, run.kind
        run.casts, run.kind = {}, ACTIVATIONS
        edge = block(kept, *others).edge
        run.casts, run.kind = casts, kind
        run.backward_from(
            edge, given
        )  # the last operation of the block lets go of the gradient, if it is not passed on
        return [arrived.pop() if arrived else None]

    # Also where no gradient flows to the input: with adapters the embedding is frozen, and the block's own are trained.
    run.nodes += 1
    return Tensor(run, y.shape, y.item, y.storage, (Node(run.nodes, (x.edge,), backward, 1, boxed=True), 0, y.item))
