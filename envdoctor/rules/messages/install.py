"""What pip, conda and Python print when a package cannot be installed or found."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.told import mentions, said

PIP = "https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/"
VIRTUAL = "https://docs.conda.io/projects/conda/en/stable/user-guide/tasks/manage-virtual.html"
_NO_VERSION = r"(?i)Could not find a version that satisfies the requirement ([\w.-]+)"
_FRAMEWORK = (
    r"(?i)torch|tensorflow|tf-nightly|jax|onnxruntime|vllm|xformers|flash|triton|mxnet|paddle|cupy|bitsandbytes|numpy"
)


@rule(
    "MSG701",
    "python-32bit",
    "error",
    needs=("problems",),
    supersedes=("MSG702", "PY005", "MSG703"),
    sources=(PIP,),
)
def thirty_two(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Python is a 32-bit program, and the frameworks have 64-bit wheels only.

    pip offers what fits the interpreter, not the operating system; for a 32-bit one there is nothing.

    Check: `python -c "import struct; print(struct.calcsize('P') * 8)"` prints 64.
    """
    line = said(
        machine,
        r"(?i)sys\.version[^\n]{0,120}\b32[ -]bit",
        r"(?i)python[^\n]{0,80}\[MSC v\.\d+ 32 bit",
        r"(?i)python ?\d?\.?\d*[^\n]{0,30}\b32[ -]?bit\b(?! and)",
        r"(?i)Python\d{2,3}-32\b",
        r"(?i)\bcp\d+m?-win32\b",
        r"(?i)calcsize\([^\n]{0,24}\n?[^\n]{0,8}\b(?:32|4)\b|architecture\(\)[^\n]{0,10}\n?[^\n]{0,6}'32bit'",
    )
    bits = machine.python.bits if machine.python else None
    if line is None and bits == 32:
        line = said(machine, _NO_VERSION)
    if line is None or not (
        bits == 32
        or mentions(machine, r"no matching distribution|could not find a version|not a supported wheel|from versions")
    ):
        return
    yield found(
        "Python is the 32-bit one, for which no wheel of the framework exists",
        "Both can be installed on the same 64-bit Windows.",
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=(
                    "Install the 64-bit Python of a version that the package supports, and make "
                    "a new environment with it."
                ),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "MSG703",
    "wrong-python-interpreter",
    "error",
    certainty="likely",
    needs=("problems",),
    sources=(PIP, "https://docs.python.org/3/library/venv.html"),
)
def wrong_python(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The package is, or is to be, in another Python than the one that is meant.

    pip belongs to one interpreter. A wheel's tag names its Python, cp36 for 3.6, and pip of another one refuses the
    file. What one pip installed, another Python does not find.

    Check: `python -m pip --version` and `python -c "import sys; print(sys.executable)"`.
    """
    line = said(machine, r"(?i)[\w.+-]+-cp(\d{2,3})-\S+\.whl is not a supported wheel on this platform")
    if line is None and said(machine, r"(?i)No module named ['\"]?(?:torch|tensorflow|jax|vllm|numpy)"):
        line = said(
            machine,
            r"(?i)Requirement already satisfied: (?:torch|tensorflow|jax|vllm|numpy)",
            r"(?m)^Name: (?:torch|tensorflow|jax|vllm|numpy)",
            r"(?i)(?:pip3?|conda) (?:list|show)[^\n]{0,40}(?:torch|tensorflow|jax)",
            r"(?i)(?:which|where|whereis) (?:python|pip)\d?[^\n]*",
            r"(?i)sys\.executable[^\n]*",
            r"(?i)Successfully installed[^\n]{0,200}(?:torch|tensorflow|jax)",
            r"(?m)^(?:torch|tensorflow\S*|jax) +\d\S+",
        )
    if line is None:
        return
    yield found(
        "The package belongs to another Python than the one that runs",
        "pip and python on PATH are of different interpreters, or the wheel is for another version of Python.",
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=(
                    "Install and run with one interpreter: PYTHON -m pip install …, with the "
                    "Python that the wheel's tag names."
                )
            ),
        ),
    )


@rule(
    "MSG702",
    "python-without-wheel",
    "error",
    needs=("problems",),
    supersedes=("PY001", "PY002", "TF005"),
    sources=(PIP, "https://pip.pypa.io/en/stable/cli/pip_install/"),
)
def no_wheel(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """No wheel of the wanted release exists for this Python.

    pip lists as "from versions" what it could install with this interpreter on this platform. An empty list, or one
    that ends before the wanted release, means that the Python is too new or too old for it, or the platform unknown.

    Check: the files of that release on the package index have a tag for this Python.
    Silent for a Python of 32 bits and a connection that failed, which have messages of their own.
    """
    line = said(
        machine,
        r"(?i)requires a different Python: (\S+) not in",
        r"(?i)Ignored the following versions that require a different python version",
    )
    missing = said(machine, _NO_VERSION, r"(?i)No matching distribution found for ([\w.-]+)")
    if (
        line is None
        and missing
        and mentions(machine, _FRAMEWORK)
        and not mentions(machine, r"NewConnectionError|ProxyError|SSLError|Temporary failure in name|ConnectTimeout")
    ):
        line = missing
    if line is None:
        line = said(
            machine,
            r"(?i)no (?:wheel|binary|matching|compatible)[^\n]{0,40} for (?:your )?(?:python|cp)\D{0,3}\d",
            r"(?i)has no wheels with a matching Python (?:ABI|version|implementation)[^\n]{0,60}",
            r"(?i)because (?:the requested Python version|only)[^\n]{0,80}(?:python)[^\n]{0,60}",
            r"(?i)python(?: |-|_)?(?:version )?3\.\d+[^\n]{0,40}(?:is )?(?:not (?:yet )?supported|unsupported|too new)",
            (
                r"(?i)(?:pytorch|tensorflow|torch)\S*[^\n]{0,40} -> python\[version='[^\n]{0,60}|"
                r"requires python (?:>=|<|==)?\d"
            ),
        )
    if line is None:
        return
    version = machine.python.version if machine.python else None
    yield found(
        f"No wheel of the wanted release exists for this Python{f' {version}' if version else ''}",
        "pip offers only what fits the interpreter and the platform.",
        evidence=(line.evidence,),
        certainty="certain" if "different" in line.words[0] else "likely",
        fixes=(
            Fix(
                summary=(
                    "Make an environment with a Python version that the release has wheels for, "
                    "or take a release that has one for this Python."
                ),
                commands=(("envdoctor", "provision"),),
                effect="changes-env",
            ),
        ),
    )


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
        r"CONDA_OVERRIDE_CUDA",
    )
    if line is None:
        return
    yield found(
        "conda's solver sees no CUDA driver on this machine (__cuda is missing)",
        "It solves for the machine it runs on; for another one it has to be told.",
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary="Name the CUDA of the machine that will run it.",
                commands=(("export", "CONDA_OVERRIDE_CUDA=12.6"),),
            ),
        ),
    )


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
        "CUDA packages of different versions are in one conda environment",
        ", ".join(f"{package.name} {package.version}" for package in parts) + ".",
        evidence=(line.evidence,),
        severity="error" if len(versions) > 1 else "warning",
        fixes=(
            Fix(
                summary="Make a fresh environment and pin one version for all: cuda-version=12.6.",
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
                    f"conda and pip both installed {name}: {ours.version} and {theirs.version}",
                    "The copy that runs is the one that was written last.",
                    evidence=(line.evidence,),
                    fixes=(
                        Fix(
                            summary="Make a fresh environment and install the framework with one of the two only.",
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
        r"(?i)nvcc[^\n]{0,60}(?:still|shows?|reports?|says?|prints?)[^\n]{0,30}(?:wrong|old|different|\d+\.\d)",
    )
    versions = {kit.version for kit in machine.toolkits if kit.version}
    paths = said(
        machine,
        r"/usr/local/cuda-(\d+\.\d+)[\s\S]{0,2000}/usr/local/cuda-(?!\1)(\d+\.\d+)",
        r"CUDA\\v(\d+\.\d+)[\s\S]{0,2000}CUDA\\v(?!\1)(\d+\.\d+)",
    )
    if line is None and paths:
        line = paths
    if line is None or (len(versions) < 2 and paths is None and "nvcc" not in line.words[0]):
        return
    yield found(
        "Several CUDA copies are on the search path, and the first one is taken",
        "The report names " + ", ".join(sorted(version for version in versions if version)) + "."
        if len(versions) > 1
        else "The report shows more than one.",
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=(
                    "Put the wanted toolkit first in PATH and LD_LIBRARY_PATH, set CUDA_HOME "
                    "to it, and remove the others."
                )
            ),
        ),
    )
