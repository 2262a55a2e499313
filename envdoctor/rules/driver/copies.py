"""Further copies of the driver's libraries: left over, or baked into an image."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.wording import listed

_TOOLKIT = "https://github.com/NVIDIA/cloud-native-docs/blob/main/container-toolkit/docker-specialized.md"


def _others(machine: Snapshot) -> dict[str, str]:
    """Give path and release of copies that are not of the driver's release; stubs and compat folders are deliberate."""
    driver = machine.driver
    if driver is None or not driver.version:
        return {}
    releases = {path: release_of(path) for path in driver.copies if "/compat/" not in path and "/stubs/" not in path}
    return {path: release for path, release in releases.items() if release and release != driver.version}


def release_of(path: str) -> str | None:
    """Read the driver's release from a library's file name; None: the name bears none, as in WSL.

    >>> release_of("/usr/lib/libcuda.so.570.124.06"), release_of("/usr/lib/wsl/lib/libcuda.so.1.1")
    ('570.124.06', None)
    """
    tail = path.rpartition("/")[2].partition(".so.")[2]
    number = tail.partition(".")[0]
    return tail if len(number) >= 3 and tail.replace(".", "").isdigit() and "." in tail else None


@rule(
    "DRV017",
    "driver-library-copies",
    "warning",
    needs=("driver.version", "driver.copies", "driver.libcuda_path", "system.container"),
    sources=(
        "https://github.com/oddmario/NVIDIA-Ubuntu-Driver-Guide/issues/4",
        "https://github.com/NVIDIA/open-gpu-kernel-modules/blob/main/README.md",
    ),
)
def several_driver_libraries(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Libraries of another driver release are on the loader's path.

    The first match wins, so today the right one is loaded; a changed LD_LIBRARY_PATH or an `ldconfig` may turn that
    around. They are mostly left over from NVIDIA's installer beside packages of the distribution.

    Check: `ldconfig -p` lists libcuda.so.1 and libnvidia-ml.so.1 once for each kind of processor.
    Silent about links to one file, 32-bit copies, stubs and cuda-compat; and in containers, where CTR012 speaks. Where
    the first match is the wrong one, DRV006 says it.
    """
    system, driver = machine.system, machine.driver
    others = _others(machine)
    if not others or driver is None or (system and system.container):
        return
    if any(own and own != driver.version for own in (driver.libcuda_version, driver.nvml_version)):
        return
    yield found(
        say(
            "Libraries of driver {others} lie beside those of {version}: {files}",
            others=listed(dict.fromkeys(others.values())),
            version=driver.version,
            files=listed(list(others)[:3]),
        ),
        say(
            "Programs load the right ones today. The others are left over from another installation and can take "
            "their place."
        ),
        evidence=("driver.copies", "driver.version"),
        fixes=(
            Fix(
                summary=say(
                    "Find out who owns them, remove that installation (NVIDIA's own installer has nvidia-uninstall), "
                    "and rebuild the loader's cache."
                ),
                commands=(("ldconfig", "-p"), ("sudo", "ldconfig")),
                effect="needs-root",
            ),
        ),
    )


@rule(
    "CTR012",
    "image-carries-driver-libraries",
    "warning",
    needs=("driver.version", "driver.copies", "driver.libcuda_version", "system.container"),
    sources=(_TOOLKIT, "https://github.com/NVIDIA/nvidia-docker/issues/1515"),
)
def image_brings_driver_libraries(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The image carries libraries of an NVIDIA driver of its own.

    A container gets the driver's libraries from its host. A copy that was installed into the image (by the packages
    cuda, cuda-drivers or nvidia-driver) is of another release sooner or later, and may be loaded instead.

    Check: `ldconfig -p` in the container lists libcuda.so.1 once.
    Silent outside of containers and about cuda-compat, which belongs there.
    """
    system = machine.system
    others = _others(machine)
    if not others or system is None or system.container is None or machine.driver is None:
        return
    yield found(
        say(
            "This image carries libraries of driver {others}; the host's driver is {version}",
            others=listed(dict.fromkeys(others.values())),
            version=machine.driver.version,
        ),
        say(
            "Driver libraries come from the host. {others} can be loaded in their place, and then CUDA fails.",
            others=listed(list(others)[:3]),
        ),
        evidence=("driver.copies", "driver.version", "system.container.kind"),
        fixes=(
            Fix(
                summary=say(
                    "In the Dockerfile, install cuda-toolkit-X-Y or runtime packages; never cuda, cuda-drivers or "
                    "nvidia-driver."
                )
            ),
        ),
    )
