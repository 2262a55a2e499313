"""Reports about WSL: which side of it is at fault, by kernel, Windows build and what its tools print."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import in_windows
from envdoctor.rules.told import in_wsl, mentions, said

GUIDE = "https://docs.nvidia.com/cuda/wsl-user-guide/index.html"
CONFIG = "https://learn.microsoft.com/windows/wsl/wsl-config"
INSTALL = "https://learn.microsoft.com/windows/wsl/install"
GPU_START = "https://learn.microsoft.com/windows/ai/directml/gpu-cuda-in-wsl"

# Windows 10 releases by the name people use, and their builds.
_RELEASES = {"1903": 18362, "1909": 18363, "2004": 19041, "20H2": 19042, "21H1": 19043, "21H2": 19044, "22H2": 19045}
# GPU support came with Insider build 20145 and, in the release line, with 21H2.
FIRST_INSIDER, FIRST_RELEASE, FIRST_ELEVEN = 20145, 19044, 22000


@rule(
    "MSG101",
    "wsl1-without-gpu",
    "error",
    needs=("problems", "system.wsl"),
    supersedes=("WSL001", "MSG104", "MSG105", "MSG211", "MSG212", "MSG213", "MSG214", "MSG905"),
    sources=(INSTALL, GUIDE),
)
def wsl_one(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The distribution runs in WSL 1, which has no access to a GPU.

    WSL 1 translates system calls and has no Linux kernel of its own; its kernel calls itself 4.4.0 and ends in
    Microsoft. Only WSL 2 has the device /dev/dxg that CUDA goes through.

    Check: `wsl -l -v` in Windows shows VERSION 2.
    """
    wsl = machine.wsl
    if wsl is None or wsl.version != 1:
        return
    line = said(
        machine,
        r"4\.4\.0-\d+-[Mm]icrosoft",
        r"(?m)^\*? *\w[\w.-]*\s+(?:Running|Stopped)\s+1\s*$",
        r"(?i)WSL ?1\b|version:? 1\b",
    )
    if line is None:
        return
    yield found(
        say("The distribution runs in WSL 1, which cannot reach a GPU"),
        say(
            "Its kernel is the translation layer of WSL 1. No driver or toolkit inside changes that; the distribution "
            "has to be converted to WSL 2."
        ),
        evidence=(line.evidence,),
        fixes=(
            in_windows(
                say("Find the distribution's name, then convert it: wsl --set-version NAME 2."),
                ("wsl", "-l", "-v"),
                page=INSTALL,
            ),
        ),
    )


@rule(
    "MSG102",
    "wsl-windows-too-old",
    "error",
    needs=("problems", "system.wsl"),
    supersedes=("MSG104", "MSG105", "MSG211", "MSG212", "MSG214", "MSG905", "WSL002", "WSL003"),
    sources=(GPU_START, GUIDE),
)
def windows_too_old(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """This build of Windows is older than GPU support in WSL.

    Windows brings /dev/dxg and libdxcore; the NVIDIA driver brings only libcuda and its relatives. Both came with
    Insider build 20145; the release line has them since Windows 10 21H2 (19044), and Windows 11 always.

    Check: `winver` shows build 19044 or newer.
    Silent where no failure of the GPU is reported, and for builds that have it.
    """
    if not in_wsl(machine):
        return
    line = said(
        machine,
        r"(?i)(?:build|version|windows|win(?:10)?)[^\n]{0,40}?\b(?:10\.0\.)?(1[789]\d{3})(?:\.\d+)?\b",
        r"\b10\.0\.(1[789]\d{3})\b",
        r"(?i)win(?:dows)? ?10[^\n]{0,30}\b(1903|1909|2004|20H2|21H1)\b",
    )
    if line is None:
        return
    build = _RELEASES.get(line.group(1).upper()) or int("".join(c for c in line.group(1) if c.isdigit()))
    if build >= FIRST_RELEASE or not mentions(machine, r"libcuda|dxg|dxcore|cuda|nvidia|gpu") or _gpu_works(machine):
        return
    yield found(
        say(
            "Windows build {build} has no GPU support in WSL; it begins with {first_release}",
            build=build,
            first_release=FIRST_RELEASE,
        ),
        say(
            "Windows itself provides the GPU device and libdxcore to WSL, so neither a driver nor anything in Linux "
            "helps before Windows is updated."
        ),
        evidence=(line.evidence,),
        fixes=(
            in_windows(
                say("Update Windows to 10 21H2 or newer, or to Windows 11, then run wsl --update."),
                ("wsl", "--update"),
                page=GPU_START,
            ),
        ),
    )


def _gpu_works(machine: Snapshot) -> bool:
    return said(machine, r"device_type='GPU'", r"Is CUDA available: (?:True|Yes)") is not None


@rule(
    "MSG103",
    "wsl-gpu-in-tcc-mode",
    "error",
    needs=("problems", "system.wsl"),
    supersedes=("MSG104", "MSG105", "MSG211", "MSG212", "MSG905"),
    sources=(GUIDE, "https://docs.nvidia.com/deploy/nvidia-smi/index.html"),
)
def tcc_mode(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The GPU runs in TCC mode, and WSL can only use cards in WDDM mode.

    WSL reaches a GPU through Windows' display driver model. In TCC mode the card is taken out of it, so that Windows
    programs compute on it and WSL does not see it.

    Check: nvidia-smi in Windows shows WDDM beside the card.
    """
    if not in_wsl(machine):
        return
    line = said(
        machine, r"(?i)(?:driver[ _]?model|mode)[^\n]{0,24}\bTCC\b", r"\|[^|\n]{0,60}\bTCC +\|", r"\bTCC\b(?! ?/|/WDDM)"
    )
    if line is None:
        return
    yield found(
        say("The GPU is in TCC mode, which hides it from WSL"),
        say("WSL sees cards that run under WDDM only."),
        evidence=(line.evidence,),
        fixes=(
            in_windows(
                say(
                    "Switch the card to WDDM as administrator, then restart WSL; a card or driver that knows no WDDM "
                    "cannot serve WSL."
                ),
                ("nvidia-smi", "-dm", "0"),
                ("wsl", "--shutdown"),
            ),
        ),
    )


@rule(
    "MSG104",
    "wsl-linux-driver-installed",
    "error",
    certainty="likely",
    needs=("problems", "system.wsl"),
    supersedes=("MSG105", "MSG108", "MSG211", "MSG212", "MSG213", "MSG905"),
    sources=(GUIDE,),
)
def linux_driver(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A Linux NVIDIA driver was installed inside WSL, where the Windows driver already serves.

    Windows maps libcuda into /usr/lib/wsl/lib. A driver package brings a libcuda of its own that looks for a kernel
    module WSL has not, and hides the right one. The meta packages cuda and cuda-drivers bring such a driver along;
    cuda-toolkit does not.

    Check: `dpkg -l | grep -E 'nvidia-driver|libnvidia-compute'` in the distribution is empty.
    """
    if not in_wsl(machine):
        return
    line = said(
        machine,
        (
            r"(?i)ubuntu-drivers (?:auto)?install|cuda_\d[\w.]+_linux\.run[^\n]{0,60}driver"
            r"|NVIDIA-Linux-x86_64-[\d.]+\.run"
            r"|(?:apt(?:-get)?|dnf|yum)[^\n]{0,40} install [^\n]{0,80}(?:nvidia-driver|"
            r"cuda-drivers|nvidia-utils|libnvidia-compute|nvidia-cuda-toolkit-driver)"
        ),
        r"(?i)(?:apt(?:-get)?) [^\n]{0,20}install(?: -y)? cuda(?:-\d+-\d+)?(?![\w-])",
        r"(?m)^ii +(?:nvidia-driver|libnvidia-compute|nvidia-utils|cuda-drivers)\S*",
        r"/usr/lib/x86_64-linux-gnu/libcuda\.so(?:\.1)?(?: ?-> ?(?:\S*/)?libcuda\.so)?\.\d{3}\.\S+",
        (
            r"(?i)install(?:ed|ing)? [^\n]{0,30}(?:linux|nvidia)[^\n]{0,20} drivers? (?:in(?:side)?|"
            r"on|within) (?:the )?(?:wsl|ubuntu|distro)"
        ),
        r"libcuda\.so\.1 \([^)\n]*\) => /(?:usr/)?lib/x86_64-linux-gnu/libcuda",
    )
    if line is None:
        return
    yield found(
        say("A Linux NVIDIA driver was installed inside WSL and hides the one that Windows provides"),
        say("Inside WSL only the CUDA toolkit may be installed; the driver is the Windows one."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Remove the Linux driver packages in the distribution, then restart WSL from Windows: wsl "
                    "--shutdown."
                ),
                commands=(("sudo", "apt", "purge", "nvidia-driver-*", "libnvidia-compute-*", "nvidia-utils-*"),),
                effect="needs-root",
                page=GUIDE,
            ),
        ),
    )


