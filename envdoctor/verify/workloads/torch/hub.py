"""Weights of others: where they lie on this machine, and how they are fetched, in a time that is bounded.

What is fetched is kept in torch's own cache (TORCH_HOME), where the next run finds it. HF_ENDPOINT names a mirror of
the Hugging Face hub, HF_HUB_OFFLINE forbids to ask it, and HTTPS_PROXY is honoured, as by their own libraries.
"""

import glob
import hashlib
import json
import os
import shutil
import struct
import urllib.error
import urllib.request

import torch
from machine import Absent

SECONDS = 15  # to connect, and without a byte in the middle of a file
HUB = "https://huggingface.co"
MIRRORED = "set HTTPS_PROXY, or HF_ENDPOINT to a mirror of the Hugging Face hub (https://hf-mirror.com), and try again"
AGENT = {"User-Agent": "envdoctor"}


def endpoint():
    """Give the address of the Hugging Face hub or of its mirror."""
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def hub_url(repository, name):
    """Give the address of a file on the hub."""
    return "%s/%s/resolve/main/%s" % (endpoint(), repository, name)


def kept(name):
    """Give the path of a file in torch's cache."""
    return os.path.join(torch.hub.get_dir(), "checkpoints", name)


def cached(repository, name):
    """Find a file in the cache of the Hugging Face libraries; None: it is not there."""
    home = os.environ.get("HF_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "huggingface"
    )
    hub = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")
    folder = glob.escape(os.path.join(hub, "models--" + repository.replace("/", "--")))
    found = sorted(glob.glob(os.path.join(folder, "snapshots", "*", name)), key=os.path.getmtime)
    return found[-1] if found else None


def here(repository, name):
    """Find a file of the hub on this machine; None: it has to be fetched."""
    own = kept("%s--%s" % (repository.replace("/", "--"), name))
    return own if os.path.exists(own) else cached(repository, name)


def from_hub(run, repository, name):
    """Give the path of a file of the hub, which is fetched where it is not here."""
    found = here(repository, name)
    if found is None and os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise Absent("%s of %s is not on this machine, and HF_HUB_OFFLINE forbids to fetch it" % (name, repository))
    return found or fetched(
        run, hub_url(repository, name), kept("%s--%s" % (repository.replace("/", "--"), name)), MIRRORED
    )


def fetched(run, url, path, hint):
    """Fetch a file and give its path; it is whole or not there.

    Raises Absent where the other side is out of reach.
    """
    part = "%s.%d.part" % (path, os.getpid())
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=AGENT), timeout=SECONDS) as answer:  # noqa: S310
            total, done = int(answer.headers.get("Content-Length") or 0), 0
            with open(part, "wb") as file:
                while True:
                    piece = answer.read(1 << 20)
                    if not piece:
                        break
                    file.write(piece)
                    done += len(piece)
                    run.progress("fetch", done >> 20, max(total, done) >> 20)
        if total and done != total:
            raise Absent("%s broke off after %d of %d bytes" % (url, done, total), "try again")
        shutil.move(part, path)
    except urllib.error.HTTPError as problem:
        problem.close()
        raise Absent("%s answers with status %d" % (url, problem.code), hint) from None
    except (OSError, ValueError) as problem:  # URLError and timeouts are OSErrors; ValueError: no address at all
        raise Absent("%s is out of reach: %s" % (url, getattr(problem, "reason", None) or problem), hint) from None
    finally:
        if os.path.exists(part):
            os.remove(part)
    return path


def is_what_it_says(path):
    """Tell whether the start of a file's SHA-256 is the one in its name, as torch's files have it."""
    total = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            total.update(piece)
    wanted = os.path.basename(path).rpartition("-")[2].partition(".")[0]
    return total.hexdigest().startswith(wanted)


def safetensors(path):
    """Read the tensors of a file of safetensors: the length of its head, the head in JSON, and the numbers."""
    kinds = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}
    with open(path, "rb") as file:
        head = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        start, found = file.tell(), {}
        for name, part in head.items():
            if name == "__metadata__" or part["dtype"] not in kinds:
                continue  # masks, which are true or false, are no weights
            first, last = part["data_offsets"]
            file.seek(start + first)
            numbers = torch.frombuffer(bytearray(file.read(last - first)), dtype=kinds[part["dtype"]])
            found[name] = numbers.view(part["shape"])
        return found
