"""Building an image by Docker's own client, with what keeps it from being built said in words to act on."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping

import msgspec

from envdoctor import errors
from envdoctor.environments.running import run
from envdoctor.host import Host, engine
from envdoctor.model.onboarding import BuiltImage
from envdoctor.model.speech import message, say
from envdoctor.model.stack import Builder, Stack

TIMEOUT = 4 * 3600.0  # seconds; gigabytes over a slow line
# Room for both stages, the wheels on their way and the base: an environment of torch held 1.0 GB for the CPU and 5.4 GB
# for CUDA when it was measured.
ROOM_CPU = 3 << 30
ROOM_GPU = 15 << 30
_TAG = re.compile(r"[a-z0-9]+([._/:-]+[A-Za-z0-9_]+)*")

# Handed in by name only, so that a password in them stands in no list of processes.
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")
_INDEXES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_TRUSTED_HOST", "PIP_RETRIES")
_LOOPBACK = re.compile(r"(^|[/@])(localhost|127(\.\d+){3}|\[::1\])(:|/|$)")

# Its own troubles, and not those of a program that a step runs.
_ENGINES = r"(?i)no space left on device|cannot connect to the docker daemon|permission denied.*docker\.sock"
_FAILURES = (
    (
        r"buildx component is missing|--mount option requires BuildKit|unknown flag: mount",
        message("this Docker has no BuildKit"),
        message("install docker-buildx (docker-buildx-plugin), or take --builder classic"),
    ),
    (
        r"toomanyrequests|rate limit",
        message("the registry gives this address no more images for now"),
        message("docker login, or wait, or name a mirror in /etc/docker/daemon.json (registry-mirrors)"),
    ),
    (
        r"pull access denied|manifest unknown|manifest for .* not found|resolve source metadata.*not found",
        message("the registry does not have the base image"),
        message(
            "they are removed at times: take its tag without a digest, or the next point release, with docker build "
            "--build-arg BASE=…"
        ),
    ),
    (
        r"(registry|docker\.io|Client\.Timeout).*(timeout|refused|no such host|deadline|EOF|canceled)|no such host",
        message("the registry of the base image cannot be reached"),
        message(
            "name a mirror in /etc/docker/daemon.json (registry-mirrors), or a proxy for the engine, or load the image"
        ),
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|x509:",
        message("a certificate was not trusted while building"),
        message("behind a proxy that opens TLS, copy its certificate into the folder as ca.crt and build again"),
    ),
    (
        r"No matching distribution found|Could not find a version",
        message("pip found no such package on the index that the build sees"),
        message("name yours: PIP_INDEX_URL or PIP_EXTRA_INDEX_URL in the environment, or --mirror"),
    ),
)


def refuse_tag(tag: str) -> None:
    """Raise errors.UsageProblem where a text is no name of an image."""
    if len(tag) > 255 or not _TAG.fullmatch(tag):
        raise errors.UsageProblem(
            say("{tag!r} is not the name of an image", tag=tag), say("it looks like torch-cu128 or me/torch:2.7.1")
        )


def ready(host: Host, stack: Stack, builder: Builder) -> str | None:
    """See whether the engine can build this now; give what may well go wrong, as a sentence.

    Raises:
        errors.MissingPart: no client, no engine, no permission, or no BuildKit where that is asked for.
    """
    found = engine.info(host)
    if builder == "buildkit" and _without_buildkit(host):
        raise errors.MissingPart(say(_FAILURES[0][1]), say(_FAILURES[0][2]))
    need = ROOM_GPU if stack.cuda or stack.variant.startswith(("rocm", "xpu")) else ROOM_CPU
    free = _free(host, found.docker_root_dir)
    if free is None or free >= need:
        return None
    return say(
        "{docker_root_dir} has {free:.1f} GB free, and the build takes up to {need:.0f} GB: docker system df shows "
        "what takes the rest",
        docker_root_dir=found.docker_root_dir,
        free=free / 1e9,
        need=need / 1e9,
    )


def _without_buildkit(host: Host) -> bool:
    """Tell whether this client cannot drive BuildKit: since Docker 23 a plug-in does it, before the client itself."""
    if host.run(("docker", "buildx", "version"), timeout=engine.TIMEOUT).returncode == 0:
        return False
    said = host.run(("docker", "--version"), timeout=engine.TIMEOUT).stdout
    major = re.search(r"version (\d+)", said)
    return major is None or int(major[1]) >= 23


def _free(host: Host, root: str | None) -> int | None:
    """Give the bytes that are free where images go; None: that is on another machine."""
    try:
        if not root or host.environ.get("DOCKER_HOST", "unix:").partition(":")[0] != "unix" or not host.kind(root):
            return None
        return host.space(root).free_bytes
    except OSError:
        return None


def build(
    folder: str, tag: str, base: str, builder: Builder, environ: Mapping[str, str], line: Callable[[str], None]
) -> BuiltImage:
    """Build the Dockerfile of a folder and give the image its name; each line of the builder is passed on.

    Raises:
        errors.NotVerified: it could not be built; the last words say why.
        TimeoutError: it took longer than TIMEOUT.
    """
    begun = time.monotonic()
    environ = {**environ, "BUILDKIT_PROGRESS": "plain"}
    if builder == "buildkit":
        environ["DOCKER_BUILDKIT"] = "1"
    status, said = run(command(folder, tag, builder, environ), line, timeout=TIMEOUT, environ=environ)
    if status:
        raise _failure(said)
    inspected = _inspect(tag, environ)
    if not inspected.id:
        raise errors.NotVerified(say("Docker says that it built {tag}, and does not have it", tag=tag))
    digests = _inspect(base, environ).repo_digests
    return BuiltImage(
        tag=tag,
        id=inspected.id,
        size_bytes=inspected.size,
        base=digests[0] if digests else None,
        seconds=round(time.monotonic() - begun, 1),
    )


def command(folder: str, tag: str, builder: Builder, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Give the words of `docker build`, with a person's proxy and index handed in by their names.

    An address on this machine itself is another one inside of a build, unless the build shares the host's network.
    """
    proxies = [name for each in _PROXIES for name in (each, each.lower()) if environ.get(name)]
    # Links to files may be a folder of this machine, which a build does not see.
    indexes = [name for name in _INDEXES if environ.get(name) and not environ[name].startswith(("/", "file:", "~"))]
    names = [*proxies, *indexes]
    reach = any(_LOOPBACK.search(environ[name]) for name in names if name.upper() != "NO_PROXY")
    words = ["docker", "build", "--tag", tag]
    if builder == "classic":
        words.append("--force-rm")  # a step that fails leaves no container behind; BuildKit has none
    if reach:
        words.append("--network=host")
    words += [word for name in names for word in ("--build-arg", name)]
    return (*words, "--", os.path.abspath(folder))


