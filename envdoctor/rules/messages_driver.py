"""What programs, the kernel and installers print when the NVIDIA driver is absent, refused or too old."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.fit import driver_floor
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.targets import target_of
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.version import at_least, compare, minor, readable
from envdoctor.rules.driver_packages import install_driver
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import INSTALL_GUIDE, os_packages
from envdoctor.rules.told import driver_answers, in_wsl, mentions, on_jetson, on_windows, said

COMPATIBILITY = "https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html"
ERRORS = "https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html"
README = "https://download.nvidia.com/XFree86/Linux-x86_64/570.124.04/README/"

# nvidia-smi came with the driver, and there is no module behind it.
SMI_FAILED = r"NVIDIA-SMI has failed because it couldn't communicate|(?i:nvidia-smi[^\n]{0,30}(?:couldn't|could not|can't|cannot) communicate)"


@rule(
    "MSG216",
    "secure-boot-blocks-driver",
    "error",
    needs=("problems",),
    supersedes=("MSG211", "MSG212", "MSG213", "MSG214", "MSG905"),
    sources=("https://wiki.debian.org/SecureBoot", "https://help.ubuntu.com/community/UEFI/SecureBoot", INSTALL_GUIDE),
)
def secure_boot(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Secure Boot keeps the kernel from loading the NVIDIA module, whose signature it does not know.

    With Secure Boot the kernel loads only modules signed with a key that the firmware or the owner enrolled. A module
    that DKMS built is signed with the machine's own key, which has to be enrolled once at the firmware's screen.

    Check: `mokutil --sb-state` and `sudo modprobe nvidia`, which then says nothing.
    """
    line = said(
        machine,
        r"(?i)key was rejected by service",
        r"(?i)required key not available",
        r"(?i)loading of (?:module with )?(?:unsigned|unavailable key)[^\n]{0,40}(?:reject|restrict)",
        r"(?i)lockdown: [^\n]{0,40}unsigned module loading is restricted",
        r"(?i)PKCS#7 signature not signed with a trusted key",
        r"(?i)modprobe[^\n]{0,40}'?nvidia\S*'?: operation not permitted",
    )
    if line is None and mentions(machine, r"secure ?boot[^\n]{0,12}(?:is )?(?:enabled|on\b|active)|SecureBoot enabled"):
        line = said(
            machine,
            SMI_FAILED,
            r"(?i)modprobe[^\n]{0,60}nvidia",
            r"(?i)secure ?boot[^\n]{0,12}(?:is )?(?:enabled|on\b|active)",
        )
    if line is None:
        return
    yield found(
        "Secure Boot refuses the NVIDIA kernel module: its signing key is not enrolled",
        "The driver is installed; the kernel may not load it.",
        evidence=(line.evidence,),
        certainty="certain" if "ey" in line.words[0] else "likely",
        fixes=(
            Fix(
                summary="Enrol the key that signs the modules, restart, and confirm it at the blue screen; or turn Secure Boot off in the firmware.",
                commands=(("sudo", "mokutil", "--import", "/var/lib/shim-signed/mok/MOK.der"), ("sudo", "reboot")),
                effect="needs-reboot",
            ),
        ),
    )


