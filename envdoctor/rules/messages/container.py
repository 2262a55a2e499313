"""What Docker, Podman, Kubernetes and NVIDIA's container tools print when a container gets no GPU."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.fit import branch_offers, driver_runs
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import at_least, readable
from envdoctor.rules.messages.absent import SMI_FAILED
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import on_host
from envdoctor.rules.told import NO_DEVICE, Said, built_for, in_container, in_wsl, mentions, said, unseen

TOOLKIT = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html"
TROUBLE = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/troubleshooting.html"
DOCKER = "https://docs.docker.com/engine/containers/gpu/"
SPECIALIZED = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/docker-specialized.html"


@rule(
    "MSG201",
    "docker-from-snap",
    "error",
    certainty="likely",
    needs=("problems",),
    supersedes=("MSG202", "MSG203", "MSG205", "MSG207"),
    sources=("https://github.com/canonical/docker-snap", TROUBLE),
)
def snap(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Docker comes from a snap, which sees neither the host's container toolkit nor its driver.

    A snap has a file system of its own: nvidia-container-runtime, installed on the host, is not there, and the
    daemon's settings are below /var/snap. Where Docker's own packages are installed as well, whichever daemon started
    first after a reboot answers.

    Check: `snap list docker` says that there is none, and `docker info` names the nvidia runtime.
    Likely where the toolkit is installed and the daemon does not find it.
    """
    line = said(
        machine,
        (
            r"(?i)/(?:var/)?snap/(?:bin/)?docker\b|snap\.docker|snap (?:list|install|remove|"
            r"info|restart)[^\n]{0,20}docker|docker[^\n]{0,30}(?:from|via|by|with|using)"
            r" (?:the )?snap\b|(?m:^docker +\d\S+ +\d+ +\S*(?:stable|edge|candidate|beta)\b)"
        ),
    )
    certain = line is not None
    if line is None:
        refused = said(machine, r"could not select device driver", r"[Uu]nknown (?:or invalid )?runtime")
        there = said(
            machine,
            r"(?i)(?:nvidia-container-cli|nvidia-ctk)[^\n]{0,40}\n?[^\n]{0,20}(?:cli-)?version:? ?1\.\d+",
            r"(?m)^ii +nvidia-(?:container-toolkit|docker2)\b",
        )
        again = mentions(machine, r"(?:re)?boot|restart|worked (?:before|right after|once)")
        line = refused if refused and there and again else None
    if line is None or not in_container(machine):
        return
    yield found(
        say("Docker runs from a snap and does not see the host's NVIDIA container toolkit"),
        say(
            "The toolkit is for Docker's own packages; a snap cannot use it. With both installed, either may answer "
            "after a reboot."
        ),
        evidence=(line.evidence,),
        certainty="certain" if certain else None,
        fixes=(
            on_host(
                say("Remove the snap, keep or install Docker's own packages, and set up the runtime anew."),
                ("sudo", "snap", "remove", "docker"),
                ("sudo", "nvidia-ctk", "runtime", "configure", "--runtime=docker"),
                ("sudo", "systemctl", "restart", "docker"),
                effect="needs-root",
                page=TOOLKIT,
            ),
        ),
    )


