"""What programs, the kernel and installers print when the NVIDIA driver is absent, refused or too old."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.fit import branch_offers, driver_floor, driver_runs
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.targets import target_of
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import at_least, compare, readable
from envdoctor.rules.driver.packages import install_driver
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import INSTALL_GUIDE, os_packages
from envdoctor.rules.told import Said, built_for, driver_answers, in_wsl, mentions, on_jetson, said, unseen

COMPATIBILITY = "https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html"
ERRORS = "https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html"
README = "https://download.nvidia.com/XFree86/Linux-x86_64/570.124.04/README/"

# nvidia-smi came with the driver, and there is no module behind it.
SMI_FAILED = (
    r"NVIDIA-SMI has failed because it couldn't communicate|(?i:nvidia-smi[^\n]{0,30}(?:couldn't|"
    r"could not|can't|cannot) communicate)"
)


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
        say("Secure Boot refuses the NVIDIA kernel module: its signing key is not enrolled"),
        say("The driver is installed; the kernel may not load it."),
        evidence=(line.evidence,),
        certainty="certain" if "ey" in line.words[0] else "likely",
        fixes=(
            Fix(
                summary=say(
                    "Enrol the key that signs the modules, restart, and confirm it at the blue screen; or turn Secure "
                    "Boot off in the firmware."
                ),
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
        r"NVRM:\s*nouveau, rivafb|NVIDIA probe routine was not called for",
        r"(?i)nouveau 0000:[0-9a-f:.]{7}",
        (
            r"(?i)nvidia[^\n]{0,60}already bound to nouveau|nouveau[^\n]{0,30}(?:is )?(?:still "
            r")?(?:loaded|in use|bound|active|running)"
        ),
    )
    if line is None:
        return
    yield found(
        say("nouveau holds the card, so NVIDIA's driver cannot use it"),
        say("A card belongs to one driver at a time."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Write “blacklist nouveau” and “options nouveau modeset=0” into "
                    "/etc/modprobe.d/blacklist-nouveau.conf, rebuild the start-up image (update-initramfs -u, or "
                    "dracut --force) and restart."
                ),
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
        (
            r"(?i)(?:linux|kernel)[- ]headers[^\n]{0,40}(?:missing|not (?:installed|found)"
            r"|unable|no installation candidate)"
        ),
        r"(?i)dkms[^\n]{0,60}(?:autoinstall[^\n]{0,40}fail|build[^\n]{0,40}fail|error)",
        r"(?i)error:? (?:the )?kernel module [^\n]{0,10}nvidia[^\n]{0,40}(?:failed to build|was not created)",
        r"(?i)disagrees about version of symbol module_layout",
        (
            r"(?i)(?:unable|failed) to build the nvidia kernel module|an error occurred while performing "
            r"the step: \"?building kernel modules"
        ),
        r"(?i)modprobe[^\n]{0,60}nvidia\S*: exec format error",
        r"(?i)nvidia[^\n]{0,12}: version magic '[^'\n]{0,100}' should be",
        r"(?i)failed to run [^\n]{0,24}dkms (?:build|install)",
        r"(?i)kernel (?:header|source)s?[^\n]{0,160}(?:does not exist|do not exist|(?:not|cannot|can't) (?:be )?found)",
        r"(?i)/lib/modules/\S{1,80}/(?:build|source)\S{0,60}:? (?:no such file|does not exist)",
    )
    certain = line is not None
    changed = (
        r"\bdkms\b|linux-headers|kernel (?:was )?(?:updat|upgrad)|(?:updat|upgrad)"
        r"\w* (?:of |the |to )?(?:\w+ ){0,3}kernel|new kernel|apt(?:-get)? (?:dist-)?upgrade|"
        r"unattended|(?:after|since|following) (?:an? |the |every |each )?(?:\w+ )?(?:re)?(?:boot|"
        r"start)|重启|更新|升级"
    )
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
        say("There is no NVIDIA module for the kernel that runs"),
        say(
            "The driver's programs are installed; its kernel half has to be built for each kernel, which needs that "
            "kernel's headers."
        ),
        evidence=(line.evidence,),
        certainty="certain" if certain else "likely",
        fixes=(
            Fix(
                summary=say(
                    "Install the headers of the running kernel, with the package that follows its updates, and build "
                    "the module again: sudo dkms autoinstall."
                ),
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
        r"cudaErrorInsufficientDriver|CUDA_ERROR_INSUFFICIENT_DRIVER|(?i:cuda[_ ]?(?:runtime )?error:? \(?35\b)",
        (
            r"(?i)driver (?:version )?(?:is )?(?:too old|outdated|insufficient)|(?:please "
            r")?update your (?:GPU|NVIDIA) driver"
        ),
        (
            r"(?i)This program was not compiled for[^\n]{0,40}|(?:minimum|needs|requires)"
            r" (?:supported )?(?:nvidia )?driver (?:version )?(?:is |of )?\d{3}"
        ),
        r"(?i)(?:installed|current) driver[^\n]{0,60}(?:does not|doesn't) support (?:this|the) (?:cuda|version)",
        # Symbols of the driver's own libraries, which only a newer driver has.
        r"undefined symbol: (?:cu[A-Z]|nvml)\w+",
        r"(?i)(?:驱动|driver)[^\n]{0,12}(?:版本)?(?:过低|太低|太旧|过旧|过老)",
    )
    driver = readable(machine.driver.version) if machine.driver else None
    needed = built_for(machine, facts)
    if line is None and driver and needed:
        line = _by_facts(machine, facts, driver, needed)
    if line is None or (in_wsl(machine) and machine.wsl and machine.wsl.version == 1):
        return
    floor = driver_floor(facts, needed, target_of(machine, facts).os if machine.system else None) if needed else None
    refuted = bool(driver and floor and at_least(driver, floor) and "nsufficient" in line.words[0])
    offered = machine.driver.cuda if machine.driver else None
    update = install_driver(machine, facts, floor)
    yield found(
        _too_old(driver, needed),
        (
            say(
                "Driver {driver} should run CUDA {needed}, so another libcuda may be loaded than the driver's own.",
                driver=driver,
                needed=needed,
            )
            + " "
            if refuted
            else ""
        )
        + (
            say(
                "The program's own CUDA decides which driver it needs; this one offers CUDA {cuda}. Either half can be "
                "changed.",
                cuda=offered,
            )
            if offered
            else say("The program's own CUDA decides which driver it needs. Either half can be changed.")
        ),
        evidence=(line.evidence, *(("driver.version",) if driver else ())),
        certainty="likely" if refuted or "nsufficient" in line.words[0] else "certain",
        fixes=(
            *(
                (update,)
                if update
                else (Fix(summary=say("Update the NVIDIA driver."), effect="needs-reboot", page=INSTALL_GUIDE),)
            ),
            Fix(
                summary=say("Or install a build of the program for the CUDA that the driver offers."),
                effect="changes-env",
            ),
        ),
    )


def _too_old(driver: str | None, needed: str | None) -> str:
    """Say that the driver is too old, with its version and the CUDA that is asked of it as far as they are known."""
    if driver and needed:
        return say("The NVIDIA driver {driver} is too old for CUDA {needed}", driver=driver, needed=needed)
    if driver:
        return say("The NVIDIA driver {driver} is too old for the CUDA of this program", driver=driver)
    if needed:
        return say("The NVIDIA driver is too old for CUDA {needed}", needed=needed)
    return say("The NVIDIA driver is too old for the CUDA of this program")


def _by_facts(machine: Snapshot, facts: Knowledge, driver: str, needed: str) -> Said | None:
    """Find the failure that a driver too old for this CUDA explains; None: it is new enough, or nothing fails."""
    offered = readable(machine.driver.cuda) if machine.driver else None
    os = target_of(machine, facts).os if machine.system else None
    runs = driver_runs(facts, needed, driver, os, offered=offered or branch_offers(facts, driver))
    if runs is False:
        return unseen(machine) or said(
            machine,
            (
                r"(?i)no CUDA-capable device|CUDA_ERROR_NO_DEVICE|cuda[^\n]{0,40}(?:error|"
                r"fail)|(?:error|fail)[^\n]{0,40}cuda"
            ),
        )
    # Inside a major version only what the driver itself compiles or links has to be of its own CUDA.
    behind = offered or branch_offers(facts, driver)
    if behind and compare(behind, needed) < 0:
        return said(machine, r"(?i)cuLink(?:AddData|Create|Complete)|unsupported PTX|CUDA_ERROR_INVALID_PTX|ptxas")
    return None
