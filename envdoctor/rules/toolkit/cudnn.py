"""cuDNN and the other CUDA libraries: which copy is loaded, and how many majors share an environment."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Library, PythonEnv, Snapshot
from envdoctor.model.speech import message, say
from envdoctor.model.version import major, minor, order, readable
from envdoctor.rules.frameworks.installed import pins, version_of
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import pip_install, pip_uninstall, unset_variable
from envdoctor.rules.wording import listed

_CALLED = {
    "cudnn": "cuDNN",
    "nccl": "NCCL",
    "cudart": message("CUDA runtime"),
    "cublas": "cuBLAS",
    "nvjitlink": "nvJitLink",
}
# Wheels of both majors unpack these into the same folder, nvidia/cudnn/lib and its like.
_SHARED = ("nvidia-cudnn", "nvidia-nccl", "nvidia-nvshmem")
# CUDA 13 dropped the suffix from most names; their own versions do not all follow CUDA's.
_UNSUFFIXED = (
    "nvidia-cublas",
    "nvidia-cuda-cupti",
    "nvidia-cuda-nvrtc",
    "nvidia-cuda-runtime",
    "nvidia-cufft",
    "nvidia-curand",
    "nvidia-cusolver",
    "nvidia-cusparse",
    "nvidia-nvjitlink",
    "nvidia-nvtx",
)


@rule(
    "CUDNN001",
    "cuda-libraries-shadowed",
    "warning",
    certainty="likely",
    needs=("libraries",),
    sources=(
        "https://github.com/pytorch/pytorch/issues/119989",
        "https://github.com/pytorch/pytorch/issues/138460",
        "https://docs.jax.dev/en/latest/installation.html",
        "https://man7.org/linux/man-pages/man8/ld.so.8.html",
    ),
)
def library_shadowed(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Another copy of a CUDA library is loaded instead of the one the framework brought.

    LD_LIBRARY_PATH is searched before the RUNPATH that most libraries carry, so a system toolkit in it can stand in for
    the copies that pip installed. With another version the first convolution or matrix product fails, or the import
    says that cuDNN is incompatible.

    Needed: the framework's own copy, or one of the same version.

    Check: `LD_DEBUG=libs python -c "import torch" 2>&1 | grep libcudnn`.

    A folder in LD_LIBRARY_PATH is no fault by itself: current torch carries DT_RPATH, which comes first. Only a copy
    that the simulated loader would really take is reported, and only where its version differs. An error where cuDNN is
    older than the one that a framework pins, and so was built with: torch and TensorFlow refuse an older minor version.
    Other differences mostly work.
    """
    told = set()
    for place, library in enumerate(machine.libraries):
        copy = next((i for i, each in enumerate(machine.libraries) if each.path == library.shadows), None)
        if library.shadows is None or copy is None or library.name in told:
            continue
        if not _differ(library, machine.libraries[copy]):
            continue
        told.add(library.name)
        yield _shadow(machine, place, copy)


