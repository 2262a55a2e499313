"""Compiling with CUDA: where the variables lead, which compiler nvcc accepts, stubs where the driver should be."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import os_packages, unset_variable
from envdoctor.rules.wording import listed

_EXTENSION = "https://github.com/pytorch/pytorch/blob/main/torch/utils/cpp_extension.py"


@rule(
    "CUDA002",
    "several-cuda-on-path",
    "warning",
    needs=("variables", "toolkits"),
    sources=(
        _EXTENSION,
        "https://nvidia.github.io/cuda-python/pr-preview/pr-1519/cuda-bindings/latest/environment_variables.html",
    ),
)
def cuda_home_leads_nowhere(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """CUDA_HOME or CUDA_PATH names a folder that does not exist, or the two name different toolkits.

    Some tools ask the one variable first and some the other, so different values compile one project with two
    toolkits; a folder that is gone fails only when something is built.

    Needed, for compiling only: one toolkit, or neither variable.
    Check: `ls "$CUDA_HOME/bin/nvcc"`.
    Silent where both lead to one toolkit, also through links.
    """
    missing = [
        each for each in machine.variables if each.name in ("CUDA_HOME", "CUDA_PATH", "CUDA_ROOT") and each.missing
    ]
    for each in missing:
        yield found(
            say("{variable} names {folder}, and there is no such folder", variable=each.name, folder=each.value),
            say("Whatever compiles CUDA code looks there first and stops. Running models does not need it."),
            evidence=(f"variables.{each.name}",),
            fixes=(
                Fix(
                    summary=say(
                        "Take the variable out, here and in your shell's start files, or let it name a toolkit."
                    ),
                    commands=(unset_variable(machine, each.name),),
                ),
            ),
        )
    ways = {
        way: [i for i, kit in enumerate(machine.toolkits) if way in kit.found_by] for way in ("CUDA_HOME", "CUDA_PATH")
    }
    if missing or not all(ways.values()) or ways["CUDA_HOME"] == ways["CUDA_PATH"]:
        return
    home, path = ways["CUDA_HOME"][0], ways["CUDA_PATH"][0]
    yield found(
        say(
            "CUDA_HOME leads to {path}, CUDA_PATH to {toolkits_path}",
            path=machine.toolkits[home].path,
            toolkits_path=machine.toolkits[path].path,
        ),
        say("PyTorch asks CUDA_HOME first and other tools CUDA_PATH, so one build may use both."),
        evidence=tuple(f"toolkits[{place}].{field}" for place in (home, path) for field in ("path", "found_by")),
        fixes=(Fix(summary=say("Keep one of them."), commands=(unset_variable(machine, "CUDA_PATH"),)),),
    )


@rule(
    "CUDA004",
    "host-compiler-too-new",
    "note",
    needs=("toolkits.gcc_limit", "compilers", "variables", "pythons.packages"),
    sources=(_EXTENSION, "https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/index.html"),
)
def compiler_too_new_for_nvcc(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The C compiler gcc is newer than this CUDA toolkit's nvcc accepts.

    nvcc refuses compilers that it was not tested with; new distributions are ahead of older toolkits.

    Needed, for compiling only: a gcc that the toolkit's header crt/host_config.h admits, which is read here.
    Check: `nvcc -c` of any file ends without "unsupported GNU version".
    A note, unless packages are installed that compile CUDA code when they are used: then a warning. Silent where
    NVCC_CCBIN, CUDAHOSTCXX or CC choose the compiler, in conda environments with compilers of their own, and where the
    file's name does not tell gcc's version.
    """
    kit = next(((i, each) for i, each in enumerate(machine.toolkits) if each.nvcc and each.gcc_limit), None)
    gcc = next(
        ((i, each) for i, each in enumerate(machine.compilers or ()) if each.name == "gcc" and each.version), None
    )
    if kit is None or gcc is None or any(machine.variable(name) for name in ("NVCC_CCBIN", "CUDAHOSTCXX", "CC", "CXX")):
        return
    limit, version = kit[1].gcc_limit or 0, gcc[1].version or 0
    if version <= limit:
        return
    python = machine.python
    compiling = [name for name in ("deepspeed", "apex", "tinycudann") if python and python.package(name)]
    install = (f"gcc-{limit}", f"g++-{limit}")
    yield found(
        say(
            "nvcc of CUDA {cuda} accepts gcc up to {limit}, and gcc here is {gcc}",
            cuda=kit[1].version or say("(version unknown)"),
            limit=limit,
            gcc=version,
        ),
        say("{compiling} compiles CUDA code when it is used, and nvcc will refuse.", compiling=listed(compiling))
        if compiling
        else say("This matters only when CUDA code is compiled."),
        evidence=(f"toolkits[{kit[0]}].gcc_limit", f"compilers[{gcc[0]}].version"),
        severity="warning" if compiling else None,
        fixes=(
            Fix(
                summary=say("To compile: install gcc {limit} beside the one here and let nvcc use it.", limit=limit),
                commands=(
                    *os_packages(machine, {"ubuntu": install, "debian": install}),
                    ("export", f"NVCC_CCBIN=g++-{limit}"),
                ),
                effect="needs-root",
            ),
        ),
    )


@rule(
    "CUDA005",
    "cuda-stub-loaded",
    "error",
    needs=("driver.libcuda_path", "variables"),
    supersedes=("DRV018",),
    sources=("https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html",),
)
def stub_is_loaded(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Programs load CUDA's stub library instead of the driver's libcuda.

    Toolkits bring an empty libcuda in a folder called stubs, to link programs on machines without a driver. A program
    that loads it stops with error 34, "CUDA driver is a stub library".

    Needed: no stubs folder in LD_LIBRARY_PATH or the loader's cache.
    Check: `ldconfig -p` and LD_LIBRARY_PATH name no folder that ends in stubs.
    Silent about stubs that hold libcuda.so only, without .1, which programs do not load.
    """
    driver = machine.driver
    if driver is None or driver.libcuda_path is None or "/stubs/" not in driver.libcuda_path:
        return
    folder = driver.libcuda_path.rpartition("/")[0]
    path = machine.variable("LD_LIBRARY_PATH")
    kept = [each for each in (path or "").split(":") if each and "/stubs" not in each]
    by_variable = path is not None and "/stubs" in path
    yield found(
        say("Programs load the stub {libcuda_path} instead of the driver's library", libcuda_path=driver.libcuda_path),
        say("It exists for linking and does nothing: CUDA stops with error 34."),
        evidence=("driver.libcuda_path", *(("variables.LD_LIBRARY_PATH",) if by_variable else ())),
        fixes=(
            Fix(
                summary=say("Take {folder} out of LD_LIBRARY_PATH.", folder=folder),
                commands=(("export", f"LD_LIBRARY_PATH={':'.join(kept)}"),),
            )
            if by_variable
            else Fix(
                summary=say("Take {folder} out of /etc/ld.so.conf.d and rebuild the loader's cache.", folder=folder),
                commands=(("sudo", "ldconfig"),),
                effect="needs-root",
            ),
        ),
    )