def _failure(said: list[str]) -> errors.EnvdoctorError:
    told = [text for text in (each.strip() for each in said) if text]
    last = told[-1][:300] if told else say("Docker said nothing")
    text = "\n".join(told[-60:])
    known = engine.refusal(text) if re.search(_ENGINES, text) else None
    if known is not None:
        return errors.NotVerified(
            say("the image was not built: {reason} ({last})", reason=known.message, last=last), known.hint
        )
    for words, what, hint in _FAILURES:
        if re.search(words, text, re.IGNORECASE):
            return errors.NotVerified(
                say("the image was not built: {reason} ({last})", reason=say(what), last=last), say(hint)
            )
    return errors.NotVerified(
        say("the image was not built: {last}", last=last), say("the log beside the Dockerfile has all of it")
    )


class _Inspected(msgspec.Struct, rename="pascal"):
    id: str = ""
    size: int = 0
    repo_digests: list[str] | None = None


def _inspect(image: str, environ: Mapping[str, str]) -> _Inspected:
    status, said = run(
        ("docker", "image", "inspect", "--format", "{{json .}}", "--", image), _silent, timeout=60.0, environ=environ
    )
    try:
        return msgspec.json.decode(said[-1], type=_Inspected) if status == 0 and said else _Inspected()
    except msgspec.MsgspecError:
        return _Inspected()


def _silent(line: str) -> None:
    """Take a line that is read once all of it is there."""
