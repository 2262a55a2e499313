"""What drivers, NVML and the CUDA runtime print about the state of a GPU: by error number and by Xid."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.fit import branch_offers
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import compare, numbers, readable
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import reboot
from envdoctor.rules.told import in_container, mentions, said

ERRORS = "https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__TYPES.html"
XIDS = "https://docs.nvidia.com/deploy/xid-errors/index.html"
FABRIC = "https://docs.nvidia.com/datacenter/tesla/fabric-manager-user-guide/index.html"
FORWARD = "https://docs.nvidia.com/deploy/cuda-compatibility/forward-compatibility.html"


@rule(
    "MSG302",
    "cuda-compat-misused",
    "error",
    needs=("problems",),
    supersedes=("MSG301", "MSG214", "MSG905", "MSG308", "DRV007"),
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
    if line and said(machine, r"(?i)driver/library version mismatch"):
        return  # both halves of the driver itself differ, and no other libcuda is needed to explain it
    if line:
        yield _compat(machine, line.evidence, certain=True)
        return
    dso = said(
        machine,
        (
            r"kernel (?:version|reported version is:?) ?(\d{3}\.\d+(?:\.\d+)?) does not "
            r"match DSO version (\d{3}\.\d+(?:\.\d+)?)"
        ),
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
        and numbers(dso.group(2))[0] > numbers(dso.group(1))[0]
        and (lifted or in_container(machine) or mentions(machine, r"compat"))
    ):
        yield _compat(machine, dso.evidence, certain=bool(lifted))


def _compat(machine: Snapshot, evidence: str, *, certain: bool) -> Found:
    version = machine.driver.version if machine.driver else None
    return found(
        say(
            "A libcuda that does not go with the kernel driver {version} is loaded: forward compatibility is refused",
            version=version,
        )
        if version
        else say("A libcuda that does not go with the kernel driver is loaded: forward compatibility is refused"),
        say(
            "It comes from the package cuda-compat, which CUDA images put on the loader's path, or from a copy left "
            "behind; right after a driver update it is the old module that still runs."
        ),
        evidence=(evidence, *(("driver.version",) if version else ())),
        certainty="certain" if certain else "likely",
        fixes=(
            Fix(
                summary=say(
                    "Take the compat folder off the loader's path, or use an image whose CUDA the driver offers."
                ),
                page=FORWARD,
            ),
            Fix(
                summary=say("Or update the host's driver to one for that CUDA; restart if it was just updated."),
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
        (
            r"(?i)(?:kernel|client|user[- ]?space)[^\n]{0,40}(?:version )?\d{3}\.\d+[^\n]{0,40}(?:mismatch|"
            r"does not match|doesn't match|differ)[^\n]{0,60}\d{3}\.\d+"
        ),
    )
    if line is None:
        return
    yield found(
        say("The loaded NVIDIA module and the driver's libraries are of different releases"),
        say("The driver was updated, in part or without loading its module anew.")
        + (" " + say("In a container the libraries may be the image's own.") if in_container(machine) else ""),
        evidence=(line.evidence,),
        fixes=(
            reboot(say("Restart the machine, which loads the module that belongs to the installed libraries.")),
            Fix(
                summary=say(
                    "If it stays, bring the driver's packages to one version: remove what is left of the other one."
                ),
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
        (
            r"(?i)fabric ?manager[^\n]{0,80}(?:fail|not (?:running|installed|found|active|"
            r"started)|inactive|mismatch|don'?t match|dead|could not)"
        ),
        r"(?i)(?:failed|unable|could not)[^\n]{0,60}fabric ?manager",
        r"(?i)NV_ERR_NVSWITCH_FABRIC_NOT_READY|fabric state +: +in progress",
        r"(?i)\bfabric\n[^\n]{0,40}\bstate +: +(?:in progress|not started)",
    )
    if line is None:
        return
    yield found(
        say("The fabric manager does not run, so the NVSwitch of this machine is not set up"),
        say("Its release must be that of the driver to the last digit; an update of the driver alone stops it."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say("Install nvidia-fabricmanager in the driver's own release, and start it."),
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
        say("A GPU has fallen off the PCIe bus"),
        say("The hardware stopped answering; a driver or program cannot bring it back without a restart."),
        evidence=(line.evidence,),
        fixes=(
            reboot(say("Restart the machine, from power off, to get the card back.")),
            Fix(
                summary=say(
                    "Then look at power supply and cables, temperature, riser and slot; try the card under a lower "
                    "limit: nvidia-smi -pl."
                ),
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
        (
            r"(?i)(?:row remapp\w+|remapping|page retirement)[^\n]{0,30}(?:is )?pending|"
            r"Pending(?: Page Blacklist)? +: Yes|Remapping Failure Occurred +: Yes"
        ),
        r"(?i)row remapp\w+ (?:failure|failed|error)",
        r"(?i)(?:DRAM|SRAM) Uncorrectable[\w -]{0,20}: [1-9]",
    )
    if line is None:
        return
    yield found(
        say("The GPU's memory is faulty: an error could not be corrected"),
        say("A row that failed is mapped out at the next reset; where errors come again, the card has to be replaced."),
        evidence=(line.evidence,),
        fixes=(
            Fix(
                summary=say("End what uses the GPU and reset it, or restart the machine."),
                commands=(("sudo", "nvidia-smi", "--gpu-reset"),),
                effect="needs-root",
            ),
            Fix(
                summary=say("Watch the counters; have the card replaced if they grow."),
                commands=(("nvidia-smi", "-q", "-d", "ECC,ROW_REMAPPER"),),
                page=XIDS,
            ),
        ),
    )
