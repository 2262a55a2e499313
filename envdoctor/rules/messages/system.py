"""What the loader prints when the system is older than a binary, or a Windows DLL is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.told import old_processor, said

LOADER = "https://man7.org/linux/man-pages/man8/ld.so.8.html"


@rule(
    "MSG407",
    "glibc-too-old",
    "error",
    needs=("problems",),
    supersedes=("PY003",),
    sources=("https://peps.python.org/pep-0600/", LOADER),
)
def glibc(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The system's glibc is older than a binary needs.

    glibc is part of the operating system; a binary that was linked against a newer one does not start with it. pip
    avoids such wheels by their tag, manylinux_2_28 for glibc 2.28.

    Check: `ldd --version`.
    """
    line = said(
        machine,
        r"version [`'‘]?GLIBC_(\d\.\d+(?:\.\d+)?)['’]? not found",
        r"(?i)GLIBC_2\.\d+[^\n]{0,20}not found",
        r"(?i)requires?[^\n]{0,30}glibc ?(?:>=)? ?(\d\.\d+)[^\n]{0,40}",
    )
    if line is None and not said(machine, r"__cuda"):
        line = said(
            machine,
            r"(?i)__glibc ?>=? ?\d\.\d+[^\n]{0,80}",
            r"(?i)manylinux_2_(?:2[6-9]|3\d)\S*\.whl is not a supported wheel",
            r"(?i)__glibc\[version='>=\d\.\d+[^\n]{0,40}",
            r"(?i)You're on Linux \(`manylinux_2_\d+[^\n]{0,80}only has wheels[^\n]{0,60}manylinux_2_\d+",
            r"(?i)Error loading shared library ld-linux[^\n]{0,80}",
        )
    if line is None:
        return
    yield found(
        say("The glibc of this system is older than the program needs"),
        say("It cannot be updated apart from the operating system."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Use a newer release of the system, a container, or an older version of the package that was "
                    "built for this glibc."
                ),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "MSG408",
    "libstdcxx-too-old",
    "error",
    needs=("problems",),
    supersedes=("PY017",),
    sources=("https://gcc.gnu.org/onlinedocs/libstdc++/manual/abi.html", LOADER),
)
def libstdcxx(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The libstdc++ that is loaded lacks a version that a binary was built with.

    GLIBCXX and CXXABI versions belong to GCC's C++ library. conda brings a newer one than most systems; the older one
    is loaded where something names the system's folder first, or was loaded before.

    Check: `strings $CONDA_PREFIX/lib/libstdc++.so.6 | grep GLIBCXX`.
    """
    line = said(
        machine,
        r"(?i)version [`'‘]?(?:GLIBCXX|CXXABI)_[\d.]+['’]? not found",
        r"(?:GLIBCXX|CXXABI)_\d[\d.]+[^\n]{0,30}not found",
        r"libstdc\+\+\.so\.6: undefined symbol|undefined symbol: [^\n]{1,120} version (?:GLIBCXX|CXXABI)_",
    )
    if line is None:
        return
    yield found(
        say("The libstdc++ that is loaded is older than the program was built with"),
        say("The message names the copy that was loaded."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Let the environment's copy be loaded: install libstdcxx-ng from conda-forge and put "
                    "$CONDA_PREFIX/lib first, or drop an LD_LIBRARY_PATH that prefers the system's."
                ),
                commands=(("conda", "install", "-c", "conda-forge", "libstdcxx-ng"),),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "MSG409",
    "windows-dll-missing",
    "error",
    certainty="likely",
    needs=("problems",),
    sources=(
        "https://learn.microsoft.com/cpp/windows/latest-supported-vc-redist",
        "https://docs.pytorch.org/docs/stable/notes/windows.html",
    ),
)
def dll(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A DLL that the framework needs is missing on this Windows.

    Error 126 names the library that was asked for, though mostly one that it needs in turn is absent: the Visual C++
    runtime, Intel's OpenMP, or a library of CUDA.

    Check: the Visual C++ Redistributable 2015-2022 (x64) is among the installed programs.
    """
    line = said(
        machine,
        r"(?i)\[?WinError (?:126|127|1114|182)\]?[^\n]{0,200}",
        r"(?i)DLL load failed[^\n]{0,120}",
        r"(?i)Could not find module '[^'\n]{1,200}\.(?:dll|pyd)' \(or one of its dependencies\)",
        r"(?i)Could not find (?:the DLL\(s\) )?['\"](?:msvcp|vcruntime|concrt)[^\n]{0,80}",
        r"(?i)Visual C\+\+ Redistributable is not installed",
        (
            r"(?i)(?:msvcp140|vcruntime140|libomp140|fbgemm|asmjit|shm|c10|torch_\w+|caffe2\w*)"
            r"[\w.]{0,12}\.dll[^\n]{0,60}(?:missing|not found|could not|dependencies)"
        ),
        r"(?i)Error loading \"[^\n]{0,160}\.dll\" or one of its dependencies",
        r"(?i)LoadLibrary failed with error 126(?![^\n]{0,200}onnxruntime_providers_)",
    )
    if line is None or said(machine, r"(?i)WinError 1455|paging file|页面文件"):
        return
    if old_processor(machine) and re.search(r"(?i)initiali[sz]ation routine|1114", line.words[0]):
        return
    yield found(
        say("A Windows DLL that the framework needs is missing"),
        say("Mostly it is the Visual C++ runtime; the file that the message names is only the one that needed it."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Install the Visual C++ Redistributable 2015-2022 (x64), start a new shell, and try again."
                ),
                page="https://learn.microsoft.com/cpp/windows/latest-supported-vc-redist",
            ),
            Fix(summary=say("If it stays, reinstall the package, or another release of it."), effect="changes-env"),
        ),
    )
