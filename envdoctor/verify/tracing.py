"""Follow a model of the person's own over shapes, in the interpreter that has it, and weigh what was seen."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

from envdoctor import errors
from envdoctor.estimate.allocator import Allocator
from envdoctor.host.watching import watch
from envdoctor.model.estimate import Memory, Parts, Range
from envdoctor.verify.targets import VerifyTarget, variables

if TYPE_CHECKING:
    from envdoctor.host.watching import Ended
    from envdoctor.model.estimate import Peaks, Speed, Workload

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "workloads", "tracing", "step.py")

# What differs on CUDA from the CPU that the shapes were followed for (measured in both on GPT-2 and CNNs).
DIFFERENCES = (
    "the model's code was run over shapes on the CPU: attention and dropout there keep more than CUDA's kernels do",
    "what the factory reads from files or the network was not there to be followed",
)


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


class _Line(msgspec.Struct):
    """One line of the script."""

    stage: str | None = None
    deltas: list[int] = []
    mates: list[int] = []
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

    def memory(self, workload: Workload) -> Memory:
        """Follow a step of it.

        Raises:
            errors.UsageProblem: the model raised, or it cannot be run in that way.
            errors.Unreadable: its process was ended: too slow, too much memory, or a crash.
        """
        self._refuse(workload)
        lines: list[_Line] = []
        self._tell(f"following {self.name} with batch {workload.batch} in {self._target.executable}")
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
            raise errors.Unreadable(f"what was said about {self.name} is not whole")
        return _memory(traced, deltas, mates)

    def host(self, workload: Workload) -> Range:
        """Give what its process takes of host memory: the tensors, what malloc keeps beside them, and torch itself.

        Measured on CNNs: 224 MiB after `import torch`, and 1.04 to 1.18 times the tensors, with up to 250 MiB more.
        """
        tensors = self.memory(workload).allocated_bytes
        return Range(low=tensors + (224 << 20), high=1.18 * tensors + (474 << 20))

    def speeds(self, workload: Workload, peaks: Peaks) -> tuple[Speed, ...]:
        """Say nothing: a trace tells of storages, not of arithmetic."""
        return ()

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
                    f"{option} is not for a model that is followed by its own code", "change it in the factory"
                )

    def _ended(self, ended: Ended) -> errors.EnvdoctorError:
        if ended.cause == "deadline":
            return errors.Unreadable(
                f"{self.name} did not come to an end within {self._timeout:g} s", "give it more with --timeout"
            )
        if ended.cause == "memory":
            return errors.Unreadable(f"{self.name} took {ended.peak_bytes >> 20} MiB to build, so it was ended")
        last = (ended.tail.strip().splitlines() or ["it said nothing"])[-1]
        return errors.Unreadable(f"{self.name} ended with status {ended.returncode}: {last[:300]}")


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
                f"--input {text} is not a list of sizes", "write 1,3,224,224, or 1,128:int64 for token ids"
            )
        found.append(Input(tuple(int(each) for each in numbers), kind))
    return tuple(found)


def _understood(line: bytes) -> _Line:
    try:
        return msgspec.json.decode(line, type=_Line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Line()  # something that Python ran at its start printed before the script took over


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
        assumptions=DIFFERENCES,
    )
