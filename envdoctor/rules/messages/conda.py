"""What conda's solver prints, what its lists show of mixed origins, and several toolkits on one search path."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.told import mentions, said

VIRTUAL = "https://docs.conda.io/projects/conda/en/stable/user-guide/tasks/manage-virtual.html"


@rule(
    "MSG704",
    "conda-virtual-cuda-missing",
    "error",
    needs=("problems",),
    supersedes=("MSG407", "MSG702", "MSG501"),
    sources=(VIRTUAL,),
)
def no_virtual_cuda(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Conda's solver sees no CUDA driver, so it refuses the GPU build or chooses the one for the CPU.

    GPU builds depend on the virtual package __cuda, which exists where a driver answers: not on a login node, in an
    image build, or in continuous integration. Lines about __glibc beside it only list what the solver knows.

    Check: `conda info` lists __cuda under virtual packages.
    """
    line = said(
        machine,
        r"(?m)-> ?__cuda\b[^\n]{0,60}",
        r"(?i)nothing provides (?:requested )?__cuda",
        (
            r"(?i)__cuda[^\n]{0,80}(?:missing|not available|none of the providers|cannot "
            r"be installed|does not exist|not found|absent|unsatisfi)"
        ),
        r"(?i)(?:missing|no|without)[^\n]{0,20}__cuda",
        r"(?i)__cuda[^\n]{0,40}no candidates|virtual package [`'\"]?__cuda",
    )
    if line is None and mentions(machine, r"error|fail|could not|conflict|unsatisf|missing|\bcpu"):
        line = said(machine, r"CONDA_OVERRIDE_CUDA")
    if line is None and _solved_for_cpu(machine):
        line = said(machine, _VIRTUAL_PACKAGES)
    if line is None:
        return
    yield found(
        say("conda's solver sees no CUDA driver on this machine (__cuda is missing)"),
        say("It solves for the machine it runs on; for another one it has to be told."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say("Name the CUDA of the machine that will run it."),
                commands=(("export", "CONDA_OVERRIDE_CUDA=12.6"),),
            ),
        ),
    )


# The list of `conda info`, whole and without the driver's package.
_VIRTUAL_PACKAGES = r"virtual packages : __(?!cuda)\S+(?:\n\s*__(?!cuda)\S+)+(?=\n(?!\s*__)|\Z)"


def _solved_for_cpu(machine: Snapshot) -> bool:
    """Tell whether conda chose a build for the CPU."""
    python = machine.python
    names = [p.name for p in python.packages if p.build and "cpu" in p.build] if python else []
    return any(name in ("pytorch", "libtorch", "tensorflow", "tensorflow-base", "jaxlib") for name in names)


