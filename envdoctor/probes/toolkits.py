"""CUDA toolkits: every one that a build could pick up, each once, with all the ways that lead to it."""

from __future__ import annotations

import posixpath
import re
from functools import partial
from typing import Literal

import msgspec

from envdoctor.host import Host, names, text
from envdoctor.model.snapshot import Compiler, Snapshot, Toolkit
from envdoctor.model.speech import say
from envdoctor.model.version import minor
from envdoctor.probes import Place, Probe, commands, distributions
from envdoctor.probes.partial import Gaps

# Debian's compiler is in the last one and its headers in /usr/include.
_COMPILERS: tuple[Literal["gcc", "clang", "cc"], ...] = ("gcc", "clang", "cc")
FOLDERS = ("/opt/cuda", "/usr/lib/cuda", "/usr/lib/nvidia-cuda-toolkit")


def read(host: Host, place: Place | None) -> Snapshot:
    """Find the toolkits. Those whose nvcc is on PATH come first, in PATH's order: the first is what `nvcc` starts.

    A folder that cannot be looked into is a gap: whether a toolkit is there is then unknown.
    """
    gaps = Gaps("toolkits")
    found: dict[str, tuple[str | None, list[str]]] = {}
    for source in (_on_path, _in_variables, _in_usual_folders, _of_conda, _of_wheels):
        for folder, label in gaps.ask("toolkits", partial(source, host, place)) or ():
            known = gaps.ask("toolkits", partial(_identify, host, folder))
            labels = found.setdefault(known[0], (known[1], []))[1] if known else []
            if label not in labels:
                labels.append(label)
    toolkits = tuple(
        Toolkit(
            path=path,
            version=_version(host, path, nvcc, gaps),
            nvcc=nvcc,
            found_by=tuple(labels),
            gcc_limit=gaps.ask("toolkits.gcc_limit", partial(_gcc_limit, host, path)) if nvcc else None,
        )
        for path, (nvcc, labels) in found.items()
    )
    return Snapshot(
        toolkits=toolkits,
        compilers=gaps.ask("compilers", lambda: _compilers(host)),
        gaps=tuple(gaps.found),
        origins={"toolkits": say("files of the toolkit"), "compilers": "PATH"},
    )


PROBE = Probe("toolkits", ("toolkits", "compilers"), read)

_Candidates = list[tuple[str, str]]  # a folder, and what led to it


def _on_path(host: Host, place: Place | None) -> _Candidates:
    del place
    programs = [_program(host, nvcc) for nvcc in commands.found(host, "nvcc")]
    return [(posixpath.dirname(posixpath.dirname(nvcc)), "PATH") for nvcc in programs if nvcc]


def _in_variables(host: Host, place: Place | None) -> _Candidates:
    del place
    named = [(host.environ.get(variable, "").rstrip("/"), variable) for variable in ("CUDA_HOME", "CUDA_PATH")]
    return [(folder, variable) for folder, variable in named if folder.startswith("/")]


def _in_usual_folders(host: Host, place: Place | None) -> _Candidates:
    del place
    local = [f"/usr/local/{n}" for n in names(host, "/usr/local") if n == "cuda" or n.startswith("cuda-")]
    return [(folder, folder) for folder in (*local, *FOLDERS)]


def _of_conda(host: Host, place: Place | None) -> _Candidates:
    prefix = place.prefix if place and place.manager == "conda" else host.environ.get("CONDA_PREFIX", "")
    if prefix.startswith("/") and (host.executable(f"{prefix}/bin/nvcc") or _targets(host, prefix)):
        return [(prefix, "conda")]
    return []


def _of_wheels(host: Host, place: Place | None) -> _Candidates:
    # Wheels for TensorFlow and JAX carry ptxas without nvcc; the rest of nvidia/* are libraries, no toolkit.
    return [
        (f"{site_dir}/nvidia/{name}", "pip")
        for site_dir in (place.site_dirs if place else ())
        for name in names(host, f"{site_dir}/nvidia")
        if any(host.kind(f"{site_dir}/nvidia/{name}/bin/{tool}") == "file" for tool in ("nvcc", "ptxas"))
    ]


