"""What programs print where there is no GPU for CUDA, no libcuda, or no driver at all."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.driver.packages import install_driver
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import INSTALL_GUIDE, os_packages
from envdoctor.rules.told import driver_answers, in_wsl, mentions, on_jetson, on_windows, said

COMPATIBILITY = "https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html"
ERRORS = "https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html"
README = "https://download.nvidia.com/XFree86/Linux-x86_64/570.124.04/README/"

# nvidia-smi came with the driver, and there is no module behind it.
SMI_FAILED = (
    r"NVIDIA-SMI has failed because it couldn't communicate|(?i:nvidia-smi[^\n]{0,30}(?:couldn't|"
    r"could not|can't|cannot) communicate)"
)


@rule(
    "MSG213",
    "libcuda-missing",
    "error",
    certainty="likely",
    needs=("problems",),
    supersedes=("MSG211", "MSG905"),
    sources=(INSTALL_GUIDE, "https://packages.debian.org/search?keywords=libcuda1"),
)
def no_libcuda(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The driver's kernel half works, but its user half for CUDA, libcuda, is not installed.

    Distributions split the driver into packages; those for the screen do without libcuda. nvidia-smi then shows
    "CUDA Version: N/A".

    Check: `ldconfig -p | grep libcuda.so.1`.
    Silent in WSL and in containers, where libcuda comes from outside.
    """
    if in_wsl(machine) or on_windows(machine):
        return
    line = said(machine, r"CUDA Version:\s*(?:N/A|ERR!)")
    if line is None:
        line = said(
            machine,
            r"(?i)libcuda\.so(?:\.1)?[^\n]{0,30}(?:cannot open shared object|not found|no such file)",
            (
                r"(?i)(?:could not (?:load|find)|cannot (?:load|find)|unable to (?:load|find)"
                r"|can't find|not find)[^\n]{0,40}libcuda\.so"
            ),
            r"(?i)cannot find -lcuda\b",
        )
    works = driver_answers(machine) or mentions(machine, r"nvidia-smi[^\n]{0,20}(?:works|ok|fine|shows|正常)")
    if line is None and works:
        line = said(machine, r"(?i)CUDA driver library cannot be found")
    if line is None or mentions(machine, r"docker (?:run|exec|build)|inside (?:the|a) container"):
        return
    yield found(
        say("libcuda, the driver's library for CUDA, is not installed or not found"),
        say("It belongs to the driver, not to a CUDA toolkit, and must be of the same release as the kernel module."),
        evidence=(line.evidence,),
        certainty="certain" if driver_answers(machine) else "likely",
        severity=None if works or "CUDA Version" in line.words[0] else "warning",
        fixes=(
            Fix(
                summary=say("Install the driver's compute package in the driver's own version."),
                commands=os_packages(machine, {"debian": ("libcuda1",)}),
                effect="needs-root",
                page=INSTALL_GUIDE,
            ),
        ),
    )


