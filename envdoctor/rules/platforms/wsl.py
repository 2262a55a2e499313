"""WSL: whether Windows lends its GPU to this distribution."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot, Wsl
from envdoctor.model.speech import say
from envdoctor.model.version import at_least, major, numbers
from envdoctor.rules.consequences import DRIVER_SILENT, GPU_UNSEEN
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import DRIVER_PAGE, Command, family, in_windows, plain

_FOLDER = "/usr/lib/wsl/lib"
_FIRST_KERNEL = "4.19.121"  # the first WSL kernel with GPU compute
_GOOD_KERNEL = "5.10.16.3"  # what NVIDIA's older guide asks for
_GUIDE = "https://docs.nvidia.com/cuda/wsl-user-guide"


def has_nvidia_libraries(wsl: Wsl) -> bool:
    """Tell whether Windows put files of an NVIDIA driver into the folder; AMD and Intel only have DirectX there."""
    return any(name.startswith(("libcuda", "libnvidia", "libnvcuvid", "nvidia-smi")) for name in wsl.libraries)


def _update(summary: str) -> Fix:
    return in_windows(summary, ("wsl", "--update"), ("wsl", "--shutdown"))


@rule(
    "WSL001",
    "wsl1-without-gpu",
    "error",
    needs=("system.wsl",),
    supersedes=("WSL002", "WSL003", "WSL004", "WSL005", "CTR001", *DRIVER_SILENT, *GPU_UNSEEN),
    sources=(
        "https://learn.microsoft.com/windows/wsl/compare-versions",
        "https://learn.microsoft.com/windows/wsl/install",
    ),
)
def wsl1_has_no_gpu(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """This distribution runs on WSL 1, which cannot reach the GPU.

    WSL 1 translates the system calls of Linux programs and has no Linux kernel, so there is nothing that could offer a
    GPU to them. Frameworks fall back to the CPU without a word. The same distribution, converted to WSL 2, can use the
    GPU; its files are kept.

    Check: `wsl --list --verbose` in PowerShell shows 2 beside the distribution.
    Silent on WSL 2, also with a kernel of your own.
    """
    if machine.wsl is None or machine.wsl.version != 1:
        return
    name = plain(machine.wsl.distribution) or "Ubuntu"
    kernel = machine.system.kernel if machine.system else None
    yield found(
        say(
            "{distribution} runs on WSL 1, which cannot reach the GPU",
            distribution=machine.wsl.distribution or say("This distribution"),
        ),
        say(
            "Its kernel names itself {kernel}, which is WSL 1's. Only WSL 2 has a Linux kernel that offers the GPU of "
            "Windows; the conversion keeps all files.",
            kernel=kernel,
        ),
        evidence=("system.wsl.version", "system.kernel"),
        fixes=(
            in_windows(
                say("Convert this distribution to WSL 2, and make that the default for new ones."),
                ("wsl", "--list", "--verbose"),
                ("wsl", "--set-version", name, "2"),
                ("wsl", "--set-default-version", "2"),
                page="https://learn.microsoft.com/windows/wsl/install",
            ),
        ),
    )


@rule(
    "WSL002",
    "wsl-kernel-too-old",
    "error",
    needs=("system.wsl", "system.kernel"),
    supersedes=("WSL003", "WSL004", *GPU_UNSEEN),
    sources=(
        "https://learn.microsoft.com/windows/wsl/kernel-release-notes",
        "https://docs.nvidia.com/cuda/archive/11.4.4/wsl-user-guide/index.html",
    ),
)
def kernel_too_old_for_cuda(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The kernel of WSL is too old for CUDA.

    GPU compute came to the WSL kernel with 4.19.121 and was repaired in later ones; NVIDIA's older guide asks for
    5.10.16.3, which is why a kernel between the two is a warning and not an error.

    Check: `uname -r` shows the newer kernel after `wsl --update` and `wsl --shutdown`.
    Silent where the kernel's name holds no number.
    """
    kernel = machine.system.kernel if machine.system else None
    if machine.wsl is None or machine.wsl.version != 2 or not kernel or not kernel[0].isdigit():
        return
    if at_least(kernel, _GOOD_KERNEL):
        return
    number = ".".join(str(part) for part in numbers(kernel))
    without = not at_least(kernel, _FIRST_KERNEL)
    floor = _FIRST_KERNEL if without else _GOOD_KERNEL
    yield found(
        say("The WSL kernel {number} is too old for CUDA: it takes {floor} or newer", number=number, floor=floor),
        say("It has no GPU compute at all.")
        if without
        else say(
            "GPU compute exists since {first_kernel} but was repaired several times until {good_kernel}.",
            first_kernel=_FIRST_KERNEL,
            good_kernel=_GOOD_KERNEL,
        ),
        evidence=("system.kernel",),
        severity="error" if without else "warning",
        certainty="certain" if without else "likely",
        fixes=(_update(say("Update WSL, then restart it.")),),
    )


