"""Faults that a GPU or its driver reports of itself: memory, recovery, events in the kernel's log."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Gpu, GpuHealth, Snapshot
from envdoctor.model.speech import message, say, say_number
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import Command
from envdoctor.rules.wording import card, listed, sentence

_NVML = "https://github.com/NVIDIA/go-nvml/blob/main/gen/nvml/nvml.h"
_RECOVERY = "https://docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt/error-recovery-and-response-flags.html"
_XIDS = "https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html"

_ACTIONS = {
    1: message("a reset of the card"),
    2: message("a restart of the machine"),
    3: message("its jobs to be ended and its peer-to-peer links drained"),
    4: message("its jobs to be ended and then a reset"),
    5: message("the recovery of the IMEX domain"),
}
# Events that speak of the card, its link or its driver, and those that are mostly a program's own fault.
_HARDWARE = {
    48: message("memory error that could not be corrected"),
    63: message("memory page or row retired"),
    64: message("memory page or row could not be retired"),
    74: message("NVLink error"),
    79: message("card fell off the bus"),
    92: message("many corrected memory errors"),
    94: message("memory error that was contained"),
    95: message("memory error that was not contained"),
    119: message("the card's own processor (GSP) gave no answer"),
    120: message("the card's own processor (GSP) stopped"),
    140: message("memory error that could not be recovered"),
    143: message("the card could not be set up"),
    154: message("the card needs a recovery"),
}


def _states(machine: Snapshot) -> Iterator[tuple[int, Gpu, GpuHealth]]:
    for place, gpu in enumerate(machine.gpus):
        if gpu.vendor == "nvidia" and gpu.health is not None:
            yield place, gpu, gpu.health


def _reset(gpu: Gpu) -> Command:
    return ("sudo", "nvidia-smi", "--gpu-reset", *(("-i", str(gpu.index)) if gpu.index is not None else ()))


def _after_jobs(gpu: Gpu) -> Fix:
    return Fix(
        summary=say("When no program uses the card: reset it, or restart the machine."),
        commands=(_reset(gpu),),
        effect="needs-root",
        page=_RECOVERY,
    )


@rule(
    "DRV022",
    "gpu-memory-faulty",
    "error",
    needs=("gpus.name",),
    supersedes=("HW003", "HW004"),
    sources=(_NVML, _RECOVERY),
)
def recovery_is_pending(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The driver says that this GPU has hit a fault and waits for a recovery.

    NVML names what clears it: a reset, a restart, or draining first. Jobs that start before are not reliable.

    Check: `nvidia-smi -q` shows GPU Recovery Action: None.
    Silent where the driver is too old to tell.
    """
    for place, gpu, health in _states(machine):
        if not health.recovery or health.recovery not in _ACTIONS:
            continue
        restart = health.recovery == 2
        yield found(
            say("{card} waits for {action}", card=sentence(card(gpu)), action=say(_ACTIONS[health.recovery])),
            say("The driver reports a fault that only this clears; what runs on the card before is not reliable."),
            evidence=(f"gpus[{place}].health.recovery",),
            fixes=(
                Fix(
                    summary=say("Restart the machine.")
                    if restart
                    else say("End the programs on this card, then reset it."),
                    commands=(("sudo", "reboot"),) if restart else (_reset(gpu),),
                    effect="needs-reboot" if restart else "needs-root",
                    page=_RECOVERY,
                ),
            ),
        )