@rule(
    "MSG105",
    "wsl-libcuda-not-on-path",
    "error",
    certainty="likely",
    needs=("problems", "system.wsl"),
    supersedes=("MSG211", "MSG212", "MSG213", "MSG401", "MSG905", "WSL004"),
    sources=(GUIDE,),
)
def libcuda_off_path(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """In WSL the program does not find libcuda, which lies in /usr/lib/wsl/lib.

    WSL adds that folder to the loader's cache when it starts. Programs with a loader path of their own, a cache that
    was rebuilt without it, or a search for the name libcuda.so, which the cache does not list, miss it.

    Check: `ldconfig -p | grep libcuda` names /usr/lib/wsl/lib.
    Silent on Windows builds without GPU support, and where a Linux driver was installed inside.
    """
    if not in_wsl(machine) or (machine.wsl and machine.wsl.version == 1):
        return
    line = said(
        machine,
        r"(?i)libcuda\.so(?:\.1)?[^\n]{0,40}(?:cannot open shared object|not found|fails|could not|no such file)",
        (
            r"(?i)(?:could not load dynamic library|unable to (?:find|load)|cannot find|"
            r"can't find|not find|failed to load)[^\n]{0,30}libcuda\.so"
        ),
        r"(?i)(?:failed|unable|cannot|could not|can't)[^\n]{0,12}(?:dl)?open[^\n]{0,20}libcuda\.so",
        r"(?i)cannot find -lcuda",
        r"(?i)Could not find cuda drivers on your machine",
        r"(?i)libcuda\.so(?:\.1)?[^\n]{0,40}(?:not in|missing)",
        r"(?i)ldconfig[^\n]{0,40}libcuda[^\n]{0,30}(?:nothing|empty|no output)|cache has no libcuda",
        r"(?i)CUDA driver library cannot be found|No libcuda\.so found|libcuda\.so[^\n]{0,12}(?:is )?missing",
        r"(?i)Possible CUDA driver libraries are found but error occurred|libcuda\.so cannot found",
    )
    if line is None:
        return
    yield found(
        say("WSL's libcuda in /usr/lib/wsl/lib is not on the loader's path of this program"),
        say("The Windows driver provides libcuda there; this program looked elsewhere."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Name the folder for this shell; to keep it, write it into /etc/ld.so.conf.d/wsl.conf and run "
                    "sudo ldconfig."
                ),
                commands=(("export", "LD_LIBRARY_PATH=/usr/lib/wsl/lib"),),
                page=GUIDE,
            ),
        ),
    )