def _identify(host: Host, folder: str) -> tuple[str, str | None] | None:
    """Tell which toolkit a folder leads to, and its nvcc; None: there is none.

    `<folder>/bin/nvcc` may be a link, or a script that starts the nvcc of a toolkit: Debian has such a script in
    /usr/bin, and a machine's owner may. The toolkit is where the program really is.
    """
    nvcc = _program(host, f"{folder}/bin/nvcc")
    if nvcc:
        home = posixpath.dirname(posixpath.dirname(nvcc))
        return home, nvcc
    real = host.realpath(folder)
    if real in ("/", "/usr", "/usr/local") or host.kind(real) != "directory":
        return None  # CUDA_HOME=/usr is a habit on Debian; without its nvcc there is nothing of CUDA's to it
    marks = ("version.json", "version.txt", "include/cuda.h", "bin/ptxas")
    if any(host.kind(f"{real}/{mark}") for mark in marks) or _targets(host, real) or _runtime(host, real):
        return real, None
    return None


def _program(host: Host, path: str) -> str | None:
    """Follow links and wrapper scripts to the real nvcc; None: there is none, or it is another program (ccache)."""
    for _ in range(5):
        if not host.executable(path):
            return None
        path = host.realpath(path)
        if posixpath.basename(path) != "nvcc":
            return None
        script = wrapped(_head(host, path))
        if script is None:
            return path
        if not script:
            return None
        path = script
    return None


def wrapped(head: bytes) -> str | None:
    r"""Give the nvcc that a wrapper script starts; None: it is no script; empty: it does not say.

    >>> wrapped(b'#!/bin/sh\nexec /usr/lib/nvidia-cuda-toolkit/bin/nvcc "$@"')
    '/usr/lib/nvidia-cuda-toolkit/bin/nvcc'
    >>> wrapped(b'#!/bin/sh\nexec "$CUDA_HOME/bin/nvcc"')
    ''
    """
    if not head.startswith(b"#!"):
        return None
    called = [line for line in head.decode("utf-8", "replace").splitlines() if not line.lstrip().startswith("#")]
    match = re.search(r"(?<![\w$}])/[^\s\"'$]+/nvcc\b", "\n".join(called))
    return match.group() if match else ""


def _head(host: Host, path: str) -> bytes:
    try:
        return host.read(path, 4096)
    except OSError:  # may be run but not read: a program
        return b""


def _targets(host: Host, folder: str) -> str | None:
    """Give the include folder of conda's layout, and of NVIDIA's for cross-compilers."""
    for target in names(host, f"{folder}/targets"):
        if host.kind(f"{folder}/targets/{target}/include/cuda.h"):
            return f"{folder}/targets/{target}/include"
    return None


def _runtime(host: Host, folder: str) -> str | None:
    """Give the longest file name of libcudart in a toolkit's folder: libcudart.so.12.4.127."""
    libraries = [f"{folder}/lib64", f"{folder}/lib"]
    libraries += [f"{folder}/targets/{target}/lib" for target in names(host, f"{folder}/targets")]
    for library in libraries:
        there = [name for name in names(host, library) if name.startswith("libcudart.so.")]
        if there:
            return max(there, key=len)
    return None


def _version(host: Host, folder: str, nvcc: str | None, gaps: Gaps) -> str | None:
    """Read the version from the toolkit's files; only if none tells, ask its nvcc."""
    version = gaps.ask("toolkits.version", lambda: _written(host, folder))
    if version is None and nvcc:
        answer = gaps.ask("toolkits.version", lambda: host.run((nvcc, "--version"), timeout=host.patience))
        version = parse_nvcc(answer.stdout) if answer else None
    return version


