"""What drivers, NVML and the CUDA runtime print about the state of a GPU: by error number and by Xid."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.fit import branch_offers
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.version import compare, numbers, readable
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import reboot, unset_variable
from envdoctor.rules.told import in_container, in_wsl, mentions, said

ERRORS = "https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__TYPES.html"
XIDS = "https://docs.nvidia.com/deploy/xid-errors/index.html"
FABRIC = "https://docs.nvidia.com/datacenter/tesla/fabric-manager-user-guide/index.html"
FORWARD = "https://docs.nvidia.com/deploy/cuda-compatibility/forward-compatibility.html"
NO_DEVICE = r"(?i)no CUDA-capable device is detected|CUDA_ERROR_NO_DEVICE|cudaErrorNoDevice|no CUDA GPUs are available|No CUDA devices? (?:found|available|detected)|no NVIDIA GPU|CUDA error:? 38\b|error=38 "


@rule(
    "MSG302",
    "cuda-compat-misused",
    "error",
    needs=("problems",),
    supersedes=("MSG301", "MSG214", "MSG905", "MSG308", "DRV007", "MSG603"),
    sources=(FORWARD, ERRORS),
)
def compat(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A libcuda of the package cuda-compat, or a stray one, does not go with this driver or GPU.

    Forward compatibility puts a newer libcuda before an older kernel driver. It is offered for data-centre GPUs and
    some driver branches only: on others CUDA stops with error 804, with the wrong pair of releases with 803.

    Check: `ldconfig -p | grep libcuda`, and LD_LIBRARY_PATH without a folder called compat.
    Also seen where nvidia-smi shows a newer CUDA than the driver's branch has, which only such a libcuda can bring.
    """
    line = said(
        machine,
        r"(?i)forward compatibility was attempted on non[- ]supported HW",
        r"CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE|cudaErrorCompatNotSupportedOnDevice",
        r"(?i)unsupported display driver / cuda driver combination",
        r"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH|cudaErrorSystemDriverMismatch",
        r"(?i)\b(?:error|status)[ =:(]{1,3}80[34]\b",
    )
    if line:
        yield _compat(machine, line.evidence, certain=True)
        return
    dso = said(
        machine,
        r"kernel (?:version|reported version is:?) ?(\d{3}\.\d+(?:\.\d+)?) does not match DSO version (\d{3}\.\d+(?:\.\d+)?)",
    )
    driver = machine.driver
    lifted = (
        driver is not None
        and driver.cuda is not None
        and readable(driver.version)
        and driver.version is not None
        and (own := branch_offers(facts, driver.version)) is not None
        and readable(driver.cuda)
        and compare(driver.cuda, own) > 0
    )
    if (
        dso
        and numbers(dso[2])[0] > numbers(dso[1])[0]
        and (lifted or in_container(machine) or mentions(machine, r"compat"))
    ):
        yield _compat(machine, dso.evidence, certain=bool(lifted))


def _compat(machine: Snapshot, evidence: str, *, certain: bool) -> Found:
    version = machine.driver.version if machine.driver else None
    return found(
        f"A libcuda that does not go with the kernel driver{f' {version}' if version else ''} is loaded: forward compatibility is refused",
        "It comes from the package cuda-compat, which CUDA images put on the loader's path, or from a copy left behind; "
        "right after a driver update it is the old module that still runs.",
        evidence=(evidence, *(("driver.version",) if version else ())),
        certainty="certain" if certain else "likely",
        fixes=(
            Fix(
                summary="Take the compat folder off the loader's path, or use an image whose CUDA the driver offers.",
                page=FORWARD,
            ),
            Fix(
                summary="Or update the host's driver to one for that CUDA; restart if it was just updated.",
                effect="needs-reboot",
            ),
        ),
    )


