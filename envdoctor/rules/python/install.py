"""The Python itself: its C library, its environment, its pip."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import minor, order, readable
from envdoctor.rules.frameworks.installed import version_of
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import plain
from envdoctor.rules.wording import listed

_TAGS = "https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/"


@rule(
    "PY004",
    "glibc-too-old",
    "error",
    needs=("pythons.libc", "system.container"),
    sources=(_TAGS, "pkg:pypi/torch"),
)
def musl_has_no_wheels(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """This Python runs with the C library musl, for which no framework publishes wheels.

    torch, jaxlib and TensorFlow are built for glibc. On Alpine, pip finds nothing for them, or only sources.

    Needed: a system with glibc (Debian, Ubuntu, Fedora …).
    Check: `ldd --version` names the C library.
    Judged by the interpreter that is used, not by the system: glibc beside musl is fine. A compatibility shim does not
    make wheels for glibc work.
    """
    python, system = machine.python, machine.system
    if python is None or python.libc != "musl":
        return
    inside = system is not None and system.container is not None
    version = minor(python.version) if python.version and readable(python.version) else "3.12"
    yield found(
        say("No framework publishes wheels for musl, which this Python runs with"),
        say("torch, jaxlib and TensorFlow exist for glibc only, so pip finds nothing for them here."),
        evidence=("pythons[0].libc", "pythons[0].executable"),
        fixes=(
            Fix(
                summary=say(
                    "Build the image from python:{version}-slim (Debian) instead of an Alpine one.", version=version
                )
                if inside
                else say("Use a container or a distribution with glibc."),
                where="host" if inside else "here",
            ),
        ),
    )


@rule(
    "PY006",
    "python-externally-managed",
    "note",
    needs=("pythons.externally_managed", "system.container", "variables"),
    sources=("https://packaging.python.org/en/latest/specifications/externally-managed-environments/",),
)
def system_python_is_managed(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """No environment is active, and the system's Python does not take packages from pip.

    The distribution protects the Python that its own tools use, and pip refuses to install into it. A virtual
    environment is the place for packages of your own.

    Check: `python3 -c "import sys; print(sys.prefix != sys.base_prefix)"` prints True inside an environment.
    Silent inside environments, where a framework is installed already, in containers, and where
    PIP_BREAK_SYSTEM_PACKAGES is set.
    """
    python, system = machine.python, machine.system
    if python is None or not python.externally_managed or python.frameworks or (system and system.container):
        return
    if machine.variable("PIP_BREAK_SYSTEM_PACKAGES"):
        return
    yield found(
        say("pip does not install into {prefix}, the Python of this system", prefix=python.prefix),
        say("The distribution keeps it for its own tools. Packages of your own go into an environment."),
        evidence=("pythons[0].externally_managed", "pythons[0].prefix"),
        fixes=(
            Fix(
                summary=say("Make an environment and activate it."),
                commands=(("python3", "-m", "venv", ".venv"), (".", ".venv/bin/activate")),
            ),
        ),
    )


@rule(
    "PY007",
    "virtual-environment-broken",
    "error",
    needs=("pythons.home_missing",),
    supersedes=("PY008", "TORCH013"),
    sources=("https://packaging.python.org/en/latest/specifications/virtual-environments/",),
)
def environment_lost_its_python(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The Python that this virtual environment was made from is gone.

    An environment only points at its Python. After an upgrade of the system or of pyenv, or after the folder was moved
    to another machine, the pointer leads nowhere.

    Check: `bin/python --version` in the environment's folder.
    Silent where the Python is there, wherever pyvenv.cfg says it was.
    """
    python = machine.python
    if python is None or not python.home_missing:
        return
    version = minor(python.version) if python.version and readable(python.version) else None
    again = ("uv", "venv", "--clear", *(("--python", version) if version else ()), python.prefix)
    yield found(
        say(
            "The environment {prefix} was made from the Python in {home_missing}, which is gone",
            prefix=python.prefix,
            home_missing=python.home_missing,
        ),
        say(
            "Its packages are there, and nothing can start them. An environment is quickly made anew; keep a list of "
            "what it holds."
        ),
        evidence=("pythons[0].home_missing", "pythons[0].prefix"),
        fixes=(
            Fix(
                summary=say("Make the environment anew, then install its packages again."),
                commands=(again,) if plain(python.prefix.replace("/", "")) else (),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "PY018",
    "pip-too-old",
    "error",
    needs=("pythons.packages.pip.version", "system.os"),
    sources=(_TAGS,),
)
def pip_is_too_old(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """This pip is too old to see current wheels.

    The names of wheels say which systems they are for, in a form that grew: pip before 19.3 does not know
    manylinux2014, and before 20.3 not manylinux_2_28. It then takes ancient releases, or sources.

    Needed: pip 20.3 or newer.
    Check: `python -m pip --version`.
    """
    python = machine.python
    pip = next((p for p in python.packages if p.name == "pip" and p.build is None), None) if python else None
    if python is None or pip is None or not readable(pip.version) or order(pip.version, "20.3") != -1:
        return
    yield found(
        say("pip {version} does not see current wheels: it takes 20.3 or newer", version=pip.version),
        say("It does not understand their names, and takes old releases or sources instead."),
        evidence=(version_of(python, pip),),
        fixes=(
            Fix(
                summary=say("Upgrade pip."),
                commands=((python.executable, "-m", "pip", "install", "--upgrade", "pip"),),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "PY020",
    "python-free-threaded",
    "note",
    needs=("pythons.free_threaded", "pythons.packages"),
    sources=("https://github.com/pytorch/pytorch/blob/main/RELEASE.md", _TAGS),
)
def python_without_global_lock(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """This Python is a free-threaded build, for which many packages have no wheels.

    Builds without the global lock (3.13t, 3.14t) need wheels of their own. PyTorch has them and calls them
    experimental; many extension packages have none.

    Check: `python -c "import sys; print(sys._is_gil_enabled())"`.
    """
    python = machine.python
    if python is None or not python.free_threaded:
        return
    version = minor(python.version) if python.version and readable(python.version) else "3.13"
    yield found(
        say("This Python {version} is a free-threaded build", version=version),
        say("It needs wheels of its own, which many packages do not have.")
        + (
            " " + say("Installed here: {frameworks}.", frameworks=listed(each.name for each in python.frameworks))
            if python.frameworks
            else ""
        ),
        evidence=("pythons[0].free_threaded", "pythons[0].executable"),
        fixes=(
            Fix(
                summary=say("If something cannot be installed: make an environment with the normal build."),
                commands=(("uv", "venv", "--python", version),),
            ),
        ),
    )
