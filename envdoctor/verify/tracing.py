"""Follow a model of the person's own over shapes, in the interpreter that has it, and weigh what was seen."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec.structs import replace

from envdoctor import errors
from envdoctor.estimate.allocator import Allocator
from envdoctor.estimate.heap import Heap
from envdoctor.host.watching import watch
from envdoctor.model.estimate import Memory, Parts, Range
from envdoctor.model.speech import message, say
from envdoctor.verify.targets import VerifyTarget, variables

if TYPE_CHECKING:
    from envdoctor.estimate.speed import Operation, Section
    from envdoctor.estimate.tape import Work
    from envdoctor.host.watching import Ended
    from envdoctor.model.estimate import Peaks, Speed, Workload

    Stages = dict[Section, list[Operation]]

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "workloads", "tracing", "step.py")

# What differs on CUDA from the CPU that the shapes were followed for (measured in both on GPT-2 and CNNs).
DIFFERENCES = (
    message(
        "the model's code was run over shapes on the CPU: attention and dropout there keep more than CUDA's kernels do"
    ),
    message("what the factory reads from files or the network was not there to be followed"),
)


# A trace is of the CPU's operations, not of the fused ones that a GPU runs, and their number is not what was measured.
DOUBT = 2.0
_WORK: tuple[Work, ...] = ("product", "convolution", "elements", "in place")  # as the script numbers them

_KINDS = ("", "int64", "int32", "float32", "bool")


class Traced(msgspec.Struct):
    """The end of what the script says."""

    parameters: int
    made: int  # events until the model and its inputs are there
    ready: int  # events until the last step
    marks: tuple[tuple[Literal["forward", "backward", "step"], int], ...]
    flops: int
    moved: int
    events: int
    passed: int  # operations of one pass; those of the optimizer's step are behind them
    operations: int


class _Line(msgspec.Struct):
    """One line of the script."""

    stage: str | None = None
    deltas: list[int] = []
    mates: list[int] = []
    work: list[tuple[int, int, int]] = []  # kind, floating-point operations, bytes read and written
    traced: Traced | None = None
    problem: str | None = None
    hint: str | None = None


class Input(msgspec.Struct, frozen=True):
    """One thing that the model is called with: its sizes, the batch first, and its type where it is not the model's."""

    sizes: tuple[int, ...]
    kind: str = ""

    def text(self, batch: int) -> str:
        """Write it as the script reads it, with that batch."""
        sizes = ",".join(str(size) for size in (batch, *self.sizes[1:]))
        return f"{sizes}:{self.kind}" if self.kind else sizes


