"""Container: run the workloads inside an image, with nothing of the host mounted, and leave no container behind."""

from __future__ import annotations

import io
import os
import tarfile
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import IO, TYPE_CHECKING, Any, Literal

import msgspec

from envdoctor import errors
from envdoctor.host import engine
from envdoctor.host.watching import LINE_LIMIT, TAIL, Ended
from envdoctor.model import Record
from envdoctor.model.outcome import Outcome
from envdoctor.model.speech import say
from envdoctor.verify.runner import (
    SCRIPTS,
    SHARED,
    Listener,
    Progress,
    beside_prediction,
    log_path,
    refuse_unknown,
    script_of,
    words,
)
from envdoctor.verify.verdicts import Asked, verdict

if TYPE_CHECKING:
    import docker

Gpu = Literal["nvidia", "amd"]
FOLDER = "envdoctor-verify"  # in the container's root; copied in, never mounted
SHM = "1g"
_ENDING = 30.0  # seconds for the engine to say how a container ended
# Images call their Python differently; what an image starts by itself, such as a banner, is left out.
_START = 'exec "$(command -v python || command -v python3 || echo python)" "$@"'


class Asking(Record):
    """How the workloads are to run. `timeout` in seconds, `memory_cap` in bytes (None: no cap), for each of them."""

    device: str
    timeout: float
    memory_cap: int | None
    framework: str = "torch"
    gpu: Gpu | None = None  # what is handed in
    logs: str | None = None
    quick: bool = False
    thorough: bool = False


def run(
    client: docker.DockerClient,
    image: str,
    workloads: tuple[str, ...],
    asking: Asking,
    report: Callable[[Progress], None],
) -> tuple[Outcome, ...]:
    """Run workloads in containers of an image, one after the other, and give the outcome of each.

    A container has no network, no folder of the host, the image's own user, and goes away also after Ctrl-C.

    Raises:
        errors.UsageProblem: there is no such workload or no such image on the engine.
        errors.MissingPart: the engine cannot hand the GPU over.
        errors.Unreadable: the engine cannot start a container of this image.
    """
    import docker

    refuse_unknown(asking.framework, workloads)
    try:
        found = client.images.get(image)
    except docker.errors.ImageNotFound as problem:
        raise errors.UsageProblem(
            say("the Docker engine has no image {image}", image=image),
            say("docker pull {image}, or make one: envdoctor provision --build", image=image),
        ) from problem
    except docker.errors.APIError as problem:
        raise errors.UsageProblem(
            say("{image!r} is not the name of an image: {explanation}", image=image, explanation=problem.explanation)
        ) from problem
    if asking.logs is not None:
        os.makedirs(asking.logs, exist_ok=True)
    outcomes = []
    for name in workloads:
        log = log_path(asking.logs, asking.framework, name)
        with nullcontext() if log is None else open(log, "wb") as file:
            outcome = _one(client, found.id, image, name, asking, report, file)
        outcomes.append(msgspec.structs.replace(outcome, log=log))
    return tuple(outcomes)


def _one(
    client: docker.DockerClient,
    identity: str,
    image: str,
    name: str,
    asking: Asking,
    report: Callable[[Progress], None],
    log: IO[bytes] | None,
) -> Outcome:
    import docker

    listener = Listener(name, report)
    asked = Asked(
        workload=name,
        framework=asking.framework,
        device=asking.device,
        timeout=asking.timeout,
        memory_cap=asking.memory_cap,
    )
    container = None
    try:
        container = client.containers.create(identity, **_settings(name, asking))
        container.put_archive("/", _archive(asking.framework))
        ended = _follow(container, asking, listener, log)
    except docker.errors.APIError as problem:
        said = str(problem.explanation or problem)
        raise engine.refusal(said) or errors.Unreadable(
            say("{image} cannot be started: {said}", image=image, said=said[:300])
        ) from problem
    finally:
        if container is not None:
            _remove(container)
    outcome = verdict(asked, listener.heard(), ended)
    return beside_prediction(outcome, asked, listener.step.stage, quick=asking.quick, thorough=asking.thorough)


