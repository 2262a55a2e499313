"""conda-lock: which packages exactly, for a machine that need not be this one; and installing just those.

conda-lock asks a solver in the shape of conda. Where there is none, `embedded/` is it, over py-rattler.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, NamedTuple

from envdoctor import errors
from envdoctor.environments import conda
from envdoctor.environments.conda_failures import failure
from envdoctor.environments.embedded import installer
from envdoctor.environments.running import run
from envdoctor.model.speech import message, say

INSTALL_HINT = message("install it: pip install 'envdoctor[conda]'")
_EMBEDDED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "embedded")


class Solver(NamedTuple):
    """What solves: conda or its kin, or the embedded one."""

    name: str
    path: str | None  # None: the embedded one


class Job(NamedTuple):
    """What one platform's part of a lock is made from."""

    subdir: str  # linux-64
    source: str  # the text of environment.yml
    virtual: dict[str, str]  # __cuda -> 12.8


def solver() -> Solver:
    """Find what can solve here: conda's kin first, else py-rattler, which is pixi's solver too.

    Raises:
        errors.MissingPart: there is none.
    """
    found = conda.found()
    if found:
        return Solver(os.path.basename(found), found)
    if find_spec("rattler") and find_spec("yaml"):
        return Solver(say("the embedded solver (py-rattler)"), None)
    raise errors.MissingPart(
        say("there is no conda, mamba or micromamba here, and no py-rattler to do without"),
        say(
            "pip install 'envdoctor[conda]', or install Miniforge; with pixi: pixi global install conda-lock micromamba"
        )
        if shutil.which("pixi")
        else say("pip install 'envdoctor[conda]', or install Miniforge"),
    )


def _conda_lock() -> tuple[str, ...]:
    """Find conda-lock, beside envdoctor first.

    Raises:
        errors.MissingPart: it is not installed.
    """
    if find_spec("conda_lock"):
        return (sys.executable, "-m", "conda_lock")
    found = shutil.which("conda-lock")
    if found:
        return (found,)
    raise errors.MissingPart(say("conda-lock is not installed"), say(INSTALL_HINT))


def lock(
    jobs: tuple[Job, ...],
    previous: str | None,
    line: Callable[[str], None],
    timeout: float,
    *,
    keep_others: bool = False,
) -> str:
    """Give the text of conda-lock.yml for all platforms; the archives it names that lie here are compared with it.

    Args:
        jobs: one for each platform, the first for the main one.
        previous: the lock there is; a platform whose sources are the same as then keeps its packages.
        line: takes what the programs say.
        timeout: seconds for each platform.
        keep_others: platforms of the previous lock that no job is for stay in it.

    Raises:
        errors.EnvdoctorError: it cannot be made; the message has the solver's reason.
    """
    program, chosen = _conda_lock(), solver()
    with _workshop() as folder:
        place = os.path.join(folder, "conda-lock.yml")
        if previous is not None and _continues(previous, jobs, keep_others):
            _write(place, previous)
        for number, job in enumerate(jobs):
            source = os.path.join(folder, "environment.yml" if number == 0 else f"environment.{job.subdir}.yml")
            _write(source, job.source)
            virtual = os.path.join(folder, f"virtual-packages.{job.subdir}.yml")
            _write(virtual, _virtual_packages(job))
            command = (*program, "lock", *_executable(chosen, folder), "--platform", job.subdir, "--file", source)
            options = ("--virtual-package-spec", virtual, "--lockfile", place, "--check-input-hash")
            status, said = _run((*command, *options), line, timeout)
            if status != 0 or not os.path.exists(place):
                raise failure(said, job.subdir)
        with open(place, encoding="utf-8") as file:
            text = file.read()
    check_archives(text)
    return text


def install(text: str, subdir: str, prefix: str, line: Callable[[str], None], timeout: float) -> None:
    """Make an environment from the text of a lock: just its packages, each compared with its hash.

    Raises:
        errors.EnvdoctorError: it cannot be made; the message says why.
    """
    chosen = solver()
    check_archives(text)
    with _workshop() as folder:
        if chosen.path is None:
            listed = os.path.join(folder, "explicit.lock")
            _write(listed, "".join(f"{each.url}#{each.digest}\n" for each in entries(text, subdir)))
            command: tuple[str, ...] = (sys.executable, os.path.join(_EMBEDDED, "installer.py"), listed, prefix)
        else:
            place = os.path.join(folder, "conda-lock.yml")
            _write(place, text)
            executable = _executable(chosen, folder)
            command = (*_conda_lock(), "install", *executable, "--force-platform", subdir, "--prefix", prefix, place)
        status, said = _run(command, line, timeout)
    if status != 0:
        raise failure(said, subdir, making=True)


