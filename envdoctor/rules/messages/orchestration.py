"""What Docker, Kubernetes and drivers print when a container had a GPU and lost it, or its start took too long."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import on_host
from envdoctor.rules.told import NO_DEVICE, in_container, mentions, said

TOOLKIT = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html"
TROUBLE = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/troubleshooting.html"
DOCKER = "https://docs.docker.com/engine/containers/gpu/"
SPECIALIZED = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/docker-specialized.html"


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
        (
            r"(?i)\bruntime[: ]{1,2}[\"'`]?nvidia\b(?!-)[^\n]{0,20}(?:not found|is not (?:known|registered|configured)"
            r"|no such)"
        ),
        r"(?i)no runtime for \"?nvidia|RuntimeHandler \"?nvidia\"? not supported",
        r"(?i)If this is a GPU node, did you (?:set the docker default runtime|configure the NVIDIA Container Toolkit)",
        (
            r"(?i)(?:could not load|failed to initialize) NVML[^\n]{0,80}(?:device[- ]plugin|"
            r"libnvidia-ml|ERROR_LIBRARY_NOT_FOUND)"
        ),
        (
            r"(?i)Incompatible (?:platform|strategy) detected|No devices found\. Waiting "
            r"indefinitely|Detected non-NVML platform"
        ),
        r"(?i)Insufficient nvidia\.com/gpu|nvidia\.com/gpu:? +0\b",
    )
    if line is None and mentions(machine, r"device[- ]plugin"):
        line = said(
            machine, r"(?i)could not load NVML|failed to initialize NVML|libnvidia-ml\.so[^\n]{0,30}cannot open"
        )
    if line is None:
        return
    yield found(
        say("The container engine that runs does not know or use NVIDIA's runtime"),
        say(
            "An entry in its settings counts only once the daemon was restarted; Kubernetes needs it as default "
            "runtime or by RuntimeClass."
        ),
        evidence=(line.evidence,),
        fixes=(
            on_host(
                say(
                    "Register the runtime and restart the engine; for Kubernetes set it as the default one in the "
                    "same way."
                ),
                ("sudo", "nvidia-ctk", "runtime", "configure", "--runtime=docker"),
                ("sudo", "systemctl", "daemon-reload"),
                ("sudo", "systemctl", "restart", "docker"),
                effect="needs-root",
                page=TOOLKIT,
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
        say("The container tools do not find the driver's libnvidia-ml where they look for it"),
        say(
            "Their setting `root` in config.toml, or an engine in a virtual machine, points to a place without the "
            "driver."
        ),
        evidence=(line.evidence,),
        fixes=(
            on_host(
                say(
                    "Correct or comment out root= in /etc/nvidia-container-runtime/config.toml and restart the "
                    "engine; with Docker Desktop use Docker's engine packages instead."
                ),
                ("sudo", "systemctl", "restart", "docker"),
                effect="needs-root",
                page=TROUBLE,
            ),
        ),
    )


@rule(
    "MSG207",
    "container-device-revoked",
    "error",
    needs=("problems",),
    supersedes=("MSG211", "MSG209"),
    sources=(TROUBLE, "https://github.com/NVIDIA/nvidia-docker/issues/1730"),
)
def device_revoked(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A running container lost its access to the GPU.

    With systemd in charge of cgroups, `systemctl daemon-reload` on the host writes the device rules anew, and those
    that NVIDIA's hook had added are gone. NVML then answers with an unknown error until the container is restarted.

    Check: `nvidia-smi` in the container, after a daemon-reload on the host.
    """
    line = said(machine, r"(?i)Failed to initialize NVML: Unknown Error|NVMLError_Unknown\b")
    if line is None and in_container(machine) and mentions(machine, r"daemon-reload"):
        line = said(machine, NO_DEVICE)
    if line is None:
        return
    yield found(
        say("The container lost access to the GPU while it ran"),
        say("A reload of systemd on the host drops device rules that were added behind its back."),
        evidence=(line.evidence,),
        certainty="certain" if in_container(machine) else "likely",
        fixes=(
            on_host(say("Restart the container."), effect="safe"),
            on_host(
                say(
                    'To keep it from coming back, use CDI, or set "exec-opts": ["native.cgroupdriver=cgroupfs"] '
                    "in daemon.json."
                ),
                effect="needs-root",
                page=TROUBLE,
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
        say("The driver starts the GPUs anew for each container, and that took too long"),
        say("With persistence the driver stays loaded, and the check at a container's start answers at once."),
        evidence=(line.evidence,),
        fixes=(
            on_host(
                say("Run nvidia-persistenced as a service."),
                ("sudo", "systemctl", "enable", "--now", "nvidia-persistenced"),
                effect="needs-root",
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
        (
            r"(?i)(?:cannot load|could not (?:dynamically )?load|cannot open|unable to "
            r"load|failed to load|no such file)[^\n]{0,40}lib(?:nvcuvid|nvidia-encode|"
            r"nvoptix|GLX_nvidia|EGL_nvidia)"
        ),
        (
            r"(?i)lib(?:nvcuvid|nvidia-encode|nvoptix|GLX_nvidia|EGL_nvidia)\.so[^\n]{0,40}(?:cannot "
            r"open|not found|no such)"
        ),
        r"(?i)NVENC library file is not found|Please ensure NV driver is installed",
        r"(?i)(?:fail\w*|cannot|unable)[^\n]{0,12} load(?:ing)? (?:lib)?(?:nvcuvid|nvenc|nvidia-encode)",
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
        say("The container was started without the driver capability that this needs"),
        say("NVIDIA_DRIVER_CAPABILITIES is “{granted}”.", granted=granted)
        if granted
        else say("By default video and graphics libraries are left out."),
        evidence=(line.evidence,),
        fixes=(
            on_host(
                say("Start the container with -e NVIDIA_DRIVER_CAPABILITIES=all, or compute,utility,video."),
                page=SPECIALIZED,
            ),
        ),
    )
