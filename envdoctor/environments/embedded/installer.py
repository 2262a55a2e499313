"""Install an explicit list of conda packages into a prefix, over py-rattler: installer.py LIST PREFIX.

It runs in an interpreter that has py-rattler and imports nothing of envdoctor. py-rattler trusts the archives of
`file://` channels without looking at their hashes, so that they are compared here, for every archive, before the first
one is unpacked.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import PurePath

    from rattler import RepoDataRecord
    from rattler.networking import Client

_AT_ONCE = 4  # downloads
_BLOCK = 1 << 20
_ENDINGS = (".conda", ".tar.bz2")


class Refused(Exception):
    """A package is missing, or is not the one that the list means."""


class Entry(NamedTuple):
    """A line of an explicit list."""

    url: str
    algorithm: str  # md5 or sha256
    digest: str

    @property
    def file_name(self) -> str:
        """Give the archive's name: pytorch-2.5.1-cuda118_py312h1234567_300.conda."""
        return urllib.parse.unquote(urllib.parse.urlsplit(self.url).path.rpartition("/")[2])


def entries(text: str) -> list[Entry]:
    """Read an explicit list: an address a line, with `#` and its md5 or sha256 behind it.

    Raises:
        Refused: a line has no hash; it could be any package.
    """
    found = []
    for line in text.splitlines():
        url, _, digest = line.strip().partition("#")
        if "://" not in url:
            continue  # a comment, or @EXPLICIT
        digest = digest.removeprefix("sha256:").lower()
        algorithm = {32: "md5", 64: "sha256"}.get(len(digest))
        if algorithm is None or set(digest) - set("0123456789abcdef"):
            raise Refused(f"{url} has no hash, so that nothing says whether it is the right one")
        found.append(Entry(url, algorithm, digest))
    return found


def check(path: str, entry: Entry) -> None:
    """Compare an archive with its hash. Raises Refused: it is another one."""
    whole = hashlib.new(entry.algorithm, usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            whole.update(block)
    if whole.hexdigest() != entry.digest:
        raise Refused(f"wrong hash: {entry.url} has {entry.algorithm} {whole.hexdigest()}, not {entry.digest}")


def local_path(url: str) -> str | None:
    """Give the path behind a file:// address; None: it is somewhere else."""
    parts = urllib.parse.urlsplit(url)
    return urllib.request.url2pathname(parts.path) if parts.scheme == "file" else None


async def install(wanted: list[Entry], prefix: str, folder: str) -> None:
    """Put packages into a prefix; `folder` keeps what was downloaded until all of them are there.

    Raises:
        Refused: an archive is missing or another one; the prefix is as it was.
    """
    from rattler import install as link
    from rattler.networking import Client

    client, few = Client.authenticated_client(), asyncio.Semaphore(_AT_ONCE)
    gathered = [asyncio.ensure_future(_record(entry, client, few, folder)) for entry in wanted]
    try:
        records = await asyncio.gather(*gathered)
    finally:
        for each in gathered:
            each.cancel()
    _say(f"linking {len(records)} packages")
    await link(records, prefix, show_progress=False)
    for entry in wanted:
        _name_origin(prefix, entry)
        if local_path(entry.url) is None:
            os.unlink(_place(entry, folder))


async def _record(entry: Entry, client: Client, few: asyncio.Semaphore, folder: str) -> RepoDataRecord:
    from rattler import RepoDataRecord

    async with few:
        path = local_path(entry.url)
        if path is None:
            path = await _downloaded(client, entry, folder)
        elif not os.path.isfile(path):
            raise Refused(f"{entry.url} is not there")
        await asyncio.to_thread(check, path, entry)
        _say(f"have {entry.file_name}")
        return await RepoDataRecord.from_package_archive(path)


async def _downloaded(client: Client, entry: Entry, folder: str) -> str:
    """Fetch an archive and give its path; one that an interrupted run has fetched is taken as it is."""
    from rattler.package_streaming import download_to_path

    place = _place(entry, folder)
    if os.path.isfile(place):
        return place
    os.makedirs(os.path.dirname(place), exist_ok=True)
    part = f"{place}.{os.getpid()}.part"
    try:
        await download_to_path(client, entry.url, _path(part))
        check(part, entry)
        os.replace(part, place)
    except (Refused, OSError):
        raise
    except Exception as problem:
        raise Refused(f"{entry.url} cannot be fetched: {problem}") from problem
    finally:
        if os.path.exists(part):
            os.unlink(part)
    return place


def _path(text: str) -> PurePath:
    from pathlib import PurePath

    return PurePath(text)


def _place(entry: Entry, folder: str) -> str:
    return os.path.join(folder, entry.digest, entry.file_name)


def _name_origin(prefix: str, entry: Entry) -> None:
    """Write into the prefix's record where a package comes from, in place of the path of its archive."""
    stem = next((entry.file_name.removesuffix(e) for e in _ENDINGS if entry.file_name.endswith(e)), entry.file_name)
    path = os.path.join(prefix, "conda-meta", f"{stem}.json")
    with open(path, encoding="utf-8") as file:
        record = json.load(file)
    record["url"], record["channel"] = entry.url, entry.url.rsplit("/", 2)[0]
    with open(f"{path}.part", "w", encoding="utf-8") as file:
        json.dump(record, file, indent=2)
    os.replace(f"{path}.part", path)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(words: list[str]) -> int:
    """Install what the list names and give the exit status."""
    if len(words) != 2:
        sys.stderr.write("usage: installer.py LIST PREFIX\n")
        return 2
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    try:
        with open(words[0], encoding="utf-8") as file:
            wanted = entries(file.read())
        asyncio.run(install(wanted, words[1], os.path.join(cache, "envdoctor", "conda")))
    except Refused as refused:
        problem = str(refused)
    except ImportError as missing:
        problem = f"{missing}; install it: pip install py-rattler"
    except OSError as refused:
        problem = f"{refused.strerror or refused}: {refused.filename or words[1]}"
    except KeyboardInterrupt:
        return 130
    except Exception as failed:  # py-rattler raises a kind of its own for each way to fail
        problem = f"{type(failed).__name__}: {failed}"
    else:
        return 0
    sys.stderr.write(f"ERROR: {problem}\n")
    return 1


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # py-rattler's threads crash a process that ends as usual after an installation, in a third of the runs.
    os._exit(status)
