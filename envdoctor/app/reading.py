"""Files that a person hands in."""

from __future__ import annotations

import os
import sys

import msgspec

from envdoctor import errors
from envdoctor.app.examining import examine
from envdoctor.host.recorded import RecordedHost
from envdoctor.host.recorder import load_recording
from envdoctor.model.snapshot import SCHEMA_VERSION, Snapshot
from envdoctor.model.speech import say

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
        raise errors.Unreadable(say("there is no file {name}", name=name)) from None
    except IsADirectoryError:
        raise errors.Unreadable(
            say("{name} is a folder", name=name), say("name the file in it, for example snapshot.json")
        ) from None
    except OSError as problem:
        raise errors.Unreadable(
            say("{name} cannot be read: {strerror}", name=name, strerror=problem.strerror)
        ) from None
    if not content.strip(b"\0 \t\r\n"):
        raise errors.Unreadable(
            say("{name} is empty", name=name), say("a snapshot is made by `envdoctor snapshot -o FILE`")
        )
    if len(content) > LARGEST_FILE:
        raise errors.Unreadable(
            say(
                "{name} is larger than {largest_file} MiB, so it is not a snapshot",
                name=name,
                largest_file=LARGEST_FILE >> 20,
            )
        )
    return content


def read_snapshot(name: str) -> Snapshot:
    """Read a snapshot, as `snapshot -o` or `diagnose --format json` wrote it, a recording, or what a person pasted.

    A recording is a folder that `snapshot --record` wrote; the machine in it is looked at again.
    What is not JSON is read as a report: what it says becomes facts, what it does not say is unknown.

    Raises:
        errors.Unreadable: it is another kind of JSON, of a newer schema, no text, or a text that says nothing known.
    """
    if os.path.isfile(os.path.join(name, "machine.json")):
        recording = load_recording(name)
        return examine(RecordedHost(recording), network=bool(recording.connections))
    content = read_input(name)
    hint = say("a snapshot is made by `envdoctor snapshot -o FILE`")
    try:
        header = msgspec.json.decode(content, type=_Header)
    except msgspec.ValidationError:
        if not _is_json(content):
            return _report(name, content)  # a line of a log that begins with a number, or with a bracket
        raise errors.Unreadable(say("{name} is JSON, but not a snapshot of envdoctor", name=name), hint) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _report(name, content)
    if header.schema_version is None:
        raise errors.Unreadable(say("{name} is JSON, but not a snapshot of envdoctor", name=name), hint)
    if header.schema_version != SCHEMA_VERSION:
        raise errors.Unreadable(
            say(
                "{name} has schema {schema}; this envdoctor reads schema {known}",
                name=name,
                schema=header.schema_version,
                known=SCHEMA_VERSION,
            ),
            say("update envdoctor, or make the snapshot again"),
        )
    try:
        return msgspec.json.decode(bytes(header.snapshot) or content, type=Snapshot)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise errors.Unreadable(
            say("{name} is a damaged snapshot: {problem}", name=name, problem=problem), hint
        ) from None


def _is_json(content: bytes) -> bool:
    """Tell whether the whole of it is JSON: the wrong type is refused before the end is looked at."""
    try:
        msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _report(name: str, content: bytes) -> Snapshot:
    """Read a pasted text; PowerShell writes UTF-16, everything else is UTF-8 with perhaps some bytes that are not."""
    from envdoctor import readers

    hint = say("paste what nvidia-smi, collect_env, pip or the failing program printed")
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff")) and len(content) % 2 == 0
    text = content.decode("utf-16" if wide else "utf-8-sig", "replace")
    strange = sum(text.count(each) for each in ("\ufffd", "\0"))
    if strange * 10 > len(text):
        raise errors.Unreadable(say("{name} is not a text", name=name), hint)
    machine = readers.read(text) if name == "-" else readers.read(text, os.path.basename(name))
    if not readers.recognised(machine):
        raise errors.Unreadable(say("nothing in {name} is known to envdoctor", name=name), hint)
    return machine
