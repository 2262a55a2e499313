"""What `import envdoctor` offers: the questions of the command line, answered with typed objects.

Each answer prints as the command does, and shows as the command's page in a notebook.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

from envdoctor import errors
from envdoctor.model import Record
from envdoctor.model.estimate import Estimate, Workload
from envdoctor.model.finding import Diagnosis, Finding
from envdoctor.model.outcome import Outcome
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.model.stack import Artifact, Conflict, FrameworkName, Plan, Request, TargetOs

if TYPE_CHECKING:
    from envdoctor.estimate.device import Device
    from envdoctor.report.text import Style
    from envdoctor.verify.runner import Progress


class Diagnosed(Record):
    """A machine and what is wrong with it."""

    machine: Snapshot
    judged: Diagnosis

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, root cause first."""
        return self.judged.findings

    def __repr__(self) -> str:
        from envdoctor.report import text

        return text.diagnosis(self.machine, self.judged, _plain()).rstrip()

    def _repr_html_(self) -> str:
        from envdoctor.app import pages

        return _framed(pages.diagnosis(self.machine, self.judged))


class Estimated(Record):
    """What a model needs of memory, and whether it fits."""

    estimate: Estimate

    def __repr__(self) -> str:
        from envdoctor.report import estimates

        return estimates.text(self.estimate, _plain()).rstrip()

    def _repr_html_(self) -> str:
        from envdoctor.app import pages

        return _framed(pages.estimate(self.estimate))


class Provisioned(Record):
    """A stack that fits, with its reasons and the files of its environment."""

    plan: Plan
    files: tuple[Artifact, ...]

    def write(self, folder: str, *, force: bool = False) -> tuple[str, ...]:
        """Write the files into a folder, all or none, and give their paths; `force` replaces a person's own files.

        Raises:
            errors.Unreadable: it cannot be written to, or holds files that envdoctor did not write.
        """
        from envdoctor.host.writing import write

        return write(self.files, folder, force=force)

    def __repr__(self) -> str:
        from envdoctor.report import plans

        return plans.plan(self.plan, tuple(each.path for each in self.files), None, _plain()).rstrip()

    def _repr_html_(self) -> str:
        from envdoctor.app import pages
        from envdoctor.report.pages import Contents

        files = tuple(each for each in self.files if not each.path.startswith("verify/"))
        title = say("An environment for deep learning")
        return _framed(pages.written(Contents(title=title, plan=self.plan, artifacts=files)))


class Verified(Record):
    """What happened when the workloads ran in an environment."""

    outcomes: tuple[Outcome, ...]

    @property
    def passed(self) -> bool:
        """Tell whether every workload passed."""
        return all(each.status == "passed" for each in self.outcomes)

    def __repr__(self) -> str:
        from envdoctor.report import outcomes

        return outcomes.text(self.outcomes).rstrip()

    def _repr_html_(self) -> str:
        from envdoctor.app import pages

        return _framed(pages.outcomes(self.outcomes))


def diagnose(
    source: str | Snapshot | None = None,
    *,
    python: str | None = None,
    only: Iterable[str] = (),
    ignore: Iterable[str] = (),
    timeout: float = 20.0,
) -> Diagnosed:
    """Say what is wrong with this machine, or a reported one; reads files and changes nothing.

    Args:
        source: a Snapshot, or the path of a snapshot or a pasted report; None: this machine.
        python: the interpreter or environment to judge on this machine; None: the one that runs this.
        only: ask these rules alone, by code or slug.
        ignore: name the findings of these rules as ignored; no settings file is read.
        timeout: seconds to look at this machine; what takes longer is a gap.

    Raises:
        errors.EnvdoctorError: the file cannot be read, or there is no such Python or rule.
    """
    from envdoctor.knowledge.load import Knowledge
    from envdoctor.rules.registry import evaluate
    from envdoctor.rules.system.selection import Ignore, without

    asked, unwanted = _named(only), _named(ignore)
    if source is not None and python is not None:
        raise errors.UsageProblem(say("source is another machine, and python an environment of this one: give one"))
    machine = _machine(source, python, timeout)
    judged = evaluate(machine, Knowledge(), asked or None)
    if unwanted:
        judged = without(judged, tuple(Ignore(name, None, "ignore") for name in sorted(unwanted)))
    return Diagnosed(machine=machine, judged=judged)


def estimate_memory(
    model: str,
    *,
    gpu: str | None = None,
    memory: int | None = None,
    device: Literal["cuda", "cpu"] = "cuda",
    **workload: Any,
) -> Estimated:
    """Say whether a model fits into memory, and at which batch, before it runs.

    Args:
        model: a known name, the path of a Hugging Face config.json, or hf:org/name.
        gpu: a card that is sold, by its name; None: that of this machine.
        memory: its free bytes; None: as the card or this machine has them.
        device: what computes.
        **workload: fields of envdoctor.model.estimate.Workload: mode="training", batch=8, seq_len=512,
            dtype="amp-fp16", optimizer="adamw", checkpointing=True, lora_rank=16 …

    Raises:
        errors.EnvdoctorError: the model or the card is not known, or the words do not fit together.
    """
    from envdoctor.app import estimating
    from envdoctor.estimate import answer, asking
    from envdoctor.estimate.weighing import Scales
    from envdoctor.host.local import LocalHost

    for name in workload.keys() - set(Workload.__struct_fields__):
        raise errors.UsageProblem(say("a workload has no {name}", name=name))
    found = estimating.model(model)
    judged_for = _device(gpu, memory, device)
    kind = {"device": judged_for.kind, "foreach": judged_for.kind == "cuda"}
    asked = asking.workload(found, **{**kind, **workload})
    if judged_for.kind == "cuda":
        peaks = estimating.card(judged_for.name)
    else:
        peaks = estimating.processor(LocalHost(), None, measure=False)
    return Estimated(estimate=answer.estimate(asked, Scales(found), judged_for, peaks))