@rule(
    "MSG301",
    "driver-library-mismatch",
    "error",
    needs=("problems",),
    supersedes=("MSG207", "MSG211", "MSG212", "MSG214", "MSG905", "DRV006"),
    sources=("https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceEnumvs.html", ERRORS),
)
def mismatch(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The loaded kernel module and the driver's libraries are of different releases.

    Both halves of a driver must be the same release. An update replaces the files at once; the module that runs stays
    until it is loaded anew.

    Check: `cat /proc/driver/nvidia/version` and `modinfo -F version nvidia` print the same release.
    """
    line = said(
        machine,
        r"(?i)driver/library version mismatch",
        r"(?i)RM has detected an NVML/RM version mismatch|NVML_ERROR_LIB_RM_VERSION_MISMATCH",
        r"(?i)API mismatch: (?:the )?(?:NVIDIA kernel module has|client)[^\n]{0,200}",
        r"(?i)this kernel module has the version \d",
        r"(?i)kernel version \S{3,16} does not match DSO version",
        r"(?i)(?:kernel|client|user[- ]?space)[^\n]{0,40}(?:version )?\d{3}\.\d+[^\n]{0,40}(?:mismatch|does not match|doesn't match|differ)[^\n]{0,60}\d{3}\.\d+",
    )
    if line is None:
        return
    yield found(
        "The loaded NVIDIA module and the driver's libraries are of different releases",
        "The driver was updated, in part or without loading its module anew."
        + (" In a container the libraries may be the image's own." if in_container(machine) else ""),
        evidence=(line.evidence,),
        fixes=(
            reboot("Restart the machine, which loads the module that belongs to the installed libraries."),
            Fix(
                summary="If it stays, bring the driver's packages to one version: remove what is left of the other one.",
                effect="needs-root",
            ),
        ),
    )


@rule(
    "MSG303",
    "fabric-manager-not-running",
    "error",
    needs=("problems",),
    supersedes=("MSG304", "MSG905", "MSG214"),
    sources=(FABRIC, ERRORS),
)
def fabric_manager(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The GPUs hang on NVSwitches, and the fabric manager, which sets those up, does not run.

    Until it has, every CUDA program stops with error 802, system not yet initialized. Its release must be exactly that
    of the driver.

    Check: `systemctl status nvidia-fabricmanager` says active.
    """
    line = said(
        machine,
        r"(?i)system not yet initialized",
        r"CUDA_ERROR_SYSTEM_NOT_READY|cudaErrorSystemNotReady",
        r"(?i)\berror[ =:(]{1,3}802\b",
        r"(?i)fabric ?manager[^\n]{0,80}(?:fail|not (?:running|installed|found|active|started)|inactive|mismatch|don'?t match|dead|could not)",
        r"(?i)(?:failed|unable|could not)[^\n]{0,60}fabric ?manager",
        r"(?i)NV_ERR_NVSWITCH_FABRIC_NOT_READY|fabric state +: +in progress",
    )
    if line is None:
        return
    yield found(
        "The fabric manager does not run, so the NVSwitch of this machine is not set up",
        "Its release must be that of the driver to the last digit; an update of the driver alone stops it.",
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary="Install nvidia-fabricmanager in the driver's own release, and start it.",
                commands=(("sudo", "systemctl", "enable", "--now", "nvidia-fabricmanager"),),
                effect="needs-root",
                page=FABRIC,
            ),
        ),
    )


