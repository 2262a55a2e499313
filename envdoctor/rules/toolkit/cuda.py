"""CUDA toolkits: they matter to those who compile, and to nobody else."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot, Toolkit
from envdoctor.model.speech import say
from envdoctor.model.version import major, minor, order, readable
from envdoctor.rules.frameworks.installed import TORCH, torch
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import family, set_variable
from envdoctor.rules.wording import listed

# torch.utils.cpp_extension looks in this order.
_ORDER = ("CUDA_HOME", "CUDA_PATH", "PATH", "/usr/local/cuda")
# Packages that compile CUDA code when they are installed or first used.
_COMPILING = (
    "apex",
    "auto-gptq",
    "causal-conv1d",
    "deepspeed",
    "detectron2",
    "flash-attn",
    "mamba-ssm",
    "pytorch3d",
    "tinycudann",
    "torch-cluster",
    "torch-scatter",
    "torch-sparse",
    "transformer-engine",
)


@rule(
    "CUDA001",
    "nvcc-differs-from-build-cuda",
    "note",
    certainty="likely",
    needs=("toolkits.path", "pythons.frameworks.torch.cuda", "pythons.packages.torch.version"),
    sources=(
        "https://github.com/pytorch/pytorch/blob/main/torch/utils/cpp_extension.py",
        "https://docs.astral.sh/uv/guides/integration/pytorch/",
    ),
)
def nvcc_of_another_major(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The CUDA toolkit that would compile extensions is of another major version than PyTorch's CUDA.

    Extensions are compiled with the toolkit and loaded beside torch's own runtime, so torch stops the build where the
    majors differ. Running models has nothing to do with it: a wheel brings all the CUDA it needs.

    Needed, for compiling only: a toolkit of torch's CUDA major; a different minor version works.

    Check: `nvcc --version` beside `python -c "import torch; print(torch.version.cuda)"`.

    A note, unless packages are installed that compile CUDA code (flash-attn, deepspeed …): then a warning. The toolkit
    is looked for where torch looks: CUDA_HOME, CUDA_PATH, nvcc on PATH, /usr/local/cuda.
    """
    framework = torch(machine)
    chosen = _chosen(machine)
    if framework is None or chosen is None or not readable(framework.cuda):
        return
    place, toolkit = chosen
    if not readable(toolkit.version):
        return
    assert framework.cuda and toolkit.version
    if major(framework.cuda) == major(toolkit.version):
        return
    python = machine.python
    compiling = [name for name in _COMPILING if python and python.package(name)]
    fitting = _fitting(machine, framework.cuda)
    yield found(
        say(
            "nvcc is of CUDA {version}, PyTorch {framework_version} is built with CUDA {cuda}",
            version=minor(toolkit.version),
            framework_version=framework.version,
            cuda=framework.cuda,
        ),
        say(
            "{compiling} compiles CUDA code, and torch stops a build where the major versions differ.",
            compiling=listed(compiling),
        )
        if compiling
        else say(
            "This matters only when an extension is compiled. Running models needs no toolkit, and nothing is to be "
            "installed for it."
        ),
        evidence=(
            f"toolkits[{place}].version",
            f"toolkits[{place}].path",
            f"{TORCH}.cuda",
            *(f"pythons[0].packages.{name}.version" for name in compiling),
        ),
        fixes=_compile_with(machine, fitting, framework.cuda) if compiling or fitting else (),
        severity="warning" if compiling else None,
    )