@rule(
    "MSG705",
    "conda-cuda-mixed",
    "error",
    certainty="likely",
    needs=("problems", "pythons.packages"),
    sources=("https://docs.nvidia.com/cuda/cuda-installation-guide-linux/index.html#conda-installation",),
)
def conda_mixed(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Parts of CUDA in one conda environment are of different versions.

    The channels nvidia, conda-forge and defaults split CUDA differently: cudatoolkit is one package, cuda-nvcc,
    cuda-cudart and cuda-version are others. Together in two versions the compiler and the libraries do not fit.

    Check: `conda list | grep -i cuda` shows one version.
    """
    python = machine.python
    if python is None:
        return
    names = (
        "cudatoolkit",
        "cuda-toolkit",
        "cuda-nvcc",
        "cuda-cudart",
        "cuda-version",
        "cuda-runtime",
        "cuda-libraries",
        "pytorch-cuda",
        "cuda",
    )
    parts = [
        package
        for name in names
        if (package := python.package(name)) and package.build and package.version[:1].isdigit()
    ]
    versions = {package.version.split(".")[0]: package for package in parts}
    minors = {".".join(package.version.split(".")[:2]) for package in parts}
    if len(versions) < 2 and not (len(minors) > 1 and mentions(machine, r"error|fail|mismatch|unsupported|not found")):
        return
    line = said(machine, *(rf"(?m){package.name}\s+{package.version}" for package in parts))
    if line is None:
        return
    yield found(
        say("CUDA packages of different versions are in one conda environment"),
        ", ".join(f"{package.name} {package.version}" for package in parts) + ".",
        evidence=(line.evidence,),
        severity="error" if len(versions) > 1 else "warning",
        fixes=(
            Fix(
                summary=say("Make a fresh environment and pin one version for all: cuda-version=12.6."),
                commands=(("envdoctor", "provision"),),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "MSG706",
    "conda-pip-mixed",
    "error",
    certainty="likely",
    needs=("problems", "pythons.packages"),
    supersedes=("PY013", "MSG501"),
    sources=(
        "https://docs.conda.io/projects/conda/en/stable/user-guide/tasks/manage-environments.html#using-pip-in-an-environment",
    ),
)
def pip_in_conda(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Pip and conda both installed the same framework, and one copy hides the other.

    They do not know of each other's files. Which copy runs depends on who wrote last, and an update by one leaves parts
    of the other behind.

    Check: `conda list | grep -iE 'torch|tensorflow'` shows each once.
    """
    python = machine.python
    if python is None:
        return
    by_conda = {("torch" if p.name == "pytorch" else p.name): p for p in python.packages if p.build}
    by_pip = {p.name: p for p in python.packages if not p.build}
    for name in ("torch", "tensorflow", "jax", "jaxlib"):
        ours, theirs = by_conda.get(name), by_pip.get(name)
        if ours and theirs and ours.version.partition("+")[0] != theirs.version.partition("+")[0]:
            line = said(machine, rf"(?m)\b(?:py)?{name}\b[^\n]*{theirs.version.replace('+', '.')}", rf"\b{name}\b")
            if line:
                yield found(
                    say(
                        "conda and pip both installed {name}: {version} and {theirs_version}",
                        name=name,
                        version=ours.version,
                        theirs_version=theirs.version,
                    ),
                    say("The copy that runs is the one that was written last."),
                    evidence=(line.evidence,),
                    fixes=(
                        Fix(
                            summary=say("Make a fresh environment and install the framework with one of the two only."),
                            commands=(("envdoctor", "provision"),),
                            effect="changes-env",
                        ),
                    ),
                )
                return


@rule(
    "MSG707",
    "several-cuda-on-path",
    "warning",
    certainty="likely",
    needs=("problems",),
    supersedes=("CUDA002", "CUDA003"),
    sources=("https://docs.nvidia.com/cuda/cuda-installation-guide-linux/index.html#environment-setup",),
)
def several(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Several copies of CUDA or cuDNN are on the search path, and a wrong one is found first.

    Compilers and loaders take the first match. An old toolkit of the distribution in /usr/bin, or a PATH that still
    names the previous version, wins over the one that was just installed.

    Check: `which -a nvcc` and `ldconfig -p | grep libcudart`.
    """
    line = said(
        machine,
        r"(?i)(?:which|where|whereis|type)(?: -a)? nvcc[^\n]*(?:\n[^\n]*nvcc[^\n]*){2,}",
        (
            r"(?i)(?:two|multiple|several|both|different|other|another|old|wrong|previous)"
            r"[^\n]{0,30}(?:cuda|cudnn|nvcc)[^\n]{0,20}(?:version|install|toolkit|cop|"
            r"found|on (?:the )?path)"
        ),
        # beside nvidia-smi, whose number is the driver's, another one of nvcc is nothing to wonder at
        (
            r"(?im)^(?![^\n]*nvidia-smi)[^\n]{0,200}?nvcc[^\n]{0,60}(?:still|shows?|reports?|says?|prints?|displays?"
            r"|gives?|returns?)[^\n]{0,30}(?:wrong|old|different|\d+\.\d)"
        ),
    )
    versions = {kit.version for kit in machine.toolkits if kit.version}
    paths = said(
        machine,
        r"/usr/local/cuda-(\d+\.\d+)[\s\S]{0,2000}/usr/local/cuda-(?!\1)(\d+\.\d+)",
        r"CUDA\\v(\d+\.\d+)[\s\S]{0,2000}CUDA\\v(?!\1)(\d+\.\d+)",
    )
    if line is None and paths:
        line = paths
    clash = said(
        machine,
        r"(?i)Found two conflicting CUDA (?:installs|versions)",
        r"(?i)FindCUDA says CUDA version is [^\n]{0,80}headers say the version is",
    )
    if clash is None and (line is None or (len(versions) < 2 and paths is None and "nvcc" not in line.words[0])):
        return
    line = clash or line
    assert line
    yield found(
        say("Several CUDA copies are on the search path, and the first one is taken"),
        say("The report names {versions}.", versions=", ".join(sorted(version for version in versions if version)))
        if len(versions) > 1
        else say("The report shows more than one."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Put the wanted toolkit first in PATH and LD_LIBRARY_PATH, set CUDA_HOME to it, and remove the "
                    "others."
                )
            ),
        ),
    )
