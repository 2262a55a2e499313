"""Containers that were given a GPU, or parts of one: what is missing, taken away again, or forbidden."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import compare, readable
from envdoctor.rules.frameworks.installed import TORCH, torch
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import on_host
from envdoctor.rules.wording import listed

_TOOLKIT = "https://github.com/NVIDIA/cloud-native-docs/blob/main/container-toolkit/docker-specialized.md"
_TROUBLE = "https://github.com/NVIDIA/cloud-native-docs/blob/main/container-toolkit/troubleshooting.md"
_ROCM = "https://github.com/ROCm/rocm-install-on-linux/blob/develop/docs/how-to/docker.rst"


def _inside(machine: Snapshot) -> bool:
    return machine.system is not None and machine.system.container is not None and machine.wsl is None


@rule(
    "CTR002",
    "container-driver-capabilities-missing",
    "error",
    needs=("system.container", "driver.device_nodes", "driver.libcuda_path", "variables"),
    supersedes=("DRV018", "TORCH001"),
    sources=(_TOOLKIT,),
)
def capabilities_lack_compute(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The container was given the GPU's device files, and not the driver's CUDA library.

    NVIDIA_DRIVER_CAPABILITIES chooses which parts of the driver are handed over. Without compute, libcuda is not among
    them; without utility, nvidia-smi and NVML are not.

    Check: `ldconfig -p` in the container lists libcuda.so.1.
    The libraries decide, not the variable: unset means both, and CDI hands over everything.
    """
    driver = machine.driver
    if driver is None or not _inside(machine) or "/dev/nvidiactl" not in (driver.device_nodes or ()):
        return
    lacking = [("compute", driver.libcuda_path), ("utility", driver.nvml_path)]
    missing = [name for name, path in lacking if path is None]
    if not missing:
        return
    asked = machine.variable("NVIDIA_DRIVER_CAPABILITIES")
    yield found(
        say(
            "This container has the GPU's device files, and not the driver's libraries for {missing}",
            missing=listed(missing),
        ),
        " ".join(
            (
                *((say("NVIDIA_DRIVER_CAPABILITIES is {asked!r} here.", asked=asked),) if asked is not None else ()),
                say("No CUDA program can start.")
                if "compute" in missing
                else say("nvidia-smi is not available; CUDA works."),
            )
        ),
        evidence=(
            "driver.device_nodes",
            *(("driver.libcuda_path",) if "compute" in missing else ("driver.nvml_path",)),
            *(("variables.NVIDIA_DRIVER_CAPABILITIES",) if asked is not None else ()),
        ),
        severity=None if "compute" in missing else "warning",
        fixes=(
            on_host(
                say("Start the container again with both (IMAGE is yours)."),
                ("docker", "run", "--gpus", "all", "-e", "NVIDIA_DRIVER_CAPABILITIES=compute,utility", "IMAGE"),
                page=_TOOLKIT,
            ),
        ),
    )