@rule(
    "CUDA003",
    "several-cuda-on-path",
    "note",
    needs=("toolkits.path", "toolkits.version"),
    sources=("https://github.com/pytorch/pytorch/blob/main/torch/utils/cpp_extension.py",),
)
def toolkits_disagree(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """CUDA_HOME, PATH and /usr/local/cuda lead to different CUDA toolkits.

    Which compiler is used then depends on who asks, so builds differ although every single toolkit is sound.

    Needed, for compiling only: one toolkit that all three agree on.

    Check: `nvcc --version`, `echo $CUDA_HOME` and `readlink -f /usr/local/cuda`.

    Several toolkits are fine in themselves. Silent where all ways lead to the same version, and where a version is not
    known.
    """
    ways = _ways(machine)
    places = sorted(set(ways.values()))
    versions = [machine.toolkits[place].version for place in places]
    if len(places) < 2 or not all(readable(version) for version in versions):
        return
    if len({minor(version or "") for version in versions}) < 2:
        return
    told = listed(
        say("{way} leads to CUDA {version}", way=way, version=minor(machine.toolkits[place].version or ""))
        for way, place in ways.items()
    )
    first = machine.toolkits[next(iter(ways.values()))]
    fixes = [
        Fix(
            summary=say(
                "If you compile: put one toolkit's bin folder first in PATH and set CUDA_HOME to it, for example "
                "{path}.",
                path=first.path,
            ),
            commands=(set_variable(machine, "CUDA_HOME", first.path),),
        )
    ]
    if "/usr/local/cuda" in ways and family(machine) in ("ubuntu", "debian"):
        fixes.append(
            Fix(
                summary=say("Or choose what /usr/local/cuda points to."),
                commands=(("sudo", "update-alternatives", "--config", "cuda"),),
                effect="needs-root",
            )
        )
    yield found(
        say("The ways to nvcc disagree: {told}", told=told),
        say(
            "Each toolkit is fine in itself; which one compiles depends on who asks. Running models uses none of them."
        ),
        evidence=tuple(f"toolkits[{place}].{field}" for place in places for field in ("path", "version", "found_by")),
        fixes=tuple(fixes),
    )


def _ways(machine: Snapshot) -> dict[str, int]:
    """Say where each way leads, in the order torch tries them; CUDA_PATH only where there is no CUDA_HOME."""
    ways: dict[str, int] = {}
    for way in _ORDER:
        place = next((i for i, each in enumerate(machine.toolkits) if way in each.found_by), None)
        if place is not None and not (way == "CUDA_PATH" and "CUDA_HOME" in ways):
            ways[way] = place
    return ways


def _chosen(machine: Snapshot) -> tuple[int, Toolkit] | None:
    place = next(iter(_ways(machine).values()), None)
    return None if place is None else (place, machine.toolkits[place])


def _fitting(machine: Snapshot, cuda: str) -> Toolkit | None:
    """Give the installed toolkit nearest to that CUDA, of its major version."""
    same = [
        each
        for each in machine.toolkits
        if each.nvcc and each.version and readable(each.version) and major(each.version) == major(cuda)
    ]
    exact = next((each for each in same if order(minor(each.version or ""), minor(cuda)) == 0), None)
    return exact or (same[0] if same else None)


def _compile_with(machine: Snapshot, fitting: Toolkit | None, cuda: str) -> tuple[Fix, ...]:
    if fitting:
        return (
            Fix(
                summary=say(
                    "To compile, use the CUDA {version} toolkit that is here already.",
                    version=minor(fitting.version or cuda),
                ),
                commands=(set_variable(machine, "CUDA_HOME", fitting.path),),
            ),
        )
    python = machine.python
    if python and python.manager == "conda":
        install = ("conda", "install", "--prefix", python.prefix, "--channel", "conda-forge")
        return (
            Fix(
                summary=say("To compile, put the CUDA {cuda} compiler into this environment.", cuda=minor(cuda)),
                commands=((*install, f"cuda-nvcc={minor(cuda)}", f"cuda-version={minor(cuda)}"),),
                effect="changes-env",
            ),
        )
    return (
        Fix(
            summary=say(
                "To compile, install the CUDA {cuda} toolkit beside the one here, or take a PyTorch built with the "
                "CUDA of your toolkit.",
                cuda=minor(cuda),
            ),
            page="https://developer.nvidia.com/cuda-toolkit-archive",
        ),
    )
