"""The web pages of the commands: what stands on them, and the machine without persons and secrets to hand on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envdoctor.app.redacting import redactor
from envdoctor.model.speech import language, say
from envdoctor.report.pages import Contents, page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envdoctor.estimate.device import Device
    from envdoctor.model.estimate import Estimate
    from envdoctor.model.finding import Diagnosis
    from envdoctor.model.onboarding import Onboarding
    from envdoctor.model.outcome import Outcome
    from envdoctor.model.snapshot import Snapshot
    from envdoctor.model.tuning import Tuning

# What is shown where nobody said with --for what shall run: the two networks of `verify`, trained and used.
_USUAL = (
    "resnet50:training:batch={batch},dtype={dtype}",
    "gpt2:training:batch={batch},seq=1024,dtype={dtype}",
    "gpt2:inference:batch={batch},seq=1024,dtype={weights},cache=yes",
)
_BATCHES = (1, 4, 16)


def diagnosis(machine: Snapshot, judged: Diagnosis) -> str:
    """Make the page of a diagnosis, with the memory of workloads on that machine."""
    contents = Contents(
        title=say("Diagnosis of a machine"),
        machine=machine,
        judged=judged,
        estimates=_estimates(machine),
        raw=redactor().redact(machine),
    )
    return written(contents)


def onboarding(result: Onboarding) -> str:
    """Make the page of an onboarding: the machine, the stack with its reasons, the proof, and the files to copy."""
    from envdoctor.app.artifacts import artifacts_of

    assert result.plan is not None
    files = artifacts_of(result.plan, result.folder)
    contents = Contents(
        title=say("An environment for deep learning"),
        machine=result.machine,
        judged=result.judged,
        estimates=_estimates(result.machine),
        plan=result.plan,
        outcomes=result.outcomes,
        # The verification scripts are long, and nobody copies them by hand.
        artifacts=tuple(each for each in files if not each.path.startswith("verify/")),
        raw=redactor().redact(result.machine),
    )
    return written(contents)


def outcomes(results: tuple[Outcome, ...]) -> str:
    """Make the page of a verification."""
    return written(Contents(title=say("Proof of an environment"), outcomes=results))


def tuning(done: Tuning) -> str:
    """Make the page of a tuning."""
    return written(Contents(title=say("Tuning of a model"), tuning=done))


def estimate(found: Estimate) -> str:
    """Make the page of an estimate."""
    return written(Contents(title=say("Memory of a model"), estimates=(found,)))


def written(contents: Contents) -> str:
    """Write a page with the templates of this installation."""
    from envdoctor.render.environment import templates_folder

    return page(contents, templates_folder(), language=language().replace("_", "-"))


def _estimates(machine: Snapshot) -> tuple[Estimate, ...]:
    """Weigh the workloads that are wanted, else the usual ones, at some batches and at the largest that fits."""
    from envdoctor.errors import EnvdoctorError
    from envdoctor.rules.system.fit import device_of

    device, _ = device_of(machine)
    if device is None:
        return ()
    cuda = device.kind == "cuda"
    kinds = {"dtype": "amp-fp16" if cuda else "fp32", "weights": "fp16" if cuda else "fp32"}
    found: list[Estimate] = []
    wanted = machine.wanted or tuple(text.format(batch=1, **kinds) for text in _USUAL)
    for text in wanted:
        try:
            found += _weighed(text, device, () if machine.wanted else _BATCHES)
        except EnvdoctorError:
            continue  # a report may hold anything; the rule about wanted workloads passes over such words too
    return tuple(found)


def _weighed(text: str, device: Device, batches: tuple[int, ...]) -> Iterator[Estimate]:
    from msgspec.structs import replace

    from envdoctor.estimate import answer, asking, models
    from envdoctor.estimate.weighing import Scales, Walked

    name, how = asking.short(text)
    model = Walked(models.named(name))
    workload = asking.workload(model, device=device.kind, **how)
    scales = Scales(model)
    largest = scales.largest_batch(workload, device)
    for batch in sorted({workload.batch, *batches, *([largest] if largest else [])}):
        yield answer.estimate(replace(workload, batch=batch), scales, device)
