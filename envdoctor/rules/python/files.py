"""The files of an environment: leftovers, lost lists, damage, and what stands in the way of an import."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Package, PythonEnv, Snapshot
from envdoctor.model.speech import say, say_number
from envdoctor.model.version import minor, readable
from envdoctor.rules.frameworks.installed import version_of
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import pip_install, pip_uninstall, set_variable, unset_variable
from envdoctor.rules.wording import few, listed

_RECORDS = "https://packaging.python.org/en/latest/specifications/recording-installed-packages/"
_PYTHON = "https://docs.python.org/3/using/cmdline.html#environment-variables"
_SENSITIVE = ("torch", "torchvision", "torchaudio", "numpy", "tensorflow", "jax", "jaxlib", "triton", "transformers")


def _owner(python: PythonEnv, path: str) -> Package | None:
    """Guess whose library a path is: the folder below the site folder names the distribution."""
    tail = next((path[len(d) + 1 :] for d in python.site_dirs if path.startswith(d + "/")), "")
    top = tail.partition("/")[0]
    return python.package(top) or (python.package("torch") if top in ("torch", "functorch") else None)


@rule(
    "PY010",
    "pip-leftovers",
    "warning",
    needs=("pythons.leftovers",),
    sources=("https://github.com/pypa/pip/blob/main/src/pip/_internal/metadata/base.py",),
)
def pip_left_folders(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """An interrupted pip left folders behind whose names begin with ~.

    pip renames a package before it replaces it. Where it is ended in between, or a file is in use, the old files stay
    and pip warns about an invalid distribution from then on.

    Check: `python -m pip list` prints no warning.
    """
    python = machine.python
    if python is None or not python.leftovers:
        return
    yield found(
        say("An interrupted pip left {leftovers} in the environment", leftovers=few(python.leftovers)),
        say("Python ignores them; they take room, and pip warns about them."),
        evidence=("pythons[0].leftovers",),
        fixes=(
            Fix(
                summary=say(
                    "Close programs that use this Python, then delete them in {site_dirs}.",
                    site_dirs=listed(python.site_dirs[:1]),
                ),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "PY011",
    "package-without-record",
    "warning",
    needs=("pythons.without_record",),
    sources=(_RECORDS, "https://github.com/pypa/pip/blob/main/src/pip/_internal/exceptions/uninstall.py"),
)
def record_is_missing(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A package cannot be upgraded or taken out by pip, because the list of its files is gone.

    RECORD lists what belongs to a package. Without it pip stops with "uninstall-no-record-file".

    Check: `python -m pip show --files` of the package lists them.
    Only packages that pip or uv installed are judged: conda and distributions keep lists of their own.
    """
    python = machine.python
    if python is None or not python.without_record:
        return
    first = python.package(python.without_record[0])
    again = (
        (pip_install(machine, "--ignore-installed", "--no-deps", f"{first.name}=={first.version}"),) if first else ()
    )
    yield found(
        say(
            "pip can neither upgrade nor take out {without_record}: the list of files is gone",
            without_record=listed(python.without_record[:3]),
        ),
        say("RECORD is missing in the package's metadata."),
        evidence=("pythons[0].without_record",),
        fixes=(
            Fix(summary=say("Install it over itself, which writes the list."), commands=again, effect="changes-env"),
        ),
    )


