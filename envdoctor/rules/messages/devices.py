"""What programs print when devices are hidden from them, or do not work together."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import unset_variable
from envdoctor.rules.told import NO_DEVICE, Said, in_wsl, mentions, said

ERRORS = "https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__TYPES.html"
XIDS = "https://docs.nvidia.com/deploy/xid-errors/index.html"
FABRIC = "https://docs.nvidia.com/datacenter/tesla/fabric-manager-user-guide/index.html"
FORWARD = "https://docs.nvidia.com/deploy/cuda-compatibility/forward-compatibility.html"


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
        r"(?i)\bMIG\b[^\n]{0,60}(?:enabled|partition|mode|instance|slice|\dg\.\d+gb)|(?:partition\w*)[^\n]{0,30}\bMIG\b",
        r"(?i)MIG M[^\n]*\n[^\n]*Enabled",
    )
    failed = said(
        machine,
        NO_DEVICE,
        (
            r"(?i)No MIG devices found|invalid device ordinal|device_count\(\)[^\n]{0,12}\n?[^\n]{0,6}\b0\b"
            r"|is_available\(\)[^\n]{0,10}\n?\s*False|"
            r"device[^\n]{0,30}not (?:found|available|visible)|list_physical_devices[^\n]{0,20}\n?\[\]|"
            r"CUDA_ERROR_INVALID_DEVICE"
        ),
    )
    if line is None or failed is None:
        return
    yield found(
        say("The GPU is in MIG mode and no instance of it is visible to the program"),
        say("Programs see instances, not the card."),
        evidence=(line.evidence, failed.evidence) if line.evidence != failed.evidence else (line.evidence,),
        fixes=(
            Fix(
                summary=say(
                    "Name an instance, CUDA_VISIBLE_DEVICES=MIG-…, or ask the scheduler for one; where none exists, "
                    "create it."
                ),
                commands=(("nvidia-smi", "-L"),),
            ),
            Fix(
                summary=say("Or turn MIG off: nvidia-smi -mig 0."),
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
    supersedes=("MSG905", "MSG211", "MSG214", "MSG501", "ENV001", "ENV002"),
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
        (
            r"(?i)is_available\(\)[^\n]{0,20}\n?[^\n]{0,10}False|device_count\(\)[^\n]{0,10}\n?\s*0\b|"
            r"list_physical_devices[^\n]{0,30}\n?\[\]"
        ),
        (
            r"(?i)(?:gpu|cuda)[^\n]{0,40}(?:not (?:available|found|detected|visible|used)"
            r"|unavailable|not see|is(?: always)? false|false\b)"
        ),
        r"(?i)found no nvidia driver|no GPU|driver version is insufficient|falling back to cpu",
    )
    first = value.split(",")[0].strip()
    count = len(machine.nvidia_gpus)
    absurd = first in ("", "-1") or not (first.isdigit() or first.startswith(("GPU-", "MIG-")))
    beyond = first.isdigit() and 0 < count <= int(first) and machine.gap("gpus") is None
    if failed is None or not (absurd or beyond or (first.isdigit() and int(first) > 0 and count <= 1)):
        return
    yield found(
        say("CUDA_VISIBLE_DEVICES={value} hides the GPU", value=value or say("(empty)")),
        say("No GPU of that number is there; numbers begin at 0.")
        if first.isdigit()
        else say("This value names no GPU."),
        evidence=("variables.CUDA_VISIBLE_DEVICES", failed.evidence),
        certainty="certain" if absurd or beyond else "likely",
        fixes=(
            Fix(
                summary=say("Unset the variable, or set it to a number that nvidia-smi -L shows."),
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
        (
            r"(?i)CUDA_ERROR_UNKNOWN|cudaErrorUnknown|CUDA error:? (?:\(?999\)?|unknown "
            r"error)|\berror[ =:(]{1,3}(?:999|30)\b[^\n]{0,20}unknown"
        ),
        r"(?i)failed call to cuInit: [^\n]{0,40}unknown error",
    )
    slept = mentions(
        machine, r"suspend|hibernat|resum(?:e|ed|ing)|\bsleep\b|\bwoke\b|\bwak(?:e|ing)\b|\blid\b|休眠|睡眠|挂起|唤醒"
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
        say("CUDA answers with an unknown error after a suspend: the module nvidia_uvm has to be loaded anew")
        if slept
        else say("CUDA answers with an unknown error: the module nvidia_uvm has to be loaded anew"),
        say("nvidia-smi works without that module, so its table proves nothing here."),
        evidence=(line.evidence,),
        certainty="certain" if slept and mentions(machine, r"nvidia[_-]uvm") else None,
        fixes=(
            Fix(
                summary=say("Load the module anew, or restart."),
                commands=(("sudo", "rmmod", "nvidia_uvm"), ("sudo", "modprobe", "nvidia_uvm")),
                effect="needs-root",
            ),
            Fix(
                summary=say("Enable the driver's services for suspend, so that memory is saved."),
                commands=(("sudo", "systemctl", "enable", "nvidia-suspend.service", "nvidia-resume.service"),),
                effect="needs-root",
            ),
        ),
    )


# What people say when GPUs do not get along, or did until a switch was set.
_TROUBLE = (
    r"hang|hung|stuck|freez|deadlock|time(?:d )?out|fail|error|crash|corrupt|wrong|garbage|\bnan\b|slow",
    r"fix|solve|help|work|without it|does(?:n'?t| not) support|卡住|卡死|解决|报错|死锁",
)


def _wondered(line: Said) -> bool:
    """Tell whether the sentence only asks whether something of the kind happens: "Are hangs with P2P common?"."""
    text, start, end = line.words.string, line.words.start(), line.words.end()
    first = max(text.rfind(sign, 0, start + 1) for sign in (". ", "! ", "? ", "\n")) + 1
    inner = max(text.rfind(sign, first, end) for sign in (". ", "! ")) + 1
    sentence = text[max(first, inner) : end] + re.split(r"[.!\n]", text[end : end + 200], maxsplit=1)[0]
    return "?" in sentence and re.match(r"(?i)\W*(?:are|is|should|which|what|can|could)\b", sentence) is not None


@rule(
    "MSG309",
    "peer-to-peer-broken",
    "error",
    certainty="likely",
    needs=("problems",),
    supersedes=("MSG808",),
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
        # set because of a trouble that the same line names; a list of variables, or a manual, names it as well
        (
            rf"(?im)^(?=[^\n]*(?:{'|'.join(_TROUBLE)}))(?![^\n]*(?:read (?:about|of)|(?:in|from) the (?:docs|doc"
            rf"umentation|manual)))[^\n]*NCCL_P2P_DISABLE"
        ),
        (
            r"(?i)\bP2P\b[^\n]{0,80}(?:hang|fail|broken|corrupt|not (?:work|support)|stuck|"
            r"wrong|error)|(?:hang|stuck|deadlock)[^\n]{0,80}\bP2P\b"
        ),
        r"(?i)(?:zeros?|wrong|corrupt\w*|garbage)\b[^\n]{0,80}\b(?:P2P|IOMMU|peer)\b",
        r"(?i)(?:cuda:0|gpu ?0)[^\n]{0,40}(?:cuda:1|gpu ?1)[^\n]{0,40}\b(?:zeros|wrong|garbage|corrupt\w*)\b",
        r"(?i)(?:p2pBandwidthLatencyTest|simpleP2P)[^\n]{0,80}(?:hang|error|fail|stuck|wrong|garbage|corrupt|nan\b|zeros)",
        r"(?i)peer (?:access|mapping|to peer)[^\n]{0,40}(?:not support|fail|error|resources)",
        (
            r"(?i)(?:iommu|\bACS\b|AMD-Vi)[^\n]{0,80}(?:hang|nccl|stuck|fault|p2p|multi|"
            r"gpus|IO_PAGE_FAULT)|IO_PAGE_FAULT[^\n]{0,60}"
        ),
        (
            r"(?i)(?:multi[- ]?gpu|ddp|dataparallel|nccl|all_?reduce|two gpus|2 gpus)[^\n]{0,80}?(?<!not )(?<!n't )"
            r"(?<!never )(?<!no )(?<!without )\b(?:hangs?|hanging|hung|stuck|freez\w*|deadlocks?)\b"
        ),
        (
            r"(?i)(?:(?:多|双|两|[248四八]) ?(?:张|块)?(?:gpu|显?卡)|all_?reduce|nccl|ddp|torchrun)"
            r"[^\n]{0,60}(?:卡住|卡死|不动|死锁|挂起)"
            r"|(?:卡住|卡死|卡在|死锁)[^\n]{0,40}(?:all_?reduce|nccl|init_process_group)"
        ),
    )
    if line is None and mentions(
        machine,
        r"\b(?:hang|hung|stuck|freez|deadlock|timed? ?out|stall|never (?:returns|finishes))|卡住|卡死|卡在|不动|死锁",
    ):
        line = said(
            machine, r"NCCL_P2P_DISABLE\W{0,6}1\b", r"(?i)\biommu\b|\bVT-d\b|\bACSCtl\b|disable_acs|pcie? acs\b"
        )
    if line is None or _wondered(line):
        return
    yield found(
        say("Direct exchange between the GPUs does not work on this machine"),
        say("One GPU alone works; two hang or give wrong numbers as soon as they talk to each other over PCIe."),
        evidence=(line.evidence,),
        fixes=(
            Fix(summary=say("Let NCCL go through host memory."), commands=(("export", "NCCL_P2P_DISABLE=1"),)),
            Fix(
                summary=say(
                    "Or turn the IOMMU or ACS off in the firmware (kernel parameter iommu=pt or amd_iommu=off)."
                ),
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
        say("CUDA finds no device; no driver is shown to be at work"),
        say("The message has several causes; the output of nvidia-smi would tell more."),
        evidence=(line.evidence,),
        fixes=(Fix(summary=say("Run nvidia-smi, and add what it prints."), commands=(("nvidia-smi",),)),),
    )
