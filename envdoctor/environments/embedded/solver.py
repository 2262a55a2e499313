"""A command in the shape of conda over py-rattler: what conda-lock asks a solver for, and no more.

conda-lock starts it by path and reads JSON from it (conda_solver.py and invoke_conda.py of pkg:pypi/conda-lock@4.0.3):
`create --dry-run --json` solves, `list` and `install --dry-run` serve `--update`, `create --file` installs an explicit
list (by installer.py beside this) and `run` starts pip in it. It runs in an interpreter that has py-rattler and PyYAML,
and imports nothing of envdoctor.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rattler import GenericVirtualPackage, RepoDataRecord

# conda-lock reads the words after the first as a version, and asks newer ones for newer options.
VERSION = "conda 24.1.0"
_PUBLIC = "https://conda.anaconda.org"
_ARCHIVES = (".conda", ".tar.bz2")
# What a platform has where nobody says otherwise; conda's own names of the variables are CONDA_OVERRIDE_*.
_FLOORS = {
    "linux": {"__unix": "0", "__linux": "5.10", "__glibc": "2.28"},
    "osx": {"__unix": "0", "__osx": "11.0"},
    "win": {"__win": "0"},
}


class Refused(Exception):
    """It cannot be done; `kind` is the name conda gives to such an error."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def settings() -> dict[str, Any]:
    """Read what a person's conda configuration says of where channels are; later files win, variables last."""
    import yaml

    read: dict[str, Any] = {"channel_alias": _PUBLIC, "custom_channels": {}}
    home = os.path.expanduser("~")
    for path in (
        "/etc/conda/.condarc",
        os.path.join(home, ".conda", ".condarc"),
        os.path.join(home, ".condarc"),
        os.environ.get("CONDARC", ""),
    ):
        try:
            with open(path, encoding="utf-8") as file:
                content = yaml.safe_load(file)
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue
        for key, kind in (("channel_alias", str), ("custom_channels", dict)):
            if isinstance(content, dict) and isinstance(content.get(key), kind):
                read[key] = content[key]
    read["channel_alias"] = os.environ.get("CONDA_CHANNEL_ALIAS") or read["channel_alias"]
    return read


def channel_url(name: str, known: dict[str, Any]) -> str:
    """Give the address of a channel as conda would, by its configuration."""
    if "://" in name:
        return name
    base = known["custom_channels"].get(name)
    return f"{str(base or known['channel_alias']).rstrip('/')}/{name}"


def virtual_packages(subdir: str) -> list[GenericVirtualPackage]:
    """Give what the target has besides packages: its driver's CUDA, its C library, its kernel, its processor."""
    from rattler import BuildString, GenericVirtualPackage, PackageName, Version

    found = dict(_FLOORS.get(subdir.partition("-")[0], {}))
    for name in ("cuda", "glibc", "linux", "osx", "win"):
        value = os.environ.get(f"CONDA_OVERRIDE_{name.upper()}")
        applies = name == "cuda" or f"__{name}" in found
        if value and applies:
            found[f"__{name}"] = value
    made = [GenericVirtualPackage(PackageName(n), Version(v), BuildString("0")) for n, v in found.items()]
    architecture = os.environ.get("CONDA_OVERRIDE_ARCHSPEC")
    if architecture:
        made.append(GenericVirtualPackage(PackageName("__archspec"), Version("1"), BuildString(architecture)))
    return made


