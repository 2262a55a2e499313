"""The user half of the NVIDIA driver: whether it is installed, and of the same release as the kernel half."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.fit import branch_offers, last_branch
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.targets import capability_of
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Driver, Gpu, Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import at_least, compare, major, readable
from envdoctor.rules.consequences import GPU_UNSEEN
from envdoctor.rules.driver.absence import on_bare_linux
from envdoctor.rules.driver.packages import consumer, install_driver
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import (
    Command,
    on_host,
    os_packages,
    reboot,
    set_variable,
    unset_variable,
)
from envdoctor.rules.wording import listed

_NVML = "https://github.com/NVIDIA/go-nvml/blob/main/gen/nvml/nvml.h"
_OPEN_MODULES = "https://github.com/NVIDIA/open-gpu-kernel-modules/blob/main/README.md"

# Return codes of NVML.
_LIBRARY_NOT_FOUND, _MISMATCH = 12, 18


def _on_linux(machine: Snapshot) -> bool:
    return machine.system is not None and machine.system.os == "linux" and machine.system.wsl is None


def _from_variable(machine: Snapshot, path: str) -> str | None:
    """Name the folder of LD_LIBRARY_PATH that a library was taken from, or None."""
    folder = path.rpartition("/")[0]
    if folder.startswith(("/usr/lib", "/lib")):
        return None  # the distribution's own folders, whoever names them
    return next((each for each in _folders(machine) if each.rstrip("/") == folder), None)


def _folders(machine: Snapshot) -> list[str]:
    return [each for each in (machine.variable("LD_LIBRARY_PATH") or "").split(":") if each]


def _stray(machine: Snapshot, driver: Driver) -> bool:
    """Tell whether libcuda comes from a compat folder or from LD_LIBRARY_PATH: no part of the installed driver."""
    path = driver.libcuda_path or ""
    return "/compat/" in path or _from_variable(machine, path) is not None


@rule(
    "DRV006",
    "driver-library-mismatch",
    "error",
    needs=("driver.module_loaded", "system.wsl", "system.container"),
    supersedes=("DRV007", "DRV008", "DRV012", "DRV013", "DRV014", "DRV018", *GPU_UNSEEN),
    sources=(
        _NVML,
        _OPEN_MODULES,
        "https://github.com/NVIDIA/ubuntu-packaging-nvidia-driver/issues/3",
        "https://github.com/oddmario/NVIDIA-Ubuntu-Driver-Guide/issues/4",
    ),
)
def halves_differ(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The loaded kernel module and the driver's libraries are of different releases.

    The module and its libraries must be the very same release. A package update replaces the files while the old module
    stays in memory until the next start; then nvidia-smi says "Driver/library version mismatch".

    Check: /sys/module/nvidia/version equals the number in the name that libnvidia-ml.so.1 points to.
    Silent in WSL, whose library bears no number, where NVML answers, and about copies in compat folders or in
    LD_LIBRARY_PATH (DRV009).
    """
    driver = machine.driver
    if driver is None or not driver.module_loaded or not _on_linux(machine):
        return
    files = []
    if driver.nvml != 0 and driver.nvml_version and driver.nvml_version != driver.version:
        files.append("nvml")
    if driver.libcuda_version and driver.libcuda_version != driver.version and not _stray(machine, driver):
        files.append("libcuda")
    if driver.version is None:
        files = []  # nothing to compare with; NVML's own answer is all there is
    if driver.nvml != _MISMATCH and not files:
        return
    versions = sorted({str(getattr(driver, f"{each}_version")) for each in files})
    yield found(
        say(
            "The loaded nvidia module is {version}, the driver's libraries are {versions}",
            version=driver.version,
            versions=listed(versions),
        )
        if versions
        else say(
            "The loaded nvidia module and the driver's libraries are of different releases (module {version})",
            version=driver.version,
        )
        if driver.version
        else say("The loaded nvidia module and the driver's libraries are of different releases"),
        say(
            "Both halves must be the very same release; most often an update replaced the files while the old module "
            "stayed loaded."
        )
        + (
            " " + say("NVML answers with error 18 (driver/library version mismatch).")
            if driver.nvml == _MISMATCH
            else ""
        )
        + (
            " " + say("The library found is {libcuda_path}.", libcuda_path=driver.libcuda_path)
            if files == ["libcuda"]
            else ""
        ),
        evidence=(
            *(("driver.version",) if driver.version else ()),
            *(f"driver.{each}_{part}" for each in files for part in ("version", "path")),
            *(("driver.nvml",) if driver.nvml == _MISMATCH else ()),
        ),
        fixes=_same_release(machine, driver),
    )


