"""From a model to the settings that suit this machine: trial after trial in the person's own interpreter."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from envdoctor import errors
from envdoctor.app import estimating, verifying
from envdoctor.estimate.device import Device
from envdoctor.estimate.models import named
from envdoctor.estimate.weighing import Walked
from envdoctor.host import text
from envdoctor.host.local import LocalHost
from envdoctor.model import Record
from envdoctor.model.estimate import Mode
from envdoctor.model.speech import say
from envdoctor.model.tuning import Attempt, Settings, Tuning, called
from envdoctor.verify.foretelling import Foreteller
from envdoctor.verify.runner import SCRIPTS, WORKLOADS, Progress
from envdoctor.verify.searching import Abilities, Found, Plan, decide
from envdoctor.verify.trying import Said, Trying, attempt
from envdoctor.verify.uses import recipe, uses

if TYPE_CHECKING:
    from envdoctor.host import Host
    from envdoctor.model.estimate import Peaks

_LIMITS = "/proc/self/limits"
_CAPPED = ("Max address space", "Max data size")  # what a process may have mapped; libraries count too
# What is run first, and beside it. Short texts and small images are what small machines can do.
_SIZES = {"image": (224, (160, 320)), "tokens": (256, (128, 512))}
_PROBE = {("cpu", "image"): 4, ("cpu", "tokens"): 2, ("cuda", "image"): 32, ("cuda", "tokens"): 8}


class Asked(Record):
    """What a person wants tuned. `budget` in seconds, `memory_cap` in bytes (None: what is free)."""

    model: str
    goal: Mode
    device: str = "auto"
    budget: float = 300.0
    wanted: int | None = None  # batch
    size: int | None = None
    memory_cap: int | None = None
    quick: bool = False  # only batches


def models() -> tuple[str, ...]:
    """Name what can be tuned."""
    return tuple(name for name, (script, _) in WORKLOADS.items() if script in ("cnn", "gpt2") and name != "cnn")


def tune(
    asked: Asked,
    python: str | None,
    report: Callable[[Progress], None],
    told: Callable[[str], None],
    scripts: str = SCRIPTS,
) -> Tuning:
    """Try settings until the budget is used up or nothing is left to try. An interrupt gives what is known by then.

    Raises:
        errors.UsageProblem: there is no such model or interpreter.
    """
    host = LocalHost()
    if asked.model not in models():
        raise errors.UsageProblem(
            say("{model} cannot be tuned", model=asked.model), say("there are: {names}", names=", ".join(models()))
        )
    walked = Walked(named(WORKLOADS[asked.model][1] or asked.model))
    target = verifying.target_of(host, python, None)
    tuner = _Tuner(asked, host, walked, report, told)
    return tuner.run(
        Trying(
            target=target,
            model=asked.model,
            goal=asked.goal,
            device=asked.device,
            memory_cap=tuner.cap,
            environ=host.environ,
            scripts=scripts,
        )
    )


class _Tuner:
    """One tuning: what was asked, what is known of the machine, and what was tried."""

    def __init__(
        self,
        asked: Asked,
        host: Host,
        model: Walked,
        report: Callable[[Progress], None],
        told: Callable[[str], None],
    ) -> None:
        self.asked, self.host, self.model, self.report, self.told = asked, host, model, report, told
        self.begun = time.monotonic()
        self.cap = asked.memory_cap or verifying.memory_cap(host)
        self.attempts: list[Attempt] = []
        self.said: Said | None = None
        self.interrupted = False
        self.device = self._device(asked.device)
        self.peaks: Peaks | None = None
        self.fore = Foreteller(model, asked.goal, self.device, None)

    def run(self, trying: Trying) -> Tuning:
        """Run trial after trial."""
        try:
            self.peaks = self._peaks(trying.target.executable)
            self.fore = Foreteller(self.model, self.asked.goal, self.device, self.peaks)
            while True:
                found = self.found(self.left())
                if found.next is None or (self.left() <= 0 and self.attempts):
                    break
                settings, purpose = found.next
                self.told(called(settings))
                predicted = self.fore.predict(settings)
                # The budget holds for a trial too; the first may take what is left of it, however long it is.
                done, said = attempt(trying, settings, purpose, predicted, max(self.left(), 1.0), self.report)
                self.attempts.append(done)
                if said is not None and self.said is None and said.device in ("cpu", "cuda"):
                    self._learn(said)
        except KeyboardInterrupt:
            self.interrupted = True
        return self.result(self.found(0.0))

    def left(self) -> float:
        """Give the seconds of the budget that are left."""
        return self.asked.budget - (time.monotonic() - self.begun)

    def found(self, left: float) -> Found:
        """Say what the trials amount to, and what is next."""
        said = self.said or Said(status="not-run")
        able = Abilities(choices=said.abilities, threads=said.threads if self.device.kind == "cpu" else None)
        return decide(self.plan(), self.attempts, left, self.fore.need, able, self.interrupted)

    def plan(self) -> Plan:
        """Give what is wanted of this machine."""
        kind = self.model.kind
        size, others = _SIZES[kind]
        return Plan(
            goal=self.asked.goal,
            kind=kind,
            base=Settings(batch=1, size=self.asked.size or size),
            sizes=tuple(each for each in (*others, size) if each != self.asked.size),
            probe=_PROBE[self.device.kind, kind],
            room=self.device.free_bytes,
            wanted=self.asked.wanted,
            quick=self.asked.quick,
        )

    def result(self, found: Found) -> Tuning:
        """Put everything together."""
        ran = [each for each in self.attempts if each.status == "ran"]
        best = next((each for each in reversed(ran) if each.settings == found.chosen), None)
        said = self.said
        tuning = Tuning(
            model=self.asked.model,
            goal=self.asked.goal,
            kind=self.model.kind,
            unit="images/s" if self.model.kind == "image" else "tokens/s",
            framework_version=said.framework_version if said else None,
            device=said.device if said else self.asked.device,
            device_name=said.device_name if said else None,
            room_bytes=self.device.free_bytes,
            budget_seconds=self.asked.budget,
            seconds=round(time.monotonic() - self.begun, 3),
            interrupted=self.interrupted,
            attempts=tuple(self.attempts),
            left_out=found.left_out,
            best=best,
            largest_batch=found.largest,
            failed_batch=found.failed,
            batch_settings=found.chosen if found.largest else None,
            wanted_batch=self.asked.wanted,
            wanted=next((each for each in ran if each.settings == found.wanted), None),
            recipe=recipe((found.wanted or best.settings), self.asked.goal, self.device.kind) if best else (),
        )
        other = None if best is None else self.fore.other_goal(best.settings)
        return replace(tuning, uses=uses(tuning, other))

    def _device(self, wanted: str) -> Device:
        """Give the device that trials most likely run on, with what a process may hold there."""
        host = self.host
        device = estimating.host_device(host) if wanted == "cpu" else estimating.device_here(host, None)
        if device.kind == "cuda":
            return device
        limits = [limit for limit in (self.cap, _granted(host)) if limit is not None]
        return Device(kind="cpu", name=device.name, free_bytes=min(limits) if limits else None)

    def _peaks(self, python: str) -> Peaks | None:
        if self.device.kind == "cpu":
            return estimating.processor(self.host, python, measure=True)
        return estimating.card(self.device.name)

    def _learn(self, said: Said) -> None:
        """Take what the first trial that spoke said; it may run on another device than was thought."""
        self.said = said
        kind = "cpu" if said.device == "cpu" else "cuda"
        if kind != self.device.kind:
            self.device = self._device("cpu") if kind == "cpu" else Device(name=said.device_name)
            self.fore = Foreteller(self.model, self.asked.goal, self.device, None)


def _granted(host: Host) -> int | None:
    """Give the bytes that a process may map, where its shell limits that (`ulimit -v`, `ulimit -d`)."""
    listing = text(host, _LIMITS) or ""
    found = [line[26:].split() for line in listing.splitlines() if line[:26].strip() in _CAPPED]
    return min((int(each[0]) for each in found if each and each[0].isdigit()), default=None)