def _written(host: Host, folder: str) -> str | None:
    headers = [f"{folder}/include/cuda.h"]
    targets = _targets(host, folder)
    headers += [f"{targets}/cuda.h"] if targets else []
    headers += ["/usr/include/cuda.h"] if folder in FOLDERS else []
    return (
        parse_json(text(host, f"{folder}/version.json") or "")
        or next(filter(None, (parse_header(_start(host, header)) for header in headers)), None)
        or parse_text(text(host, f"{folder}/version.txt", 4096) or "")
        or parse_runtime(_runtime(host, folder) or "")
        or _of_wheel(host, folder)
    )


def _of_wheel(host: Host, folder: str) -> str | None:
    """Give the CUDA version of nvidia-cuda-nvcc-cu12, which brings ptxas and no header that tells."""
    above, name = posixpath.split(folder)
    if posixpath.basename(above) != "nvidia" or name != "cuda_nvcc":
        return None
    entries = distributions.entries(host, posixpath.dirname(above))
    return next((minor(each.version) for each in entries if each.name.startswith("nvidia-cuda-nvcc-cu")), None)


def _start(host: Host, header: str) -> bytes:
    try:
        return host.read(header, 1 << 16)
    except FileNotFoundError:
        return b""


def _gcc_limit(host: Host, folder: str) -> int | None:
    targets = _targets(host, folder)
    for include in (f"{folder}/include", *((targets,) if targets else ()), "/usr/include"):
        if content := text(host, f"{include}/crt/host_config.h", 1 << 16):
            return parse_limit(content)
    return None


def parse_limit(header: str) -> int | None:
    """Read the newest major version of gcc that nvcc's header admits; None: it names none.

    >>> parse_limit("#if __GNUC__ > 13")
    13
    """
    found = re.search(r"^\s*#if __GNUC__ > (\d+)", header, re.M)
    return int(found.group(1)) if found else None


def _compilers(host: Host) -> tuple[Compiler, ...]:
    """Give the first gcc, clang and cc on PATH; the version as the file's name tells it: x86_64-linux-gnu-gcc-13."""
    found = []
    for name in _COMPILERS:
        path = next(commands.found(host, name), None)
        if path:
            version = posixpath.basename(host.realpath(path)).rpartition("-")[2]
            found.append(Compiler(name=name, path=path, version=int(version) if version.isdigit() else None))
    return tuple(found)


def parse_json(content: str) -> str | None:
    """Read version.json, which lists the toolkit and its parts.

    >>> parse_json('{"cuda": {"name": "CUDA SDK", "version": "12.4.1"}}')
    '12.4.1'
    """
    try:
        listed = msgspec.json.decode(content, type=dict[str, dict[str, object]])
    except msgspec.MsgspecError:
        return None
    version = listed.get("cuda", {}).get("version")
    return version if isinstance(version, str) and version[:1].isdigit() else None


def parse_header(content: bytes) -> str | None:
    """Read the version that cuda.h defines as 1000 * major + 10 * minor.

    >>> parse_header(b"#define CUDA_VERSION 12040")
    '12.4'
    """
    found = re.search(rb"#define\s+CUDA_VERSION\s+(\d+)", content)
    return f"{int(found.group(1)) // 1000}.{int(found.group(1)) % 1000 // 10}" if found else None


def parse_text(content: str) -> str | None:
    """Read version.txt, as toolkits before 11.1 have it.

    >>> parse_text("CUDA Version 10.2.89")
    '10.2.89'
    """
    words = content.split()
    return words[2] if words[:2] == ["CUDA", "Version"] and len(words) > 2 else None


def parse_runtime(name: str) -> str | None:
    """Read the version off the runtime library's full name; libcudart.so.11.0 is what every 11.x answers to.

    >>> parse_runtime("libcudart.so.12.4.127"), parse_runtime("libcudart.so.11.0")
    ('12.4', None)
    """
    parts = name.removeprefix("libcudart.so.").split(".")
    return ".".join(parts[:2]) if len(parts) > 2 and all(part.isdigit() for part in parts) else None


def parse_nvcc(output: str) -> str | None:
    """Read what `nvcc --version` prints.

    >>> parse_nvcc("Cuda compilation tools, release 12.4, V12.4.131")
    '12.4'
    """
    found = re.search(r"release (\d+\.\d+)", output)
    return found.group(1) if found else None
