"""What Docker, Podman, Kubernetes and NVIDIA's container tools print when a container gets no GPU."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.version import at_least, readable
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import on_host
from envdoctor.rules.told import in_container, in_wsl, mentions, said

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
        r"(?i)/(?:var/)?snap/(?:bin/)?docker\b|snap\.docker|snap (?:list|install|remove|info|restart)[^\n]{0,20}docker|docker[^\n]{0,30}(?:from|via|by|with|using) (?:the )?snap\b",
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
        "Docker runs from a snap and does not see the host's NVIDIA container toolkit",
        "The toolkit is for Docker's own packages; a snap cannot use it. With both installed, either may answer after a reboot.",
        evidence=(line.evidence,),
        certainty="certain" if certain else None,
        fixes=(
            on_host(
                "Remove the snap, keep or install Docker's own packages, and set up the runtime anew.",
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
    supersedes=("MSG209", "MSG211", "MSG212", "MSG905", "MSG906"),
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
        r"(?i)nvidia-container-(?:runtime|runtime-hook|toolkit|cli)[^\n]{0,24}(?:executable file not found|no such file|: command not found)",
        r"(?i)unresolvable CDI devices|stat nvidia\.com/gpu|unknown flag: --gpus|unable to find CDI",
        r"(?i)nvidia-docker: command not found",
    )
    if line is None:
        return
    yield found(
        "The NVIDIA container toolkit is not installed on the host, or Docker was not restarted since",
        "The engine looks for it when it starts. The driver on the host is not the matter here.",
        evidence=(line.evidence,),
        fixes=(
            on_host(
                "Install nvidia-container-toolkit from NVIDIA's repository on the host, register it and restart Docker.",
                ("sudo", "nvidia-ctk", "runtime", "configure", "--runtime=docker"),
                ("sudo", "systemctl", "restart", "docker"),
                effect="needs-root",
                page=TOOLKIT,
            ),
        ),
    )


@rule(
    "MSG203",
    "container-runtime-not-nvidia",
    "error",
    needs=("problems",),
    supersedes=("MSG209", "MSG211"),
    sources=(TOOLKIT, "https://github.com/NVIDIA/k8s-device-plugin"),
)
def runtime_not_known(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The running container engine does not use NVIDIA's runtime.

    A runtime named in daemon.json is known only after the daemon is restarted. Kubernetes' device plugin itself has to
    run with that runtime, or it finds no libnvidia-ml and offers no GPU.

    Check: `docker info` lists nvidia under Runtimes; in Kubernetes the plugin's log names the cards.
    """
    line = said(
        machine,
        r"(?i)unknown (?:or invalid )?runtime(?: specified| name)?:?[^\n]{0,6}nvidia",
        r"(?i)runtime[^\n]{0,20}\"?nvidia\"?[^\n]{0,20}(?:not found|is not (?:known|registered|configured)|no such)",
        r"(?i)no runtime for \"?nvidia|RuntimeHandler \"?nvidia\"? not supported",
        r"(?i)If this is a GPU node, did you (?:set the docker default runtime|configure the NVIDIA Container Toolkit)",
        r"(?i)(?:could not load|failed to initialize) NVML[^\n]{0,80}(?:device[- ]plugin|libnvidia-ml|ERROR_LIBRARY_NOT_FOUND)",
        r"(?i)Incompatible (?:platform|strategy) detected|No devices found\. Waiting indefinitely|Detected non-NVML platform",
        r"(?i)Insufficient nvidia\.com/gpu|nvidia\.com/gpu:? +0\b",
    )
    if line is None:
        return
    yield found(
        "The container engine that runs does not know or use NVIDIA's runtime",
        "An entry in its settings counts only once the daemon was restarted; Kubernetes needs it as default runtime or by RuntimeClass.",
        evidence=(line.evidence,),
        fixes=(
            on_host(
                "Register the runtime and restart the engine; for Kubernetes set it as the default one in the same way.",
                ("sudo", "nvidia-ctk", "runtime", "configure", "--runtime=docker"),
                ("sudo", "systemctl", "daemon-reload"),
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
    sources=(
        "https://github.com/NVIDIA/libnvidia-container/issues/111",
        "https://github.com/NVIDIA/libnvidia-container/releases",
    ),
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
        r"(?i)nvidia-container-cli[^\n]{0,60}cgroup[^\n]{0,60}(?:not found|no such file|not supported)",
    )
    if line is None:
        return
    yield found(
        "libnvidia-container is too old for a host with cgroup v2",
        "Support for cgroup v2 came with libnvidia-container 1.8.",
        evidence=(line.evidence,),
        fixes=(
            on_host(
                "Update nvidia-container-toolkit and libnvidia-container to 1.8 or newer.",
                effect="needs-root",
                page=TOOLKIT,
            ),
            on_host(
                "Or start the host with the kernel parameter systemd.unified_cgroup_hierarchy=0.", effect="needs-reboot"
            ),
        ),
    )


@rule(
    "MSG205",
    "container-driver-root-wrong",
    "error",
    certainty="likely",
    needs=("problems",),
    sources=(TROUBLE, "https://docs.nvidia.com/datacenter/cloud-native/gpu-operator/latest/troubleshooting.html"),
)
def driver_root(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The container tools look for the driver's libraries in the wrong place.

    nvidia-container-cli loads libnvidia-ml from the root that its config.toml names. With a driver in a container, as
    the GPU operator has it, that is /run/nvidia/driver; with one on the host it is /. An engine inside a virtual
    machine, as Docker Desktop for Linux, has no driver at all.

    Check: `nvidia-container-cli -k -d /dev/tty info` names the driver's version.
    """
    line = said(
        machine,
        r"(?i)nvidia-container-cli[^\n]{0,80}load library failed: libnvidia-ml\.so\.1[^\n]{0,60}",
        r"(?i)initialization error: load library failed: libnvidia-ml",
        r"(?i)nvidia-container-cli[^\n]{0,80}(?:open failed|stat failed|mount error)[^\n]{0,60}/run/nvidia/driver",
        r"(?i)/run/nvidia/driver[^\n]{0,60}(?:no such file|not found)",
    )
    if line is None:
        return
    yield found(
        "The container tools do not find the driver's libnvidia-ml where they look for it",
        "Their setting `root` in config.toml, or an engine in a virtual machine, points to a place without the driver.",
        evidence=(line.evidence,),
        fixes=(
            on_host(
                "Correct or comment out root= in /etc/nvidia-container-runtime/config.toml and restart the engine; "
                "with Docker Desktop use Docker's engine packages instead.",
                ("sudo", "systemctl", "restart", "docker"),
                effect="needs-root",
                page=TROUBLE,
            ),
        ),
    )


@rule(
    "MSG206",
    "container-driver-too-old",
    "error",
    needs=("problems",),
    supersedes=("DRV007", "MSG215"),
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
    offered, wanted = machine.driver.cuda if machine.driver else None, line[1]
    if "cuda" in line.words[0] and offered and readable(offered) and readable(wanted) and at_least(offered, wanted):
        yield found(
            f"The container tools refuse CUDA {wanted} although the driver offers {offered}",
            "The requirement is met, so the tools have read a lower number than nvidia-smi: a defect of that release, seen in WSL."
            if in_wsl(machine)
            else "The requirement is met, so the tools have read a lower number than nvidia-smi shows.",
            evidence=(line.evidence, "driver.cuda"),
            certainty="likely",
            slug="known-broken-release",
            fixes=(
                on_host(
                    "Update the container toolkit, or leave the check out: -e NVIDIA_DISABLE_REQUIRE=1.",
                    page=SPECIALIZED,
                ),
            ),
        )
        return
    shown = f"; this driver offers {offered}" if offered else ""
    yield found(
        f"The host's driver is too old for this image, which asks for {line.words[0].rpartition(': ')[2][:60]}",
        f"The check stands before the container's start{shown}.",
        evidence=(line.evidence, *(("driver.version",) if machine.driver and machine.driver.version else ())),
        fixes=(
            on_host(
                "Update the NVIDIA driver of the host, or take an image for the CUDA that the driver offers.",
                effect="needs-reboot",
                page=SPECIALIZED,
            ),
        ),
    )


@rule(
    "MSG207",
    "container-device-revoked",
    "error",
    needs=("problems",),
    supersedes=("MSG211", "MSG209", "MSG305"),
    sources=(TROUBLE, "https://github.com/NVIDIA/nvidia-container-toolkit/issues/48"),
)
def device_revoked(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A running container lost its access to the GPU.

    With systemd in charge of cgroups, `systemctl daemon-reload` on the host writes the device rules anew, and those
    that NVIDIA's hook had added are gone. NVML then answers with an unknown error until the container is restarted.

    Check: `nvidia-smi` in the container, after a daemon-reload on the host.
    """
    line = said(machine, r"Failed to initialize NVML: Unknown Error")
    if line is None:
        return
    yield found(
        "The container lost access to the GPU while it ran",
        "A reload of systemd on the host drops device rules that were added behind its back.",
        evidence=(line.evidence,),
        certainty="certain" if in_container(machine) else "likely",
        fixes=(
            on_host("Restart the container.", effect="safe"),
            on_host(
                'To keep it from coming back, use CDI, or set "exec-opts": ["native.cgroupdriver=cgroupfs"] in daemon.json.',
                effect="needs-root",
                page=TROUBLE,
            ),
        ),
    )


@rule(
    "MSG208",
    "container-driver-capabilities-missing",
    "error",
    certainty="likely",
    needs=("problems",),
    supersedes=("MSG401", "MSG402", "MSG211", "MSG212"),
    sources=(SPECIALIZED,),
)
def capabilities(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The container was given only a part of the driver: NVIDIA_DRIVER_CAPABILITIES leaves out what is needed.

    `utility` brings nvidia-smi, `compute` libcuda, `video` libnvcuvid and libnvidia-encode, `graphics` GL and Vulkan.
    Without the variable a container gets utility and compute.

    Check: `ls /usr/lib/x86_64-linux-gnu/libnvidia-encode.so.1 /usr/lib/x86_64-linux-gnu/libcuda.so.1` in the container.
    """
    if not in_container(machine):
        return
    granted = machine.variable("NVIDIA_DRIVER_CAPABILITIES")
    line = said(
        machine,
        r"(?i)(?:cannot load|could not (?:dynamically )?load|cannot open|unable to load|failed to load|no such file)[^\n]{0,40}lib(?:nvcuvid|nvidia-encode|nvoptix|GLX_nvidia|EGL_nvidia)",
        r"(?i)lib(?:nvcuvid|nvidia-encode|nvoptix|GLX_nvidia|EGL_nvidia)\.so[^\n]{0,40}(?:cannot open|not found|no such)",
    ) or (
        said(
            machine,
            r"(?i)libcuda\.so(?:\.1)?[^\n]{0,40}(?:cannot open|not found)",
            r"(?i)CUDA[^\n]{0,60}(?:not available|no CUDA|unavailable|False)",
            r"NVIDIA_DRIVER_CAPABILITIES",
        )
        if granted is not None and granted not in ("all", "") and "compute" not in granted
        else None
    )
    if line is None:
        return
    yield found(
        "The container was started without the driver capability that this needs",
        f"NVIDIA_DRIVER_CAPABILITIES is “{granted}”."
        if granted
        else "By default video and graphics libraries are left out.",
        evidence=(line.evidence,),
        fixes=(
            on_host(
                "Start the container with -e NVIDIA_DRIVER_CAPABILITIES=all, or compute,utility,video.",
                page=SPECIALIZED,
            ),
        ),
    )


@rule(
    "MSG209",
    "container-without-gpu",
    "error",
    needs=("problems",),
    supersedes=("MSG211", "MSG212", "MSG214", "MSG905", "MSG906", "MSG401"),
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
    if line is None and mentions(
        machine,
        r"docker (?:run|exec|compose|build)|docker-compose|in(?:side)? (?:a |the |my )?(?:docker|container)|podman run|kubectl|\bpod\b",
    ):
        unseen = said(
            machine,
            r"Found no NVIDIA driver on your system",
            r"(?i)nvidia-smi[^\n]{0,30}(?:command not found|executable file not found|not found in \$PATH)",
            r"(?i)kernel driver does not appear to be running",
            r"(?i)libcuda\.so\.1: cannot open",
            r"(?i)no CUDA-capable device is detected|CUDA_ERROR_NO_DEVICE",
        )
        asked = mentions(
            machine, r"--gpus|--runtime[= ]nvidia|nvidia-docker|driver: nvidia|--device nvidia|/dev/nvidia"
        )
        line = unseen if unseen and not asked else None
    if line is None:
        return
    yield found(
        "The container was started without access to the GPU",
        "Nothing in the image is at fault; the engine has to be asked for the GPU.",
        evidence=(line.evidence,),
        certainty="certain" if certain else "likely",
        fixes=(
            on_host(
                "Start it with --gpus all (compose: a device request with the driver nvidia); the host needs nvidia-container-toolkit.",
                page=DOCKER,
            ),
        ),
    )


@rule(
    "MSG210",
    "persistence-mode-off",
    "error",
    needs=("problems",),
    sources=("https://docs.nvidia.com/deploy/driver-persistence/index.html", TROUBLE),
)
def start_timed_out(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The driver needed longer to start the GPUs than the container tools wait.

    Without persistence the driver lets a GPU go when its last user leaves and starts it again for the next one. With
    many GPUs that takes longer than the hook's limit.

    Check: `nvidia-smi -q | grep Persistence` says Enabled.
    """
    line = said(
        machine,
        r"(?i)(?:initialization|driver) error: (?:driver error: )?timed out",
        r"(?i)driver rpc error: timed out",
        r"(?i)nvidia-container-cli[^\n]{0,40}timed out",
    )
    if line is None:
        return
    yield found(
        "The driver starts the GPUs anew for each container, and that took too long",
        "With persistence the driver stays loaded, and the check at a container's start answers at once.",
        evidence=(line.evidence,),
        fixes=(
            on_host(
                "Run nvidia-persistenced as a service.",
                ("sudo", "systemctl", "enable", "--now", "nvidia-persistenced"),
                effect="needs-root",
            ),
        ),
    )
