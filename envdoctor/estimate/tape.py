"""Tensors that have a shape and a lifetime but no numbers, and the tape that walks backwards over them.

A storage reports when it is made and, through CPython's reference counts, when its last holder lets go. Code that is
written like the framework's module therefore has the framework's lifetimes: a local variable, a saved tensor and a view
hold memory here exactly as they do there. Sizes are bytes; an `item` is the bytes of one element.
"""

from __future__ import annotations

from heapq import heappop
from itertools import accumulate
from math import prod
from typing import TYPE_CHECKING, Literal

from envdoctor.estimate.engine import hand_on, waiting_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from envdoctor.estimate.ops.cache import Cache

    Shape = tuple[int, ...]
    Phase = Literal["forward", "backward", "step"]
    Work = Literal["product", "convolution", "elements", "in place"]
    Backward = Callable[..., list["Tensor | None"]]

# What bytes are for, in the order of the fields of `model.estimate.Parts`.
WEIGHTS, BUFFERS, GRADIENTS, OPTIMIZER, ACTIVATIONS, TEMPORARY, INPUTS = range(7)

BLOCK = 512  # the CUDA caching allocator rounds every request up to this
LEAVES = 1 << 60  # weights are numbered from here: a gradient is stored before any other node runs (AccumulateGrad)


