"""Container engines of this machine: whether they can hand GPUs to their containers."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Docker, Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import os_packages
from envdoctor.rules.wording import listed

_INSTALL = "https://github.com/NVIDIA/cloud-native-docs/blob/main/container-toolkit/install-guide.md"
_CDI = "https://github.com/NVIDIA/cloud-native-docs/blob/main/container-toolkit/cdi-support.md"


def _engine(machine: Snapshot) -> Docker | None:
    """Give the engines of a host whose NVIDIA driver works, outside of containers."""
    system, driver = machine.system, machine.driver
    if system is None or system.container is not None or system.os != "linux" or machine.docker is None:
        return None
    return machine.docker if driver is not None and driver.nvml == 0 and not machine.docker.desktop else None


@rule(
    "CTR006",
    "container-toolkit-missing",
    "warning",
    needs=("docker", "driver.nvml", "system.container"),
    sources=(_INSTALL,),
)
def toolkit_is_missing(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Docker is here, and the NVIDIA Container Toolkit that hands GPUs to containers is not.

    Without it `docker run --gpus all` stops with "could not select device driver".

    Needed, for GPUs in containers only: the package nvidia-container-toolkit.
    Check: `docker run --rm --gpus all ubuntu nvidia-smi`.
    Silent with Docker Desktop, which brings its own way, in containers, and without a working NVIDIA driver.
    """
    docker = _engine(machine)
    if docker is None or docker.toolkit or not (docker.engine or docker.podman):
        return
    names = ("nvidia-container-toolkit",)
    install = os_packages(machine, {"ubuntu": names, "debian": names, "fedora": names, "rhel": names, "suse": names})
    configure = (
        ("sudo", "nvidia-ctk", "runtime", "configure", "--runtime=docker"),
        ("sudo", "systemctl", "restart", "docker"),
    )
    yield found(
        say(
            "The NVIDIA Container Toolkit is missing, so {engine} hands no GPU over",
            engine="Docker" if docker.engine else "Podman",
        ),
        say("`docker run --gpus all` stops with “could not select device driver”.")
        + (
            " " + say("This Docker was installed by snap and does not see a toolkit of the system.")
            if docker.snap
            else ""
        ),
        evidence=("docker.engine", "docker.toolkit"),
        slug="docker-from-snap" if docker.snap else None,
        fixes=(
            Fix(
                summary=say(
                    "If you use the GPU in containers: add NVIDIA's repository, then install and configure it."
                ),
                commands=(*install, *(configure if docker.engine else ())),
                effect="needs-root",
                page=_INSTALL,
            ),
        ),
    )


@rule(
    "CTR007",
    "container-runtime-not-nvidia",
    "warning",
    needs=("docker", "driver.nvml", "system.container"),
    sources=(_INSTALL,),
)
def runtime_is_not_set_up(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Docker has not taken its configuration for GPUs: it cannot be read, or is younger than the running Docker.

    A daemon.json with an error keeps Docker from starting, or from learning of the NVIDIA runtime. What is changed in
    it counts from the next start of Docker on.

    Check: `docker info` lists the runtime nvidia.
    Only likely where the file is younger, since a reload may have passed the runtimes on; and said only where the file
    names the NVIDIA runtime or CDI. A missing entry for the runtime is not reported: `--gpus` works without it, and
    only `--runtime=nvidia` needs it.
    """
    docker = _engine(machine)
    if docker is None:
        return
    restart = ("sudo", "systemctl", "restart", "docker")
    if docker.restart_due and not docker.fault and ("nvidia" in (docker.runtimes or ()) or docker.cdi_feature):
        yield found(
            say("Docker runs since before its /etc/docker/daemon.json was changed"),
            say("What the file says of NVIDIA's runtime or of CDI counts from the next start of Docker on."),
            evidence=("docker.restart_due", "docker.runtimes"),
            certainty="likely",
            fixes=(
                Fix(
                    summary=say("Restart Docker; its running containers stop, unless live-restore is on."),
                    commands=(restart,),
                    effect="needs-root",
                ),
            ),
        )
    if not docker.fault:
        return
    yield found(
        say("Docker's /etc/docker/daemon.json is not JSON that can be read"),
        say(
            "The reader says: {fault}. Docker does not start with it, or keeps its old settings.",
            fault=docker.fault[:120],
        ),
        evidence=("docker.fault",),
        fixes=(
            Fix(
                summary=say("Correct the file, then restart Docker."),
                commands=(restart,),
                effect="needs-root",
            ),
        ),
    )


@rule(
    "CTR008",
    "container-description-outdated",
    "warning",
    needs=("docker.cdi", "driver.version", "driver.nvml", "system.container"),
    sources=(_CDI,),
)
def cdi_is_older_than_driver(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The CDI description of the GPUs names the files of another driver release.

    Podman, and Docker with CDI, hand a GPU over by a list of files with version numbers. After an update of the driver
    the old list names files that are gone.

    Check: `nvidia-ctk cdi list`, and a start of a container.
    Silent where there is no such description, and in WSL, whose files bear no version.
    """
    docker, driver = _engine(machine), machine.driver
    if docker is None or driver is None or machine.wsl:
        return
    old = [
        (i, each)
        for i, each in enumerate(docker.cdi)
        if each.driver and driver.version and each.driver != driver.version
    ]
    if not old:
        return
    yield found(
        say(
            "{old} names files of driver {driver}; {version} runs",
            old=listed(each.path for _, each in old),
            driver=old[0][1].driver,
            version=driver.version,
        ),
        say("Containers that are handed a GPU by it do not start, or find no driver."),
        evidence=(*(f"docker.cdi[{i}].driver" for i, _ in old), "driver.version"),
        fixes=(
            Fix(
                summary=say("Write the description anew."),
                commands=(("sudo", "nvidia-ctk", "cdi", "generate", f"--output={old[0][1].path}"),),
                effect="needs-root",
                page=_CDI,
            ),
        ),
    )
