"""Container engines of this machine, and what hands its GPUs to their containers."""

from __future__ import annotations

import re

import msgspec

from envdoctor.host import Host, names
from envdoctor.host import text as read_text
from envdoctor.model.snapshot import Cdi, Docker, Snapshot
from envdoctor.probes import Place, Probe, commands
from envdoctor.probes.partial import Gaps

DAEMON = "/etc/docker/daemon.json"
_SOCKETS = ("/run/docker.sock", "/var/run/docker.sock")
_PROCESS = ("/run/docker.pid", "/var/run/docker.pid")  # dockerd writes it when it starts
_TOOLKIT = ("nvidia-ctk", "nvidia-container-cli", "nvidia-container-runtime")
_CDI = ("/etc/cdi", "/var/run/cdi", "/run/cdi")
_DESKTOP = "/mnt/wsl/docker-desktop"


def read(host: Host, place: Place | None) -> Snapshot:
    """Describe the engines; None where there is none, which costs a few looks at names."""
    del place
    docker = next(commands.found(host, "docker"), None)
    socket = any(host.kind(path) is not None for path in _SOCKETS)
    podman = next(commands.found(host, "podman"), None)
    if not (docker or socket or podman):
        return Snapshot()
    gaps = Gaps("engines")
    content = gaps.ask("docker.runtimes", lambda: read_text(host, DAEMON, 1 << 18))
    runtimes, cdi, fault = parse_daemon(content) if content is not None else (None, None, None)
    return Snapshot(
        docker=Docker(
            engine=bool(docker or socket),
            snap=bool(docker and host.realpath(docker).startswith(("/snap/", "/usr/bin/snap"))),
            podman=podman is not None,
            desktop=host.kind(_DESKTOP) is not None,
            toolkit=next(commands.found(host, *_TOOLKIT), None) is not None,
            runtimes=runtimes,
            fault=fault,
            restart_due=None if content is None else gaps.ask("docker.restart_due", lambda: _restart_due(host)),
            cdi_feature=cdi,
            cdi=gaps.ask("docker.cdi", lambda: _descriptions(host)) or (),
        ),
        gaps=tuple(gaps.found),
        origins={
            "docker": "PATH, /run",
            "docker.runtimes": DAEMON,
            "docker.fault": DAEMON,
            "docker.restart_due": f"times of {DAEMON} and {_PROCESS[0]}",
            "docker.cdi": ", ".join(_CDI),
        },
    )


PROBE = Probe("engines", ("docker",), read)


def _restart_due(host: Host) -> bool | None:
    """Tell whether daemon.json is younger than the process that should have read it."""
    written = host.node(DAEMON)
    started = next((node for path in _PROCESS if (node := host.node(path)) is not None), None)
    if written is None or written.changed is None or started is None or started.changed is None:
        return None
    return written.changed > started.changed


def parse_daemon(content: str) -> tuple[tuple[str, ...] | None, bool | None, str | None]:
    """Read daemon.json: the runtimes it names, whether it switches CDI on, and what is wrong with it.

    >>> parse_daemon('{"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}}')
    (('nvidia',), None, None)
    """
    try:
        document = msgspec.json.decode(content or "{}", type=dict[str, object])
    except msgspec.MsgspecError as problem:
        return (), None, str(problem)
    runtimes, features = document.get("runtimes"), document.get("features")
    switched = features.get("cdi") if isinstance(features, dict) else None
    names = tuple(str(name) for name in runtimes) if isinstance(runtimes, dict) else ()
    return names, switched if isinstance(switched, bool) else None, None


def _descriptions(host: Host) -> tuple[Cdi, ...]:
    found: dict[str, Cdi] = {}
    for folder in _CDI:
        for name in names(host, folder):
            if "nvidia" in name and name.endswith((".yaml", ".json")):
                path = host.realpath(f"{folder}/{name}")
                found[path] = Cdi(path=path, driver=driver_of(read_text(host, path, 1 << 20) or ""))
    return tuple(found.values())


def driver_of(description: str) -> str | None:
    """Give the release of the driver's library that a CDI description names.

    >>> driver_of("- hostPath: /usr/lib/x86_64-linux-gnu/libcuda.so.570.124.06")
    '570.124.06'
    """
    found = re.search(r"libcuda\.so\.(\d{3,}(?:\.\d+)+)", description)
    return found[1] if found else None