@rule(
    "HW003",
    "gpu-memory-faulty",
    "warning",
    needs=("gpus.name",),
    sources=(_NVML, "https://docs.nvidia.com/deploy/dynamic-page-retirement/visibility.html", _XIDS),
)
def memory_errors_counted(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The GPU's memory had errors that could not be corrected.

    ECC counts them since the driver was loaded. What was computed at that moment may be wrong, or the job was ended.

    Check: `nvidia-smi -q -d ECC`.
    Silent about cards without ECC, and about counts of a time before the driver was loaded, which never go back.
    """
    for place, gpu, health in _states(machine):
        count = health.ecc_uncorrected or 0
        if not count and not health.pages_pending:
            continue
        reason = (
            say_number(
                "{card} counts {number} memory error that could not be corrected",
                "{card} counts {number} memory errors that could not be corrected",
                count,
                card=sentence(card(gpu)),
            )
            if count
            else say("{card} has memory pages that wait to be retired", card=sentence(card(gpu)))
        )
        yield found(
            reason,
            say(
                "Results from that moment may be wrong. If it comes back after a reset, the card belongs to its "
                "vendor: `dcgmi diag -r 3` tests it."
            ),
            evidence=(f"gpus[{place}].health.{'ecc_uncorrected' if count else 'pages_pending'}",),
            fixes=(_after_jobs(gpu),),
        )


@rule(
    "HW004",
    "gpu-memory-faulty",
    "warning",
    needs=("gpus.name",),
    sources=(_NVML, _RECOVERY),
)
def rows_wait_for_reset(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Memory rows of the GPU wait to be replaced, or could not be.

    Ampere and newer cards replace bad rows of their memory at the next reset. Where that failed, the spare rows are
    used up.

    Check: `nvidia-smi -q -d ROW_REMAPPER`.
    A pending replacement does not harm what is running: the next convenient reset is early enough. Silent while MIG
    instances exist, during which the driver does not tell.
    """
    for place, gpu, health in _states(machine):
        if health.remap_failed:
            yield found(
                say("{card} could not replace a bad memory row: its spare rows are used up", card=sentence(card(gpu))),
                say("Memory errors will come back. The vendor replaces cards in this state."),
                evidence=(f"gpus[{place}].health.remap_failed",),
                severity="error",
                fixes=(Fix(summary=say("Take the card out of service and contact its vendor."), page=_RECOVERY),),
            )
        elif health.remap_pending:
            yield found(
                say("{card} has a bad memory row that the next reset replaces", card=sentence(card(gpu))),
                say("What runs now is not harmed; reset the card when it suits."),
                evidence=(f"gpus[{place}].health.remap_pending",),
                fixes=(_after_jobs(gpu),),
            )


@rule(
    "HW005",
    "gpu-fault-in-log",
    "warning",
    certainty="likely",
    needs=("driver.xids",),
    sources=(_XIDS, "https://docs.nvidia.com/health-validation/reference/checks/xid.md"),
)
def faults_in_the_log(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The kernel's log holds faults of a GPU since the machine was started.

    The driver writes faults as numbered Xid events. Some numbers speak of memory, link or driver; 13, 31, 43 and 45 are
    mostly a program's own fault and are not reported.

    Check: `sudo dmesg` and look for Xid; NVIDIA's catalogue explains the numbers.
    A log that may not be read is said to be unknown, not clean.
    """
    driver = machine.driver
    severe = [each for each in (driver.xids if driver else None) or () if each.code in _HARDWARE]
    if not severe:
        return
    lost = any(each.code == 79 for each in severe)
    told = listed(
        say_number(
            "Xid {code} ({fault}) at {bus_id}",
            "Xid {code} ({fault}) at {bus_id}, {number} times",
            max(each.count, 1),
            code=each.code,
            fault=say(_HARDWARE[each.code]),
            bus_id=each.bus_id,
        )
        for each in severe[:3]
    )
    yield found(
        say("The kernel's log reports GPU faults since the start: {told}", told=told),
        say("These numbers point to the card, its memory, its link or its driver rather than to a program.")
        + (" " + say("Xid 79 is mostly power, heat or the slot.") if lost else ""),
        evidence=tuple(
            f"driver.xids[{place}].code"
            for place, each in enumerate((driver.xids if driver else None) or ())
            if each.code in _HARDWARE
        ),
        fixes=(
            Fix(
                summary=say(
                    "Look the numbers up; reset the card or restart the machine, and if they come back test the "
                    "hardware."
                ),
                page=_XIDS,
            ),
        ),
        slug="gpu-fell-off-bus" if lost else None,
    )
