"""What holds a GPU back: who may use it, its link, heat and power."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Gpu, GpuHealth, Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.driver.absence import on_bare_linux
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.wording import card, sentence

_NVML = "https://github.com/NVIDIA/go-nvml/blob/main/gen/nvml/nvml.h"
_HEAT = 0x20 | 0x40
_POWER_CAP, _SLOWDOWN, _BRAKE = 0x4, 0x8, 0x80
_MUCH_LESS = 0.8  # of the default power limit: a threshold of ours


def _states(machine: Snapshot) -> Iterator[tuple[int, Gpu, GpuHealth]]:
    for place, gpu in enumerate(machine.gpus):
        if gpu.vendor == "nvidia" and gpu.health is not None:
            yield place, gpu, gpu.health


def _at(gpu: Gpu) -> tuple[str, ...]:
    return ("-i", str(gpu.index)) if gpu.index is not None else ()


@rule(
    "DRV021",
    "gpu-compute-mode-restricts",
    "warning",
    certainty="likely",
    needs=("gpus.name", "gpus.processes"),
    sources=(_NVML,),
)
def compute_mode_restricts(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The GPU's compute mode forbids this use.

    An administrator can close a card to all programs, or open it to one at a time. The second program then stops with
    "all CUDA-capable devices are busy or unavailable".

    Check: `nvidia-smi --query-gpu=compute_mode --format=csv`.
    Silent about a card for one process that nobody uses: this is the normal setting with MPS and on some clusters.
    """
    for place, gpu, health in _states(machine):
        closed = health.compute_mode == "prohibited"
        taken = health.compute_mode == "exclusive-process" and bool(gpu.processes)
        if not closed and not taken:
            continue
        evidence = [f"gpus[{place}].health.compute_mode", *([f"gpus[{place}].processes"] if taken else [])]
        yield found(
            say("{card} is closed to all CUDA programs", card=sentence(card(gpu)))
            if closed
            else say("{card} serves one program at a time, and one uses it already", card=sentence(card(gpu))),
            say(
                "Its compute mode says so, which an administrator has set. A further program is told that the devices "
                "are busy or unavailable."
            ),
            evidence=tuple(evidence),
            certainty="certain" if closed else None,
            severity="error" if closed else None,
            fixes=(
                Fix(
                    summary=say("Open the card to any number of programs; on a shared machine ask the administrator."),
                    commands=(("sudo", "nvidia-smi", *_at(gpu), "-c", "DEFAULT"),),
                    effect="needs-root",
                ),
            ),
        )


