"""Files that a person hands in."""

from __future__ import annotations

import sys

import msgspec

from envdoctor import errors
from envdoctor.model.snapshot import SCHEMA_VERSION, Snapshot

# A snapshot of a full workstation is about 100 KB; what is larger than this is not one.
LARGEST_FILE = 32 << 20


class _Header(msgspec.Struct):
    """The part of a document that says what it is."""

    schema_version: int | None = None
    snapshot: msgspec.Raw = msgspec.Raw()


def read_input(name: str) -> bytes:
    """Read a file, or standard input for `-`.

    Raises:
        errors.Unreadable: it is missing, a folder, forbidden, empty or too large.
    """
    try:
        if name == "-":
            content = sys.stdin.buffer.read(LARGEST_FILE + 1)
        else:
            with open(name, "rb") as file:
                content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise errors.Unreadable(f"there is no file {name}") from None
    except IsADirectoryError:
        raise errors.Unreadable(f"{name} is a folder", "name the file in it, for example snapshot.json") from None
    except OSError as problem:
        raise errors.Unreadable(f"{name} cannot be read: {problem.strerror}") from None
    if not content.strip(b"\0 \t\r\n"):
        raise errors.Unreadable(f"{name} is empty", "a snapshot is made by `envdoctor snapshot -o FILE`")
    if len(content) > LARGEST_FILE:
        raise errors.Unreadable(f"{name} is larger than {LARGEST_FILE >> 20} MiB, so it is not a snapshot")
    return content


def read_snapshot(name: str) -> Snapshot:
    """Read a snapshot, as `snapshot -o` or `diagnose --format json` wrote it.

    Raises:
        errors.Unreadable: it is no JSON, another kind of JSON, or of a newer schema.
    """
    content = read_input(name)
    hint = "a snapshot is made by `envdoctor snapshot -o FILE`"
    try:
        header = msgspec.json.decode(content, type=_Header)
    except msgspec.ValidationError:
        raise errors.Unreadable(f"{name} is JSON, but not a snapshot of envdoctor", hint) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise errors.Unreadable(f"{name} is not JSON", hint) from None
    if header.schema_version is None:
        raise errors.Unreadable(f"{name} is JSON, but not a snapshot of envdoctor", hint)
    if header.schema_version != SCHEMA_VERSION:
        raise errors.Unreadable(
            f"{name} has schema {header.schema_version}; this envdoctor reads schema {SCHEMA_VERSION}",
            "update envdoctor, or make the snapshot again",
        )
    try:
        return msgspec.json.decode(bytes(header.snapshot) or content, type=Snapshot)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise errors.Unreadable(f"{name} is a damaged snapshot: {problem}", hint) from None
