"""Walk one step of a workload over shapes and say what it needs."""

from __future__ import annotations

import gc
from itertools import pairwise
from typing import TYPE_CHECKING

from envdoctor.errors import UsageProblem
from envdoctor.estimate import stretching
from envdoctor.estimate.allocator import Allocator
from envdoctor.estimate.assumptions import assumed
from envdoctor.estimate.ops import Cache
from envdoctor.estimate.sharding import Shards
from envdoctor.estimate.tape import INPUTS, OPTIMIZER, Run, Storage, Tensor
from envdoctor.model.estimate import Memory, Parts
from envdoctor.model.speech import say

if TYPE_CHECKING:
    from typing import Literal

    from envdoctor.estimate.models import Architecture, Forward
    from envdoctor.estimate.tape import Parameter, Phase, Work
    from envdoctor.model.estimate import Workload

    Stage = Literal["pass", "step", "token"]  # forward and, in training, backward; the optimizer's; one more token

MOMENTS = {"none": 0, "sgd": 1, "adam": 2, "adamw": 2}  # tensors as large as a weight that the optimizer keeps
ITEMS = {"fp32": 4, "amp-fp16": 4, "amp-bf16": 4}  # bytes of a weight's element; 2 for the rest


def walk(workload: Workload, architecture: Architecture) -> Memory:
    """Return what one step needs in its steady state: from the second one on, when the optimizer's states are there."""
    return walked(workload, architecture, short(workload, architecture)).memory()


def walked(workload: Workload, architecture: Architecture, few: Short | None) -> Walk:
    """Walk one step; where `few` of its layers were walked, the rest follows from those."""
    return (few and few.whole()) or plainly_walked(workload, architecture)


def plainly_walked(workload: Workload, architecture: Architecture) -> Walk:
    """Walk one step through every layer.

    Python's cycle collector is off meanwhile: a walk makes no cycles, and looking for some takes a tenth of its time.
    """
    collected = gc.isenabled()
    gc.disable()
    try:
        return Walk(workload, architecture)
    finally:
        if collected:
            gc.enable()


FEW, MORE = 3, 5
STRETCHED = 16  # layers of a model from which two short walks cost less than a whole one
MANY = 24  # layers of a model up to which it is walked as it is, rather than to know no more than `least`