@rule(
    "PY012",
    "package-damaged",
    "error",
    needs=("pythons.damaged",),
    sources=(_RECORDS,),
)
def libraries_are_damaged(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Libraries of an installed framework are missing, or are not as long as they should be.

    A full disk or an interrupted installation leaves part of a package. Imports then stop with puzzling messages of the
    loader.

    Check: `python -m pip check`, and the import of the package.
    The large libraries of torch, TensorFlow, JAX and the CUDA wheels are compared with the list that came with them.
    """
    python = machine.python
    if python is None or not python.damaged:
        return
    owners = {each.name: each for path in python.damaged if (each := _owner(python, path))}
    again = tuple(f"{each.name}=={each.version}" for each in owners.values())
    names = [path.rpartition("/")[2] for path in python.damaged]
    yield found(
        say_number(
            "{number} library is missing or cut short: {names}",
            "{number} libraries are missing or cut short: {names}",
            len(names),
            names=few(names),
        ),
        say("The installation is incomplete, as after a full disk or an interrupted download."),
        evidence=("pythons[0].damaged",),
        fixes=(
            Fix(
                summary=say("Install the package again, without the cache."),
                commands=(pip_install(machine, "--force-reinstall", "--no-cache-dir", "--no-deps", *again),)
                if again
                else (),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "PY014",
    "wrong-python-interpreter",
    "warning",
    certainty="likely",
    needs=("pythons.packages", "pythons.site_dirs", "variables"),
    sources=(_PYTHON, "https://docs.conda.io/projects/conda/en/latest/user-guide/tasks/manage-environments.html"),
)
def user_packages_leak_in(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Packages from your home folder are found before those of the environment.

    What `pip install --user` put into ~/.local is searched first by Pythons that are no virtual environment, conda's
    among them. An installation from long ago then wins over today's.

    Check: `python -c "import torch; print(torch.__file__)"`.
    Only frameworks, NumPy and their like are judged, where both places have one, in different versions. Silent in
    virtual environments, and with PYTHONNOUSERSITE.
    """
    python = machine.python
    if python is None or python.manager == "venv" or machine.variable("PYTHONNOUSERSITE"):
        return
    mine = [each for each in python.packages if "/.local/lib/" in (each.location or "") and each.name in _SENSITIVE]
    pairs = [
        (each, other)
        for each in mine
        for other in python.packages
        if other.name == each.name
        and other.version != each.version
        and (other.location or "").startswith(python.prefix)
    ]
    if not pairs:
        return
    yield found(
        say(
            "{packages} in ~/.local hides {hidden_versions} of the environment",
            packages=listed(f"{a.name} {a.version}" for a, _ in pairs[:3]),
            hidden_versions=listed(b.version for _, b in pairs[:3]),
        ),
        say("What `pip install --user` once installed is found first."),
        evidence=tuple(version_of(python, each) for pair in pairs[:3] for each in pair),
        fixes=(
            Fix(
                summary=say("Leave ~/.local out in this shell; then take those packages out of it for good."),
                commands=(
                    set_variable(machine, "PYTHONNOUSERSITE", "1"),
                    pip_uninstall(machine, *dict.fromkeys(each.name for each, _ in pairs)),
                ),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "PY015",
    "pythonpath-redirects",
    "warning",
    certainty="likely",
    needs=("variables", "pythons.version", "pythons.packages"),
    sources=(_PYTHON,),
)
def variables_redirect_imports(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """PYTHONPATH or PYTHONHOME leads imports past the environment.

    Both count before the environment. Modules of another Python version are loaded then and fail.

    Check: `python -c "import sys; print(sys.path)"`.
    A PYTHONPATH is only reported where it names the packages of another Python version, or holds a framework of its
    own: ROS and many projects set a harmless one.
    """
    python = machine.python
    if machine.variable("PYTHONHOME"):
        yield found(
            say("PYTHONHOME={variable} moves Python's own modules elsewhere", variable=machine.variable("PYTHONHOME")),
            say("Every Python that is started here looks for its modules there, whatever environment is active."),
            evidence=("variables.PYTHONHOME",),
            severity="error",
            certainty="certain",
            fixes=(Fix(summary=say("Take it out."), commands=(unset_variable(machine, "PYTHONHOME"),)),),
        )
    path = machine.variable("PYTHONPATH")
    if not path or python is None or not python.version or not readable(python.version):
        return
    own = f"python{minor(python.version)}"
    folders = [each.rstrip("/") for each in path.split(":") if each.startswith("/")]
    foreign = [each for each in folders if "/python3." in each and f"/{own}/" not in each and "-packages" in each]
    inside = [each for each in python.packages if each.location in folders and each.name in _SENSITIVE]
    if not foreign and not inside:
        return
    yield found(
        say("PYTHONPATH names {foreign}, the packages of another Python version", foreign=foreign[0])
        if foreign
        else say(
            "PYTHONPATH brings {inside} from outside of the environment",
            inside=listed(f"{each.name} {each.version}" for each in inside[:3]),
        ),
        say("It counts before the environment, so its modules are loaded instead."),
        evidence=("variables.PYTHONPATH", "pythons[0].version"),
        severity="error" if foreign else None,
        certainty="certain" if foreign else None,
        fixes=(Fix(summary=say("Take it out."), commands=(unset_variable(machine, "PYTHONPATH"),)),),
    )


@rule(
    "PY016",
    "local-file-hides-module",
    "error",
    needs=("pythons.local_modules",),
    sources=("https://docs.python.org/3/library/sys_path_init.html", _PYTHON),
)
def local_file_hides_module(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A file in this folder has the name of an installed module and hides it.

    Python looks beside the script first, so a torch.py of your own is what `import torch` loads.

    Check: `python -c "import torch; print(torch.__file__)"` in the same folder.
    Silent in the source tree of a project, which has its own module there. Only the folder is judged in which envdoctor
    was started.
    """
    python = machine.python
    if python is None or not python.local_modules:
        return
    names = [path.rpartition("/")[2] for path in python.local_modules]
    module = names[0].removesuffix(".py")
    yield found(
        say_number(
            "{names} in this folder hides the installed module",
            "{names} in this folder hide the installed modules",
            len(names),
            names=listed(names),
        ),
        say("A program that is started here gets it from `import {module}`.", module=module),
        evidence=("pythons[0].local_modules",),
        fixes=(Fix(summary=say("Give the file another name, and delete the folder __pycache__ beside it.")),),
    )