def _settings(name: str, asking: Asking) -> dict[str, Any]:
    from docker.types import DeviceRequest

    script = f"/{FOLDER}/{asking.framework}/{script_of(name)}"
    said = words(name, asking.device, quick=asking.quick, thorough=asking.thorough)
    settings: dict[str, Any] = {
        "entrypoint": ["sh", "-c", _START, "sh"],
        "command": [script, *said],
        "environment": {"PYTHONDONTWRITEBYTECODE": "1"},
        "network_mode": "none",
        "init": True,
        "shm_size": SHM,
        "security_opt": ["no-new-privileges:true"],
        "healthcheck": {"test": ["NONE"]},
        "labels": {"envdoctor.verify": name},
        "stdin_open": False,
    }
    if asking.memory_cap is not None:
        settings.update(mem_limit=asking.memory_cap, memswap_limit=asking.memory_cap)
    if asking.gpu == "nvidia":
        settings["device_requests"] = [DeviceRequest(count=-1, capabilities=[["gpu"]])]
    elif asking.gpu == "amd":
        settings.update(devices=["/dev/kfd", "/dev/dri"], group_add=["video"])
    return settings


def _archive(framework: str) -> bytes:
    """Pack the workloads, and what they share, so that every user of an image may read them."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        _pack(archive, FOLDER, None)
        for folder in (framework, SHARED):
            _pack(archive, f"{FOLDER}/{folder}", None)
            for name in sorted(os.listdir(os.path.join(SCRIPTS, folder))):
                if name.endswith(".py"):
                    with open(os.path.join(SCRIPTS, folder, name), "rb") as file:
                        _pack(archive, f"{FOLDER}/{folder}/{name}", file.read())
    return packed.getvalue()


def _pack(archive: tarfile.TarFile, name: str, content: bytes | None) -> None:
    """Add a file, or a folder where there is no content."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = (tarfile.DIRTYPE, 0o755) if content is None else (tarfile.REGTYPE, 0o644)
    entry.size = len(content or b"")
    archive.addfile(entry, io.BytesIO(content or b""))


def _follow(container: Any, asking: Asking, listener: Listener, log: IO[bytes] | None) -> Ended:
    """Start a container and take what it writes until it has ended; it is killed past the deadline."""
    # Before the start, so that nothing is missed. The SDK's own stream would leave its socket open.
    socket = container.attach_socket(params={"stdout": 1, "stderr": 1, "stream": 1})
    late = threading.Event()

    def kill() -> None:
        late.set()
        _quietly(container.kill)

    begun = time.monotonic()
    watchdog = threading.Timer(asking.timeout, kill)
    watchdog.daemon = True
    try:
        container.start()
        watchdog.start()
        tail = _take(socket, listener, log)
        status = int(container.wait(timeout=_ENDING)["StatusCode"])
    finally:
        watchdog.cancel()
        _close(socket)
    container.reload()
    full = bool(container.attrs["State"].get("OOMKilled")) and asking.memory_cap is not None
    return Ended(
        # An init process hands a signal on as 128 + its number, as a shell does.
        returncode=128 - status if 128 < status < 160 else status,
        cause="deadline" if late.is_set() else "memory" if full else "itself",
        seconds=time.monotonic() - begun,
        peak_bytes=(asking.memory_cap or 0) if full else 0,
        tail=tail.decode("utf-8", "replace"),
    )


def _close(socket: Any) -> None:
    """Close a stream of the engine's and the connection below it, which the SDK's object keeps open."""
    connection = getattr(socket, "_sock", None)
    socket.close()
    if connection is not None:
        connection.close()


def _take(socket: Any, listener: Listener, log: IO[bytes] | None) -> bytes:
    """Hand over each line of stdout, keep everything in the log, and give the end of stderr."""
    from docker.utils.socket import STDOUT, frames_iter

    part, tail = b"", b""
    for stream, data in frames_iter(socket, tty=False):
        if log is not None:
            log.write(data)
        if stream != STDOUT:
            tail = (tail + data)[-TAIL:]
            continue
        *whole, part = (part + data).split(b"\n")
        for line in whole:
            listener.line(line)
        if len(part) > LINE_LIMIT:
            part = b""
    if part:
        listener.line(part)
    return tail


def _remove(container: Any) -> None:
    _quietly(lambda: container.remove(force=True, v=True))


def _quietly(step: Callable[[], object]) -> None:
    """Take a step that fails where the container is gone already; nothing else can be done about it."""
    import docker
    import requests

    try:
        step()
    except (docker.errors.APIError, requests.RequestException):
        pass