class Short:
    """Two walks of few of a model's layers, which are alike."""

    def __init__(self, workload: Workload, architecture: Architecture) -> None:
        assert architecture.with_layers is not None
        self.architecture = architecture
        self.few, self.more = (plainly_walked(workload, architecture.with_layers(layers)) for layers in (FEW, MORE))

    def least(self) -> int:
        """Give a lower bound of the bytes that one step of the whole model allocates.

        Each event of a phase takes so many bytes and so many more for each layer. So the highest of them, over the
        number of layers, is the largest of some straight lines, and the line through two short models runs below it
        beyond them.
        """
        steps, rest = divmod(self.architecture.layers - MORE, MORE - FEW)
        highest = 0
        for short, long in zip(self.few.phases(), self.more.phases(), strict=True):
            rise = long - short
            highest = max(highest, long + rise * steps + rise * rest // (MORE - FEW))
        return highest

    def whole(self) -> Walk | None:
        """Give the walk of the whole model; None: it does not follow from these."""
        return self.few.stretched(self.more, self.architecture, self.architecture.layers - FEW)


def short(workload: Workload, architecture: Architecture) -> Short | None:
    """Walk few layers of a model; None: it has not many, or they differ."""
    if architecture.layers < STRETCHED or architecture.with_layers is None:
        return None
    return Short(workload, architecture)


def bounded(workload: Workload, architecture: Architecture) -> bool:
    """Say whether `Short.least` is worth its cost and a bound, which a bucket that grows up to a limit would break."""
    reduced = workload.shards > 1 and workload.zero_stage in (1, 2)
    return architecture.layers > MANY and not reduced


def least(workload: Workload, architecture: Architecture) -> int | None:
    """Return a lower bound of the bytes that one step allocates, at a fraction of a walk's cost; None: walk it."""
    found = short(workload, architecture) if bounded(workload, architecture) else None
    return None if found is None else found.least()


class Walk:
    """One step: its events (`made` of them for what stays, up to `ready` for the optimizer's states), and its work."""

    def __init__(self, workload: Workload, architecture: Architecture) -> None:
        self.workload = workload
        self.architecture = architecture
        self.shards = shards = Shards(workload)
        self.run = run = _run_of(workload, shards)
        self.forward: Forward = architecture.build(run)
        self.parameters = sum(p.count for p in run.parameters)
        self.beside = shards.divide(run)
        run.seam()
        run.kind = INPUTS
        self.given = _inputs(workload, architecture, run)
        self.made = len(run.deltas)
        run.seam()
        run.kind = OPTIMIZER
        self.states = _states(workload, run.parameters, shards) if workload.mode == "training" else []
        self.work: dict[Stage, list[tuple[Work, int, int]]] = {}  # the operations of each stage, for its time
        self.ready = len(run.deltas)
        run.seam()
        run.cuts = []
        self.cuts: dict[Stage, list[int]] = {}  # where the seams are in each stage's operations
        self.output_bytes = 0  # of what inference returns
        if workload.mode == "training":
            self.train()
        else:
            self.infer()

    def train(self) -> None:
        """Do forward and backward, twice where gradients are summed (the second time they are there), and the step."""
        run, workload = self.run, self.workload
        for _ in range(min(workload.accumulation, 2)):
            self.forward_and_backward()
            self.done("pass")
        run.enter("step")
        _step(workload, run, self.shards)
        self.done("step")
        for parameter in run.parameters:
            parameter.gradient = None

    def stretched(self, more: Walk, architecture: Architecture, times: int) -> Walk | None:
        """Give the walk of a model with so many more layers, with `more` of two more; None: it does not follow."""
        found = stretching.stretches(self.run, more.run, times)
        mates = found and stretching.mates(self.run, more.run, found, times)
        stages = {stage: self.work_of(stage, more, times) for stage in self.work}
        work = {stage: operations for stage, operations in stages.items() if operations is not None}
        if not found or not mates or len(work) < len(stages) or self.output_bytes != more.output_bytes:
            return None
        at = dict(zip((0, *self.run.seams), (each.long for each in found), strict=True))
        made = object.__new__(Walk)
        made.workload, made.architecture, made.shards = self.workload, architecture, self.shards
        made.run = run = Run()
        run.deltas, run.mates = stretching.deltas(self.run, more.run, found, times), mates
        run.marks = [(phase, at[start]) for phase, start in self.run.marks]
        made.made, made.ready = at[self.made], at[self.ready]
        made.parameters = self.parameters + (more.parameters - self.parameters) // stretching.TWICE * times
        made.output_bytes = self.output_bytes
        made.work = work
        return made

    def work_of(self, stage: Stage, more: Walk, times: int) -> list[tuple[Work, int, int]] | None:
        """Give the operations of a stage of a model with more layers; None: they do not follow."""
        made: list[tuple[Work, int, int]] = []
        few, longer = self.work[stage], more.work[stage]
        cuts, others = (0, *self.cuts[stage], len(few)), (0, *more.cuts[stage], len(longer))
        for (start, end), (first, last) in zip(pairwise(cuts), pairwise(others), strict=True):
            found = (
                stretching.grown(few[start:end], longer[first:last], times)
                if stage == "step"
                else stretching.stretched(few[start:end], longer[first:last], times)
            )
            if found is None:
                return None
            made += found
        return made

    def done(self, stage: Stage) -> None:
        """Keep the operations since the last stage as this one's; of a stage that is repeated, the last time counts."""
        self.work[stage], self.run.work = self.run.work, []
        self.cuts[stage], self.run.cuts = self.run.cuts, []
        self.run.seam()

    def forward_and_backward(self) -> None:
        """Do one pass; the logits live until the forward pass is over."""
        run = self.run
        run.enter("forward")
        logits = self.forward(self.given)
        loss = self.architecture.loss(logits)
        del logits
        run.seam()
        run.casts = {}
        run.enter("backward")
        run.backward(loss.edge, loss.like())

    def infer(self) -> None:
        """Do one pass; with a cache and the last token's logits, then make two tokens, as a generation does."""
        run, workload = self.run, self.workload
        run.enter("forward")
        if workload.kv_cache:
            run.cache = Cache({"int8": 8, "int4": 4}.get(workload.kv_dtype))
        logits = self.forward(self.given)
        self.output_bytes = logits.size
        self.done("pass")
        if workload.kv_cache and workload.logits == "last":
            del logits
            run.seam()
            token = Tensor(run, (workload.batch, 1), 8)
            logits = self.forward(token)
            self.done("token")
            logits = self.forward(token)
        run.seam()
        run.casts = {}

    def memory(self) -> Memory:
        """Find the highest point, and replay two steps through the allocator: the first one makes the states."""
        run = self.run
        live = run.live()
        peak = max(live[self.ready :], default=live[-1])
        at = live.index(peak, self.ready) + 1 if len(live) > self.ready else len(live)
        allocator = self.replay()
        passes, a_pass, step = self.workload.accumulation, self.work["pass"], self.work.get("step", ())
        phase: Phase = "forward"
        for name, start in run.marks:
            if start < at:
                phase = name
        return Memory(
            parameters=self.parameters,
            parts=Parts(**dict(zip(Parts.__struct_fields__, run.parts(at), strict=True))),
            allocated_bytes=allocator.highest_allocated,
            reserved_bytes=allocator.reserved,
            peak_in=phase,
            flops=passes * sum(flops for _, flops, _ in a_pass) + sum(flops for _, flops, _ in step),
            bytes_moved=passes * sum(moved for _, _, moved in a_pass) + sum(moved for _, _, moved in step),
            assumptions=(*map(say, self.architecture.assumptions), *assumed(self.workload)),
        )

    def phases(self) -> list[int]:
        """Give the most bytes in use at a time in each phase, in the order of the phases."""
        run = self.run
        live = run.live()
        starts = [start for _, start in run.marks]
        ends = (*starts[1:], len(live))
        return [max(live[start:end], default=0) for start, end in zip(starts, ends, strict=True)]

    def replay(self) -> Allocator:
        """Replay what stays, the first step with the states made in it, and in training a second step."""
        run, allocator = self.run, Allocator()
        deltas, mates, end = run.deltas, run.mates, len(run.deltas)
        allocator.replay(deltas, mates, 0, self.made)
        if self.workload.mode == "training":
            step = run.marks[-1][1]
            allocator.replay(deltas, mates, self.ready, step)
            allocator.replay(deltas, mates, self.made, self.ready)
            allocator.replay(deltas, mates, step, end)
        # What is let go at the very end changes neither of the highest figures.
        while end > self.ready and deltas[end - 1] <= 0:
            end -= 1
        allocator.replay(deltas, mates, self.ready, end)
        return allocator


def _weight_item(workload: Workload, shards: Shards) -> int:
    if shards.mixed:
        return 2
    if workload.dtype in ("int8", "int4"):
        # What is not packed: peft.prepare_model_for_kbit_training makes it fp32.
        return 4 if workload.mode == "training" else 2
    return ITEMS.get(workload.dtype, 2)


def _run_of(workload: Workload, shards: Shards) -> Run:
    return Run(
        training=workload.mode == "training",
        weight_item=_weight_item(workload, shards),
        autocast=workload.dtype.startswith("amp") and not shards.mixed,
        attention=workload.attention,
        checkpointing=workload.checkpointing,
        last_logits=workload.logits == "last" and workload.mode == "inference",
        rank=workload.lora_rank if workload.mode == "training" else None,
        quantized=workload.dtype if workload.dtype in ("int8", "int4") else None,
        cpu=workload.device == "cpu",
    )


def _inputs(workload: Workload, architecture: Architecture, run: Run) -> Tensor:
    """Make the batch, and in training its labels, which the run keeps. Raises UsageProblem where it is too long."""
    batch, longest = workload.batch, architecture.maximum_size
    labels: tuple[int, ...] = (batch,)
    if architecture.kind == "image":
        side = workload.image_size or architecture.default_size
        given = run.tensor((batch, 3, side, side), run.weight_item)
    else:
        tokens = workload.seq_len or architecture.default_size
        if longest is not None and tokens > longest:
            raise UsageProblem(
                say(
                    "{name} takes {longest} tokens at the most, not {tokens}",
                    name=architecture.name,
                    longest=longest,
                    tokens=tokens,
                )
            )
        labels = (batch, tokens)
        given = run.tensor(labels, 8)
    if workload.mode == "training":
        run.labels = run.tensor(labels, 8)
    return given


def _states(workload: Workload, parameters: list[Parameter], shards: Shards) -> list[Storage]:
    """Make the moments of each trained weight, in its own type."""
    moments = MOMENTS[workload.optimizer]
    return [Storage(p.run, size) for p in parameters if p.trained for size in shards.states(p, moments)]


def _step(workload: Workload, run: Run, shards: Shards) -> None:
    """Make what the optimizer needs for a moment.

    foreach makes one list for all weights: of denominators for Adam (`_foreach_sqrt`), and of decayed gradients for
    weight decay that is added to the gradient (SGD, Adam; AdamW decays in place). Without foreach it is one weight at
    a time: Adam's root and its quotient. (torch/optim/adam.py, sgd.py)
    """
    trained = [p for p in run.parameters if p.trained]
    added = 1 if workload.weight_decay and workload.optimizer in ("sgd", "adam") else 0
    roots = 1 if workload.optimizer in ("adam", "adamw") else 0
    size = sum(p.size for p in trained)
    moved = size * (3 + 2 * MOMENTS[workload.optimizer])
    run.count(sum(p.count for p in trained) * (4 + 8 * roots), moved, "in place")
    if workload.foreach:
        made = [Storage(run, shards.part(p.size, 1)) for _ in range(added + roots) for p in trained]
        run.seam()
        del made
        return
    for parameter in trained:
        one = [Storage(run, shards.part(parameter.size, 1)) for _ in range(added + 2 * roots)]
        del one