@rule(
    "CUDNN003",
    "cuda-wheels-of-two-majors",
    "warning",
    needs=("pythons.packages",),
    sources=(
        "pkg:pypi/torch",
        "pkg:pypi/tensorflow",
        "pkg:pypi/jax-cuda13-plugin",
        "https://github.com/pytorch/pytorch/blob/main/torch/__init__.py",
    ),
)
def wheels_of_two_majors(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """CUDA libraries of two major versions are installed side by side as wheels.

    They are left over from an older framework build, or two frameworks ask for different ones. Most have folders of
    their own; cuDNN, NCCL and NVSHMEM of both majors unpack into the same folder, and the one installed last wins.

    Needed: one CUDA major per environment.

    Check: `python -m pip list` shows no `-cu12` beside `-cu13`.

    A warning where both majors of a shared library are there (which of them won is not told by their names), and where
    nothing asks for the extra major; a note where two frameworks need one each. nvidia-ml-py, nvidia-cutlass-dsl and
    the like are no CUDA libraries.
    """
    python = machine.python
    by_major = _majors(python) if python else {}
    if python is None or len(by_major) < 2:
        return
    clashing = tuple(
        name for name in _SHARED if sum(any(_stem(each) == name for each in there) for there in by_major.values()) > 1
    )
    # A report may list packages without what they ask for: then nobody can be called the owner of nothing.
    known = any(package.requires for package in python.packages)
    unowned = {
        cuda: there for cuda, there in by_major.items() if known and not any(_owned(python, each) for each in there)
    }
    extra = min(unowned or by_major)
    there = by_major[extra]
    evidence = tuple(
        version_of(python, package)
        for names in by_major.values()
        for each in _first(names, clashing)
        if (package := python.package(each))
    )
    majors = listed(sorted(by_major))
    remove = Fix(
        summary=say(
            "Take out the {count} wheels for CUDA {extra}, and put back what the other major shares with it.",
            count=len(there),
            extra=extra,
        ),
        commands=(pip_uninstall(machine, *there), *_put_back(machine, python, by_major, extra)),
        effect="changes-env",
    )
    apart = Fix(summary=say("Give each framework an environment of its own."), commands=(("envdoctor", "provision"),))
    if clashing:
        yield found(
            say(
                "CUDA libraries for CUDA {majors} share this environment, and both bring {libraries}",
                majors=majors,
                libraries=listed(each.removeprefix("nvidia-") for each in clashing),
            ),
            say("Both majors unpack these into the same folder, so the one installed last is the one that is loaded."),
            evidence=evidence,
            fixes=(remove,) if extra in unowned else (apart,),
            certainty="likely",
        )
    elif unowned:
        yield found(
            say(
                "CUDA libraries for CUDA {majors} share this environment, and nothing asks for those of CUDA {extra}",
                majors=majors,
                extra=extra,
            ),
            say("They are left over from an older build, take gigabytes, and can be loaded by mistake."),
            evidence=evidence,
            fixes=(remove,),
        )
    else:
        yield found(
            say("CUDA libraries for CUDA {majors} share this environment", majors=majors),
            say("Different packages here ask for each of them. They lie in different folders, and this works."),
            evidence=evidence,
            severity="note",
        )


def _differ(loaded: Library, own: Library) -> bool:
    """Tell whether two copies are known to be of different minor versions."""
    if not readable(loaded.version) or not readable(own.version):
        return False
    assert loaded.version and own.version
    return minor(loaded.version) != minor(own.version)


def _refused(machine: Snapshot, loaded: Library, own: Library) -> bool:
    """Tell whether a framework stops at the cuDNN that is loaded: it is older than the one that it pins."""
    if loaded.name != "cudnn" or order(loaded.version or "", own.version or "") != -1 or machine.python is None:
        return False
    pins = (text.partition(";")[0] for package in machine.python.packages for text in package.requires)
    pinned = (text.partition("==")[2].strip(" )") for text in pins if text.startswith("nvidia-cudnn-cu"))
    return any(readable(each) and minor(each) == minor(own.version or "") for each in pinned)


def _shadow(machine: Snapshot, place: int, copy: int) -> Found:
    loaded, own = machine.libraries[place], machine.libraries[copy]
    refused = _refused(machine, loaded, own)
    name = say(_CALLED[loaded.name]) if loaded.name in _CALLED else loaded.path.rpartition("/")[2]
    folder = loaded.path.rpartition("/")[0]
    path = machine.variable("LD_LIBRARY_PATH")
    by_variable = path is not None and folder in [each.rstrip("/") for each in path.split(":")]
    python = machine.python.executable if machine.python else "python"
    fixes: tuple[Fix, ...] = ()
    if by_variable:
        fixes = (
            Fix(
                summary=say(
                    "Start your program without the variable. If that helps, delete its export from your shell's "
                    "start files."
                ),
                commands=(("env", "-u", "LD_LIBRARY_PATH", python, "train.py"),),
            ),
            Fix(summary=say("Or take it out of this shell."), commands=(unset_variable(machine, "LD_LIBRARY_PATH"),)),
        )
    return found(
        say(
            "{name} {version} in {folder} is loaded instead of the {own_version} that the framework brought",
            name=name,
            version=loaded.version,
            folder=folder,
            own_version=own.version,
        ),
        (
            say("LD_LIBRARY_PATH names that folder, and it is searched before the framework's own copy.") + " "
            if by_variable
            else ""
        )
        + (
            say("The framework was built with a newer one, and stops at this one.")
            if refused
            else say("It mostly works where the difference is small, and fails at the first operation otherwise.")
        ),
        evidence=(
            f"libraries[{place}].path",
            f"libraries[{place}].version",
            f"libraries[{copy}].path",
            f"libraries[{copy}].version",
            *(("variables.LD_LIBRARY_PATH",) if by_variable else ()),
        ),
        fixes=fixes,
        severity="error" if refused else None,
        certainty="certain" if refused else None,
        slug="cudnn-shadowed" if loaded.name == "cudnn" else None,
    )


def _majors(python: PythonEnv) -> dict[str, tuple[str, ...]]:
    """Group the CUDA wheels by CUDA major; names without a suffix follow nvidia-cuda-runtime's version."""
    runtime = python.package("nvidia-cuda-runtime")
    plain = str(major(runtime.version)) if runtime and readable(runtime.version) else None
    grouped: dict[str, list[str]] = {}
    for package in python.packages:
        _, suffixed, digits = package.name.rpartition("-cu")
        cuda = digits if suffixed and digits.isdigit() and package.name.startswith("nvidia-") else None
        if package.name in _UNSUFFIXED:
            cuda = plain
        if cuda and package.build is None:
            grouped.setdefault(cuda, []).append(package.name)
    return {cuda: tuple(dict.fromkeys(names)) for cuda, names in grouped.items()}


def _stem(name: str) -> str:
    return name.rpartition("-cu")[0] if name.rpartition("-cu")[2].isdigit() else name


def _owned(python: PythonEnv, name: str) -> bool:
    """Tell whether a package from outside the CUDA wheels asks for this one, extras counted as asked for."""
    return any(
        pins(owner, name) for owner in python.packages if not owner.name.startswith(("nvidia-", "cuda-toolkit"))
    ) or any(pins(owner, name) for owner in python.packages if owner.name == "cuda-toolkit" and _owned_toolkit(python))


def _owned_toolkit(python: PythonEnv) -> bool:
    return any(pins(owner, "cuda-toolkit") for owner in python.packages)


def _first(names: tuple[str, ...], clashing: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(each for each in names if _stem(each) in clashing) or names[:1]


def _put_back(
    machine: Snapshot, python: PythonEnv, by_major: dict[str, tuple[str, ...]], extra: str
) -> tuple[tuple[str, ...], ...]:
    """Install again what lay in a shared folder: taking one major out took the other's files with it."""
    gone = {_stem(each) for each in by_major[extra]}
    again = [
        f"{each}=={package.version}"
        for cuda, names in by_major.items()
        for each in names
        if cuda != extra and _stem(each) in gone and _stem(each) in _SHARED and (package := python.package(each))
    ]
    return (pip_install(machine, "--force-reinstall", "--no-deps", *again),) if again else ()