def _same_release(machine: Snapshot, driver: Driver) -> tuple[Fix, ...]:
    folder = _from_variable(machine, driver.nvml_path or "")
    if folder:
        return (_without_folder(machine, folder),)
    if machine.system and machine.system.container:
        return (
            on_host(
                say("The libraries were handed over when the container started: start it again (CONTAINER is yours)."),
                ("docker", "restart", "CONTAINER"),
            ),
        )
    return (
        reboot(say("Restart the machine; it then loads the module that belongs to the libraries.")),
        Fix(
            summary=say("Without a restart, once no program and no desktop uses the GPU: load the module anew."),
            commands=(
                ("sudo", "systemctl", "isolate", "multi-user.target"),
                ("sudo", "rmmod", "nvidia_drm", "nvidia_modeset", "nvidia_uvm", "nvidia"),
                ("sudo", "modprobe", "nvidia"),
                ("sudo", "modprobe", "nvidia_uvm"),
            ),
            effect="needs-root",
        ),
    )


def _without_folder(machine: Snapshot, folder: str) -> Fix:
    others = [each for each in _folders(machine) if each != folder]
    command = (
        set_variable(machine, "LD_LIBRARY_PATH", ":".join(others))
        if others
        else unset_variable(machine, "LD_LIBRARY_PATH")
    )
    return Fix(
        summary=say("Take {folder} out of LD_LIBRARY_PATH, here and where it is set.", folder=folder),
        commands=(command,),
    )


