"""Writing files: all of them or none, and never over a file that envdoctor did not write."""

from __future__ import annotations

import contextlib
import os
import stat

from envdoctor.errors import Unreadable
from envdoctor.model.speech import say
from envdoctor.model.stack import GENERATED, Artifact


def write(artifacts: tuple[Artifact, ...], folder: str, *, force: bool = False) -> tuple[str, ...]:
    """Write artifacts into a folder, which is made where there is none, and give the paths of the files.

    Every text is first written beside its place; only when all of them are on disk do they take their places, so a full
    disk leaves what was there untouched. A file that has its text already is left alone, its time too. A link in
    a file's place is a person's own: with `force` the link is replaced, and what it points to is left alone.

    Args:
        artifacts: their paths are relative and stay inside the folder.
        folder: where they go.
        force: replace files that do not say that envdoctor generated them.

    Raises:
        Unreadable: such files are there, or the folder cannot be written to; nothing was changed. If the system
            refuses in the middle of the last step, some files are new and the others as they were, but none is half.
        ValueError: an artifact's path leads out of the folder; a defect of the caller.
    """
    places = [(artifact, os.path.join(folder, *_steps(artifact.path))) for artifact in artifacts]
    foreign = [place for _, place in places if not _replaceable(place, folder, force)]
    if foreign:
        raise Unreadable(
            say("not written by envdoctor and therefore kept: {foreign}", foreign=", ".join(foreign)),
            say("choose another folder with -o, or replace them with --force; nothing was written"),
        )
    made: list[str] = []
    temporary: list[tuple[str, str]] = []
    try:
        for artifact, place in places:
            if _is_there(artifact, place):
                continue
            _make_folders(os.path.dirname(place), made)
            beside = os.path.join(os.path.dirname(place), f".{os.path.basename(place)}.{os.getpid()}.part")
            temporary.append((beside, place))
            _write_new(beside, artifact)
        for beside, place in temporary:
            os.replace(beside, place)
        made.clear()
    except OSError as problem:
        raise Unreadable(
            say("cannot write to {folder}: {strerror}", folder=folder, strerror=problem.strerror or problem),
            _advice(problem),
        ) from problem
    finally:
        # Also after Ctrl-C. What has taken its place is no longer there to remove.
        for beside, _ in temporary:
            with contextlib.suppress(OSError):
                os.unlink(beside)
        for path in reversed(made):
            with contextlib.suppress(OSError):
                os.rmdir(path)
    return tuple(place for _, place in places)


def write_text(path: str, text: str, *, replace: bool) -> None:
    """Write one file, whole or not at all; without `replace` only where none stands.

    Raises:
        Unreadable: it exists, or cannot be written.
    """
    folder, name = os.path.split(path)
    write((Artifact(path=name, text=text),), folder or ".", force=replace)


def _steps(path: str) -> list[str]:
    steps = path.split("/")
    if os.path.isabs(path) or any(step in ("", ".", "..") or os.sep in step or "\0" in step for step in steps):
        raise ValueError(f"not a path inside a folder: {path!r}")
    return steps


def _replaceable(place: str, folder: str, force: bool) -> bool:
    """Tell whether a file may be put there; a folder in its place or a way out of the folder is refused with reason."""
    parent = os.path.dirname(place)
    inside = os.path.realpath(folder)
    if os.path.commonpath([inside, os.path.realpath(parent)]) != inside:
        raise Unreadable(
            say("{parent} is a link that leads out of {folder}", parent=parent, folder=folder),
            say("remove it, or choose another folder with -o"),
        )
    try:
        mode = os.lstat(place).st_mode
    except FileNotFoundError:
        return True
    except OSError as problem:
        raise Unreadable(
            say("cannot write to {folder}: {strerror}", folder=folder, strerror=problem.strerror or problem),
            _advice(problem),
        ) from problem
    if stat.S_ISDIR(mode):
        raise Unreadable(
            say("{place} is a folder, where a file is to be written", place=place), say("choose another folder with -o")
        )
    return force or (stat.S_ISREG(mode) and _generated(place))


def _generated(path: str) -> bool:
    """Read the mark in a file's first two lines; one that may not be read counts as a person's own."""
    try:
        with open(path, "rb") as file:
            return any(GENERATED.encode() in line for line in file.read(1024).split(b"\n")[:2])
    except OSError:
        return False


def _is_there(artifact: Artifact, place: str) -> bool:
    """Tell whether a file is as it would be written, by its bytes and whether it may be run."""
    try:
        if not stat.S_ISREG(os.lstat(place).st_mode) or os.access(place, os.X_OK) != artifact.executable:
            return False
        with open(place, "rb") as file:
            return file.read() == artifact.text.encode("utf-8", "replace")
    except OSError:
        return False


def _make_folders(path: str, made: list[str]) -> None:
    missing = []
    while path and not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for each in reversed(missing):
        os.mkdir(each)
        made.append(each)


def _write_new(path: str, artifact: Artifact) -> None:
    # O_EXCL: a link put at this name beforehand is not followed. The mode is what the person's umask leaves of it.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o777 if artifact.executable else 0o666)
    with open(descriptor, "wb") as file:
        file.write(artifact.text.encode("utf-8", "replace"))


def _advice(problem: OSError) -> str:
    import errno

    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return say("free some space, or choose a folder on another disk with -o; nothing was changed")
    return say("choose another folder with -o")
