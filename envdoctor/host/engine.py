"""The container engine of this machine: how it is reached, what it offers, and why it refuses, in words to act on."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import msgspec

from envdoctor import errors
from envdoctor.host import Host
from envdoctor.model.speech import message, say

if TYPE_CHECKING:
    import docker

INSTALL = "https://docs.docker.com/engine/install/"
TOOLKIT = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html"
TIMEOUT = 60.0  # an engine that begins with the first question needs seconds

# What is said when something is missing -> what that is, and what to do.
_REFUSALS = (
    (
        r"permission denied",
        message("you may not talk to the Docker engine at {address}"),
        message(
            'sudo usermod -aG docker "$USER", then log in again (that group is as powerful as root); '
            "or start it rootless"
        ),
    ),
    (
        r"cannot connect|connection refused|no such file|is the docker daemon running|connection aborted",
        message("no Docker engine answers at {address}"),
        message("start it: sudo systemctl start docker, or Docker Desktop; to install it: {install}"),
    ),
    (
        r"could not select device driver|nvidia-container|libnvidia-container|unresolvable CDI",
        message("the Docker engine cannot hand the GPU to a container"),
        message("install and configure the NVIDIA Container Toolkit ({toolkit}), or use --device cpu"),
    ),
    (
        r"no space left on device",
        message("the disk of the Docker engine is full"),
        message("docker system df shows what takes it, docker system prune removes what no container uses"),
    ),
)


class EngineInfo(msgspec.Struct, rename="pascal"):
    """The parts of `docker info` that decide."""

    runtimes: dict[str, object] | None = None
    docker_root_dir: str | None = None
    server_version: str | None = None
    server_errors: list[str] | None = None
    cdi_spec_dirs: list[str] | None = msgspec.field(default=None, name="CDISpecDirs")


def refusal(said: str, address: str | None = None) -> errors.EnvdoctorError | None:
    """Find what an engine's words mean; None: they are not known.

    >>> str(refusal("dial unix /run/docker.sock: connect: permission denied", "unix:///run/docker.sock"))
    'you may not talk to the Docker engine at unix:///run/docker.sock'
    """
    for words, what, hint in _REFUSALS:
        if re.search(words, said, re.IGNORECASE):
            return errors.MissingPart(
                say(what, address=address or _address(said)), say(hint, install=INSTALL, toolkit=TOOLKIT)
            )
    return None


def _address(said: str) -> str:
    found = re.search(r"(unix|tcp|npipe|ssh)://[^\s:\"']+(:\d+)?", said)
    return found[0].rstrip(".") if found else os.environ.get("DOCKER_HOST") or say("its usual socket")


def info(host: Host) -> EngineInfo:
    """Ask the engine through Docker's client what it offers.

    Raises:
        errors.MissingPart: there is no client, no engine, or no permission.
    """
    try:
        answer = host.run(("docker", "info", "--format", "{{json .}}"), timeout=TIMEOUT)
    except (FileNotFoundError, PermissionError) as problem:
        raise errors.MissingPart(
            say("Docker's client, the program docker, is not here"), say("install it: {install}", install=INSTALL)
        ) from (problem)
    except TimeoutError as problem:
        raise errors.MissingPart(
            say("the Docker engine gives no answer"), say("restart it: sudo systemctl restart docker")
        ) from (problem)
    try:
        found = msgspec.json.decode(answer.stdout, type=EngineInfo)
    except msgspec.MsgspecError:
        found = EngineInfo()
    if answer.returncode or found.server_errors or not found.server_version:
        said = " ".join([*(found.server_errors or ()), answer.stderr.strip()])
        raise refusal(said) or errors.MissingPart(
            say("the Docker engine gives no answer: {said}", said=said[:200]), INSTALL
        )
    return found


def client() -> docker.DockerClient:
    """Open the engine that Docker's own client would use, by DOCKER_HOST or the chosen context.

    Raises:
        errors.MissingPart: the SDK is not installed, there is no engine, or no permission.
    """
    try:
        import docker
    except ImportError as problem:
        raise errors.MissingPart(
            say("running workloads in an image needs Docker's SDK for Python"), say("pip install 'envdoctor[docker]'")
        ) from problem
    address = os.environ.get("DOCKER_HOST") or _context_host()
    try:
        if os.environ.get("DOCKER_HOST") or address is None:
            opened = docker.from_env(timeout=int(TIMEOUT))
        else:
            opened = docker.DockerClient(base_url=address, timeout=int(TIMEOUT))
        opened.ping()
    except (docker.errors.DockerException, OSError) as problem:
        raise (
            refusal(str(problem), address)
            or errors.MissingPart(
                say("the Docker engine gives no answer: {problem}", problem=str(problem)[:200]), INSTALL
            )
        ) from problem
    return opened


def _context_host() -> str | None:
    """Give the address of the context that `docker context use` chose; None: the usual socket."""
    from docker.context import ContextAPI

    try:
        chosen = ContextAPI.get_current_context()
    except Exception:  # a damaged file of the client's is not ours to judge, and the usual socket may well answer
        return None
    found = chosen.Host if chosen is not None and not chosen.TLSConfig else None
    return str(found) if found else None
