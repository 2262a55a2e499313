"""Environment variables that change which GPUs and how many processors a program gets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Gpu, Snapshot
from envdoctor.model.speech import say, say_number
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import Command, set_variable, unset_variable
from envdoctor.rules.wording import listed

_NAME = "CUDA_VISIBLE_DEVICES"
_GUIDE = "https://docs.nvidia.com/cuda/cuda-programming-guide/05-appendices/environment-variables.html"
_TORCH = "https://github.com/pytorch/pytorch/blob/main/torch/cuda/__init__.py"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

Why = Literal["empty", "negative", "not a device", "no such device", "ambiguous", "repeated"]


class Selection(NamedTuple):
    """What CUDA makes of the list: the devices it shows, the entry that ended it, and why."""

    visible: tuple[int, ...]
    entry: str | None = None
    why: Why | None = None
    ignored: int = 0  # entries after that one


def parse(value: str, gpus: tuple[Gpu, ...]) -> Selection | None:
    """Read CUDA_VISIBLE_DEVICES as CUDA does; None: it names things that cannot be judged from here.

    Numbers are read as strtoul does ("1x" is 1), UUIDs may be shortened as long as one card matches. CUDA reads up to
    the first entry that it cannot use and ignores the rest; a device named twice leaves none.
    """
    entries = [entry.strip() for entry in value.split(",")]
    while len(entries) > 1 and not entries[-1]:
        entries.pop()  # a comma at the end hides nothing
    if any(entry.startswith("MIG-") for entry in entries) or any(gpu.mig and gpu.mig.enabled for gpu in gpus):
        return None
    by_uuid = entries[0].startswith("GPU-")
    if by_uuid and any(gpu.uuid is None for gpu in gpus):
        return None
    visible: list[int] = []
    for place, entry in enumerate(entries):
        device, why = _by_uuid(entry, gpus) if by_uuid else _by_number(entry, len(gpus))
        if device is None:
            return Selection(tuple(visible), entry, why, len(entries) - place - 1)
        if device in visible:
            return Selection((), entry, "repeated", len(entries) - place - 1)
        visible.append(device)
    return Selection(tuple(visible))


def _by_uuid(entry: str, gpus: tuple[Gpu, ...]) -> tuple[int | None, Why | None]:
    if not entry.startswith("GPU-"):
        return None, "not a device"
    matching = [place for place, gpu in enumerate(gpus) if gpu.uuid and gpu.uuid.startswith(entry)]
    if len(matching) > 1:
        return None, "ambiguous"
    return (matching[0], None) if matching else (None, "no such device")


def _by_number(entry: str, count: int) -> tuple[int | None, Why | None]:
    if not entry:
        return None, "empty"
    digits = entry.lstrip("+")
    end = next((at for at, letter in enumerate(digits) if letter not in "0123456789"), len(digits))
    if end == 0:
        return None, "negative" if entry.startswith("-") and entry[1:].isdigit() else "not a device"
    # A number of more digits than any machine has devices is not worth its arithmetic.
    number = int(digits[:end]) if end < 10 else count
    return (number, None) if number < count else (None, "no such device")


def _cuda_gpus(machine: Snapshot) -> tuple[Gpu, ...]:
    """Give the cards that the driver lists, in its order."""
    listed_by_driver = [gpu for gpu in machine.nvidia_gpus if gpu.index is not None and not gpu.lost]
    return tuple(sorted(listed_by_driver, key=lambda gpu: gpu.index or 0))


def _setter(machine: Snapshot) -> str | None:
    """Name the program that probably set the variable for this job."""
    job = machine.variable("SLURM_JOB_ID")
    if job is not None:
        return say("Slurm (job {job})", job=job)
    container = machine.system.container if machine.system else None
    if machine.variable("KUBERNETES_SERVICE_HOST") is not None or (container and container.kind == "kubernetes"):
        return "Kubernetes"
    return None


@rule(
    "ENV001",
    "visible-devices-hide-gpu",
    "error",
    needs=("variables", "gpus.index"),
    sources=(
        _GUIDE,
        _TORCH,
        "https://github.com/pytorch/pytorch/blob/main/docs/source/cuda_environment_variables.rst",
    ),
)
def every_gpu_is_hidden(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """CUDA_VISIBLE_DEVICES hides every GPU from CUDA programs.

    CUDA shows the devices of this list up to the first entry that it cannot use. Where that is the first entry - it is
    empty, negative, not a number, or names a card that is not there - no device is left. nvidia-smi ignores the
    variable and keeps showing all cards.

    Check: `python -c "import torch; print(torch.cuda.device_count())"` in the same shell.
    A warning where Slurm or Kubernetes has given this job no GPU, which is then said. Silent without a GPU, and about
    MIG instances.
    """
    value, gpus = machine.variable(_NAME), _cuda_gpus(machine)
    chosen = parse(value, gpus) if value is not None and gpus else None
    if value is None or chosen is None or chosen.visible or chosen.why in (None, "repeated"):
        return
    setter = _setter(machine)
    # Schedulers hide the cards of a job without GPUs on purpose; a number that does not exist is nobody's purpose.
    meant = setter is not None and chosen.why != "no such device"
    cards = say("the {gpus_count} GPUs", gpus_count=len(gpus)) if len(gpus) > 1 else gpus[0].name or say("the GPU")
    yield found(
        say("{name}={value} hides {cards} from CUDA", name=_NAME, value=value, cards=cards)
        if value
        else say("{name} is set to nothing, which hides {cards} from CUDA", name=_NAME, cards=cards),
        say("{reason} nvidia-smi ignores the variable and keeps showing every card.", reason=_reason(chosen, gpus))
        + (
            " " + say("{setter} probably set it for a job without GPUs.", setter=setter)
            if meant
            else " " + say("{setter} probably set it.", setter=setter)
            if setter
            else ""
        ),
        evidence=(f"variables.{_NAME}", *_known_indexes(machine)),
        severity="warning" if meant else None,
        fixes=_show(machine, setter),
    )


def _reason(chosen: Selection, gpus: tuple[Gpu, ...]) -> str:
    last = len(gpus) - 1
    valid = "0" if last == 0 else say("0 to {last}", last=last)
    return {
        "empty": say("An empty list shows no device."),
        "negative": say("A negative number ends the list, so no device is shown."),
        "not a device": say(
            "CUDA reads numbers ({valid}) or UUIDs; “{entry}” is neither, so no device is shown.",
            valid=valid,
            entry=chosen.entry,
        ),
        "no such device": say(
            "There is no device “{entry}” here (valid: {valid}), and CUDA stops at it.", entry=chosen.entry, valid=valid
        ),
        "ambiguous": say("“{entry}” fits several cards, and CUDA stops at it.", entry=chosen.entry),
        "repeated": say("“{entry}” is named twice, and then CUDA shows no device at all.", entry=chosen.entry),
    }[chosen.why or "empty"]


def _known_indexes(machine: Snapshot) -> tuple[str, ...]:
    return tuple(
        f"gpus[{place}].index"
        for place, gpu in enumerate(machine.gpus)
        if gpu.vendor == "nvidia" and gpu.index is not None and not gpu.lost
    )


def _show(machine: Snapshot, setter: str | None) -> tuple[Fix, ...]:
    shown = Fix(
        summary=say(
            "Show every GPU again, here and wherever the variable is set (shell start-up file, service, notebook)."
        ),
        commands=(unset_variable(machine, _NAME),),
    )
    if setter is None:
        return (shown,)
    ask = "--gres=gpu:1" if setter.startswith("Slurm") else say("resources.limits with nvidia.com/gpu: 1")
    return (Fix(summary=say("Ask {setter} for a GPU: {ask}.", setter=setter.partition(" ")[0], ask=ask)),)


@rule(
    "ENV002",
    "visible-devices-hide-gpu",
    "warning",
    needs=("variables", "gpus.index"),
    sources=(_GUIDE, _TORCH),
)
def entry_cannot_be_used(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """CUDA_VISIBLE_DEVICES has an entry that CUDA cannot use, and cards are lost by it.

    CUDA reads the list up to the first entry that it cannot use and ignores the rest without a word; a device that is
    named twice leaves no device at all, which is an error.

    Check: `nvidia-smi -L` lists the numbers and UUIDs that may stand in the list.
    Silent about shortened UUIDs that fit one card, about -1 at the end, a comma at the end, and MIG instances.
    """
    value, gpus = machine.variable(_NAME), _cuda_gpus(machine)
    chosen = parse(value, gpus) if value is not None and gpus else None
    if value is None or chosen is None or chosen.why is None:
        return
    repeated = chosen.why == "repeated"
    if not repeated and (not chosen.visible or (chosen.why == "negative" and chosen.ignored == 0)):
        return
    shown = listed(str(gpus[place].index) for place in chosen.visible)
    yield found(
        say("{name}={value} names a device twice, so CUDA shows none", name=_NAME, value=value)
        if repeated
        else say(
            "CUDA reads {name}={value} only up to “{entry}” and shows device {shown} alone",
            name=_NAME,
            value=value,
            entry=chosen.entry,
            shown=shown,
        ),
        _reason(chosen, gpus),
        evidence=(f"variables.{_NAME}", *_known_indexes(machine)),
        severity="error" if repeated else None,
        fixes=(
            Fix(
                summary=say("List the devices, then name each once."),
                commands=(("nvidia-smi", "-L"), _all_devices(machine, value, gpus)),
            ),
        ),
    )


def _all_devices(machine: Snapshot, value: str, gpus: tuple[Gpu, ...]) -> Command:
    """Give the command that names each device of the list which exists, once, in the list's order."""
    names: list[str] = []
    for entry in value.split(","):
        one = parse(entry, gpus)
        if one and one.visible and entry.strip() not in names:
            names.append(entry.strip())
    return set_variable(machine, _NAME, ",".join(names) or "0")