def provision(
    *,
    cuda: str = "auto",
    framework: FrameworkName = "torch",
    framework_version: str | None = None,
    python: str | None = None,
    companions: Iterable[str] = (),
    gpus: Iterable[str] = (),
    driver: str | None = None,
    os: TargetOs | None = None,
    source: str | Snapshot | None = None,
    timeout: float = 20.0,
) -> Provisioned:
    """Choose a published stack that fits a machine, and make the files of its environment; nothing is written yet.

    Args:
        cuda: "11.8", "cpu", or "auto" for the best that fits.
        framework: what is installed.
        framework_version: None: the best that fits.
        python: "3.12"; None: the one at hand, or the best.
        companions: packages that must go with torch: "vllm", "xformers" …
        gpus: the cards of another machine, by name or compute capability.
        driver: the NVIDIA driver of another machine.
        os: the system of another machine.
        source: a Snapshot, or the path of one, in place of this machine.
        timeout: seconds to look at this machine.

    Raises:
        errors.NoStack: no published stack fits.
        errors.EnvdoctorError: a card or a package is not known, or a file cannot be read.
    """
    from datetime import date

    from envdoctor.app import planning
    from envdoctor.app.artifacts import artifacts_of
    from envdoctor.knowledge.load import Knowledge
    from envdoctor.knowledge.targets import target_of

    facts = Knowledge()
    request = Request(
        cuda=cuda,
        framework=framework,
        framework_version=framework_version,
        python=python,
        companions=planning.companions(",".join(companions), framework),
    )
    seen = target_of(_machine(source, None, timeout), facts)
    target = planning.described(seen, facts, gpus=tuple(gpus), driver=driver, os=os)
    chosen = planning.plan(request, target, facts, date.today())
    if isinstance(chosen, Conflict):
        told = (*(each.because for each in chosen.reasons), *(each.summary for each in chosen.ways))
        raise errors.NoStack(chosen.summary, "\n  ".join(told) or None)
    return Provisioned(plan=chosen, files=artifacts_of(chosen))


def verify_environment(
    python: str | None = None,
    *,
    conda_env: str | None = None,
    workloads: Iterable[str] = ("cnn", "gpt2"),
    framework: FrameworkName = "torch",
    device: str = "auto",
    timeout: float = 600.0,
    report: Callable[[Progress], None] = lambda step: None,
) -> Verified:
    """Prove an environment by running real networks in a process of its own; minutes.

    Args:
        python: its interpreter or folder; None: the one that runs this.
        conda_env: the name of a conda environment instead.
        workloads: what runs, in this order.
        framework: what runs it.
        device: "cuda", "cpu", "mps" …; "auto": the best that is there.
        timeout: seconds for each workload.
        report: is called with each step of the work, as envdoctor.verify.runner.Progress.

    Raises:
        errors.EnvdoctorError: there is no such environment, or no such workload.
    """
    from envdoctor.app import verifying
    from envdoctor.host.local import LocalHost
    from envdoctor.verify import runner

    host = LocalHost()
    target = verifying.target_of(host, python or (None if conda_env else sys.executable), conda_env)
    cap, granted = verifying.memory_cap(host), verifying.granted_memory(host)
    return Verified(
        outcomes=runner.run(
            target, tuple(workloads), device, timeout, cap, report, framework=framework, granted=granted
        )
    )


def speak(language: Literal["en", "zh"]) -> None:
    """Speak this language from now on; answers that were given keep theirs.

    Raises:
        errors.UsageProblem: it is none of these.
    """
    from envdoctor.language import LANGUAGES, catalogue
    from envdoctor.model import speech

    if language not in LANGUAGES:
        raise errors.UsageProblem(say("there is no language {language}", language=language))
    speech.speak(catalogue(language))


def _machine(source: str | Snapshot | None, python: str | None, timeout: float) -> Snapshot:
    if isinstance(source, Snapshot):
        return source
    if source is not None:
        from envdoctor.app.reading import read_snapshot

        return read_snapshot(source)
    from envdoctor.app.examining import examine
    from envdoctor.host.local import LocalHost

    return examine(LocalHost(), python or sys.executable, timeout)


def _named(names: Iterable[str]) -> frozenset[str]:
    from envdoctor.rules.system.selection import named, unknown

    asked = tuple(names)
    for name in unknown(asked):
        raise errors.UsageProblem(say("there is no rule {rule}", rule=name))
    return named(asked)


def _device(gpu: str | None, memory: int | None, device: Literal["cuda", "cpu"]) -> Device:
    from envdoctor.app import estimating
    from envdoctor.estimate.device import Device
    from envdoctor.host.local import LocalHost
    from envdoctor.knowledge.load import Knowledge

    if device == "cpu":
        if gpu is not None:
            raise errors.UsageProblem(say("gpu names a card, and device=cpu wants none"))
        return Device(kind="cpu", name="CPU", free_bytes=memory) if memory else estimating.host_device(LocalHost())
    if gpu is not None:
        return estimating.sold_device(estimating.gpu_row(gpu, Knowledge()), memory, None)
    return Device(free_bytes=memory) if memory else estimating.device_here(LocalHost(), None)


def _plain() -> Style:
    from envdoctor.report.text import Style

    return Style(colour=False, width=100)


def _framed(page: str) -> str:
    """Put a page into a frame of its own: its styles are its own, and its script sees no notebook."""
    from html import escape

    kept = 'sandbox="allow-scripts" allow="clipboard-write"'
    return f'<iframe srcdoc="{escape(page)}" {kept} style="width: 100%; height: 40rem; border: 0"></iframe>'
