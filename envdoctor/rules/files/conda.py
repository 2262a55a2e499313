"""conda's side of a file: its channels, its CUDA, and what pip adds to it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envdoctor.knowledge.fit import driver_floor, driver_runs
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import compare, readable
from envdoctor.rules.files.asked import Environment, Line, changed, environments, once, target
from envdoctor.rules.registry import Found, found, rule

_CHANNEL_END = "https://github.com/pytorch/pytorch/issues/138506"
_CUDA_PACKAGES = ("cudatoolkit", "pytorch-cuda", "cuda-toolkit", "cuda-runtime", "cuda-version", "cuda")


def _channel(each: Environment, *names: str) -> Line | None:
    """Give the line that names one of these channels, by its name or at the end of its address."""
    return next((line for line in each.of("channel") if line.said.name.rstrip("/").rpartition("/")[2] in names), None)


@rule(
    "FILE030",
    "conda-channel-ended",
    "warning",
    needs=("declared",),
    sources=(_CHANNEL_END, "https://anaconda.org/pytorch/pytorch-cuda"),
)
def pytorch_channel_ended(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A file takes PyTorch from the conda channel `pytorch`, which ended with 2.5.1.

    Nothing newer is published there, so that the environment stays with 2.5.1 for good, or cannot be solved where a
    newer release is asked for. `pytorch-cuda` is a package of that channel, needs the channel `nvidia` too, and has
    no counterpart on conda-forge.

    Needed: conda-forge with `pytorch-gpu` and `cuda-version`, or pip's wheels.

    Check: `conda search -c pytorch --override-channels pytorch`.

    An error where a release is asked for that the channel does not have, a CUDA that pytorch-cuda does not have, or
    pytorch-cuda without its channels; else a warning.
    """
    yield from once(machine, _ended(machine, facts))