@rule(
    "DRV009",
    "cuda-compat-misused",
    "error",
    needs=("driver.version", "gpus.name"),
    supersedes=("DRV006", "DRV007", "DRV008", *GPU_UNSEEN),
    sources=(
        "https://docs.nvidia.com/deploy/cuda-compatibility/forward-compatibility.html",
        "https://github.com/NVIDIA/nvidia-docker/issues/1515",
        "https://github.com/Dr-Noob/gpufetch/issues/53",
        "https://github.com/oobabooga/textgen/issues/4407",
    ),
)
def compat_library_misused(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Programs load a libcuda that does not belong to the driver, and this card does not allow that.

    NVIDIA's cuda-compat packages, and images that hold them, bring a newer libcuda for an older driver. That is meant
    for data-centre cards; GeForce and TITAN cards refuse it with error 804, and a card that the newer release dropped
    is not seen by it at all. Any other copy of libcuda must be the very release of the driver (error 803).

    Check: the folder of the first libcuda.so.1 that the loader finds, and the number in its name.
    Silent on data-centre cards, where the copy is the driver's own release or an older compat library, and where the
    kind of card is not known. A note on workstation cards, of which NVIDIA lists some as able to.
    """
    driver = machine.driver
    version = readable(driver.version) if driver else None
    if driver is None or version is None or not _on_linux(machine):
        return
    if driver.libcuda_path is None:
        yield from _compat_by_number(machine, facts, driver, version)
        return
    library = readable(driver.libcuda_version)
    if library is None or not _stray(machine, driver) or compare(library, version) == 0:
        return
    evidence = ("driver.libcuda_path", "driver.libcuda_version", "driver.version")
    if "/compat/" in driver.libcuda_path:
        if major(library) > major(version):
            yield from _refused(
                machine, facts, major(library), say("libcuda {library} of a compat folder", library=library), evidence
            )
        return
    yield found(
        say(
            "Programs load libcuda {library} from LD_LIBRARY_PATH, but the driver is {version}",
            library=library,
            version=version,
        ),
        say(
            "Outside of compat folders libcuda must be the very release of the kernel module, or every CUDA call "
            "fails with error 803. The copy that wins is {libcuda_path}.",
            libcuda_path=driver.libcuda_path,
        ),
        evidence=(*evidence, "variables.LD_LIBRARY_PATH"),
        fixes=_own_libcuda(machine, facts),
    )


def _compat_by_number(machine: Snapshot, facts: Knowledge, driver: Driver, version: str) -> Iterator[Found]:
    """Judge by the CUDA that nvidia-smi showed: more than the driver's branch offers comes from a compat library."""
    own = branch_offers(facts, version)
    offered = readable(driver.cuda)
    if own is None or offered is None or at_least(own, offered):
        return
    branch = next((row.branch for row in facts.driver_branches if row.cuda == offered), None)
    if branch:
        for each in _refused(
            machine,
            facts,
            branch,
            say("a compat libcuda for CUDA {offered}", offered=offered),
            ("driver.cuda", "driver.version"),
        ):
            yield each._replace(severity=each.severity or "warning", certainty="likely")


def _refused(
    machine: Snapshot, facts: Knowledge, branch: int, library: str, evidence: tuple[str, ...]
) -> Iterator[Found]:
    version = machine.driver.version if machine.driver else None
    for place, gpu in enumerate(machine.gpus):
        reason = _refusal(gpu, facts, branch) if gpu.vendor == "nvidia" else None
        if reason is None:
            continue
        yield found(
            say(
                "Programs load {library}, which does not go with {name} and driver {version}",
                library=library,
                name=gpu.name,
                version=version,
            ),
            reason,
            evidence=(*evidence, f"gpus[{place}].name"),
            severity=None if consumer(gpu) or _dropped(gpu, facts, branch) else "note",
            fixes=_own_libcuda(machine, facts),
        )
        return  # one card is enough: the library and the way out are the same for all


def _refusal(gpu: Gpu, facts: Knowledge, branch: int) -> str | None:
    if _dropped(gpu, facts, branch):
        return say(
            "Driver branch {branch}, which this libcuda is from, no longer knows this card, so it finds no device.",
            branch=branch,
        )
    if consumer(gpu):
        return say("A newer libcuda on an older driver is for data-centre cards; this one refuses it with error 804.")
    if any(word in (gpu.name or "") for word in ("Quadro", "RTX A", "RTX PRO", "Ada Generation")):
        return say(
            "A newer libcuda on an older driver works on some workstation cards only; error 804 means that it does not."
        )
    return None


def _dropped(gpu: Gpu, facts: Knowledge, branch: int) -> bool:
    own = capability_of(gpu, facts)
    last = last_branch(facts, (own,)) if own else None
    return last is not None and branch > last


def _own_libcuda(machine: Snapshot, facts: Knowledge) -> tuple[Fix, ...]:
    driver = machine.driver or Driver()
    folder = _from_variable(machine, driver.libcuda_path or "")
    compat = next(
        (
            each
            for each in (machine.variable("LD_LIBRARY_PATH") or "").split(":")
            if each.rstrip("/").endswith("/compat")
        ),
        None,
    )
    if folder or compat:
        first = _without_folder(machine, folder or compat or "")
    else:
        first = Fix(
            summary=say("Take the compat folder out of /etc/ld.so.conf.d, then rebuild the loader's cache."),
            commands=(("sudo", "ldconfig"),),
            effect="needs-root",
        )
    newer = install_driver(machine, facts)
    cuda = facts.driver_cuda(driver.version) if readable(driver.version) and driver.version else None
    image = (
        on_host(say("Or take an image whose CUDA is {cuda} or older, which this driver runs by itself.", cuda=cuda))
        if cuda
        else None
    )
    in_container = machine.system is not None and machine.system.container is not None
    return tuple(fix for fix in (first, image if in_container else None, newer) if fix)


@rule(
    "DRV018",
    "libcuda-missing",
    "error",
    needs=("driver.module_loaded", "driver.libcuda_path", "driver.nvml_path", "system.wsl", "system.container"),
    supersedes=("DRV008", "DRV014", *GPU_UNSEEN),
    sources=(
        _OPEN_MODULES,
        "https://github.com/triton-lang/triton/blob/main/third_party/nvidia/backend/driver.py",
        "https://github.com/pytorch/pytorch/blob/main/torch/cuda/__init__.py",
    ),
)
def user_libraries_are_missing(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The kernel half of the driver is loaded, but libcuda.so.1 is not installed.

    Distributions put the two halves of the driver into different packages. The module alone drives the display; CUDA
    programs load libcuda.so.1, and nvidia-smi loads libnvidia-ml.so.1.

    Check: `ldconfig -p` lists libcuda.so.1.
    A warning where only libnvidia-ml.so.1 is missing: CUDA works, monitoring does not. Silent in containers, where the
    libraries come from the host, in WSL, on Jetson boards and on NixOS, which keep them elsewhere.
    """
    driver = machine.driver
    if driver is None or not driver.module_loaded or not on_bare_linux(machine):
        return
    if machine.system is not None and machine.system.distribution in ("nixos", "guix"):
        return
    cuda_missing = driver.libcuda_path is None
    monitoring_missing = driver.nvml_path is None and driver.nvml in (None, _LIBRARY_NOT_FOUND)
    if not cuda_missing and not monitoring_missing:
        return
    missing = listed(
        name for name, gone in (("libcuda.so.1", cuda_missing), ("libnvidia-ml.so.1", monitoring_missing)) if gone
    )
    yield found(
        say(
            "The NVIDIA module {version} is loaded without its libraries: {missing} not found",
            version=driver.version,
            missing=missing,
        )
        if driver.version
        else say("The NVIDIA module is loaded without its libraries: {missing} not found", missing=missing),
        say("Distributions split the driver in two; CUDA programs need the half that is not here.")
        if cuda_missing
        else say("CUDA programs work without it; nvidia-smi and whatever watches the GPU do not."),
        evidence=("driver.module_loaded", "driver.libcuda_path", "driver.nvml_path"),
        severity=None if cuda_missing else "warning",
        fixes=(
            Fix(
                summary=say(
                    "Install the driver's libraries in the module's own release ({version}).", version=driver.version
                )
                if driver.version
                else say("Install the driver's libraries in the module's own release."),
                commands=_libraries(machine, driver.version),
                effect="needs-root",
                page="https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/",
            ),
        ),
    )


def _libraries(machine: Snapshot, version: str | None) -> tuple[Command, ...]:
    branch = major(version) if version and readable(version) else None
    ubuntu = (f"libnvidia-compute-{branch}", f"nvidia-utils-{branch}") if branch else ()
    return os_packages(
        machine,
        {
            "ubuntu": ubuntu,
            "debian": ("libcuda1", "libnvidia-ml1", "nvidia-smi"),
            "fedora": ("xorg-x11-drv-nvidia-cuda",),
            "rhel": ("nvidia-driver-cuda",),
            "arch": ("nvidia-utils",),
        },
    )
