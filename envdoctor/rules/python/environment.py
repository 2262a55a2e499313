"""The environment around Python: which one runs, and who owns what is in it."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Package, PythonEnv, Snapshot
from envdoctor.model.speech import say, say_number
from envdoctor.model.version import public
from envdoctor.rules.frameworks.installed import version_of
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import pip_install, pip_uninstall
from envdoctor.rules.wording import few, listed

CONDA_AND_PIP = (
    "https://docs.conda.io/projects/conda/en/latest/user-guide/tasks/manage-environments.html"
    "#using-pip-in-an-environment"
)
# Compiled packages that break where pip's files lie over conda's; conda's name first.
_CONTESTED = {
    "pytorch": "torch",
    "torchvision": "torchvision",
    "torchaudio": "torchaudio",
    "tensorflow": "tensorflow",
    "jax": "jax",
    "jaxlib": "jaxlib",
    "numpy": "numpy",
    "scipy": "scipy",
    "mkl": "mkl",
    "triton": "triton",
}


@rule(
    "PY008",
    "wrong-python-interpreter",
    "warning",
    needs=("pythons.pip_prefix", "pythons.path_prefix"),
    sources=("https://packaging.python.org/en/latest/specifications/virtual-environments/",),
)
def pip_and_python_apart(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The python or the pip that PATH finds belongs to another installation than the active environment.

    Packages then go where the program does not look, which is the usual reason for "installed, but not found".

    Needed: python and pip of one environment; `python -m pip` is always of python's own.

    Check: `python -c "import sys; print(sys.prefix)"` beside `python -m pip --version` and `pip --version`.

    Compared with the environment that was asked about: silent for `--python`, and for a report. Where the environment
    has no pip of its own, as uv makes them, that PATH finds another pip is a note.
    """
    python = machine.python
    if python is None or python.selected_by not in ("VIRTUAL_ENV", "CONDA_PREFIX", "PATH"):
        return
    variable = python.selected_by
    if variable != "PATH" and python.path_prefix and not _same(python.prefix, python.path_prefix):
        yield found(
            say(
                "{variable} names {prefix}, but the python on PATH belongs to {path_prefix}",
                variable=variable,
                prefix=python.prefix,
                path_prefix=python.path_prefix,
            ),
            say(
                "What you start with `python` is not the environment that is active, so it does not see what is "
                "installed there."
            ),
            evidence=("pythons[0].prefix", "pythons[0].path_prefix", "pythons[0].selected_by"),
            fixes=(
                Fix(
                    summary=say("Activate the environment again, or start programs with its own Python."),
                    commands=((python.executable, "train.py"),),
                ),
            ),
        )
    elif python.pip_prefix and not _same(python.prefix, python.pip_prefix):
        bare = python.package("pip") is None
        yield found(
            say(
                "The pip on PATH belongs to {pip_prefix}, and the environment is {prefix}",
                pip_prefix=python.pip_prefix,
                prefix=python.prefix,
            ),
            say("`pip install` puts packages where this Python does not look.")
            + (" " + say("This environment has no pip of its own; uv installs into it.") if bare else ""),
            evidence=("pythons[0].prefix", "pythons[0].pip_prefix"),
            fixes=(
                Fix(
                    summary=say("Install through the environment's own Python (put your package in place of NAME)."),
                    commands=(pip_install(machine, "NAME"),),
                    effect="changes-env",
                ),
            ),
            severity="note" if bare else None,
        )


