"""Questions to the Python package index, put through pip as it is configured here.

Which index that is stays the person's affair: its address is passed on to pip and never stored or printed. Of pip's
settings only those are kept that say where the index is and how to reach it (`KEPT`); local folders, further indexes
and constraints would mix what one machine has with what was published, so they are left out.

Two questions are enough. `releases` reads the file names that `pip index versions -vvv` names while it looks for
versions: one request for all of a package's wheels, on every platform. `metadata` reads one wheel's METADATA from
`pip install --dry-run --report`, which fetches the metadata file where the index offers one (PEP 658) and otherwise the
parts of the wheel that it needs. A wheel that would have to be fetched whole is not: pip is stopped (`LARGEST`).
"""

from __future__ import annotations

import ast
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

KEPT = (
    "cert",
    "client-cert",
    "default-timeout",
    "index-url",
    "no-index",
    "proxy",
    "retries",
    "timeout",
    "trusted-host",
)
ONE = ("install", "--dry-run", "--ignore-installed", "--no-deps", "--ignore-requires-python", "--only-binary", ":all:")
LAZY = ("--use-feature", "fast-deps", "--progress-bar", "off")
LARGEST = 5_000_000  # bytes that may be fetched whole; a metadata file of a framework has 30 kB
PATIENCE = 600  # seconds for one question