@rule(
    "WSL009",
    "wsl-gpu-disabled",
    "error",
    needs=("system.wsl", "system.container"),
    supersedes=("WSL004", "WSL005", *DRIVER_SILENT, *GPU_UNSEEN),
    sources=("https://learn.microsoft.com/windows/wsl/wsl-config",),
)
def gpu_is_disabled(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The settings of this WSL distribution turn the GPU off.

    With enabled=false in the section [gpu] of /etc/wsl.conf Windows lends it no GPU, and nothing else inside Linux can
    bring it back.

    Check: `ls /dev/dxg` finds the device after the setting was changed, `wsl --shutdown` and a new start.
    Silent while the device is there, as it is until WSL starts anew, and in containers.
    """
    wsl = machine.wsl
    if wsl is None or wsl.version != 2 or wsl.dxg or wsl.gpu_enabled:
        return
    if machine.system and machine.system.container:
        return
    yield found(
        say("/etc/wsl.conf turns the GPU off for this distribution"),
        say(
            "Its section [gpu] says enabled=false, and /dev/dxg is missing. Nothing else inside Linux can bring "
            "the GPU back."
        ),
        evidence=("system.wsl.gpu_enabled", "system.wsl.dxg"),
        fixes=(
            in_windows(
                say("Set enabled=true in the section [gpu] of /etc/wsl.conf (or take the line out), then restart WSL."),
                ("wsl", "--shutdown"),
                page="https://learn.microsoft.com/windows/wsl/wsl-config",
            ),
        ),
    )


@rule(
    "WSL003",
    "wsl-without-gpu-device",
    "error",
    needs=("system.wsl", "system.container"),
    supersedes=("WSL004", "WSL005", *DRIVER_SILENT, *GPU_UNSEEN),
    sources=(
        "https://learn.microsoft.com/windows/wsl/tutorials/gpu-compute",
        "https://learn.microsoft.com/windows/wsl/wsl-config",
        "https://github.com/NVIDIA/nvidia-container-toolkit/blob/main/pkg/nvcdi/device-wsl.go",
    ),
)
def gpu_device_is_missing(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Windows does not lend its GPU to WSL: /dev/dxg is missing.

    The GPU reaches WSL 2 through /dev/dxg, which a Windows driver with WSL support makes. It is missing where a kernel
    of your own lacks it, where Windows (before 10 21H2) or its driver is too old, and in virtual machines and Windows
    Servers that pass no GPU on.

    Check: `ls /dev/dxg` finds the device after `wsl --shutdown` and a new start.
    Silent in a container, which needs the device handed over (CTR001), and where /etc/wsl.conf turns it off (WSL009).
    """
    wsl = machine.wsl
    if wsl is None or wsl.version != 2 or wsl.dxg or (machine.system and machine.system.container):
        return
    if not wsl.gpu_enabled:
        return
    kernel = (machine.system.kernel if machine.system else None) or ""
    own = bool(kernel) and "microsoft" not in kernel.lower()
    yield found(
        say("Windows does not lend its GPU to WSL: /dev/dxg is missing"),
        (
            say("The kernel {kernel} is not Microsoft's and may lack this device's driver.", kernel=kernel) + " "
            if own
            else ""
        )
        + say(
            "A Windows driver with WSL support makes this device; without it no program in WSL sees the GPU. On "
            "Windows before 10 21H2 (build 19044), in virtual machines and on Windows Server it is often missing for "
            "good."
        ),
        evidence=("system.wsl.dxg", "system.kernel"),
        fixes=(
            in_windows(
                say(
                    "Install the current graphics driver in Windows and run Windows Update, then update and restart "
                    "WSL."
                ),
                ("wsl", "--update"),
                ("wsl", "--shutdown"),
                effect="needs-root",
                page=DRIVER_PAGE,
            ),
            *(
                (
                    Fix(
                        summary=say("Take the line kernel= out of .wslconfig in your Windows home folder."),
                        where="windows",
                    ),
                )
                if own
                else ()
            ),
        ),
    )


@rule(
    "WSL004",
    "wsl-libcuda-not-on-path",
    "error",
    needs=("system.wsl", "system.container", "driver.libcuda_path"),
    supersedes=(*DRIVER_SILENT, *GPU_UNSEEN),
    sources=(
        _GUIDE,
        "https://github.com/NVIDIA/nvidia-container-toolkit/blob/main/pkg/nvcdi/driver-wsl.go",
        "https://github.com/microsoft/WSL/issues/8587",
    ),
    variants=("wsl-driver-without-cuda",),
)
def driver_libraries_not_found(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The driver libraries that Windows lends to WSL are missing, or programs do not search their folder.

    Windows mounts libcuda.so.1 and its companions into /usr/lib/wsl/lib. Programs find them when /etc/ld.so.conf.d or
    LD_LIBRARY_PATH names that folder, which WSL sets up by itself unless [automount] ldconfig=false.

    Check: `ldconfig -p` lists /usr/lib/wsl/lib/libcuda.so.1, and `nvidia-smi` answers.
    A warning where the folder is empty: then nothing shows that the GPU is NVIDIA's.
    Silent without /dev/dxg (WSL003), where the folder only holds the DirectX libraries of an AMD or Intel driver, where
    a libcuda.so.1 is found all the same, and in containers.
    """
    wsl = machine.wsl
    if wsl is None or wsl.version != 2 or not wsl.dxg or (machine.system and machine.system.container):
        return
    if "libcuda.so.1" in wsl.libraries:
        if wsl.on_loader_path is False and (machine.driver is None or machine.driver.libcuda_path is None):
            yield _not_searched(machine)
    elif not wsl.libraries or has_nvidia_libraries(wsl):
        yield found(
            say("Windows offers WSL no libcuda.so.1: {folder} holds other NVIDIA files only", folder=_FOLDER)
            if wsl.libraries
            else say("Windows offers WSL no libcuda.so.1: {folder} is empty or missing", folder=_FOLDER),
            say(
                "/dev/dxg is there, so the GPU is shared, but CUDA programs need this library of the Windows driver. "
                "Drivers from before WSL support do not have it."
            ),
            evidence=("system.wsl.dxg", "system.wsl.libraries"),
            severity=None if wsl.libraries else "warning",
            certainty=None if wsl.libraries else "likely",
            slug="wsl-driver-without-cuda",
            fixes=(
                in_windows(
                    say("Install the current NVIDIA driver in Windows, then restart WSL."),
                    ("wsl", "--shutdown"),
                    effect="needs-root",
                    page=DRIVER_PAGE,
                ),
            ),
        )


def _not_searched(machine: Snapshot) -> Found:
    others = machine.variable("LD_LIBRARY_PATH")
    return found(
        say("{folder} holds libcuda.so.1, but programs do not search that folder", folder=_FOLDER),
        say(
            "Neither /etc/ld.so.cache nor LD_LIBRARY_PATH names it, so every CUDA program reports that there is no "
            "driver."
        ),
        evidence=("system.wsl.libraries", "system.wsl.on_loader_path"),
        fixes=(
            Fix(
                summary=say(
                    "Write the line {folder} into /etc/ld.so.conf.d/ld.wsl.conf and rebuild the loader's cache.",
                    folder=_FOLDER,
                ),
                commands=(("sudo", "ldconfig"),),
                effect="needs-root",
            ),
            Fix(
                summary=say("Or for this shell only: put the folder first into LD_LIBRARY_PATH."),
                commands=(("export", f"LD_LIBRARY_PATH={_FOLDER}{f':{others}' if others else ''}"),),
            ),
        ),
    )


@rule(
    "WSL005",
    "wsl-linux-driver-installed",
    "error",
    needs=("system.wsl", "system.container", "driver.libcuda_path", "driver.nvml_path"),
    supersedes=("WSL004", *DRIVER_SILENT, *GPU_UNSEEN),
    sources=(_GUIDE,),
)
def linux_driver_inside_wsl(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A Linux NVIDIA driver is installed inside WSL and hides the one that Windows lends.

    In WSL the GPU's driver is the Windows one. The libraries of a Linux driver package need a kernel module that WSL
    does not have; where programs find them first, CUDA reports that there is no device. The meta package `cuda` brings
    such a driver along; `cuda-toolkit-12-8` and its like do not.

    Check: `ldconfig -p` lists libcuda.so.1 in /usr/lib/wsl/lib only.
    Silent about toolkits, cuDNN and libnvidia-container, about compat folders, and in containers.
    """
    wsl, driver = machine.wsl, machine.driver
    if wsl is None or wsl.version != 2 or driver is None or (machine.system and machine.system.container):
        return
    names = ("libcuda_path", "nvml_path")
    wrong = [name for name in names if _of_distribution(getattr(driver, name))]
    if not wrong:
        return
    path: str = getattr(driver, wrong[0])
    version = driver.libcuda_version if wrong[0] == "libcuda_path" else driver.nvml_version
    yield found(
        say("A Linux NVIDIA driver {version} is installed inside WSL: programs load {path}", version=version, path=path)
        if version
        else say("A Linux NVIDIA driver is installed inside WSL: programs load {path}", path=path),
        say(
            "The library of the Windows driver stands in {folder}; this one needs a kernel module that WSL does not "
            "have, so CUDA reports that there is no device.",
            folder=_FOLDER,
        ),
        evidence=tuple(f"driver.{name}" for name in wrong),
        fixes=(
            Fix(
                summary=say(
                    "Remove the Linux driver from WSL (the CUDA toolkit may stay); rebuild the loader's cache."
                ),
                commands=(*_removal(machine, version, path), ("sudo", "ldconfig")),
                effect="needs-root",
                page=_GUIDE,
            ),
        ),
    )


def _of_distribution(path: str | None) -> bool:
    """Tell whether this is a library of a package of the distribution: not Windows', not a compat or stub folder."""
    if path is None or not path.startswith(("/usr/lib", "/lib")) or path.startswith("/usr/lib/wsl/"):
        return False
    return "/compat/" not in path and "/stubs/" not in path


def _removal(machine: Snapshot, version: str | None, path: str) -> tuple[Command, ...]:
    """Give the commands that remove the packages which own these libraries."""
    here = family(machine)
    if here == "ubuntu" and version and plain(version):
        return (("sudo", "apt", "purge", f"libnvidia-compute-{major(version)}"), ("sudo", "apt", "autoremove"))
    if here in ("debian", "ubuntu"):
        return (("dpkg", "-S", path), ("sudo", "apt", "purge", "libcuda1", "libnvidia-ml1"))
    if here in ("fedora", "rhel"):
        return (("rpm", "-qf", path), ("sudo", "dnf", "remove", "nvidia-driver-cuda-libs"))
    return ()