@rule(
    "MSG218",
    "no-supported-gpu",
    "error",
    certainty="likely",
    needs=("problems",),
    supersedes=("MSG105", "MSG202", "MSG209", "MSG211", "MSG213", "MSG214", "MSG501", "MSG905"),
    sources=("https://developer.nvidia.com/cuda-gpus",),
)
def no_gpu(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The machine has no NVIDIA GPU, and CUDA runs on no other.

    Graphics of Intel, AMD and Apple cannot run CUDA programs; each has builds of its own.

    Check: `lspci | grep -i nvidia` lists a card.
    Silent where an NVIDIA card is named anywhere in the report.
    """
    if machine.nvidia_gpus or machine.driver is not None or on_jetson(machine):
        return
    if mentions(
        machine,
        r"\b(?:rtx|gtx|geforce|quadro|tesla|nvidia [a-z]{0,3}\d{2,4})\b",
        r"(?:vga|3d|display)[^\n]{0,30}nvidia corporation|hip error|hiperror|rocm",
    ):
        return
    other = said(
        machine,
        r"(?i)(?:VGA|3D|Display)[^\n]{0,30}(?:Intel|AMD|ATI|Matrox|ASPEED|VMware|Cirrus|Red Hat)[^\n]{0,80}",
        (
            r"(?i)\b(?:intel (?:\w+ )?(?:iris|uhd|hd|arc)|iris (?:xe|plus|pro)|(?:u)?hd "
            r"graphics|integrated graphics|radeon|\bAMD (?:gpu|graphics|card))[^\n]{0,40}"
        ),
        (
            r"(?i)(?:no|without(?: an?)?|don'?t have(?: an?)?|doesn'?t have(?: an?)?|does "
            r"not have(?: an?)?|没有)[^\n]{0,12}(?:nvidia|cuda[- ]capable)? ?(?:gpu|graphics "
            r"card|video card|显卡)\b"
        ),
        r"(?i)\b(?:macbook|apple m[1-4]|mac ?mini|imac|macos|mac os|osx|darwin)\b",
        r"Core Nvidia component \S+ not found in /usr/lib/wsl/drivers/(?!nv)\w+\.inf",
        r"(?i)nvidia installer[^\n]{0,60}|You do not appear to have an NVIDIA GPU supported",
        r"(?i)lspci[^\n]{0,40}nvidia[^\n]{0,10}\n?[^\n]{0,10}(?:nothing|empty|no output)",
    )
    asked = said(
        machine,
        r"Found no NVIDIA driver on your system",
        r"(?i)no CUDA-capable device is detected|CUDA_ERROR_NO_DEVICE|no CUDA GPUs are available",
        r"(?i)torch not compiled with CUDA enabled|Torch is not able to use GPU",
        r"(?i)could not find cuda drivers|kernel driver does not appear to be running",
        r"(?i)insufficient for CUDA runtime|cuda[^\n]{0,40}(?:not available|unavailable|false)",
        r"(?i)do not appear to have an NVIDIA GPU|Core Nvidia component",
        r"(?i)nvidia-smi[^\n]{0,30}not found|libcuda\.so|nvcuda\.dll",
        r"Failed to infer device type",
    )
    if other is None or asked is None:
        return
    yield found(
        say("This machine has no NVIDIA GPU, so nothing can make CUDA work on it"),
        say("The report names other graphics only."),
        evidence=(other.evidence, asked.evidence) if other.evidence != asked.evidence else (other.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Use a CPU build, the maker's own build (ROCm, XPU, MPS), or a machine with an NVIDIA GPU."
                ),
                effect="changes-env",
            ),
        ),
    )


@rule(
    "MSG211",
    "driver-missing",
    "error",
    certainty="likely",
    needs=("problems",),
    supersedes=("MSG905", "MSG409"),
    sources=(INSTALL_GUIDE, "https://github.com/pytorch/pytorch/blob/main/c10/cuda/CUDAFunctions.cpp"),
)
def no_driver(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """No NVIDIA driver answers: it is not installed, or its kernel module is not loaded.

    A build with CUDA asks libcuda, and libcuda the kernel module; without either there is no GPU for any program.

    Check: `nvidia-smi` prints its table.
    Silent where the report shows a driver at work.
    """
    if driver_answers(machine):
        return
    line = said(
        machine,
        r"Found no NVIDIA driver on your system",
        SMI_FAILED,
        r"(?i)kernel driver does not appear to be running on this host",
        r"(?i)could not open driver version path for reading",
        r"(?i)/proc/driver/nvidia/version:? (?:no such file|does not exist)",
        (
            r"(?i)nvidia-smi['\"`]?:? (?:command )?not found|command 'nvidia-smi' not "
            r"found|command not found: nvidia-smi|'nvidia-smi' is not recognized|nvidia-smi: No such file"
            r"|未找到.{0,4}nvidia-smi"
        ),
        (
            r"(?i)NVML: Driver Not Loaded|failed to initialize NVML: (?:Driver Not Loaded|"
            r"ERROR_DRIVER_NOT_LOADED)|NVMLError_DriverNotLoaded|nvml error: driver not loaded"
        ),
        r"(?i)couldn't find libnvidia-ml\.so",
        r"(?i)NVML Shared Library Not Found|nvcuda\.dll[^\n]{0,20}not found|could not find (?:module )?['\"]?nvcuda",
        r"(?i)please (?:check|make sure)[^\n]{0,60}(?:installed|running)[^\n]{0,30}nvidia (?:gpu|driver)",
        r"(?i)modprobe[^\n]{0,40}nvidia[^\n]{0,30}no such device",
        r"(?i)nvidia (?:kernel )?(?:driver|module) is not (?:loaded|installed|running)",
        r"(?i)\b0 active driver",
        r"(?i)CUDA driver library cannot be found",
        r"(?i)\bno (?:nvidia |gpu )?drivers? (?:is |are |was )?(?:yet )?(?:installed|loaded|found)\b",
        r"(?i)(?:没有|没|未)(?:安装|装)[^\n]{0,8}(?:显卡|nvidia)? ?驱动",
    )
    if line is None:
        return
    yield found(
        say("No NVIDIA driver answers on this machine"),
        say(
            "It is not installed, or its kernel module is not loaded: nvidia-smi is there and came with a driver, so "
            "look for a module that was not built for this kernel."
        )
        if "SMI" in line.words[0]
        else say("It is not installed, or its kernel module is not loaded."),
        evidence=(line.evidence,),
        fixes=(
            *(
                (each,)
                if (each := install_driver(machine, facts))
                else (
                    Fix(
                        summary=say("Install the NVIDIA driver and restart."), effect="needs-reboot", page=INSTALL_GUIDE
                    ),
                )
            ),
        ),
    )