@rule(
    "MSG305",
    "gpu-fell-off-bus",
    "error",
    needs=("problems",),
    supersedes=("MSG207", "MSG211", "MSG304", "MSG309", "MSG905"),
    sources=(XIDS,),
)
def fell_off(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """A GPU is lost from the PCIe bus (Xid 79).

    The card does not answer any more: power, heat, a riser or slot, or the card itself. No program causes it.

    Check: `dmesg | grep -i xid` after the next failure, with the card at its power limit.
    """
    line = said(
        machine,
        r"(?i)fallen off the bus",
        r"(?i)Xid[^\n]{0,40}?[ :(]79\b",
        r"(?i)GPU is lost|NVML_ERROR_GPU_IS_LOST|GPU_IS_LOST",
        r"(?i)unable to determine the device handle for GPU ?[\w:.]{0,24}:? ?(?:unknown error|not found|gpu is lost)?",
        r"(?i)RmInitAdapter failed[^\n]{0,60}",
    )
    if line is None:
        return
    yield found(
        "A GPU has fallen off the PCIe bus",
        "The hardware stopped answering; a driver or program cannot bring it back without a restart.",
        evidence=(line.evidence,),
        fixes=(
            reboot("Restart the machine, from power off, to get the card back."),
            Fix(
                summary="Then look at power supply and cables, temperature, riser and slot; try the card under a lower limit: nvidia-smi -pl.",
                page=XIDS,
            ),
        ),
    )


@rule(
    "MSG306",
    "gpu-memory-faulty",
    "error",
    needs=("problems",),
    supersedes=("MSG802", "MSG905"),
    sources=(XIDS, "https://docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt/index.html"),
)
def faulty_memory(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The GPU's memory has an error that could not be corrected, or waits for a reset to map a bad row out.

    CUDA then stops with error 214; the kernel's log has Xid 48, 63, 64, 94 or 95.

    Check: `nvidia-smi -q -d ECC,ROW_REMAPPER`.
    """
    line = said(
        machine,
        r"(?i)uncorrectable (?:NVLink |DRAM |SRAM )?(?:ECC )?error",
        r"CUDA_ERROR_ECC_UNCORRECTABLE|cudaErrorECCUncorrectable",
        r"(?i)Xid[^\n]{0,40}?[ :(](?:48|63|64|92|94|95)\b",
        r"(?i)double[- ]bit ECC",
        r"(?i)(?:row remapp\w+|remapping|page retirement)[^\n]{0,30}(?:is )?pending|Pending(?: Page Blacklist)? +: Yes|Remapping Failure Occurred +: Yes",
        r"(?i)row remapp\w+ (?:failure|failed|error)",
    )
    if line is None:
        return
    yield found(
        "The GPU's memory is faulty: an error could not be corrected",
        "A row that failed is mapped out at the next reset; where errors come again, the card has to be replaced.",
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary="End what uses the GPU and reset it, or restart the machine.",
                commands=(("sudo", "nvidia-smi", "--gpu-reset"),),
                effect="needs-root",
            ),
            Fix(
                summary="Watch the counters; have the card replaced if they grow.",
                commands=(("nvidia-smi", "-q", "-d", "ECC,ROW_REMAPPER"),),
                page=XIDS,
            ),
        ),
    )


@rule(
    "MSG307",
    "mig-hides-device",
    "error",
    certainty="likely",
    needs=("problems",),
    supersedes=("MSG905", "MSG308"),
    sources=("https://docs.nvidia.com/datacenter/tesla/mig-user-guide/index.html",),
)
def mig(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """MIG is on, and no instance of it is given to the program.

    A card in MIG mode computes only through instances, each named by a UUID that begins with MIG-. Without an
    instance, or with a number in CUDA_VISIBLE_DEVICES that names none, a program finds no device.

    Check: `nvidia-smi -L` lists an instance below the card.
    """
    line = said(
        machine,
        r"(?i)No MIG devices found",
        r"(?i)\bMIG\b[^\n]{0,60}(?:enabled|partition|mode|instance|slice|1g\.\d+gb)|(?:partition\w*)[^\n]{0,30}\bMIG\b",
        r"(?i)MIG M[^\n]*\n[^\n]*Enabled",
    )
    failed = said(
        machine,
        NO_DEVICE,
        r"(?i)No MIG devices found|invalid device ordinal|is_available\(\)[^\n]{0,10}\n?\s*False|device[^\n]{0,30}not (?:found|available|visible)|list_physical_devices[^\n]{0,20}\n?\[\]|CUDA_ERROR_INVALID_DEVICE",
    )
    if line is None or failed is None:
        return
    yield found(
        "The GPU is in MIG mode and no instance of it is visible to the program",
        "Programs see instances, not the card.",
        evidence=(line.evidence, failed.evidence) if line.evidence != failed.evidence else (line.evidence,),
        fixes=(
            Fix(
                summary="Name an instance, CUDA_VISIBLE_DEVICES=MIG-…, or ask the scheduler for one; where none exists, create it.",
                commands=(("nvidia-smi", "-L"),),
            ),
            Fix(
                summary="Or turn MIG off: nvidia-smi -mig 0.",
                commands=(("sudo", "nvidia-smi", "-mig", "0"),),
                effect="needs-root",
            ),
        ),
    )


@rule(
    "MSG308",
    "visible-devices-hide-gpu",
    "error",
    needs=("problems", "variables"),
    supersedes=("MSG905", "MSG906", "MSG211", "MSG214", "MSG501", "ENV001", "ENV002"),
    sources=("https://docs.nvidia.com/cuda/cuda-programming-guide/05-appendices/environment-variables.html",),
)
def hidden(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """CUDA_VISIBLE_DEVICES names no GPU that is there, so that programs see none.

    Numbers begin at 0, and the list ends at the first one that does not exist; -1, an empty value and words that are
    no UUID hide everything.

    Check: `env -u CUDA_VISIBLE_DEVICES python -c "import torch; print(torch.cuda.device_count())"`.
    """
    value = machine.variable("CUDA_VISIBLE_DEVICES")
    if value is None:
        return
    failed = said(
        machine,
        NO_DEVICE,
        r"(?i)invalid device ordinal|CUDA_ERROR_INVALID_DEVICE",
        r"(?i)is_available\(\)[^\n]{0,20}\n?[^\n]{0,10}False|device_count\(\)[^\n]{0,10}\n?\s*0\b|list_physical_devices[^\n]{0,30}\n?\[\]",
        r"(?i)(?:gpu|cuda)[^\n]{0,40}(?:not (?:available|found|detected|visible|used)|unavailable|not see|is(?: always)? false|false\b)",
        r"(?i)found no nvidia driver|no GPU|driver version is insufficient|falling back to cpu",
    )
    first = value.split(",")[0].strip()
    count = len(machine.nvidia_gpus)
    absurd = first in ("", "-1") or not (first.isdigit() or first.startswith(("GPU-", "MIG-")))
    beyond = first.isdigit() and 0 < count <= int(first) and machine.gap("gpus") is None
    if failed is None or not (absurd or beyond or (first.isdigit() and int(first) > 0 and count <= 1)):
        return
    yield found(
        f"CUDA_VISIBLE_DEVICES={value or '(empty)'} hides the GPU",
        "No GPU of that number is there; numbers begin at 0." if first.isdigit() else "This value names no GPU.",
        evidence=("variables.CUDA_VISIBLE_DEVICES", failed.evidence),
        certainty="certain" if absurd or beyond else "likely",
        fixes=(
            Fix(
                summary="Unset the variable, or set it to a number that nvidia-smi -L shows.",
                commands=(unset_variable(machine, "CUDA_VISIBLE_DEVICES"),),
            ),
        ),
    )


@rule(
    "MSG304",
    "driver-broken-after-suspend",
    "error",
    certainty="likely",
    needs=("problems",),
    supersedes=("MSG905",),
    sources=("https://download.nvidia.com/XFree86/Linux-x86_64/570.124.04/README/powermanagement.html", ERRORS),
)
def after_suspend(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """CUDA fails with an unknown error, most often because the module nvidia_uvm did not survive a suspend.

    nvidia-smi goes on to work, since it does not need that module. Loading it anew, or a restart, helps; the driver's
    suspend services keep it from coming back.

    Check: `sudo rmmod nvidia_uvm && sudo modprobe nvidia_uvm`, then the program again.
    """
    if in_wsl(machine):
        return
    line = said(
        machine,
        r"(?i)CUDA unknown error - this may be due to an incorrectly set up environment",
        r"(?i)CUDA_ERROR_UNKNOWN|cudaErrorUnknown|CUDA error:? (?:\(?999\)?|unknown error)|\berror[ =:(]{1,3}(?:999|30)\b[^\n]{0,20}unknown",
        r"(?i)failed call to cuInit: [^\n]{0,40}unknown error",
    )
    slept = mentions(
        machine, r"suspend|hibernat|resum(?:e|ed|ing)|\bsleep\b|\bwoke\b|\bwak(?:e|ing)\b|lid\b|休眠|睡眠|挂起|唤醒"
    )
    if line is None and slept:
        line = said(
            machine,
            NO_DEVICE,
            r"(?i)cuda[^\n]{0,60}(?:not available|unavailable|fail|error|false)",
            r"(?i)nvidia[_-]uvm",
        )
    if line is None:
        return
    yield found(
        "CUDA answers with an unknown error"
        + (" after a suspend" if slept else "")
        + ": the module nvidia_uvm has to be loaded anew",
        "nvidia-smi works without that module, so its table proves nothing here.",
        evidence=(line.evidence,),
        certainty="certain" if slept and mentions(machine, r"nvidia[_-]uvm") else None,
        fixes=(
            Fix(
                summary="Load the module anew, or restart.",
                commands=(("sudo", "rmmod", "nvidia_uvm"), ("sudo", "modprobe", "nvidia_uvm")),
                effect="needs-root",
            ),
            Fix(
                summary="Enable the driver's services for suspend, so that memory is saved.",
                commands=(("sudo", "systemctl", "enable", "nvidia-suspend.service", "nvidia-resume.service"),),
                effect="needs-root",
            ),
        ),
    )


@rule(
    "MSG309",
    "peer-to-peer-broken",
    "error",
    certainty="likely",
    needs=("problems",),
    sources=("https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html",),
)
def peer_to_peer(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """GPUs that exchange data directly over PCIe hang or corrupt it on this machine.

    Access control (ACS) or an IOMMU sends peer traffic through the root complex, which not every board does right;
    GeForce cards do not support it at all.

    Check: the program with NCCL_P2P_DISABLE=1, and `p2pBandwidthLatencyTest` of the CUDA samples.
    """
    line = said(
        machine,
        r"NCCL_P2P_DISABLE",
        r"(?i)\bP2P\b[^\n]{0,80}(?:hang|fail|broken|corrupt|not (?:work|support)|stuck|wrong|disabl|error)|(?:hang|stuck|deadlock)[^\n]{0,80}\bP2P\b",
        r"(?i)peer (?:access|mapping|to peer)[^\n]{0,40}(?:not support|fail|error|resources)",
        r"(?i)(?:iommu|\bACS\b|AMD-Vi)[^\n]{0,80}(?:hang|nccl|stuck|fault|p2p|multi|gpus|IO_PAGE_FAULT)|IO_PAGE_FAULT[^\n]{0,60}",
        r"(?i)(?:multi[- ]?gpu|ddp|dataparallel|nccl|all_?reduce|two gpus|2 gpus)[^\n]{0,80}(?:hangs?|hung|stuck|freez|deadlock)",
    )
    if line is None:
        return
    yield found(
        "Direct exchange between the GPUs does not work on this machine",
        "One GPU alone works; two hang or give wrong numbers as soon as they talk to each other over PCIe.",
        evidence=(line.evidence,),
        fixes=(
            Fix(summary="Let NCCL go through host memory.", commands=(("export", "NCCL_P2P_DISABLE=1"),)),
            Fix(
                summary="Or turn the IOMMU or ACS off in the firmware (kernel parameter iommu=pt or amd_iommu=off).",
                effect="needs-reboot",
            ),
        ),
    )


@rule(
    "MSG905",
    "driver-missing",
    "warning",
    certainty="likely",
    needs=("problems",),
    sources=(ERRORS,),
)
def no_device(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """CUDA finds no device, and the report does not say why.

    Error 100 says that libcuda was loaded and no GPU is usable: no module, no permission, hidden by a variable, taken
    into a container without it.

    Check: `nvidia-smi` and `echo $CUDA_VISIBLE_DEVICES`.
    """
    line = said(machine, NO_DEVICE)
    if line is None or machine.driver is not None:
        return
    yield found(
        "CUDA finds no device; no driver is shown to be at work",
        "The message has several causes; the output of nvidia-smi would tell more.",
        evidence=(line.evidence,),
        fixes=(Fix(summary="Run nvidia-smi, and add what it prints.", commands=(("nvidia-smi",),)),),
    )
