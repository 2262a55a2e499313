"""NumPy: modules compiled for NumPy 1 under NumPy 2."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import PythonEnv, Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import at_least, order, readable
from envdoctor.rules.frameworks.installed import TORCH, Unmet, by_conda, from_pytorch_channel, unmet, version_of
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import pip_install
from envdoctor.rules.wording import listed

_TENSORFLOW = "2.18"  # first release built against NumPy 2
_TORCH, _TORCH_WINDOWS = "2.3", "2.4.1"


@rule(
    "NP001",
    "numpy2-abi",
    "error",
    needs=("pythons.packages.numpy.version", "pythons.frameworks.torch.version"),
    sources=(
        "https://numpy.org/doc/stable/user/troubleshooting-importerror.html#downstream-importerror-or-attributeerror",
        "https://github.com/pytorch/pytorch/issues/132179",
        "https://github.com/pytorch/pytorch/issues/131668",
        "pkg:pypi/tensorflow",
    ),
)
def numpy2_under_numpy1_build(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """NumPy 2 is installed beside a framework that was compiled for NumPy 1.

    The binary interface changed in NumPy 2.0. PyTorch before 2.3 then prints "_ARRAY_API not found" and every
    `.numpy()` fails; TensorFlow before 2.18 does not import.

    Needed: numpy below 2, or PyTorch 2.3 (on Windows 2.4.1) and TensorFlow 2.18 or newer.

    Check: `python -c "import torch; print(torch.ones(1).numpy())"`.

    A warning where only the metadata of another package asks for numpy below 2. Silent the other way round: what was
    built for NumPy 2 runs on both. Builds of conda-forge are not judged by these numbers, since it rebuilt old
    releases; those of PyTorch's own channel are.
    """
    python = machine.python
    numpy = python.package("numpy") if python else None
    if python is None or numpy is None or order(numpy.version, "2") not in (0, 1):
        return
    broken = _compiled_before(machine, python, facts)
    if broken:
        names = [name for name, _ in broken]
        yield found(
            say(
                "NumPy {version} is installed beside {names}, compiled for NumPy 1",
                version=numpy.version,
                names=listed(names),
            ),
            say(
                "The binary interface changed in NumPy 2.0, so modules compiled before cannot use it. PyTorch prints "
                '"_ARRAY_API not found" and every .numpy() fails; TensorFlow does not import.'
            ),
            evidence=(version_of(python, numpy), *(path for _, path in broken)),
            fixes=(_older_numpy(machine), _newer_frameworks(machine, [path for _, path in broken])),
        )
        return
    asking = [
        package
        for package in python.packages
        if package.build is None
        and any("<" in text or "=" in text for text in package.requires if text.startswith("numpy"))
        and any(each.name == "numpy" and _asks_below(each) for each in unmet(machine, package, "numpy"))
    ]
    if asking:
        named = listed(f"{package.name} {package.version}" for package in asking[:3])
        if len(asking) > 3:
            named = say("{packages} and {count} more", packages=named, count=len(asking) - 3)
        yield found(
            say(
                "NumPy {version} is installed, and {packages} asks for an older one",
                version=numpy.version,
                packages=named,
            ),
            say(
                "A package that was compiled for NumPy 1 does not work with NumPy 2. Whether this one was, its "
                "metadata does not tell."
            ),
            evidence=(
                version_of(python, numpy),
                *(version_of(python, package) for package in asking),
            ),
            fixes=(_older_numpy(machine),),
            severity="warning",
            certainty="likely",
        )


def _compiled_before(machine: Snapshot, python: PythonEnv, facts: Knowledge) -> list[tuple[str, str]]:
    """Name the frameworks whose release is known to be older than its support of NumPy 2, each with its path."""
    found_old = []
    torch, tensorflow = python.framework("torch"), python.framework("tensorflow")
    if torch and readable(torch.version) and (not by_conda(python, "torch") or from_pytorch_channel(python)):
        row = facts.torch(torch.version)
        windows = machine.system is not None and machine.system.os == "windows"
        floor = _TORCH_WINDOWS if windows else _TORCH
        supports = (row.numpy2_windows if windows else row.numpy2) if row else at_least(torch.version, floor)
        if not supports:
            found_old.append((say("PyTorch {version}", version=torch.version), f"{TORCH}.version"))
    if tensorflow and order(tensorflow.version, _TENSORFLOW) == -1 and not by_conda(python, "tensorflow"):
        found_old.append(
            (say("TensorFlow {version}", version=tensorflow.version), "pythons[0].frameworks.tensorflow.version")
        )
    return found_old


def _asks_below(each: Unmet) -> bool:
    return "<" in each.wanted or "=" in each.wanted.replace(">=", "").replace("!=", "")


def _older_numpy(machine: Snapshot) -> Fix:
    python = machine.python
    conda = python is not None and by_conda(python, "numpy")
    install = ("conda", "install", "--prefix", python.prefix, "numpy<2") if python and conda else None
    return Fix(
        summary=say("Install the last NumPy 1."),
        commands=(install or pip_install(machine, "numpy<2"),),
        effect="changes-env",
    )


def _newer_frameworks(machine: Snapshot, paths: list[str]) -> Fix:
    names = ["PyTorch" if ".torch." in path else "TensorFlow" for path in paths]
    return Fix(
        summary=say(
            "Or move to a release of {names} that knows NumPy 2, in an environment of its own.", names=listed(names)
        ),
        commands=(("envdoctor", "provision"),) if "PyTorch" in names else (),
    )