class Run:
    """One walk over one workload: what is switched on, and what happened so far.

    `deltas` has one entry an event: bytes made (positive) or let go (negative). `mates` says beside a positive one what
    the bytes are for, and beside a negative one which event made them. Between two `seams` each layer has its events
    in one place.
    """

    __slots__ = (
        "attention",
        "autocast",
        "cache",
        "casts",
        "checkpointing",
        "cpu",
        "cuts",
        "deltas",
        "gradient_shards",
        "held",
        "kind",
        "labels",
        "last_logits",
        "marks",
        "mates",
        "nodes",
        "parameters",
        "quantized",
        "rank",
        "recording",
        "seams",
        "training",
        "units",
        "weight_item",
        "work",
    )

    def __init__(
        self,
        *,
        training: bool = False,
        weight_item: int = 4,
        autocast: bool = False,
        attention: Literal["sdpa", "eager"] = "sdpa",
        checkpointing: bool = False,
        last_logits: bool = False,
        rank: int | None = None,
        quantized: Literal["int8", "int4"] | None = None,
        cpu: bool = False,
    ) -> None:
        self.training = training  # dropout drops, batch norm takes the batch's statistics
        self.recording = training  # operations are put on the tape
        self.weight_item = weight_item
        self.autocast = autocast
        self.attention = attention
        self.checkpointing = checkpointing
        self.last_logits = last_logits
        self.cpu = cpu  # operations are the CPU's: masks of dropout, kernels of attention, reordered copies
        self.rank = rank  # of the adapters beside every linear layer; all else is frozen then
        self.quantized = quantized  # how the weights of linear layers are kept
        self.held: Tensor | None = None  # eager attention's weights, which a layer's frame holds to its end
        self.gradient_shards = 1  # devices that a finished gradient is divided among
        self.units: list[int] = []  # how many weights there were when each layer began to be made
        self.cache: Cache | None = None  # keys and values that are kept from token to token
        self.casts: dict[Parameter, Tensor] = {}  # autocast's half copies of weights, until its region ends
        self.parameters: list[Parameter] = []
        self.labels: Tensor | None = None  # of the batch, which the caller holds
        self.kind = WEIGHTS
        self.nodes = 0
        self.deltas: list[int] = []
        self.mates: list[int] = []
        self.marks: list[tuple[Phase, int]] = []
        self.seams: list[int] = []
        self.work: list[tuple[Work, int, int]] = []  # an operation each: its flops, and the bytes it reads and writes
        self.cuts: list[int] = []  # where the seams are in it

    def tensor(self, shape: Shape, item: int = 4) -> Tensor:
        """Make a new tensor of the present kind, which no gradient flows to."""
        return Tensor(self, shape, item)

    def parameter(self, *shape: int, item: int | None = None, trained: bool = True) -> Parameter:
        """Make a weight. In training, a gradient flows to it unless it is not `trained`."""
        made = Parameter(self, shape, item or self.weight_item, trained and self.training and self.rank is None)
        self.parameters.append(made)
        return made

    def adapter(self, *shape: int) -> Parameter:
        """Make a weight of an adapter: fp32, and trained though all else is frozen."""
        made = Parameter(self, shape, 4, self.training)
        self.parameters.append(made)
        return made

    def packed(self, shape: Shape, size: int) -> Parameter:
        """Make a frozen weight whose elements take less than a byte each, or have scales beside them: `size` in all."""
        made = Parameter(self, shape, 1, False, Storage(self, size))
        self.parameters.append(made)
        return made

    def unit(self) -> None:
        """Say that the weights of the next layer are made from here on: what a full shard gathers at a time."""
        self.units.append(len(self.parameters))

    def buffer(self, *shape: int, item: int = 4) -> Tensor:
        """Make a tensor that belongs to the model but is no weight, such as the running mean of batch norm."""
        before, self.kind = self.kind, BUFFERS
        made = Tensor(self, shape, item)
        self.kind = before
        return made

    def seam(self) -> None:
        """Say that what was done for each layer, one after the other, was done; see `stretching`."""
        self.seams.append(len(self.deltas))
        self.cuts.append(len(self.work))

    def enter(self, phase: Phase) -> None:
        """Say what happens from here on."""
        self.seam()
        self.marks.append((phase, len(self.deltas)))
        self.kind = ACTIVATIONS if phase == "forward" else TEMPORARY

    def count(self, flops: int, moved: int, kind: Work = "elements") -> None:
        """Add an operation's arithmetic and the bytes that it reads and writes."""
        self.work.append((kind, flops, moved))

    def record(self, out: Tensor, inputs: Iterable[Tensor | None], backward: Backward) -> Tensor:
        """Put an operation with one output on the tape, if a gradient flows to any input.

        `backward` gets the output's gradient and returns one for each input. It may hold what torch saves: the storage
        of an input or of the output, never the output itself (which would hold the node that holds it).
        """
        if self.recording:
            edges = [None if i is None else i.edge for i in inputs]
            for edge in edges:
                if edge is not None:
                    self.nodes += 1
                    out.edge = (Node(self.nodes, edges, backward, 1), 0, out.item)
                    break
        return out

    def record_all(self, outs: Sequence[Tensor], inputs: Iterable[Tensor | None], backward: Backward) -> None:
        """Put an operation with several outputs on the tape; `backward` gets a gradient, or None, for each of them."""
        if self.recording:
            edges = [None if i is None else i.edge for i in inputs]
            if any(edges):
                self.nodes += 1
                node = Node(self.nodes, edges, backward, len(outs))
                for index, out in enumerate(outs):
                    out.edge = (node, index, out.item)

    def backward(self, start: Edge, gradient: Tensor) -> None:
        """Walk back from the `edge` of a tensor, with that tensor's gradient, and leave gradients at the weights."""
        self.backward_from(start, [gradient])

    def backward_from(self, start: Edge, given: list[Tensor | None]) -> None:
        """Walk back with the one gradient in `given`, which is taken out so that nobody else holds it.

        As torch's engine does, nodes run latest first, each as soon as every gradient it waits for has arrived; what a
        node saved is let go as soon as it has run. (torch/csrc/autograd/engine.cpp)
        """
        if start is None:
            return
        root = start[0]
        waiting = waiting_from(root)
        arrived: dict[Node, list[Tensor | None]] = {root: [None] * root.outputs}
        arrived[root][start[1]] = given.pop()
        del start
        ready = [(-root.seq, root)]
        del root
        while ready:
            node = heappop(ready)[1]
            here = arrived.pop(node)
            gradients = node.backward(here) if node.boxed else node.backward(*here)
            del here
            edges = node.edges
            node.let_go()
            hand_on(gradients, edges, waiting, arrived, ready)

    def live(self) -> list[int]:
        """Return the bytes in use after each event."""
        return list(accumulate(self.deltas))

    def parts(self, until: int) -> list[int]:
        """Return the bytes in use after the first `until` events, by what they are for."""
        parts = [0] * 7
        mates = self.mates
        for delta, mate in zip(self.deltas[:until], mates, strict=False):
            parts[mate if delta > 0 else mates[mate]] += delta
        return parts


