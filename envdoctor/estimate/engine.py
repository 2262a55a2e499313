"""How gradients find their way: torch's engine, as far as memory knows of it."""

from __future__ import annotations

from heapq import heappush
from sys import getrefcount
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from envdoctor.estimate.tape import Edge, Node, Tensor


def waiting_from(root: Node) -> dict[Node, int]:
    """Return how many gradients each node that can be reached will get."""
    waiting = {root: 0}
    stack = [root]
    while stack:
        for edge in stack.pop().edges:
            if edge is not None:
                node = edge[0]
                if node in waiting:
                    waiting[node] += 1
                else:
                    waiting[node] = 1
                    stack.append(node)
    return waiting


def hand_on(
    gradients: list[Tensor | None],
    edges: Sequence[Edge],
    waiting: dict[Node, int],
    arrived: dict[Node, list[Tensor | None]],
    ready: list[tuple[int, Node]],
) -> None:
    """Give each gradient to the node that waits for it; take it out of `gradients`, so that nobody else holds it.

    A gradient is cast to the type of what it is the gradient of. Where two meet, the second is added to the first in
    place if nobody else can see the first, else into a new tensor. (torch/csrc/autograd/input_buffer.cpp)
    """
    for place, edge in enumerate(edges):
        if edge is None:
            continue
        node, index, item = edge
        out = gradients[place]
        gradients[place] = None
        if out is not None:
            if out.item != item:
                out.run.count(0, out.count * (out.item + item))
                out = out.like(item)
            held = arrived.get(node)
            if held is None:
                held = arrived[node] = [None] * node.outputs
            if held[index] is None:
                held[index] = out
            else:
                out.run.count(out.count, 3 * out.size)
                if holders(held, index) != ALONE:
                    held[index] = out.like()
            out = None
        waiting[node] -= 1
        if not waiting[node]:
            heappush(ready, (-node.seq, node))


def holders(held: Sequence[Any], index: int) -> tuple[int, int]:
    """Count who holds the tensor at `index`, and who its storage, as this interpreter counts."""
    first = held[index]
    return getrefcount(first), getrefcount(first.storage)


class _Alone:
    """Has a storage, as a tensor has."""

    __slots__ = ("storage",)

    def __init__(self) -> None:
        self.storage = object()


# What `holders` says where nobody but the list holds the tensor, and nobody but the tensor its storage. It is counted
# because it differs: from CPython 3.14 on, a local variable lends its reference to a call instead of adding one.
ALONE = holders([_Alone()], 0)