@rule(
    "MSG217",
    "nouveau-bound",
    "error",
    needs=("problems",),
    supersedes=("MSG211", "MSG212", "MSG213", "MSG214"),
    sources=(f"{README}installdriver.html", INSTALL_GUIDE),
)
def nouveau(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The free driver nouveau holds the card, so that NVIDIA's cannot take it.

    A card belongs to one kernel driver at a time, and nouveau is loaded early from the start-up image.

    Check: `lspci -k` names nvidia as the driver in use.
    Silent where a report only mentions that nouveau is blacklisted.
    """
    line = said(
        machine,
        r"(?i)nouveau kernel driver is currently in use",
        r"(?i)kernel driver in use: nouveau",
        r"(?m)^nouveau +\d{4,8} +\d",
        r"(?i)driver=nouveau",
        r"(?i)nouveau 0000:[0-9a-f:.]{7}",
        r"(?i)nvidia[^\n]{0,60}already bound to nouveau|nouveau[^\n]{0,30}(?:is )?(?:still )?(?:loaded|in use|bound|active|running)",
    )
    if line is None:
        return
    yield found(
        "nouveau holds the card, so NVIDIA's driver cannot use it",
        "A card belongs to one driver at a time.",
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary="Write “blacklist nouveau” and “options nouveau modeset=0” into /etc/modprobe.d/blacklist-nouveau.conf, "
                "rebuild the start-up image (update-initramfs -u, or dracut --force) and restart.",
                effect="needs-reboot",
                page=INSTALL_GUIDE,
            ),
        ),
    )


@rule(
    "MSG212",
    "driver-module-missing-for-kernel",
    "error",
    needs=("problems",),
    supersedes=("MSG211", "MSG213", "MSG214", "MSG905"),
    sources=("https://github.com/dell/dkms", INSTALL_GUIDE),
)
def no_module_for_kernel(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """There is no NVIDIA module for the kernel that runs.

    A module belongs to one kernel version. DKMS builds it for each new kernel, which needs that kernel's headers and a
    compiler that fits; where one is missing, the next start has a kernel without NVIDIA.

    Check: `dkms status` names the version that `uname -r` prints.
    Likely where nvidia-smi, which came with a driver, reaches no kernel module after an update or a restart.
    """
    if in_wsl(machine):
        return
    line = said(
        machine,
        r"(?i)module nvidia(?:[-_]\w+)? not found in directory /lib/modules/\S+",
        r"(?i)kernel headers for (?:target )?kernel \S+ cannot be found",
        r"(?i)bad return status for module build",
        r"(?i)unable to (?:find|locate) the kernel source tree",
        r"(?i)(?:missing|cannot find|not found|no)[^\n]{0,30}(?:linux|kernel)[- ]headers",
        r"(?i)(?:linux|kernel)[- ]headers[^\n]{0,40}(?:missing|not (?:installed|found)|unable|no installation candidate)",
        r"(?i)dkms[^\n]{0,60}(?:autoinstall[^\n]{0,40}fail|build[^\n]{0,40}fail|error)",
        r"(?i)error:? (?:the )?kernel module [^\n]{0,10}nvidia[^\n]{0,40}(?:failed to build|was not created)",
        r"(?i)disagrees about version of symbol module_layout",
        r"(?i)unable to build the nvidia kernel module|an error occurred while performing the step: \"?building kernel modules",
        r"(?i)modprobe[^\n]{0,40}nvidia\S*: exec format error",
    )
    certain = line is not None
    changed = r"kernel (?:was )?(?:updat|upgrad)|(?:updat|upgrad)\w* (?:of |the |to )?(?:\w+ ){0,3}kernel|new kernel|apt(?:-get)? (?:dist-)?upgrade|unattended|(?:after|since|following) (?:an? |the |every |each )?(?:\w+ )?(?:re)?(?:boot|start)|重启|更新|升级"
    if line is None and mentions(machine, changed):
        line = said(
            machine,
            SMI_FAILED,
            r"(?i)(?:could not|couldn't|cannot|can't) (?:talk|communicate) (?:to|with) the nvidia driver",
        )
    if line is None:
        line = said(machine, r"(?i)dkms status[^\n]*\n[^\n]*nvidia[^\n]*: (?:added|built)\b")
    if line is None:
        return
    yield found(
        "There is no NVIDIA module for the kernel that runs",
        "The driver's programs are installed; its kernel half has to be built for each kernel, which needs that kernel's headers.",
        evidence=(line.evidence,),
        certainty="certain" if certain else "likely",
        fixes=(
            Fix(
                summary="Install the headers of the running kernel, with the package that follows its updates, and build the module again: "
                "sudo dkms autoinstall.",
                commands=os_packages(
                    machine, {"ubuntu": ("linux-headers-generic",), "debian": ("linux-headers-amd64",)}
                ),
                effect="needs-root",
                page=INSTALL_GUIDE,
            ),
        ),
    )


@rule(
    "MSG214",
    "driver-too-old",
    "error",
    needs=("problems",),
    supersedes=("DRV007", "DRV008", "MSG905"),
    sources=(COMPATIBILITY, ERRORS),
)
def too_old(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The NVIDIA driver is too old for the CUDA of the program.

    The CUDA runtime asks the driver which CUDA it offers, and stops with error 35 (cudaErrorInsufficientDriver) if
    that is less than it needs. PTX of a newer toolkit is refused with error 222.

    Check: nvidia-smi shows at least the CUDA major version of the program.
    Error 35 also comes where there is no driver at all; it is judged here only where one is shown or nothing speaks
    against it.
    """
    if on_jetson(machine) and not driver_answers(machine):
        return
    line = said(
        machine,
        r"(?i)NVIDIA driver on your system is too old \(found version (\d{4,5})\)",
        r"(?i)NVIDIA driver on your system is too old",
        r"(?i)provided PTX was compiled with an unsupported toolchain",
        r"CUDA_ERROR_UNSUPPORTED_PTX_VERSION|cudaErrorUnsupportedPtxVersion",
        r"(?i)CUDA driver version is insufficient for CUDA runtime version",
        r"cudaErrorInsufficientDriver|CUDA_ERROR_INSUFFICIENT_DRIVER",
        r"(?i)driver (?:version )?(?:is )?(?:too old|outdated|insufficient)|(?:please )?update your (?:GPU|NVIDIA) driver",
        r"(?i)This program was not compiled for[^\n]{0,40}|(?:minimum|needs|requires) (?:supported )?(?:nvidia )?driver (?:version )?(?:is |of )?\d{3}",
        r"(?i)(?:installed|current) driver[^\n]{0,60}(?:does not|doesn't) support (?:this|the) (?:cuda|version)",
    )
    if line is None or (in_wsl(machine) and machine.wsl and machine.wsl.version == 1):
        return
    driver = readable(machine.driver.version) if machine.driver else None
    needed = _needed(machine)
    floor = driver_floor(facts, needed, target_of(machine, facts).os if machine.system else None) if needed else None
    refuted = bool(driver and floor and at_least(driver, floor) and "nsufficient" in line.words[0])
    offered = f"; this one offers CUDA {machine.driver.cuda}" if machine.driver and machine.driver.cuda else ""
    update = install_driver(machine, facts, floor)
    yield found(
        f"The NVIDIA driver{f' {driver}' if driver else ''} is too old for {f'CUDA {needed}' if needed else 'the CUDA of this program'}",
        (
            f"Driver {driver} should run CUDA {needed}, so another libcuda may be loaded than the driver's own. "
            if refuted
            else ""
        )
        + f"The program's own CUDA decides which driver it needs{offered}. Either half can be changed.",
        evidence=(line.evidence, *(("driver.version",) if driver else ())),
        certainty="likely" if refuted or "nsufficient" in line.words[0] else "certain",
        fixes=(
            *(
                (update,)
                if update
                else (Fix(summary="Update the NVIDIA driver.", effect="needs-reboot", page=INSTALL_GUIDE),)
            ),
            Fix(summary="Or install a build of the program for the CUDA that the driver offers.", effect="changes-env"),
        ),
    )


def _needed(machine: Snapshot) -> str | None:
    """Give the newest CUDA that the report's programs were built with, or that it says is installed."""
    python = machine.python
    built = [each.cuda for each in python.frameworks if readable(each.cuda)] if python else []
    versions = [version for version in built if version] or [
        k.version for k in machine.toolkits if k.version and readable(k.version)
    ]
    best: str | None = None
    for version in versions:
        best = minor(version) if best is None or compare(version, best) > 0 else best
    return best


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
            r"(?i)(?:could not (?:load|find)|cannot (?:load|find)|unable to (?:load|find)|can't find|not find)[^\n]{0,40}libcuda\.so",
            r"(?i)cannot find -lcuda\b",
        )
    if line is None or mentions(machine, r"docker (?:run|exec|build)|inside (?:the|a) container"):
        return
    yield found(
        "libcuda, the driver's library for CUDA, is not installed or not found",
        "It belongs to the driver, not to a CUDA toolkit, and must be of the same release as the kernel module.",
        evidence=(line.evidence,),
        certainty="certain" if driver_answers(machine) else "likely",
        severity=None if driver_answers(machine) or "CUDA Version" in line.words[0] else "warning",
        fixes=(
            Fix(
                summary="Install the driver's compute package in the driver's own version.",
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
    supersedes=("MSG211", "MSG213", "MSG214", "MSG501", "MSG905", "MSG906"),
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
    if mentions(machine, r"\b(?:rtx|gtx|geforce|quadro|tesla|nvidia [a-z]{0,3}\d{2,4})\b", r"HIP error|hipError|rocm"):
        return
    other = said(
        machine,
        r"(?i)(?:VGA|3D|Display)[^\n]{0,30}(?:Intel|AMD|ATI|Matrox|ASPEED|VMware|Cirrus|Red Hat)[^\n]{0,80}",
        r"(?i)\b(?:intel (?:\w+ )?(?:iris|uhd|hd|arc)|iris (?:xe|plus|pro)|(?:u)?hd graphics|integrated graphics|radeon|\bAMD (?:gpu|graphics|card))[^\n]{0,40}",
        r"(?i)(?:no|without(?: an?)?|don'?t have(?: an?)?|doesn'?t have(?: an?)?|does not have(?: an?)?|没有)[^\n]{0,12}(?:nvidia|cuda[- ]capable)? ?(?:gpu|graphics card|video card|显卡)\b",
        r"(?i)\b(?:macbook|apple m[1-4]|mac ?mini|imac|macos|mac os|osx|darwin)\b",
        r"(?i)nvidia installer[^\n]{0,60}|You do not appear to have an NVIDIA GPU supported",
        r"(?i)lspci[^\n]{0,40}nvidia[^\n]{0,10}\n?[^\n]{0,10}(?:nothing|empty|no output)",
    )
    asked = said(
        machine,
        r"Found no NVIDIA driver on your system",
        r"(?i)no CUDA-capable device is detected|CUDA_ERROR_NO_DEVICE|no CUDA GPUs are available",
        r"(?i)torch not compiled with CUDA enabled",
        r"(?i)could not find cuda drivers|kernel driver does not appear to be running",
        r"(?i)insufficient for CUDA runtime|cuda[^\n]{0,40}(?:not available|unavailable|false)",
        r"(?i)do not appear to have an NVIDIA GPU",
        r"(?i)nvidia-smi[^\n]{0,30}not found|libcuda\.so|nvcuda\.dll",
    )
    if other is None or asked is None:
        return
    yield found(
        "This machine has no NVIDIA GPU, so nothing can make CUDA work on it",
        "The report names other graphics only.",
        evidence=(other.evidence, asked.evidence) if other.evidence != asked.evidence else (other.evidence,),
        fixes=(
            Fix(
                summary="Use a CPU build, the maker's own build (ROCm, XPU, MPS), or a machine with an NVIDIA GPU.",
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
    supersedes=("MSG905",),
    sources=(INSTALL_GUIDE, "https://github.com/pytorch/pytorch/blob/main/torch/csrc/utils/device_lazy_init.cpp"),
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
        r"(?i)nvidia-smi['\"`]?:? (?:command )?not found|command 'nvidia-smi' not found|'nvidia-smi' is not recognized|nvidia-smi: No such file",
        r"(?i)NVML: Driver Not Loaded|failed to initialize NVML: (?:Driver Not Loaded|ERROR_DRIVER_NOT_LOADED)|NVMLError_DriverNotLoaded",
        r"(?i)NVML Shared Library Not Found|nvcuda\.dll[^\n]{0,20}not found|could not find nvcuda",
        r"(?i)please (?:check|make sure)[^\n]{0,60}(?:installed|running)[^\n]{0,30}nvidia (?:gpu|driver)",
        r"(?i)modprobe[^\n]{0,40}nvidia[^\n]{0,30}no such device",
    )
    if line is None:
        return
    yield found(
        "No NVIDIA driver answers on this machine",
        "It is not installed, or its kernel module is not loaded"
        + (
            ": nvidia-smi is there and came with a driver, so look for a module that was not built for this kernel."
            if "SMI" in line.words[0]
            else "."
        ),
        evidence=(line.evidence,),
        fixes=(
            *(
                (each,)
                if (each := install_driver(machine, facts))
                else (Fix(summary="Install the NVIDIA driver and restart.", effect="needs-reboot", page=INSTALL_GUIDE),)
            ),
        ),
    )