@rule(
    "PY009",
    "distribution-installed-twice",
    "error",
    needs=("pythons.packages",),
    sources=("https://packaging.python.org/en/latest/specifications/recording-installed-packages/", CONDA_AND_PIP),
)
def installed_twice(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The same package is installed twice, with two versions.

    An upgrade that was interrupted, or pip and conda in turns, left the metadata of two versions in one folder. Tools
    then report one version, and the files are of the other.

    Needed: one version of each package.

    Check: `python -m pip list` and `python -c "import NAME; print(NAME.__version__)"` agree.

    An error inside one folder, a warning where two folders of the environment hold different versions. Silent for
    folders outside the environment, which it covers on purpose, for Debian's dist-packages, and for the same version
    twice, as editable installs have it.
    """
    python = machine.python
    if python is None:
        return
    same, apart = _twice(python)
    for names, severity, where in (
        (same, None, say("in one folder")),
        (apart, "warning", say("in two folders of the environment")),
    ):
        if not names:
            continue
        shown = few([f"{name} ({listed(each)})" for name, each in names.items()])
        yield found(
            say_number(
                "{shown} is installed twice {where}",
                "{shown} are installed twice {where}",
                len(names),
                shown=shown,
                where=where,
            ),
            say("Tools report one of the versions, and the files may be of the other.")
            if severity is None
            else say(
                "The one in the folder that comes first is imported; the other one is updated or reported by chance."
            ),
            evidence=tuple(
                version_of(python, each) for each in python.packages if each.name in names and each.build is None
            ),
            fixes=tuple(_once(machine, name) for name in list(names)[:3]),
            severity="warning" if severity else None,
        )


@rule(
    "PY013",
    "conda-pip-mixed",
    "warning",
    certainty="likely",
    needs=("pythons.packages",),
    sources=(CONDA_AND_PIP,),
)
def conda_and_pip_own_the_same(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Conda and pip both installed the same compiled package, in different versions.

    Each tool takes the files for its own, and overwrites the other's. The next update of either breaks the package.

    Needed: one owner for each package; conda first and pip last, and then no conda again, in a fresh environment.

    Check: `conda list` shows the package once.

    Packages that only pip installed are the supported way and fine, and so is what conda's own installer recorded for
    pip to see. Only packages with compiled parts are judged (torch, numpy, mkl, CUDA libraries …).
    """
    python = machine.python
    if python is None:
        return
    recorded = {package.name: package for package in python.packages if package.build is not None}
    mixed = [
        (conda, pip)
        for conda in recorded.values()
        if (pip := _of_pip(python, conda)) is not None and public(pip.version) != public(conda.version)
    ]
    if not mixed:
        return
    shown = listed(
        say(
            "{name} ({version} by conda, {pip_version} by pip)",
            name=pip.name,
            version=conda.version,
            pip_version=pip.version,
        )
        for conda, pip in mixed[:3]
    )
    yield found(
        say("conda and pip both installed {shown}", shown=shown),
        say(
            "Each takes the files for its own and overwrites the other's, so what runs is what came last. conda asks "
            "to run pip last, and not to go back to conda afterwards."
        ),
        evidence=tuple(version_of(python, package) for pair in mixed for package in pair),
        fixes=(
            Fix(
                summary=say("Make a fresh environment: conda's packages first, then pip's."),
                commands=(("envdoctor", "provision"),),
            ),
        ),
    )


def _same(one: str, other: str) -> bool:
    """Compare prefixes; a pip that Debian users put into /usr/local serves the Python in /usr."""
    left, right = one.rstrip("/"), other.rstrip("/")
    return left == right or {left, right} == {"/usr", "/usr/local"}


def _twice(python: PythonEnv) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Give versions by name of what is there twice: in one folder, and in two folders of the environment."""
    same: dict[str, list[str]] = {}
    apart: dict[str, list[str]] = {}
    grouped: dict[str, list[Package]] = {}
    for package in python.packages:
        if package.build is None and package.location and "dist-packages" not in package.location:
            grouped.setdefault(package.name, []).append(package)
    for name, packages in grouped.items():
        if len(packages) < 2:
            continue
        folders: dict[str, list[str]] = {}
        for package in packages:
            folder = _folder(package)
            if folder.startswith(python.prefix.rstrip("/") + "/"):
                folders.setdefault(folder, []).append(package.version)
        crowded = next((versions for versions in folders.values() if len(set(versions)) > 1), None)
        if crowded:
            same[name] = sorted(set(crowded))
        elif len({version for versions in folders.values() for version in versions}) > 1:
            apart[name] = sorted({version for versions in folders.values() for version in versions})
    return same, apart


def _folder(package: Package) -> str:
    location = package.location or ""
    return location.rpartition("/")[0] if location.endswith((".dist-info", ".egg-info")) else location


def _once(machine: Snapshot, name: str) -> Fix:
    remove = pip_uninstall(machine, name)
    return Fix(
        summary=say("Take {name} out twice, then install it once.", name=name),
        commands=(remove, remove, pip_install(machine, name)),
        effect="changes-env",
    )


def _of_pip(python: PythonEnv, conda: Package) -> Package | None:
    """Give what pip installed over a package of conda's that is worth judging."""
    contested = _CONTESTED.get(conda.name) or (conda.name if conda.name.startswith(("nvidia-", "cuda-")) else None)
    if contested is None:
        return None
    return next(
        (p for p in python.packages if p.name == contested and p.build is None and p.installer not in (None, "conda")),
        None,
    )