class Storage:
    """Bytes of the device: made now, let go when nobody holds this any more."""

    __slots__ = ("at", "run")

    def __init__(self, run: Run, size: int) -> None:
        self.run = run
        deltas = run.deltas
        self.at = len(deltas)
        deltas.append(-(-size // BLOCK) * BLOCK)
        run.mates.append(run.kind)

    def __del__(self) -> None:
        run = self.run
        deltas = run.deltas
        deltas.append(-deltas[self.at])
        run.mates.append(self.at)

    @property
    def size(self) -> int:
        """The bytes that were made."""
        return self.run.deltas[self.at]

    def shrink(self, size: int) -> None:
        """Have made only so many bytes; for what is kept to the end, before anything is let go."""
        self.run.deltas[self.at] = -(-size // BLOCK) * BLOCK

    def becomes(self, kind: int) -> None:
        """Say that these bytes are for something else than what was going on when they were made."""
        self.run.mates[self.at] = kind


class Tensor:
    """A view of a storage, and the way back to the node that made it."""

    __slots__ = ("count", "edge", "item", "run", "shape", "size", "storage")

    def __init__(self, run: Run, shape: Shape, item: int, storage: Storage | None = None, edge: Edge = None) -> None:
        self.run = run
        self.shape = shape
        self.item = item
        self.count = count = prod(shape)
        self.size = size = count * item  # the bytes that are read when this is read
        self.storage = Storage(run, size) if storage is None else storage
        self.edge = edge  # the node, which of its outputs this is, and the item its gradient must have

    def like(self, item: int | None = None) -> Tensor:
        """Make a new tensor of this shape, in the present kind."""
        return Tensor(self.run, self.shape, item or self.item)

    def view(self, *shape: int) -> Tensor:
        """See the same elements in another shape; a transposed view is one too."""
        return Tensor(self.run, shape, self.item, self.storage, self.edge)

    def detached(self) -> Tensor:
        """See the same elements with no way back."""
        return Tensor(self.run, self.shape, self.item, self.storage)


class Parameter(Tensor):
    """A weight, and its gradient once there is one."""

    __slots__ = ("gradient", "trained")

    def __init__(self, run: Run, shape: Shape, item: int, trained: bool, storage: Storage | None = None) -> None:
        super().__init__(run, shape, item, storage)
        self.trained = trained
        self.gradient: Tensor | None = None
        if trained:
            self.edge = (Node(LEAVES + len(run.parameters), (), self.accept, 1), 0, item)

    def accept(self, gradient: Tensor) -> list[Tensor | None]:
        """Keep the gradient, or add it in place to the one that is there, as AccumulateGrad does."""
        if self.gradient is None:
            shards = self.run.gradient_shards
            own = -(-gradient.count // shards)
            self.gradient = gradient if shards == 1 else self.run.tensor((own,), gradient.item)
            self.gradient.storage.becomes(GRADIENTS)
        else:
            self.run.count(gradient.count, 3 * gradient.size)
        return []


class Node:
    """An operation on the tape: where its gradients go, and how they are made.

    `boxed`: `backward` is given the list that holds the gradients, so that it can let go of them before it returns.
    """

    __slots__ = ("backward", "boxed", "edges", "outputs", "seq")

    def __init__(
        self, seq: int, edges: Sequence[Edge], backward: Backward, outputs: int, *, boxed: bool = False
    ) -> None:
        self.boxed = boxed
        self.seq = seq
        self.edges = edges
        self.backward = backward
        self.outputs = outputs

    def let_go(self) -> None:
        """Forget what was saved. A weight's node is used again in the next step."""
        if self.seq < LEAVES:
            self.backward = _ran_already
            self.edges = ()


if TYPE_CHECKING:
    Edge = tuple[Node, int, int] | None


def _ran_already(*_: object) -> list[Tensor | None]:
    raise RuntimeError("a part of the tape was walked twice")