def entries(text: str, subdir: str | None = None) -> tuple[installer.Entry, ...]:
    """Read which archives a lock names, with the best hash of each; of one platform, or of all.

    Raises:
        errors.Unreadable: it is no lock of conda packages, or one of them has no hash.
    """
    found = []
    for package in _packages(text):
        if package.get("manager") == "conda" and subdir in (None, package.get("platform")):
            url, known = str(package.get("url")), package.get("hash") or {}
            digest = known.get("sha256") or known.get("md5")
            try:
                found += installer.entries(f"{url}#{digest}")
            except installer.Refused as problem:
                raise errors.Unreadable(
                    say("the lock is of no use: {problem}", problem=problem), say("make it anew: remove conda-lock.yml")
                ) from problem
    return tuple(found)


def check_archives(text: str) -> None:
    """Compare each archive of a lock that lies on this machine with its hash: solvers trust those as they are.

    Raises:
        errors.Unreadable: one is another than the lock says.
    """
    for entry in entries(text):
        path = installer.local_path(entry.url)
        try:
            if path is not None:
                installer.check(path, entry)
        except FileNotFoundError:
            continue  # the lock of another platform may have been brought along without its channel
        except installer.Refused as problem:
            raise errors.Unreadable(
                str(problem), say("the package or its channel's index was changed: do not use it before you know why")
            ) from problem
        except OSError as problem:
            raise errors.Unreadable(
                say("cannot read {path}: {strerror}", path=path, strerror=problem.strerror or problem)
            ) from problem


def _continues(previous: str, jobs: tuple[Job, ...], keep_others: bool) -> bool:
    """Tell whether conda-lock can go on from a lock: it merges neither other channels nor forgets a platform."""
    try:
        content, source = _read(previous), _read(jobs[0].source)
    except errors.Unreadable:
        return False
    wanted = [name for name in source["channels"] if name != "nodefaults"]
    meta = content.get("metadata") or {}
    have = [each.get("url") for each in meta.get("channels") or ()]
    fewer = set(meta.get("platforms") or ()) <= {job.subdir for job in jobs}
    return have == wanted and (fewer or keep_others)


def _packages(text: str) -> list[dict[str, Any]]:
    packages = _read(text).get("package")
    if not isinstance(packages, list) or not all(isinstance(each, dict) for each in packages):
        raise errors.Unreadable(say("conda-lock.yml is not a lock of conda-lock's"), say("remove it, and lock again"))
    return packages


def _read(text: str) -> dict[str, Any]:
    try:
        import yaml  # comes with conda-lock
    except ImportError as missing:
        raise errors.MissingPart(say("reading a lock needs PyYAML"), say(INSTALL_HINT)) from missing
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast
    try:
        content = yaml.load(text, Loader=loader)  # noqa: S506 - it is a safe loader
    except yaml.YAMLError as problem:
        raise errors.Unreadable(say("conda-lock.yml is not YAML"), say("remove it, and lock again")) from problem
    return content if isinstance(content, dict) else {}


def _virtual_packages(job: Job) -> str:
    from json import dumps  # every JSON text is YAML

    return dumps({"subdirs": {job.subdir: {"packages": job.virtual}}})


@contextmanager
def _workshop() -> Iterator[str]:
    try:
        folder = tempfile.mkdtemp(prefix="envdoctor-conda-")
    except OSError as problem:
        raise errors.Unreadable(
            say("there is no room for temporary files: {strerror}", strerror=problem.strerror or problem)
        ) from problem
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _executable(chosen: Solver, folder: str) -> tuple[str, ...]:
    """Give conda-lock's options that name the solver; the embedded one gets a file that can be started."""
    path = chosen.path
    if path is None:
        script = (sys.executable, os.path.join(_EMBEDDED, "solver.py"))
        if os.name == "nt":
            path, text = os.path.join(folder, "conda.bat"), '@"{}" "{}" %*\r\n'.format(*script)
        else:
            path, text = (
                os.path.join(folder, "conda"),
                f'#!/bin/sh\nexec {shlex.join(script)} "$@"\n',
            )
        _write(path, text)
        os.chmod(path, 0o700)
    return ("--conda", path, "--no-mamba", "--no-micromamba")


def _run(command: tuple[str, ...], line: Callable[[str], None], timeout: float) -> tuple[int, list[str]]:
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH")}
    environ.update({"LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1"})
    try:
        return run(command, line, timeout=timeout, environ=environ)
    except TimeoutError as late:
        raise errors.NotVerified(
            say("solving took longer than {timeout:g} s", timeout=timeout), say("start it again later")
        ) from late
    except OSError as problem:
        raise errors.MissingPart(
            say("{command} cannot be started: {strerror}", command=command[0], strerror=problem.strerror or problem)
        ) from problem


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as problem:
        raise errors.Unreadable(
            say("cannot write to {path}: {strerror}", path=os.path.dirname(path), strerror=problem.strerror or problem),
            say("free some space, or set TMPDIR"),
        ) from problem