@rule(
    "ENV009",
    "threads-differ-from-cpus",
    "warning",
    certainty="likely",
    needs=("variables", "cpu.logical", "cpu.affinity", "cpu.quota"),
    sources=(
        "https://docs.pytorch.org/tutorials/recipes/recipes/tuning_guide.html",
        "https://docs.kernel.org/admin-guide/cgroup-v2.html",
    ),
)
def threads_do_not_fit(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The thread count in the environment does not fit the processors that may be used.

    Math libraries obey OMP_NUM_THREADS, MKL_NUM_THREADS and OPENBLAS_NUM_THREADS blindly. More threads than processors
    fight for them; one thread leaves the others idle (a note, from four processors on: our rule of thumb).

    Check: `nproc` counts the processors that may be used.
    Silent about a single thread under torchrun and Slurm, which set it for each of their processes on purpose.
    """
    usable = machine.cpu.usable if machine.cpu else None
    if usable is None:
        return
    processors = max(1, -int(-usable // 1))  # a part of a processor still runs one thread
    launched = any(machine.variable(name) is not None for name in ("SLURM_JOB_ID", "TORCHELASTIC_RUN_ID", "LOCAL_RANK"))
    for name in _THREADS:
        first = (machine.variable(name) or "").split(",")[0].strip()
        if not (first.isascii() and first.isdigit()) or len(first) > 6:
            continue
        threads = int(first)
        idle = name == "OMP_NUM_THREADS" and threads == 1 and processors >= 4 and not launched
        if threads <= processors and not idle:
            continue
        yield found(
            say_number(
                "{name}={threads}, but this process may use {number} processor",
                "{name}={threads}, but this process may use {number} processors",
                processors,
                name=name,
                threads=threads,
            ),
            say("One thread leaves the other processors idle.")
            if idle
            else say("More threads than processors fight for them and slow each other down."),
            evidence=(f"variables.{name}", "cpu.logical", "cpu.affinity", "cpu.quota"),
            severity="note" if idle else None,
            certainty="hint" if idle else None,
            fixes=(
                Fix(
                    summary=say("Set it to the number of processors, or leave it unset."),
                    commands=(set_variable(machine, name, str(processors)),),
                ),
            ),
        )