_FILE = re.compile(r"^\s*(?:Skipping link:|Found link)\s.*?/([^/\s#?]+(?:\.whl|\.tar\.gz|\.zip))(?:[#?]\S*)? \(from ")
_DOWNLOAD = re.compile(r"Downloading (\S+)(?: \((\d+(?:\.\d+)?) (bytes|kB|MB|GB)\))?")
_UNITS = {"bytes": 1, "kB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000}


class NoAnswer(Exception):
    """The index could not be asked, or did not answer; the message is one line and names no address."""


class Metadata(NamedTuple):
    """What one wheel says of itself."""

    requires: tuple[str, ...]
    requires_python: str | None
    extras: tuple[str, ...]
    withdrawn: bool  # yanked: kept for those who pin it, not offered to others
    asked: str  # ISO date


class Index:
    """A package index behind pip. Answers are kept in `cache`, a folder, and taken from there however old they are."""

    def __init__(self, client: str = sys.executable, cache: Path | None = None) -> None:
        self.client = client
        self.cache = cache
        self.questions = 0
        self.today = datetime.date.today().isoformat()
        self._environment: dict[str, str] | None = None
        self._listed: dict[str, tuple[dict[str, tuple[str, ...]], str]] = {}
        self._read: dict[str, Metadata] = {}

    def releases(self, package: str) -> dict[str, tuple[str, ...]]:
        """Give the files of every final release of a package, newest release first.

        Raises:
            NoAnswer: the index did not answer, or has no such package.
        """
        return self._files(package)[0]

    def listed_on(self, package: str) -> str:
        """Give the day of the answer that `releases` rests on."""
        return self._files(package)[1]

    def metadata(self, package: str, file: str) -> Metadata:
        """Read the metadata of one wheel, named as `releases` names it.

        Raises:
            NoAnswer: the index did not answer, or would send the whole wheel.
        """
        if file not in self._read:
            kept = self._kept(file, lambda: self._ask_metadata(package, file))
            self._read[file] = Metadata(
                requires=tuple(kept["answer"]["requires"]),
                requires_python=kept["answer"]["requires_python"],
                extras=tuple(kept["answer"]["extras"]),
                withdrawn=kept["answer"]["withdrawn"],
                asked=kept["asked"],
            )
        return self._read[file]

    def _files(self, package: str) -> tuple[dict[str, tuple[str, ...]], str]:
        if package not in self._listed:
            kept = self._kept(f"{package}.files", lambda: self._ask_files(package))
            self._listed[package] = _by_release(package, kept["answer"]), kept["asked"]
        return self._listed[package]

    def _kept(self, name: str, ask: Callable[[], object]) -> dict[str, Any]:
        place = self.cache / f"{name}.json" if self.cache else None
        if place and place.is_file():
            kept: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
            return kept
        kept = {"asked": self.today, "answer": ask()}
        if place:
            place.parent.mkdir(parents=True, exist_ok=True)
            part = place.with_name(f".{place.name}.{os.getpid()}")
            part.write_text(json.dumps(kept), encoding="utf-8")
            part.replace(place)
        return kept

    def _ask_files(self, package: str) -> list[str]:
        lines = list(self._pip("-vvv", "index", "versions", package))
        names = {unquote(found.group(1)) for line in lines if (found := _FILE.match(line))}
        names = {name for name in names if "/" not in name}  # it becomes the name of a file in the cache
        if not names:
            raise NoAnswer(_why(package, "".join(lines)))
        return sorted(names)

    def _ask_metadata(self, package: str, file: str) -> dict[str, object]:
        version, tag = _wanted(file)
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.json"
            words = [*ONE, *LAZY, "--target", folder, "--report", str(report), *_for_tag(tag), f"{package}=={version}"]
            withdrawn = False
            for line in self._pip(*words, scratch=folder):
                _refuse_large(line, file)
                withdrawn |= "yanked version" in line  # before pip 23.3 the report does not say it
            if not report.is_file():
                raise NoAnswer(f"the package index did not answer for {package} {version}")
            told = json.loads(report.read_text(encoding="utf-8"))["install"][0]
        said = told["metadata"]
        return {
            "requires": said.get("requires_dist", []),
            "requires_python": said.get("requires_python"),
            "extras": said.get("provides_extra", []),
            "withdrawn": withdrawn or told.get("is_yanked", False),
        }

    def _pip(self, *words: str, scratch: str | None = None) -> Iterator[str]:
        """Run pip and give its lines as they come; it is stopped where the reader stops reading."""
        if self._environment is None:
            self._environment = _environment(self.client)
        environment = {**self._environment, **({"TMPDIR": scratch} if scratch else {})}
        self.questions += 1
        process = subprocess.Popen(
            [self.client, "-m", "pip", "--no-input", "--disable-pip-version-check", *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        alarm = threading.Timer(PATIENCE, process.kill)
        alarm.start()
        with process:
            assert process.stdout is not None
            try:
                yield from process.stdout
            finally:
                process.kill()
                alarm.cancel()


def _why(package: str, said: str) -> str:
    if "404 Client Error" in said or "it is neither a file nor a directory" in said:
        return f"the package index has no {package}"
    if "Fetched page" in said:
        return f"pip names no files of {package}"
    return f"the package index did not answer for {package}"


def _environment(client: str) -> dict[str, str]:
    """Give pip's environment with the settings in `KEPT` and no others, wherever the person wrote them."""
    try:
        told = subprocess.run(
            [client, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True, timeout=PATIENCE
        ).stdout
    except (OSError, subprocess.SubprocessError) as problem:
        raise NoAnswer(f"{client} has no pip that runs") from problem
    found: dict[tuple[str, str], str] = {}
    for line in told.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if value[:1] in ("'", '"'):
            found[section, key] = str(ast.literal_eval(value))
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("PIP_")}
    environment |= {"PIP_CONFIG_FILE": os.devnull, "PYTHONUNBUFFERED": "1", "COLUMNS": "500"}
    for key in KEPT:
        for section in ("global", "install", ":env:"):
            if (section, key) in found:
                environment["PIP_" + key.upper().replace("-", "_")] = found[section, key]
    return environment


def _refuse_large(line: str, file: str) -> None:
    found = _DOWNLOAD.search(line)
    if found is None or found.group(1).endswith(".metadata"):
        return
    size = float(found.group(2)) * _UNITS[found.group(3)] if found.group(2) else None
    if size is None or size > LARGEST:
        text = f"{found.group(2)} {found.group(3)}" if size is not None else "of unknown size"
        raise NoAnswer(
            f"pip would fetch {file} whole ({text}) for its metadata; "
            "a newer pip (--client PYTHON) or another index reads only that"
        )


def _by_release(package: str, names: list[str]) -> dict[str, tuple[str, ...]]:
    found: dict[Version, list[str]] = {}
    for name in names:
        version = _version_of(package, name)
        if version and not version.is_prerelease and not version.local:
            found.setdefault(version, []).append(name)
    return {str(version): tuple(sorted(found[version])) for version in sorted(found, reverse=True)}


def _version_of(package: str, name: str) -> Version | None:
    try:
        if name.endswith(".whl"):
            project, version, _, _ = parse_wheel_filename(name)
            return version if project == canonicalize_name(package) else None
        # A source distribution's name may have hyphens itself, so its length is what tells the version apart.
        stem = name.removesuffix(".tar.gz").removesuffix(".zip")
        same = canonicalize_name(stem[: len(package)]) == canonicalize_name(package)
        return Version(stem[len(package) + 1 :]) if same else None
    except (InvalidWheelFilename, InvalidVersion):
        return None


def tags(file: str) -> frozenset[Tag]:
    """Give the tags of a wheel by its name; none of a source distribution."""
    return parse_wheel_filename(file)[3] if file.endswith(".whl") else frozenset()


def _wanted(file: str) -> tuple[str, Tag]:
    _, version, _, found = parse_wheel_filename(file)
    return str(version), max(found, key=str)


def _for_tag(tag: Tag) -> list[str]:
    """Give the options with which pip takes the wheel of this tag and no other."""
    digits = tag.interpreter.lstrip("abcdefghijklmnopqrstuvwxyz")
    python = f"{digits[0]}.{digits[1:]}" if len(digits) > 1 else "3.12"
    words = ["--python-version", python, "--implementation", "cp", "--abi", tag.abi]
    return [*words, "--platform", tag.platform] if tag.platform != "any" else words