@rule(
    "HW006",
    "pcie-link-narrow",
    "warning",
    certainty="likely",
    needs=("gpus.name", "system.virtual", "system.wsl"),
    sources=(_NVML,),
)
def link_is_narrow(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The GPU's PCI Express link has fewer lanes than card and slot can do.

    A card in a second slot, on a riser or with dirty contacts gets a part of the bandwidth; loading data and traffic
    between several GPUs suffer first.

    Check: `nvidia-smi --query-gpu=pcie.link.width.current,pcie.link.width.max --format=csv`.
    Silent in virtual machines and WSL, which invent these numbers, on laptops, which use eight lanes by design, and
    about half of the lanes, which many boards give to their slots. The speed of a lane falls at rest and is not judged.
    """
    system = machine.system
    if system is None or system.virtual or system.wsl or system.laptop:
        return
    for place, gpu, health in _states(machine):
        now, most = health.link_width, health.link_width_max
        if not now or not most or now * 2 >= most:
            continue
        yield found(
            say(
                "{card} is connected with {now} of {most} PCI Express lanes",
                card=sentence(card(gpu)),
                now=now,
                most=most,
            ),
            say(
                "Copies to and from the card take that much longer. The slot, a riser or a bad contact are the usual "
                "reasons."
            ),
            evidence=(f"gpus[{place}].health.link_width", f"gpus[{place}].health.link_width_max"),
            fixes=(
                Fix(
                    summary=say(
                        "Seat the card anew in the slot that is connected to the processor, without a riser, and look "
                        "at the lane settings of the firmware."
                    )
                ),
            ),
        )


@rule(
    "HW007",
    "gpu-too-hot",
    "warning",
    needs=("gpus.name",),
    sources=(_NVML,),
)
def held_back_by_heat(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The GPU lowers its clocks because it is too hot.

    Training then runs as fast as the cooling allows.

    Check: `nvidia-smi -q -d PERFORMANCE` under load.
    Reported only where three looks within a fifth of a second agree.
    """
    for place, gpu, health in _states(machine):
        if not (health.held_back or 0) & _HEAT:
            continue
        degrees = health.temperature
        yield found(
            say("{card} lowers its clocks because of heat", card=sentence(card(gpu)))
            if degrees is None
            else say(
                "{card} lowers its clocks because of heat at {temperature} °C",
                card=sentence(card(gpu)),
                temperature=degrees,
            ),
            say("Its speed now depends on the cooling, not on the program."),
            evidence=(
                f"gpus[{place}].health.held_back",
                *((f"gpus[{place}].health.temperature",) if degrees is not None else ()),
            ),
            fixes=(
                Fix(
                    summary=say(
                        "Clean fans and filters, give the card air (a free slot beside it), or let it take less "
                        "power: `nvidia-smi -pl` sets its limit in watts."
                    )
                ),
            ),
        )


@rule(
    "HW008",
    "gpu-short-of-power",
    "warning",
    certainty="likely",
    needs=("gpus.name", "system.laptop"),
    sources=(_NVML,),
)
def held_back_by_power(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The GPU is held back by its power supply or by a lowered power limit.

    The board can signal that the supply does not keep up, which cuts the clocks at once; or somebody lowered the limit.

    Check: `nvidia-smi -q -d POWER,PERFORMANCE`.
    Silent about a card that is simply at its limit, which is normal under full load, and about the limits of laptops,
    which their makers set lower.
    """
    laptop = machine.system is not None and machine.system.laptop
    for place, gpu, health in _states(machine):
        reasons = health.held_back or 0
        limit, usual = health.power_limit_watts, health.power_default_watts
        lowered = bool(limit and usual and limit < usual * _MUCH_LESS and not laptop)
        braked = bool(reasons & _BRAKE) or (bool(reasons & _SLOWDOWN) and not reasons & _HEAT)
        if braked:
            yield found(
                say("{card} is braked by its power supply", card=sentence(card(gpu))),
                say("The board signals that power does not keep up, and the clocks are cut."),
                evidence=(f"gpus[{place}].health.held_back",),
                fixes=(
                    Fix(
                        summary=say(
                            "Give each power connector of the card a cable of its own and check the supply's size; "
                            "plug a laptop in."
                        )
                    ),
                ),
            )
        elif lowered and limit and usual:
            yield found(
                say(
                    "{card} may take {limit:.0f} W; its default is {usual:.0f} W",
                    card=sentence(card(gpu)),
                    limit=limit,
                    usual=usual,
                ),
                say(
                    "Somebody lowered the limit, and the card keeps its clocks down for it. On a shared machine that "
                    "may be on purpose."
                ),
                evidence=(
                    f"gpus[{place}].health.power_limit_watts",
                    f"gpus[{place}].health.power_default_watts",
                ),
                fixes=(
                    Fix(
                        summary=say("Set the default limit again."),
                        commands=(("sudo", "nvidia-smi", *_at(gpu), "-pl", f"{usual:.0f}"),),
                        effect="needs-root",
                    ),
                ),
            )


@rule(
    "DRV019",
    "persistence-mode-off",
    "note",
    needs=("gpus.name", "driver.persistenced", "driver.display_server", "system.wsl", "system.container"),
    sources=(_NVML, "https://docs.nvidia.com/deploy/driver-persistence/index.html"),
)
def persistence_is_off(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Nothing keeps the driver awake between programs on this machine without a display.

    When the last GPU program ends, the driver lets go of the card, and the next one pays seconds for its start. The
    service nvidia-persistenced keeps it ready.

    Check: `nvidia-smi --query-gpu=persistence_mode --format=csv`.
    Silent where a display server runs, in WSL, in Windows and in containers, which cannot change it.
    """
    driver = machine.driver
    if driver is None or driver.persistenced is not False or driver.display_server is not False:
        return
    off = [
        i
        for i, gpu in enumerate(machine.gpus)
        if gpu.health and gpu.health.persistence is False and not gpu.display_active
    ]
    if not off or not on_bare_linux(machine):
        return
    yield found(
        say("Each GPU program pays for the driver's start, since nothing keeps it awake between programs"),
        say("Persistence mode is off, no display uses the card and nvidia-persistenced does not run."),
        evidence=(*(f"gpus[{i}].health.persistence" for i in off), "driver.persistenced"),
        fixes=(
            Fix(
                summary=say("Let the service keep the driver ready."),
                commands=(("sudo", "systemctl", "enable", "--now", "nvidia-persistenced"),),
                effect="needs-root",
            ),
        ),
    )