class TracedModel:
    """A torch model that only its own code describes; each workload is a process in its interpreter."""

    def __init__(
        self,
        factory: str,
        inputs: tuple[Input, ...],
        target: VerifyTarget,
        *,
        timeout: float,
        memory_cap: int | None,
        tell: Callable[[str], None],
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.name = factory
        self.inputs = inputs
        self.kind: Literal["image", "tokens"] = "image" if len(inputs[0].sizes) == 4 else "tokens"
        self.default_size = inputs[0].sizes[-1]
        self._target = target
        self._timeout = timeout
        self._cap = memory_cap
        self._tell = tell
        self._environ = os.environ if environ is None else environ
        self._seen: dict[Workload, tuple[Stages, int]] = {}  # the operations, and the bytes handed out anew for a pass

    def memory(self, workload: Workload) -> Memory:
        """Follow a step of it.

        Raises:
            errors.UsageProblem: the model raised, or it cannot be run in that way.
            errors.Unreadable: its process was ended: too slow, too much memory, or a crash.
        """
        self._refuse(workload)
        lines: list[_Line] = []
        self._tell(
            say(
                "following {name} with batch {batch} in {executable}",
                name=self.name,
                batch=workload.batch,
                executable=self._target.executable,
            )
        )
        ended = watch(
            self._command(workload),
            variables(self._target, self._environ),
            timeout=self._timeout,
            memory_cap=self._cap,
            line=lambda line: lines.append(_understood(line)),
        )
        for each in lines:
            if each.problem is not None:
                raise errors.UsageProblem(each.problem, each.hint)
        traced = next((each.traced for each in lines if each.traced is not None), None)
        if traced is None:
            raise self._ended(ended)
        deltas = [delta for each in lines for delta in each.deltas]
        mates = [mate for each in lines for mate in each.mates]
        if not len(deltas) == len(mates) == traced.events:
            raise errors.Unreadable(say("what was said about {name} is not whole", name=self.name))
        work = [operation for each in lines for operation in each.work]
        if len(work) != traced.operations:
            raise errors.Unreadable(say("what was said about {name} is not whole", name=self.name))
        self._seen[workload] = _stages(traced, work), _fresh(traced, deltas, mates)
        return _memory(traced, deltas, mates)

    def least(self, workload: Workload) -> int | None:
        """Say nothing: to follow it is the only way to know."""
        return None

    def host(self, workload: Workload) -> Range:
        """Give what its process takes of host memory: the tensors, what malloc keeps beside them, and torch itself.

        Measured on CNNs: 224 MiB after `import torch`, and 1.04 to 1.18 times the tensors, with up to 250 MiB more.
        """
        tensors = self.memory(workload).allocated_bytes
        return Range(low=tensors + (224 << 20), high=1.18 * tensors + (474 << 20))

    def speeds(self, workload: Workload, peaks: Peaks) -> tuple[Speed, ...]:
        """Predict from the operations that were seen, with a range that is wider by the doubt of how they were seen."""
        from envdoctor.estimate import speed

        if workload not in self._seen:
            self.memory(workload)
        work, fresh = self._seen[workload]
        if not work["pass"]:
            return ()
        first = self.inputs[0]
        counted = first.kind.startswith("int") and len(first.sizes) == 2
        unit: Literal["images/s", "tokens/s", "sequences/s"] = (
            "images/s" if self.kind == "image" else "tokens/s" if counted else "sequences/s"
        )
        fresh = fresh if peaks.device == "cpu" else 0
        doubtful = replace(
            peaks,
            basis=say(
                "{basis}; its operations were seen over shapes on a CPU, so both ends of the range are twice as far",
                basis=peaks.basis,
            ),
        )
        return speed.predicted(workload, doubtful, work, fresh, first.sizes[1] if counted else 1, unit, DOUBT)

    def _command(self, workload: Workload) -> tuple[str, ...]:
        words = [self._target.executable, SCRIPT, self.name]
        for each in self.inputs:
            words += ["--input", each.text(workload.batch)]
        words += ["--mode", workload.mode, "--dtype", workload.dtype, "--optimizer", workload.optimizer]
        words += ["--weight-decay", str(workload.weight_decay), "--accumulation", str(workload.accumulation)]
        return (*words, "--no-foreach") if not workload.foreach else tuple(words)

    def _refuse(self, workload: Workload) -> None:
        """Refuse what only the model's own code can change."""
        asked = {
            "--image-size": workload.image_size is not None,
            "--seq-len": workload.seq_len is not None,
            "--checkpointing": workload.checkpointing,
            "--attention eager": workload.attention == "eager",
            "--lora": workload.lora_rank is not None,
            "--kv-cache": workload.kv_cache,
            "--logits last": workload.logits == "last",
            "--zero": workload.zero_stage > 0 or workload.shards > 1,
            f"--dtype {workload.dtype}": workload.dtype in ("int8", "int4"),
            f"another model, {workload.model}": workload.model != self.name,
        }
        for option, wanted in asked.items():
            if wanted:
                raise errors.UsageProblem(
                    say("{option} is not for a model that is followed by its own code", option=option),
                    say("change it in the factory"),
                )

    def _ended(self, ended: Ended) -> errors.EnvdoctorError:
        if ended.cause == "deadline":
            return errors.Unreadable(
                say("{name} did not come to an end within {timeout:g} s", name=self.name, timeout=self._timeout),
                say("give it more with --timeout"),
            )
        if ended.cause == "memory":
            return errors.Unreadable(
                say(
                    "{name} took {peak_bytes} MiB to build, so it was ended",
                    name=self.name,
                    peak_bytes=ended.peak_bytes >> 20,
                )
            )
        last = (ended.tail.strip().splitlines() or [say("it said nothing")])[-1]
        return errors.Unreadable(
            say(
                "{name} ended with status {returncode}: {last}",
                name=self.name,
                returncode=ended.returncode,
                last=last[:300],
            )
        )


def inputs(texts: tuple[str, ...]) -> tuple[Input, ...]:
    """Read inputs: `1,3,224,224`, or `1,128:int64` for token ids.

    Raises:
        errors.UsageProblem: one is not such a text.
    """
    found = []
    for text in texts:
        sizes, _, kind = text.partition(":")
        numbers = sizes.split(",")
        if kind not in _KINDS or not all(each.isdecimal() and len(each) < 12 and int(each) for each in numbers):
            raise errors.UsageProblem(
                say("--input {sizes} is not a list of sizes", sizes=text),
                say("write 1,3,224,224, or 1,128:int64 for token ids"),
            )
        found.append(Input(tuple(int(each) for each in numbers), kind))
    return tuple(found)


def _understood(line: bytes) -> _Line:
    try:
        return msgspec.json.decode(line, type=_Line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Line()  # something that Python ran at its start printed before the script took over


def _stages(traced: Traced, work: list[tuple[int, int, int]]) -> Stages:
    """Give the operations of a pass and of the optimizer's step; raises where a kind is none of ours."""
    if any(not 0 <= kind < len(_WORK) for kind, _, _ in work):
        raise errors.Unreadable(say("what was said about the model is not whole"))
    named = [(_WORK[kind], flops, moved) for kind, flops, moved in work]
    return {"pass": named[: traced.passed], "step": named[traced.passed :]}


def _fresh(traced: Traced, deltas: list[int], mates: list[int]) -> int:
    """Give the bytes that the system hands out anew for the last step, of a process on the CPU."""
    heap = Heap()
    heap.replay(deltas, mates, 0, traced.ready)
    before = heap.fresh
    heap.replay(deltas, mates, traced.ready, len(deltas))
    return heap.fresh - before


def _memory(traced: Traced, deltas: list[int], mates: list[int]) -> Memory:
    """Replay the events through CUDA's allocator, and find the highest point of the last step."""
    live, highest, at = 0, -1, 0
    parts, most = [0] * 7, [0] * 7
    for place, (delta, mate) in enumerate(zip(deltas, mates, strict=True)):
        live += delta
        parts[mate if delta > 0 else mates[mate]] += delta
        if place >= traced.ready - 1 and live > highest:
            highest, at, most = live, place, parts.copy()
    allocator = Allocator()
    allocator.replay(deltas, mates, 0, len(deltas))
    return Memory(
        parameters=traced.parameters,
        parts=Parts(**dict(zip(Parts.__struct_fields__, most, strict=True))),
        allocated_bytes=allocator.highest_allocated,
        reserved_bytes=allocator.reserved,
        peak_in=next((name for name, start in reversed(traced.marks) if start <= at), "forward"),
        flops=traced.flops,
        bytes_moved=traced.moved,
        assumptions=tuple(map(say, DIFFERENCES)),
    )
