"""Searching: from the trials so far to the next one; pure, so that any machine can stand behind it.

The search is a plan that is gone through from its beginning each time. What was tried is looked up; the first thing
that was not is the next trial; what costs more than is left of the budget, or is hopeless, is left out with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from envdoctor.model import Record
from envdoctor.model.estimate import Mode, Range
from envdoctor.model.speech import message, say
from envdoctor.model.tuning import Attempt, LeftOut, Purpose, Settings, called
from envdoctor.verify.largest import Unknown, largest

if TYPE_CHECKING:
    from envdoctor.model.tuning import Precision, Runtime

GAIN = 1.03  # a change that makes it faster by less is lost in the noise
HOPELESS = 1.1  # of what the estimator's lower end may exceed what is free: it is that uncertain
COMPILING = 60.0  # seconds that compiling or exporting takes at the least
ROUNDS = 3  # steps of a trial: one to warm up, two that count

_OPTIONS: dict[str, str] = {
    "bf16": message("bf16 weights"),
    "fp16": message("fp16 weights"),
    "amp-bf16": message("autocast to bf16"),
    "amp-fp16": message("autocast to fp16"),
    "channels_last": message("channels_last, the layout in memory"),
    "compile": message("torch.compile"),
    "onnxruntime": message("ONNX Runtime"),
    "tensorrt": message("TensorRT"),
    "int8": message("int8 by dynamic quantization"),
}


class Plan(Record):
    """What is wanted, and what is known before. `room` in bytes; None: not known."""

    goal: Mode
    kind: str  # image, tokens
    base: Settings
    sizes: tuple[int, ...]  # other sizes, to see what they bring
    probe: int  # the batch that options are compared with
    room: int | None
    wanted: int | None = None  # batch
    quick: bool = False  # only batches: nothing else is compared


class Abilities(Record):
    """What the first trial said of the machine. `choices`: choice -> why it cannot be made; None: it can."""

    choices: Mapping[str, str | None] = {}
    threads: int | None = None


class Found(Record):
    """What the trials so far amount to, and what is next; `next` is None at the end."""

    next: tuple[Settings, Purpose] | None
    chosen: Settings | None = None
    largest: int | None = None
    failed: int | None = None
    wanted: Settings | None = None
    left_out: tuple[LeftOut, ...] = ()


class _NextError(Exception):
    """The plan cannot go on without this trial."""

    def __init__(self, settings: Settings, purpose: Purpose) -> None:
        super().__init__()
        self.settings, self.purpose = settings, purpose


def decide(
    plan: Plan,
    attempts: Sequence[Attempt],
    left: float,
    need: Callable[[Settings], Range | None],
    able: Abilities,
    interrupted: bool = False,
) -> Found:
    """Give the next trial, and what is known by now. `left` are the seconds of the budget that are left."""
    search = _Search(plan, attempts, left, need, able)
    if interrupted:
        search.ended = say("the search was interrupted before it")
    following: tuple[Settings, Purpose] | None = None
    try:
        search.go()
    except _NextError as found:
        following = (found.settings, found.purpose)
    return Found(
        next=following,
        chosen=search.chosen,
        largest=search.largest or None,
        failed=search.failed,
        wanted=search.wanted,
        left_out=tuple(dict.fromkeys(search.left_out)),
    )


class _Search:
    def __init__(
        self,
        plan: Plan,
        attempts: Sequence[Attempt],
        left: float,
        need: Callable[[Settings], Range | None],
        able: Abilities,
    ) -> None:
        self.plan, self.attempts, self.left, self.need, self.able = plan, attempts, left, need, able
        self.tried: dict[Settings, list[Attempt]] = {}
        for each in attempts:
            self.tried.setdefault(each.settings, []).append(each)
        self.left_out: list[LeftOut] = []
        self.ended = say("the budget was used up: more time is given with --budget")
        self.chosen: Settings | None = None
        self.largest = 0
        self.failed: int | None = None
        self.wanted: Settings | None = None

    def go(self) -> None:
        """Go through the plan."""
        self.chosen = self.base()
        if self.chosen is None:
            return
        for change in () if self.plan.quick else self.harmless():
            self.compare(change)
        self.batches()
        if self.plan.wanted is not None:
            self.want(self.plan.wanted)
        if not self.plan.quick:
            self.measured_only()
            self.other_sizes()

    # The parts of the plan

    def base(self) -> Settings | None:
        """Find settings with which it runs at all: those that are asked for, else ones that hold less."""
        for settings in (self.plan.base, *_smaller(self.plan)):
            # The first is always started: whether it runs is the question, and a prediction no answer.
            tried = self.tried.get(settings)
            if not tried:
                if settings != self.plan.base and self.left <= 0:
                    return None
                raise _NextError(settings, "base")
            if tried[0].status == "ran":
                return settings
            if tried[0].status != "out-of-memory":
                return None
        return None

    def harmless(self) -> Iterator[Callable[[Settings], Settings]]:
        """Give the changes that leave the model what it is; what cannot be done here is said."""
        if self.plan.probe > self.plan.base.batch:
            yield lambda now: replace(now, batch=self.plan.probe)
        if self.possible("channels_last"):
            yield lambda now: replace(now, channels_last=True)
        halves: tuple[Precision, ...] = ("bf16", "fp16") if self.plan.goal == "inference" else ("amp-bf16", "amp-fp16")
        for precision in halves:
            if self.possible(precision):
                yield lambda now, to=precision: replace(now, precision=to)  # type: ignore[misc]
        threads = self.able.threads or 1
        for count in dict.fromkeys((threads * 2, threads // 2)):
            if threads > 1 and count >= 1:
                yield lambda now, to=count: replace(now, threads=to)  # type: ignore[misc]
        runtimes: tuple[Runtime, ...] = ("onnxruntime", "tensorrt", "compile")
        for runtime in runtimes:
            if runtime in self.able.choices and self.possible(runtime):
                yield lambda now, to=runtime: replace(now, runtime=to)  # type: ignore[misc]

    def compare(self, change: Callable[[Settings], Settings]) -> None:
        """Take a change over where it makes the model faster."""
        assert self.chosen is not None
        other = change(self.chosen)
        done = self.ask(other, "option")
        before = self.speed(self.chosen)
        if done is not None and done.status == "ran" and (done.throughput or 0.0) > before * GAIN:
            self.chosen = other

    def batches(self) -> None:
        """Find the largest batch with what was chosen, and the next larger one that fails."""
        assert self.chosen is not None
        chosen = self.chosen

        def lived(batch: int, again: int) -> bool | None:
            """Say whether a batch lives; of two runs or more, whether most do. Only memory counts as a death."""
            settings = replace(chosen, batch=batch)
            runs = self.tried.get(settings, [])
            alive = sum(each.status == "ran" for each in runs)
            dead = sum(each.status == "out-of-memory" for each in runs)
            if alive + dead < len(runs):
                return None
            if not runs or len(runs) < again or alive == dead:
                purpose: Purpose = "confirm" if runs else "batch"
                if not self.affordable(settings):
                    return alive > dead if runs and alive != dead else None
                raise _NextError(settings, purpose)
            return alive > dead

        try:
            found = largest(lived, chosen.batch, *self.between(chosen))
        except Unknown as stopped:
            self.left_out.append(LeftOut(what=say("batch {batch}", batch=stopped.batch), reason=self.ended))
            found = stopped.lives, stopped.dies
        self.largest, self.failed = found
        best = self.fastest(chosen)
        self.chosen = best or chosen

    def want(self, wanted: int) -> None:
        """Find how the wanted batch can be run: whole, or in training in parts whose gradients are summed."""
        assert self.chosen is not None
        if not self.largest:
            return
        ways = [replace(self.chosen, batch=wanted)] if wanted <= self.largest else []
        if self.plan.goal == "training":
            part = next(size for size in range(min(self.largest, wanted), 0, -1) if wanted % size == 0)
            if part < wanted:
                ways.append(replace(self.chosen, batch=part, accumulation=wanted // part))
                ways.append(replace(self.chosen, batch=wanted, checkpointing=True))
        elif not ways:
            reason = say("the largest that lives here is {batch}", batch=self.largest)
            self.left_out.append(LeftOut(what=say("batch {batch}", batch=wanted), reason=reason))
        ran = [way for way in ways if self.ran(self.ask(way, "wanted"))]
        self.wanted = max(ran, key=self.speed, default=None)

    def measured_only(self) -> None:
        """Measure what changes the model or its time for memory; it is shown and never chosen."""
        assert self.chosen is not None
        probe = replace(self.chosen, batch=min(self.chosen.batch, self.plan.probe))
        if self.plan.goal == "training":
            self.ask(replace(probe, checkpointing=True), "option")
            return
        plain = replace(probe, precision="fp32", runtime="eager")
        if self.possible("int8"):
            self.ask(replace(plain, precision="int8"), "option")
        self.ask(replace(probe, pruned=True, runtime="eager"), "option")

    def other_sizes(self) -> None:
        """Measure other resolutions or lengths."""
        assert self.chosen is not None
        for size in self.plan.sizes:
            if size != self.chosen.size:
                self.ask(replace(self.chosen, size=size, batch=min(self.chosen.batch, self.plan.probe)), "size")

    # What the parts stand on

    def ask(self, settings: Settings, purpose: Purpose) -> Attempt | None:
        """Give the trial of some settings; None: they are left out."""
        tried = self.tried.get(settings)
        if tried:
            return tried[0]
        need = self.need(settings)
        room = self.plan.room
        if need is not None and room is not None and need.low > room * HOPELESS:
            words = say(
                "it would need at least {need} MiB, and {room} MiB are free",
                need=int(need.low) >> 20,
                room=room >> 20,
            )
            self.left_out.append(LeftOut(what=called(settings), reason=words))
            return None
        if not self.affordable(settings):
            self.left_out.append(LeftOut(what=called(settings), reason=self.ended))
            return None
        raise _NextError(settings, purpose)

    def possible(self, choice: str) -> bool:
        """Tell whether a choice can be made here; if not, say why."""
        why = self.able.choices.get(choice)
        if why is not None:
            self.left_out.append(LeftOut(what=say(_OPTIONS[choice]), reason=why))
        return why is None

    def affordable(self, settings: Settings) -> bool:
        """Tell whether a trial is over before the budget is."""
        return self.cost(settings) < self.left

    def cost(self, settings: Settings) -> float:
        """Guess the seconds of a trial from the nearest one that ran."""
        ran = [each for each in self.attempts if each.status == "ran" and each.step_seconds]
        if not ran:
            return 0.0
        amount = _amount(settings, self.plan.kind)

        def distance(each: Attempt) -> float:
            # Large steps tell more of large ones: what each trial costs whatever its batch weighs less in them.
            other = _amount(each.settings, self.plan.kind)
            return max(amount / other, other / amount)

        near = min(reversed(ran), key=distance)  # of equal ones the latest: the machine is now as it was then
        step = (near.step_seconds or 0.0) * amount / _amount(near.settings, self.plan.kind)
        start = min(max(0.0, each.seconds - ROUNDS * (each.step_seconds or 0.0)) for each in ran)
        return start + ROUNDS * step + (COMPILING if settings.runtime not in ("eager", near.settings.runtime) else 0.0)

    def between(self, settings: Settings) -> tuple[int | None, int | None]:
        """Give the largest batch that surely fits, and the first that surely does not, as the estimator has it."""
        room = self.plan.room
        if room is None or self.need(settings) is None:
            return None, None
        from envdoctor.estimate.batch import largest as most

        def end(name: str) -> Callable[[int], int]:
            return lambda batch: int(getattr(self.need(replace(settings, batch=batch)), name))

        return most(end("high"), room, settings.batch) or None, most(end("low"), room, settings.batch) + 1

    def speed(self, settings: Settings) -> float:
        """Give the throughput of a trial that ran."""
        return max((each.throughput or 0.0 for each in self.tried.get(settings, ()) if each.status == "ran"), default=0)

    def fastest(self, settings: Settings) -> Settings | None:
        """Give the batch that is fastest with these settings; a larger one only where it is worth it."""
        ran = [s for s in self.tried if replace(s, batch=settings.batch) == settings and self.speed(s) > 0]
        best = max((self.speed(each) for each in ran), default=0.0)
        good = [each for each in ran if self.speed(each) * GAIN >= best and each.batch <= self.largest]
        return min(good, key=lambda each: each.batch, default=None)

    @staticmethod
    def ran(attempt: Attempt | None) -> bool:
        """Tell whether a trial ran to its end."""
        return attempt is not None and attempt.status == "ran"


def _smaller(plan: Plan) -> Iterator[Settings]:
    """Give settings that hold less than the base, the next one less than the one before."""
    base = plan.base
    if plan.goal == "training":
        base = replace(base, checkpointing=True)
        yield base
    for size in sorted((each for each in plan.sizes if each < base.size), reverse=True):
        yield replace(base, size=size)


def _amount(settings: Settings, kind: str) -> float:
    """Give what a step works on: pixels or tokens, of all parts."""
    one = settings.size**2 if kind == "image" else settings.size
    return float(settings.batch * settings.accumulation * one)