@rule(
    "MSG202",
    "container-toolkit-missing",
    "error",
    needs=("problems",),
    supersedes=("MSG209", "MSG211", "MSG212", "MSG905"),
    sources=(TOOLKIT, DOCKER),
)
def toolkit_missing(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The NVIDIA container toolkit is not installed, or the engine does not know of it.

    Docker answers --gpus with the program nvidia-container-runtime-hook; where that is not found when the daemon
    starts, no device driver with the capability gpu exists. Podman needs a CDI description of the cards instead.

    Check: `nvidia-ctk --version` on the host, then `docker run --rm --gpus all ubuntu nvidia-smi`.
    """
    line = said(
        machine,
        r"could not select device driver[^\n]{0,40}capabilities[^\n]{0,10}gpu",
        r"could not select device driver",
        (
            r"(?i)nvidia-container-(?:runtime|runtime-hook|toolkit|cli)[^\n]{0,24}(?:executable "
            r"file not found|no such file|: command not found)"
        ),
        r"(?i)unresolvable CDI devices|stat nvidia\.com/gpu|unknown flag: --gpus|unable to find CDI",
        r"(?i)stat'?ing file [^\n]{0,4}nvidia\.com/gpu|GPU vendor from CDI|no known GPU vendor found",
        r"(?i)nvidia-docker: command not found",
    )
    if line is None:
        return
    yield found(
        say("The NVIDIA container toolkit is not installed on the host, or Docker was not restarted since"),
        say("The engine looks for it when it starts. The driver on the host is not the matter here."),
        evidence=(line.evidence,),
        fixes=(
            on_host(
                say(
                    "Install nvidia-container-toolkit from NVIDIA's repository on the host, register it and restart "
                    "Docker."
                ),
                ("sudo", "nvidia-ctk", "runtime", "configure", "--runtime=docker"),
                ("sudo", "systemctl", "restart", "docker"),
                effect="needs-root",
                page=TOOLKIT,
            ),
        ),
    )


@rule(
    "MSG204",
    "container-cgroup-v2-unsupported",
    "error",
    needs=("problems",),
    sources=("https://github.com/NVIDIA/libnvidia-container/releases",),
)
def cgroup_v2(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """This libnvidia-container does not know cgroup v2, and the host has nothing else.

    Up to 1.7 it grants devices through the hierarchy of cgroup v1. Distributions with systemd 247 and newer mount v2
    alone, where there is no such subsystem.

    Check: `nvidia-container-cli --version` shows 1.8 or newer.
    """
    line = said(
        machine,
        r"cgroup subsystem devices not found",
        r"(?i)failed to get device cgroup|no cgroup filesystem mounted",
        r"(?i)nvidia-container-cli[^\n]{0,60}cgroup[^\n]{0,60}(?:not found|no such file|not supported)",
    )
    if line is None:
        return
    yield found(
        say("libnvidia-container is too old for a host with cgroup v2"),
        say("Support for cgroup v2 came with libnvidia-container 1.8."),
        evidence=(line.evidence,),
        fixes=(
            on_host(
                say("Update nvidia-container-toolkit and libnvidia-container to 1.8 or newer."),
                effect="needs-root",
                page=TOOLKIT,
            ),
            on_host(
                say("Or start the host with the kernel parameter systemd.unified_cgroup_hierarchy=0."),
                effect="needs-reboot",
            ),
        ),
    )


@rule(
    "MSG206",
    "container-driver-too-old",
    "error",
    needs=("problems",),
    supersedes=("DRV007",),
    sources=(SPECIALIZED, "https://docs.nvidia.com/deploy/cuda-compatibility/"),
)
def image_wants_newer_driver(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The host's driver does not meet what the image asks for.

    NVIDIA's images name the CUDA they need in NVIDIA_REQUIRE_CUDA, and the container tools compare it with what the
    driver offers before the container starts.

    Check: nvidia-smi on the host shows at least the CUDA version that the image asks for.
    Where the driver does offer it, the tools have read a wrong number, which is a defect of their release.
    """
    line = said(
        machine,
        r"unsatisfied condition: cuda ?>= ?(\d+(?:\.\d+)?)",
        r"unsatisfied condition: ([\w>=<. ,]{2,60})",
        r"(?i)container was built for NVIDIA Driver Release (\d+[\d.]*) or later[^\n]{0,80}",
        r"(?i)requires? (?:NVIDIA )?driver (?:release|version) (\d{3}[\d.]*)[^\n]{0,40}(?:but|or later)",
    )
    if line is None:
        return
    driver, wanted = machine.driver, line.group(1)
    offered = driver.cuda if driver else None
    if offered is None and driver and driver.version and readable(driver.version):
        offered = branch_offers(facts, driver.version)
    if "cuda" in line.words[0] and offered and readable(offered) and readable(wanted) and at_least(offered, wanted):
        yield found(
            say(
                "The container tools refuse CUDA {wanted} although the driver offers {offered}",
                wanted=wanted,
                offered=offered,
            ),
            say(
                "The requirement is met, so the tools have read a lower number than nvidia-smi: a defect of that "
                "release, seen in WSL."
            )
            if in_wsl(machine)
            else say("The requirement is met, so the tools have read a lower number than nvidia-smi shows."),
            evidence=(line.evidence, "driver.version" if driver and driver.version else "driver.cuda"),
            certainty="likely",
            slug="known-broken-release",
            fixes=(
                on_host(
                    say("Update the container toolkit, or leave the check out: -e NVIDIA_DISABLE_REQUIRE=1."),
                    page=SPECIALIZED,
                ),
            ),
        )
        return
    yield found(
        say(
            "The host's driver is too old for this image, which asks for {wanted}",
            wanted=line.words[0].rpartition(": ")[2][:60],
        ),
        say("The check stands before the container's start; this driver offers {offered}.", offered=offered)
        if offered
        else say("The check stands before the container's start."),
        evidence=(line.evidence, *(("driver.version",) if machine.driver and machine.driver.version else ())),
        fixes=(
            on_host(
                say("Update the NVIDIA driver of the host, or take an image for the CUDA that the driver offers."),
                effect="needs-reboot",
                page=SPECIALIZED,
            ),
        ),
    )


@rule(
    "MSG209",
    "container-without-gpu",
    "error",
    needs=("problems",),
    supersedes=("MSG211", "MSG212", "MSG214", "MSG905", "MSG401"),
    sources=(DOCKER, SPECIALIZED),
)
def started_without(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The container was started without access to a GPU.

    An engine hands GPUs over only when asked: --gpus all, a device request in compose, a resource limit in
    Kubernetes. NVIDIA's images say at their start that no driver was detected.

    Check: `docker run --rm --gpus all IMAGE nvidia-smi` shows the card.
    Likely where a container shows no driver and the host is said to have one.
    """
    line = said(
        machine,
        r"The NVIDIA Driver was not detected",
        r"(?i)Use (?:'nvidia-docker run'|the NVIDIA Container Toolkit) to start this container",
    )
    certain = line is not None
    given = machine.variable("NVIDIA_VISIBLE_DEVICES")
    if line is None and mentions(
        machine,
        (
            r"docker (?:run|exec|compose|build)|docker-compose|(?<!not )(?<!n't )\b(?:with)?in(?:side)? (?:a |the |"
            r"my )?(?:docker|container)|podman run|kubectl|\bpod\b|容器"
        ),
    ):
        line = None if _asked(machine) or _other_reason(machine, facts) else _unseen_inside(machine)
    if line is None and given in ("void", "none", ""):
        line = unseen(machine) or said(machine, NO_DEVICE)
        certain = line is not None
    if line is None:
        return
    yield found(
        say("The container was started without access to the GPU"),
        say("Nothing in the image is at fault; the engine has to be asked for the GPU."),
        evidence=(line.evidence,),
        certainty="certain" if certain else "likely",
        fixes=(
            on_host(
                say(
                    "Start it with --gpus all (compose: a device request with the driver nvidia); the host needs "
                    "nvidia-container-toolkit."
                ),
                page=DOCKER,
            ),
        ),
    )


def _unseen_inside(machine: Snapshot) -> Said | None:
    """Find what programs in a container print where nothing of the driver was handed in."""
    return said(
        machine,
        r"Found no NVIDIA driver on your system",
        r"(?i)nvidia-smi[^\n]{0,30}(?:command not found|executable file not found|not found in \$PATH)",
        r"(?i)kernel driver does not appear to be running",
        r"(?i)libcuda\.so\.1: cannot open|couldn't find libnvidia-ml\.so",
        r"(?i)No CUDA runtime is found|Failed to infer device type|no compatible GPUs|Torch is not able to use GPU",
        r"(?i)is_available\(\)[^\n]{0,40}\n?[^\n]{0,12}\bFalse\b|list_physical_devices\([^\n]{0,30}\n?[^\n]{0,6}\[\]",
        NO_DEVICE,
    )


def _asked(machine: Snapshot) -> bool:
    """Tell whether the engine was asked for a GPU, in any of its ways."""
    return mentions(
        machine,
        r"--gpus|--runtime[= ]nvidia|nvidia-docker|driver: nvidia|--device[= ]nvidia|/dev/nvidia|nvidia\.com/gpu"
        r"|runtime: nvidia|capabilities: ?\[|device_ids|default-runtime|--nv\b|NVIDIA_VISIBLE_DEVICES[=:] ?(?:all|\d)",
    )


def _other_reason(machine: Snapshot, facts: Knowledge) -> bool:
    """Tell whether the versions explain an unused GPU by themselves: a CPU build, or a driver that is too old."""
    torch = machine.python.framework("torch") if machine.python else None
    if (torch and torch.gpu_build is False) or said(machine, SMI_FAILED):
        return True  # a container without a GPU has no nvidia-smi either, so this one speaks of the host
    driver, needed = machine.driver, built_for(machine, facts)
    version = readable(driver.version) if driver else None
    return bool(version and needed and driver_runs(facts, needed, version, "linux") is False)