@rule(
    "CTR003",
    "container-driver-too-old",
    "error",
    needs=("system.container", "variables", "driver.version", "driver.cuda"),
    sources=(_TOOLKIT,),
)
def image_demands_newer_driver(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The image asks for a newer driver than the host has.

    CUDA images say in NVIDIA_REQUIRE_CUDA what they need; blanks in it stand between alternatives, commas between
    conditions. The runtime refuses to start such a container, unless the check is switched off.

    Check: `docker image inspect` of the image shows the variable.
    Conditions on the brand or on anything else that cannot be judged here count as met. Silent with
    NVIDIA_DISABLE_REQUIRE.
    """
    value, driver = machine.variable("NVIDIA_REQUIRE_CUDA"), machine.driver
    if not value or driver is None or not _inside(machine) or machine.variable("NVIDIA_DISABLE_REQUIRE"):
        return
    version = readable(driver.version)
    offered = readable(driver.cuda) or (facts.driver_cuda(version) if version else None)
    have = {"cuda": offered, "driver": version}
    ways = [way.split(",") for way in value.split()]
    if not offered or not ways or any(all(_met(each, have) for each in way) for way in ways):
        return
    first = ways[0][0]
    yield found(
        say(
            "This image asks for {wanted}, and driver {version} offers CUDA {offered}",
            wanted=first,
            version=driver.version,
            offered=offered,
        ),
        say("The host's driver is older than the CUDA in the image; programs of the image may not start."),
        evidence=("variables.NVIDIA_REQUIRE_CUDA", "driver.version"),
        fixes=(on_host(say("Update the host's driver, or take an image with an older CUDA."), page=_TOOLKIT),),
    )


def _met(condition: str, have: dict[str, str | None]) -> bool:
    for sign in (">=", "<=", "!=", ">", "<", "="):
        name, found_sign, wanted = condition.partition(sign)
        if not found_sign:
            continue
        own = have.get(name.strip())
        if own is None or not readable(wanted):
            return True
        ordered = compare(own, wanted)
        return {">=": ordered >= 0, "<=": ordered <= 0, "!=": ordered != 0, ">": ordered > 0, "<": ordered < 0}.get(
            sign, ordered == 0
        )
    return True


@rule(
    "CTR009",
    "container-device-revoked",
    "error",
    needs=("system.container", "devices", "driver.nvml"),
    supersedes=("DRV013", "DRV014", "CTR010", "TORCH001", "HW000"),
    sources=(_TROUBLE, "https://github.com/NVIDIA/go-nvml/blob/main/gen/nvml/nvml.h"),
)
def device_was_taken_away(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The running container has lost its GPU: its device files may no longer be opened.

    `systemctl daemon-reload` on the host rewrites the rules of running containers and drops what Docker added for the
    GPU. nvidia-smi then says "Failed to initialize NVML: Unknown Error".

    Check: a new container sees the GPU.
    Judged by really opening /dev/nvidiactl, which the permissions allow and the kernel refuses with EPERM.
    """
    driver = machine.driver
    refused = [
        (place, each)
        for place, each in enumerate(machine.devices)
        if each.path.startswith("/dev/nvidia") and each.refused == "EPERM"
    ]
    if driver is None or driver.nvml == 0 or not refused or not _inside(machine):
        return
    yield found(
        say(
            "This container had a GPU and has lost it: the kernel no longer lets it open {refused}",
            refused=listed(each.path for _, each in refused),
        ),
        say(
            "The permissions are there, so the host took the device out of the container's rules; a reload of systemd "
            "does that."
        ),
        evidence=tuple(
            f"devices[{place}].{field}" for place, _ in refused[:1] for field in ("path", "mode", "refused")
        ),
        fixes=(
            on_host(
                say(
                    "Start a new container (IMAGE is yours). To prevent it: hand GPUs over by CDI, or name the devices."
                ),
                ("docker", "run", "--device", "nvidia.com/gpu=all", "IMAGE"),
                page=_TROUBLE,
            ),
        ),
    )


@rule(
    "CTR010",
    "container-denied-by-selinux",
    "warning",
    certainty="likely",
    needs=("system.container", "devices", "driver.nvml"),
    sources=(_TROUBLE,),
)
def selinux_denies_the_device(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The container may not open the GPU's device files although everybody may: probably SELinux forbids it.

    Enforcing SELinux lets containers open devices of their own label only, and NVML reports a lack of permission.

    Check: `getenforce` on the host, and its audit log.
    Judged by permissions that allow everybody and an opening that is refused with EACCES.
    """
    driver = machine.driver
    refused = [
        (place, each)
        for place, each in enumerate(machine.devices)
        if each.path.startswith("/dev/nvidia") and each.refused == "EACCES" and (each.mode or 0) & 0o006 == 0o006
    ]
    if driver is None or driver.nvml == 0 or not refused or not _inside(machine):
        return
    yield found(
        say("This container may not open {path} although its permissions allow it", path=refused[0][1].path),
        say("SELinux on the host probably forbids it."),
        evidence=tuple(f"devices[{refused[0][0]}].{field}" for field in ("path", "mode", "refused")),
        fixes=(
            on_host(say("Allow containers to use devices."), ("sudo", "setsebool", "-P", "container_use_devices", "1")),
            on_host(
                say("Or start this container without the labels (IMAGE is yours)."),
                ("podman", "run", "--security-opt=label=disable", "IMAGE"),
            ),
        ),
    )


@rule(
    "CTR011",
    "container-without-gpu",
    "error",
    needs=("system.container", "variables", "driver.device_nodes", "gpus.index"),
    sources=(_TOOLKIT,),
)
def visible_devices_name_no_gpu(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """NVIDIA_VISIBLE_DEVICES hands no GPU to this container.

    The variable chooses the GPUs: none hands over the driver's tools without a GPU, void nothing at all.

    Check: `ls /dev/nvidia*` in the container.
    The device files decide: Kubernetes sets void and hands devices over in another way. Without /dev/nvidiactl CTR001
    tells it.
    """
    value, driver = machine.variable("NVIDIA_VISIBLE_DEVICES"), machine.driver
    if value not in ("none", "void", "") or driver is None or not _inside(machine) or driver.device_nodes is None:
        return
    cards = [path for path in driver.device_nodes if path.removeprefix("/dev/nvidia").isdigit()]
    if cards or "/dev/nvidiactl" not in driver.device_nodes:
        return
    yield found(
        say("NVIDIA_VISIBLE_DEVICES={setting} hands no GPU to this container", setting=value),
        say("The driver's own files are here, and those of no card."),
        evidence=("variables.NVIDIA_VISIBLE_DEVICES", "driver.device_nodes"),
        fixes=(
            on_host(
                say("Start the container again with the GPUs (IMAGE is yours)."),
                ("docker", "run", "--gpus", "all", "-e", "NVIDIA_VISIBLE_DEVICES=all", "IMAGE"),
            ),
        ),
    )


@rule(
    "CTR013",
    "rocm-container-without-devices",
    "error",
    needs=("system.container", "devices", "pythons.frameworks"),
    sources=(_ROCM,),
)
def rocm_devices_are_missing(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A PyTorch for AMD GPUs runs in a container that was not given the GPU's device files.

    AMD GPUs are handed over as plain devices: /dev/kfd and /dev/dri. Without them HIP reports no device.

    Check: `ls /dev/kfd /dev/dri`.
    A refusal for lack of a group is AMD002. A test on the processor needs none of it, so this may be as it should.
    """
    framework = torch(machine)
    if framework is None or not framework.hip or not _inside(machine):
        return
    there = [each.path for each in machine.devices]
    missing = [name for name in ("/dev/kfd", "/dev/dri") if not any(path.startswith(name) for path in there)]
    if not missing:
        return
    yield found(
        say("This container has a PyTorch for AMD GPUs, and not {missing}", missing=listed(missing)),
        say("AMD GPUs reach a container as these device files."),
        evidence=(f"{TORCH}.hip", "devices"),
        fixes=(
            on_host(
                say("Start the container again with the devices (IMAGE is yours)."),
                (
                    *("docker", "run", "--device", "/dev/kfd", "--device", "/dev/dri"),
                    *("--group-add", "video", "--group-add", "render", "--ipc=host", "IMAGE"),
                ),
                page=_ROCM,
            ),
        ),
    )