def _ended(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    row = next(each for each in facts.pytorch_channel if each.package == "pytorch-cuda")
    for each in environments(machine):
        channel, torch, cuda = _channel(each, "pytorch"), each.conda("pytorch", "torch"), each.conda("pytorch-cuda")
        own = torch is not None and torch.said.channel == "pytorch"
        if channel is None and cuda is None and not own:
            continue
        if torch is None and cuda is None:
            continue
        line = cuda or torch
        assert line is not None
        version = torch.pin if torch else None
        problem = None
        wanted = re.match(r"={1,2}\s*(\d+\.\d+)", cuda.said.value or "") if cuda else None
        if channel is None and not own:
            problem = say("pytorch-cuda is a package of the channel pytorch, which the file does not name")
        elif torch and version and readable(version) and compare(version, row.last) > 0:
            line = torch
            problem = say("pytorch {version} was never in it", version=version)
        elif wanted and row.cuda and wanted[1] not in row.cuda:
            problem = say(
                "pytorch-cuda was published for {cuda}, not for {wanted}", cuda=", ".join(row.cuda), wanted=wanted[1]
            )
        elif cuda and _channel(each, "nvidia") is None:
            problem = say("pytorch-cuda needs the channel nvidia too")
        cuda_version = wanted[1] if wanted else "12.9"
        yield found(
            say("The conda channel pytorch ended with {last}, and {problem}", last=row.last, problem=problem)
            if problem
            else say("The conda channel pytorch ended with {last}", last=row.last),
            say("No newer release comes there. conda-forge builds pytorch with CUDA, and pip's wheels bring theirs."),
            evidence=(line.evidence, *((channel.evidence,) if channel and channel is not line else ())),
            fixes=(
                *(
                    (changed(channel, channel.said.text.replace("pytorch", "conda-forge", 1)),)
                    if channel and channel.said.text.startswith("-")
                    else ()
                ),
                Fix(
                    summary=say(
                        "Ask conda-forge for pytorch-gpu, with cuda-version in place of pytorch-cuda; `envdoctor "
                        "provision` writes such an environment.yml."
                    ),
                    commands=(("envdoctor", "provision", "--cuda", cuda_version, "--dry-run"),),
                ),
            ),
            severity="error" if problem else None,
        )


@rule(
    "FILE031",
    "conda-channels-mixed",
    "warning",
    needs=("declared",),
    sources=(
        "https://conda-forge.org/docs/user/transitioning_from_defaults/",
        "https://docs.conda.io/projects/conda/en/stable/user-guide/tasks/manage-channels.html",
    ),
)
def channels_mixed(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A file mixes conda's `defaults` with conda-forge.

    The two build the same packages with other compilers and other pins. Mixed, an import fails at an undefined
    symbol, or the solver takes a CPU build of pytorch from one because a package of the other stands in the way.

    Needed: one of them: conda-forge with `nodefaults`.

    Check: `conda list` names the channel of each package.
    """
    yield from once(machine, _mixed_channels(machine))


def _mixed_channels(machine: Snapshot) -> Iterator[Found]:
    for each in environments(machine):
        forge, defaults = _channel(each, "conda-forge"), _channel(each, "defaults", "main", "anaconda")
        if forge is not None and defaults is not None:
            yield found(
                say(
                    "The channels {name} and {said_name} are mixed", name=defaults.said.name, said_name=forge.said.name
                ),
                say("They build the same packages in different ways, and those do not always load together."),
                evidence=(defaults.evidence, forge.evidence),
                fixes=(defaults.instead(defaults.said.name, "nodefaults"),),
            )


@rule(
    "FILE032",
    "conda-pip-mixed",
    "warning",
    needs=("declared",),
    sources=("https://www.anaconda.com/docs/getting-started/working-with-conda/packages/pip-install", "pkg:pypi/torch"),
)
def conda_cuda_with_pip_torch(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A file installs CUDA or PyTorch with conda, and torch with pip.

    pip's torch brings CUDA and cuDNN itself. conda's cudatoolkit beside it is not used, or is found first and clashes;
    conda's pytorch and pip's torch overwrite each other in the same folder.

    Needed: torch from one of the two, and CUDA from the same.

    Check: `conda list "torch|cuda"` shows what came from pypi.

    An error where both bring torch. Silent for cuda-nvcc and its kin, which compile extensions.
    """
    yield from once(machine, _mixed(machine))


def _mixed(machine: Snapshot) -> Iterator[Found]:
    for each in environments(machine):
        pip = each.package("torch")
        own = each.conda("pytorch", "pytorch-gpu", "pytorch-cpu")
        cuda = each.conda("cudatoolkit", "pytorch-cuda", "cuda-runtime")
        other = own or cuda
        if pip is None or other is None:
            continue
        yield found(
            say("conda brings {name}, and pip brings torch", name=other.said.name),
            say("Both write torch into the same folder.")
            if own
            else say("pip's torch has its own CUDA; conda's is a second copy that may be loaded instead."),
            evidence=(other.evidence, pip.evidence),
            fixes=(
                Fix(
                    summary=say(
                        "Take out line {line} of {file}: {content}",
                        line=other.said.line,
                        file=other.said.file,
                        content=other.said.text,
                    )
                ),
            ),
            severity="error" if own else None,
        )


@rule(
    "FILE033",
    "driver-too-old",
    "error",
    needs=("declared", "driver.version"),
    sources=(
        "https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html",
        "https://docs.conda.io/projects/conda/en/stable/user-guide/tasks/manage-virtual.html",
    ),
)
def conda_cuda_needs_newer_driver(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A file asks conda for a CUDA that the driver of the machine cannot run.

    conda's virtual package __cuda says what the driver offers; the solver then takes a CPU build or gives up, and with
    CONDA_OVERRIDE_CUDA it installs what cannot run.

    Needed: a CUDA of the driver's major version, or a newer driver.

    Check: `conda info` prints __cuda.
    """
    yield from once(machine, _driver(machine, facts))


def _driver(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    for each in environments(machine):
        line = each.conda(*_CUDA_PACKAGES)
        here = target(each, machine, facts)
        read = re.match(r"={1,2}\s*(\d+\.\d+)", line.said.value or "") if line else None
        if line is None or read is None or here.driver is None:
            continue
        if driver_runs(facts, read[1], here.driver, here.os) is not False:
            continue
        offered = facts.driver_cuda(here.driver)
        yield found(
            say("{name} {read} does not run on driver {driver}", name=line.said.name, read=read[1], driver=here.driver),
            say(
                "CUDA {read} needs a driver of {driver_floor} or newer.",
                read=read[1],
                driver_floor=driver_floor(facts, read[1], here.os),
            ),
            evidence=(line.evidence, "driver.version"),
            fixes=(line.instead(read[1], offered),) if offered else (),
        )
