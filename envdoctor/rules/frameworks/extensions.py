"""Compiled packages made for one torch, one CUDA or one generation of GPUs: xformers, flash-attn and others."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Extension, PythonEnv, Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import at_least, compare, major, minor, numbers, order, readable, released
from envdoctor.rules.frameworks.companions import together
from envdoctor.rules.frameworks.installed import TORCH, by_conda, torch, unmet, version_of
from envdoctor.rules.python.reinstall import COMPANIONS, cards
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import pip_install, pip_uninstall, unset_variable
from envdoctor.rules.wording import listed

_FLASH = "https://github.com/Dao-AILab/flash-attention/blob/main/README.md"
_BNB = "https://huggingface.co/docs/bitsandbytes/main/en/installation"
_LOADER = "https://man7.org/linux/man-pages/man8/ld.so.8.html"
_TRITONS = ("triton", "pytorch-triton", "pytorch-triton-rocm", "triton-rocm", "pytorch-triton-xpu", "triton-xpu")


def extension(python: PythonEnv, name: str) -> tuple[int, Extension] | None:
    """Give an extension of the environment, with its place in the Snapshot."""
    return next(((i, each) for i, each in enumerate(python.extensions) if each.package == name), None)


@rule(
    "TORCH006",
    "companion-built-for-other-torch",
    "error",
    needs=("pythons.packages.xformers.requires", "pythons.frameworks.torch.version"),
    sources=("pkg:pypi/xformers", "https://github.com/vladmandic/sdnext/issues/3531"),
)
def xformers_for_other_torch(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The installed xformers was made for another PyTorch.

    Its kernels are linked against one torch release, which its metadata names. Installing it with plain pip often
    exchanges torch, and upgrading torch leaves it behind.

    Check: `python -m xformers.info`.
    Silent where it was built from source, which names no torch, and for nightlies.
    """
    python, framework = machine.python, torch(machine)
    package = python.package("xformers") if python else None
    if python is None or package is None or framework is None or not released(framework.version):
        return
    broken = next((each for each in unmet(machine, package, "torch") if each.name == "torch"), None)
    if broken is None or broken.have is None:
        return
    yield found(
        say(
            "xformers {version} needs PyTorch {wanted}, and {framework_version} is installed",
            version=package.version,
            wanted=broken.wanted.removeprefix("=="),
            framework_version=framework.version,
        ),
        say("Its compiled kernels were linked against that release; with another one they do not load, or fail."),
        evidence=(version_of(python, package), f"{TORCH}.version"),
        fixes=(
            Fix(
                summary=say(
                    "Take xformers out; PyTorch's own attention is about as fast. Where it is needed, install the "
                    "release whose metadata names your PyTorch, from the same index."
                ),
                commands=(pip_uninstall(machine, "xformers"),),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "TORCH007",
    "companion-built-for-other-torch",
    "error",
    needs=("pythons.extensions", "pythons.frameworks.torch.version", "pythons.frameworks.torch.cuda"),
    sources=(_FLASH, "https://packaging.python.org/en/latest/specifications/direct-url/"),
)
def flash_attention_for_other_torch(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A compiled extension was made for another PyTorch or another CUDA: flash-attn, mmcv, xformers and others.

    Their wheels are made for one torch, CUDA major version, C++ ABI and Python. After an upgrade of torch the import
    stops at an undefined symbol.

    Check: `python -c "import torch, flash_attn_2_cuda"` (the module of your extension).
    Each symbol of torch that the library asks for is looked up in the libraries of the installed torch; weak ones may
    stay away. Of flash-attn the wheel's name, as pip noted it, and the CUDA runtime that it needs tell too: a warning
    where the name is another torch's and all symbols are there. Silent where the package's metadata already tells
    (TORCH004 to TORCH006), and where the library may find a symbol in one that was not looked at.
    """
    yield from _lacking(machine, facts)
    python, framework = machine.python, torch(machine)
    one = extension(python, "flash-attn") if python else None
    package = python.package("flash-attn") if python else None
    if python is None or one is None or package is None or framework is None or not released(framework.version):
        return
    place, built = one
    if built.lacks:
        return
    made_for = _tagged_torch(built.tags)
    cuda = str(major(framework.cuda)) if framework.cuda and readable(framework.cuda) else None
    if made_for and minor(made_for) != minor(framework.version):
        reason, evidence = (
            say("PyTorch {made_for}, and {version} is installed", made_for=made_for, version=framework.version),
            f"{TORCH}.version",
        )
        fact = "tags"
    elif built.cudart and cuda and built.cudart != cuda:
        reason, evidence = (
            say("CUDA {cudart}, and PyTorch here has CUDA {cuda}", cudart=built.cudart, cuda=framework.cuda),
            f"{TORCH}.cuda",
        )
        fact = "cudart"
    else:
        return
    yield found(
        say("flash-attn {version} was made for {reason}", version=package.version, reason=reason),
        say("The import stops at an undefined symbol or a library that cannot be loaded."),
        evidence=(f"pythons[0].extensions[{place}].{fact}", evidence),
        fixes=(_made_again(machine, "flash-attn"),),
        severity="warning" if fact == "tags" and built.lacks == () else None,
        certainty="likely" if fact == "tags" and built.lacks == () else None,
    )


def _lacking(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Tell of the extensions that ask torch for something in vain."""
    python, framework = machine.python, torch(machine)
    for place, one in enumerate(python.extensions if python and framework else ()):
        package = python.package(one.package) if python else None
        if not one.lacks or package is None or framework is None or tuple(unmet(machine, package, "torch")):
            continue
        first = one.lacks[0]
        yield found(
            say(
                "{package} {version} was made for another PyTorch than {torch}, which is installed",
                package=one.package,
                version=package.version,
                torch=framework.version,
            ),
            say("It needs {library}, which this PyTorch does not have. The import stops there.", library=first)
            if ".so" in first
            else say("It asks torch for {symbol}, which is not there. The import stops at that symbol.", symbol=first),
            evidence=(
                f"pythons[0].extensions[{place}].library",
                f"pythons[0].extensions[{place}].lacks",
                f"{TORCH}.version",
            ),
            fixes=(
                # Those two have wheels for every torch, from the same index.
                together(machine, facts, framework) if one.package in COMPANIONS else _made_again(machine, one.package),
            ),
        )


def _made_again(machine: Snapshot, name: str) -> Fix:
    return Fix(
        summary=say(
            "Take it out and compile it for this PyTorch (it takes long and much memory), or install the release "
            "asset whose name carries your torch, CUDA and Python."
        ),
        commands=(
            pip_uninstall(machine, name),
            pip_install(machine, name, "--no-build-isolation", "--no-binary", name)
            if name != "flash-attn"
            else pip_install(machine, name, "--no-build-isolation"),
        ),
        effect="changes-env",
        page=_FLASH if name == "flash-attn" else None,
    )


def _tagged_torch(tags: str | None) -> str | None:
    """Read the torch that a wheel's name carries: flash_attn-2.8.3+cu12torch2.8cxx11abiTRUE-cp312-….whl."""
    tail = (tags or "").partition("torch")[2]
    end = next((at for at, letter in enumerate(tail) if letter not in "0123456789."), len(tail))
    version = tail[:end].strip(".")
    return version if readable(version) else None


@rule(
    "PY017",
    "libstdcxx-too-old",
    "error",
    needs=("pythons.extensions",),
    sources=("https://gcc.gnu.org/onlinedocs/libstdc++/manual/abi.html", _LOADER),
)
def cxx_library_older_than_extension(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A compiled extension needs a newer C++ library than the one it would be loaded with.

    Each symbol of libstdc++ carries the version in which it came, GLIBCXX_3.4.30 for GCC 12. An extension that was
    compiled with a newer GCC asks for such symbols, and the first libstdc++ that is loaded serves the whole process.

    Check: `strings LIBSTDCXX | grep GLIBCXX` for the copy that is named.
    The versions are read from both files. conda's own copy is taken where it exists, for its Python names that folder.
    """
    python = machine.python
    for place, one in enumerate(python.extensions if python else ()):
        wanted, there = one.glibcxx, one.libstdcxx_version
        if not (wanted and there and readable(wanted) and readable(there) and compare(wanted, there) > 0):
            continue
        at = f"pythons[0].extensions[{place}]"
        conda = python is not None and python.manager == "conda"
        yield found(
            say(
                "{package} needs GLIBCXX_{glibcxx}, and {libstdcxx} has {libstdcxx_version} at most",
                package=one.package,
                glibcxx=one.glibcxx,
                libstdcxx=one.libstdcxx,
                libstdcxx_version=one.libstdcxx_version,
            ),
            say("The import stops at: version `GLIBCXX_{glibcxx}' not found.", glibcxx=one.glibcxx),
            evidence=(f"{at}.glibcxx", f"{at}.libstdcxx_version", f"{at}.libstdcxx"),
            fixes=(
                Fix(
                    summary=say("Install a newer C++ library into the environment.")
                    if conda
                    else say(
                        "Compile the extension with the compiler of this system, or use a system with a newer GCC."
                    ),
                    commands=(("conda", "install", "-c", "conda-forge", "libstdcxx-ng>=13"),) if conda else (),
                    effect="changes-env",
                ),
            ),
        )


@rule(
    "TORCH008",
    "gpu-feature-unsupported",
    "error",
    needs=("pythons.packages.flash-attn.version", "gpus.capability"),
    sources=(_FLASH,),
)
def flash_attention_on_old_gpu(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The package flash-attn 2 is installed, and no GPU here is new enough for it.

    FlashAttention 2 for CUDA has kernels for compute capability 8.0 and newer (Ampere, Ada, Hopper, Blackwell). On
    Turing and Volta cards, such as T4 and V100, it stops when it is used.

    Needed: a card of compute capability 8.0 or newer; PyTorch's own attention works on all.
    Check: `nvidia-smi --query-gpu=name,compute_cap --format=csv`.
    Silent where one card is new enough, and for builds for AMD.
    """
    python, framework = machine.python, torch(machine)
    package = python.package("flash-attn") if python else None
    gpus = cards(machine, facts)
    if python is None or package is None or not gpus or (framework and framework.hip):
        return
    if order(package.version, "2.0") == -1 or any(at_least(each.capability, "8.0") for each in gpus):
        return
    yield found(
        say(
            "flash-attn {version} has no kernels for the {cards}",
            version=package.version,
            cards=listed(dict.fromkeys(each.name for each in gpus)),
        ),
        say("It needs compute capability 8.0 (Ampere) or newer, and stops when it is used on this card."),
        evidence=(version_of(python, package), *(each.evidence for each in gpus)),
        fixes=(
            Fix(
                summary=say('Take it out, and let models use PyTorch\'s own attention (attn_implementation="sdpa").'),
                commands=(pip_uninstall(machine, "flash-attn"),),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "TORCH009",
    "triton-differs-from-pin",
    "error",
    needs=("pythons.packages.torch.requires", "pythons.packages"),
    sources=("pkg:pypi/torch", "https://github.com/pytorch/pytorch/blob/main/RELEASE.md"),
)
def triton_differs_from_pin(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The installed Triton is not the one this PyTorch asks for.

    torch.compile writes code for one version of Triton. Another one gives import errors, or wrong kernels.

    Check: `python -m pip check`.
    Read from torch's own metadata, as far as its markers hold here. Silent for conda's torch, and on Windows and macOS,
    where torch asks for none. A missing Triton is a warning: only torch.compile needs it.
    """
    python = machine.python
    owner = next((p for p in python.packages if p.name == "torch" and p.build is None), None) if python else None
    if python is None or owner is None or by_conda(python, "torch"):
        return
    for each in unmet(machine, owner, "triton", "pytorch-triton"):
        if each.name not in _TRITONS:
            continue
        package = python.package(each.name)
        yield found(
            say(
                "PyTorch {version} asks for {name} {wanted}, and {have} is installed",
                version=owner.version,
                name=each.name,
                wanted=each.wanted.removeprefix("=="),
                have=each.have,
            )
            if each.have
            else say(
                "PyTorch {version} asks for {name} {wanted}, and it is not installed",
                version=owner.version,
                name=each.name,
                wanted=each.wanted.removeprefix("=="),
            ),
            say("torch.compile stops or writes wrong kernels with another Triton; plain PyTorch works."),
            evidence=(version_of(python, owner), *((version_of(python, package),) if package else ())),
            severity=None if each.have else "warning",
            fixes=(
                Fix(
                    summary=say("Install the Triton that this PyTorch asks for."),
                    commands=(pip_install(machine, each.requirement),),
                    effect="changes-env",
                ),
            ),
        )


@rule(
    "TORCH018",
    "bitsandbytes-without-cuda-build",
    "error",
    needs=("pythons.extensions", "pythons.frameworks.torch.cuda", "gpus.capability", "variables"),
    sources=(_BNB, "pkg:pypi/bitsandbytes"),
)
def bitsandbytes_has_no_build(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The package bitsandbytes brings no library for this PyTorch's CUDA.

    It carries one compiled library for each CUDA version it was built with and takes the one of torch's version. Where
    that is missing, only its code for the processor is loaded, and 4-bit models stop.

    Check: `python -m bitsandbytes`.
    Read from the files of the package. BNB_CUDA_VERSION overrides the choice, which is then judged instead. Silent
    where an older version of the same CUDA major is there, and for AMD, Intel and CPU builds.
    """
    python, framework = machine.python, torch(machine)
    one = extension(python, "bitsandbytes") if python else None
    package = python.package("bitsandbytes") if python else None
    if python is None or one is None or package is None or framework is None:
        return
    place, built = one
    override = machine.variable("BNB_CUDA_VERSION")
    wanted = _wanted_build(framework.cuda, override)
    if wanted is None or built.cuda_builds is None or not machine.nvidia_gpus or wanted in built.cuda_builds:
        return
    same = [each for each in built.cuda_builds if each[:-1] == wanted[:-1] and each < wanted]
    if same and not override:
        return
    names = listed(f"{each[:-1]}.{each[-1]}" for each in built.cuda_builds) or say("no CUDA version")
    unset = unset_variable(machine, "BNB_CUDA_VERSION")
    yield found(
        say(
            "bitsandbytes {version} has no library for CUDA {wanted}; it has them for {versions}",
            version=package.version,
            wanted=f"{wanted[:-1]}.{wanted[-1]}",
            versions=names,
        ),
        (
            say("BNB_CUDA_VERSION asks for that version.") + " "
            if override
            else say("It follows PyTorch's CUDA version.") + " "
        )
        + say("Only its code for the processor is loaded, and quantized models stop."),
        evidence=(
            f"pythons[0].extensions[{place}].cuda_builds",
            "variables.BNB_CUDA_VERSION" if override else f"{TORCH}.cuda",
        ),
        fixes=(
            Fix(summary=say("Let it follow PyTorch's CUDA."), commands=(unset,))
            if override
            else Fix(
                summary=say("Install the current release, which carries more CUDA versions."),
                commands=(pip_install(machine, "--upgrade", "bitsandbytes"),),
                effect="changes-env",
            ),
        ),
    )


def _wanted_build(cuda: str | None, override: str | None) -> str | None:
    if override:
        return override if override.isascii() and override.isdigit() and len(override) == 3 else None
    if not cuda or not readable(cuda):
        return None
    first, second, *_ = (*numbers(cuda), 0)
    return f"{first}{second}"