def installed(prefix: str | None) -> list[dict[str, Any]]:
    """Read the records of what a prefix holds; empty where there is none."""
    folder = os.path.join(prefix or "", "conda-meta")
    if not prefix or not os.path.isdir(folder):
        return []
    records = []
    for name in sorted(os.listdir(folder)):
        if name.endswith(".json"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                records.append(json.load(file))
    return records


def solve(asked: argparse.Namespace, subdir: str) -> dict[str, Any]:
    """Answer `create` or `install --dry-run --json`: what would be fetched and linked, each with its hash.

    What is installed and was not asked for keeps its version and its build: without the build an update of one package
    moved pytorch from CUDA to the CPU.

    Raises:
        Refused: no set of packages satisfies the request, or a channel cannot be read.
    """
    from rattler import MatchSpec, Subdir
    from rattler import solve as rattler_solve
    from rattler.exceptions import SolverError

    known = settings()
    channels = [channel_url(name, known) for name in asked.channel]
    present = installed(asked.prefix)
    try:
        specs = [MatchSpec(text, strict=False) for text in asked.words]
        named = {spec.name.normalized for spec in specs if spec.name is not None}
        kept = [record for record in present if record["name"] not in named]
        found = asyncio.run(
            rattler_solve(
                channels,
                [*specs, *(MatchSpec(record["name"]) for record in kept)],
                platforms=[Subdir(subdir), Subdir("noarch")],
                virtual_packages=virtual_packages(subdir),
                constraints=[f"{each['name']} =={each['version']} {each.get('build') or '*'}" for each in kept],
            )
        )
    except SolverError as problem:
        raise Refused("UnsatisfiableError", str(problem)) from problem
    except Exception as problem:  # noqa: BLE001,RUF100 - py-rattler raises an unnamed kind for each way to fail
        raise Refused(type(problem).__name__, str(problem)) from problem
    have = {(record["name"], record["version"], record.get("build")) for record in present}
    new = [
        record
        for record in sorted(found, key=lambda record: record.name.normalized)
        # Virtual packages also come as a channel of conda-lock's own, to be seen by solvers without variables.
        if not record.name.normalized.startswith("__")
        and (record.name.normalized, str(record.version), str(record.build)) not in have
    ]
    return {
        "success": True,
        "dry_run": True,
        "prefix": asked.prefix,
        "actions": {"PREFIX": asked.prefix, "FETCH": [_fetch(each) for each in new], "LINK": [_link(e) for e in new]},
    }


def _fetch(record: RepoDataRecord) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(record.to_json())
    if not said.get("sha256") and not said.get("md5"):
        raise Refused("ChannelError", f"{record.url} has no hash in its channel's index, and cannot be locked")
    return {
        **said,
        "name": record.name.normalized,
        "version": str(record.version),
        "build": str(record.build),
        "url": record.url,
        "fn": record.file_name,
        "channel": record.channel or "",
        "subdir": record.subdir,
        "depends": [str(each) for each in record.depends],
        "constrains": [str(each) for each in record.constrains],
    }


def _link(record: RepoDataRecord) -> dict[str, Any]:
    return {
        "base_url": (record.channel or "").rstrip("/"),
        "build_number": record.build_number,
        "build_string": str(record.build),
        "channel": record.channel or "",
        "dist_name": _without_ending(record.file_name),
        "name": record.name.normalized,
        "platform": record.subdir,
        "version": str(record.version),
    }


def _without_ending(name: str) -> str:
    return next((name.removesuffix(ending) for ending in _ARCHIVES if name.endswith(ending)), name)


def run(prefix: str, command: list[str]) -> int:
    """Start a program as if the prefix were activated, and give its status."""
    scripts = os.path.join(prefix, "Scripts" if os.name == "nt" else "bin")
    search = os.pathsep.join((scripts, prefix, os.environ.get("PATH", os.defpath)))
    return subprocess.run(command, env={**os.environ, "PATH": search, "CONDA_PREFIX": prefix}, check=False).returncode


def _print(content: object) -> None:
    sys.stdout.write(f"{json.dumps(content)}\n")


def _asked(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="embedded-conda", allow_abbrev=False)
    parser.add_argument("command", choices=("create", "install", "list", "info", "run"))
    parser.add_argument("--prefix", "-p")
    parser.add_argument("--channel", "-c", action="append", default=[])
    parser.add_argument("--file")
    for flag in ("--json", "--dry-run", "--override-channels", "--quiet", "--yes", "--no-pip", "--copy"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("words", nargs="*")
    return parser.parse_intermixed_args(words)


def main(words: list[str]) -> int:
    """Do what the words say and give the exit status."""
    if words[:1] == ["--version"]:
        sys.stdout.write(f"{VERSION}\n")
        return 0
    if words[:1] == ["run"]:
        at = 3 if words[1:2] and words[1] in ("--prefix", "-p") else 1
        return run(words[2] if at == 3 else os.environ.get("CONDA_PREFIX", ""), words[at:])
    asked = _asked(words)
    from rattler import Subdir

    subdir = os.environ.get("CONDA_SUBDIR") or str(Subdir.current())
    if asked.command == "info":
        _print({"conda_version": VERSION.partition(" ")[2], "platform": subdir, "pkgs_dirs": []})
    elif asked.command == "list":
        _print([_listed(record, subdir) for record in installed(asked.prefix)])
    elif asked.file and asked.prefix:
        installer = os.path.join(os.path.dirname(os.path.abspath(__file__)), "installer.py")
        return subprocess.run((sys.executable, installer, asked.file, asked.prefix), check=False).returncode
    elif asked.dry_run:
        _print(solve(asked, subdir))
    else:
        raise Refused("ArgumentError", "only --dry-run, or --file with --prefix, is known here")
    return 0


def _listed(record: dict[str, Any], subdir: str) -> dict[str, Any]:
    return {
        "base_url": "",
        "build_number": record.get("build_number", 0),
        "build_string": record.get("build", ""),
        "channel": record.get("channel", ""),
        "dist_name": _without_ending(record["fn"]),
        "name": record["name"],
        "platform": record.get("subdir", subdir),
        "version": record["version"],
    }


def _main() -> int:
    try:
        return main(sys.argv[1:])
    except Refused as refused:
        kind, message = refused.kind, str(refused)
    except ImportError as missing:
        kind, message = "ImportError", f"{missing}; install it: pip install py-rattler"
    except OSError as problem:
        kind, message = "OSError", f"{problem.strerror or problem}: {problem.filename or ''}"
    except KeyboardInterrupt:
        return 130
    _print({"success": False, "exception_name": kind, "error": f"{kind}: {message}", "message": f"{kind}: {message}"})
    return 1


if __name__ == "__main__":
    status = _main()
    sys.stdout.flush()
    sys.stderr.flush()
    # py-rattler's threads can crash an interpreter that is being taken apart, when all work is done.
    os._exit(status)
