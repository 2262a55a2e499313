"""Which GPU a program gets: MIG instances, numbering, laptops with two, the processor's side of the board."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.driver.absence import on_bare_linux
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import set_variable
from envdoctor.rules.wording import card, listed, sentence

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_GUIDE = "https://docs.nvidia.com/cuda/cuda-programming-guide/05-appendices/environment-variables.html"
_MIG = "https://docs.nvidia.com/datacenter/tesla/mig-user-guide/mig-device-names.html"


@rule(
    "HW002",
    "mig-hides-device",
    "warning",
    needs=("gpus.mig", "variables"),
    sources=(_MIG, _GUIDE, "https://github.com/pytorch/pytorch/blob/main/torch/cuda/__init__.py"),
)
def mig_instance_named_wrongly(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """CUDA_VISIBLE_DEVICES does not name one MIG instance.

    A CUDA process uses at most one MIG instance, which the variable names by its MIG-UUID. Several entries do not give
    several GPUs, and an instance that does not exist gives none.

    Check: `nvidia-smi -L` lists the instances and their names.
    Silent where the variable is not set, or names one instance that exists; and about numbers while a card without MIG
    is there, which they may mean.
    """
    value = machine.variable(_VISIBLE)
    cards = [
        (place, gpu) for place, gpu in enumerate(machine.gpus) if gpu.mig and gpu.mig.enabled and gpu.mig.instances
    ]
    if not value or not cards:
        return
    entries = [entry.strip() for entry in value.split(",") if entry.strip()]
    named = [entry for entry in entries if entry.startswith("MIG-")]
    known = [uuid for _, gpu in cards for uuid in gpu.mig_uuids or ()]
    unknown = [entry for entry in named if known and not entry.startswith("MIG-GPU-") and entry not in known]
    if len(named) > 1:
        title = say(
            "{visible} names {named_count} MIG instances, and a CUDA program uses one",
            visible=_VISIBLE,
            named_count=len(named),
        )
    elif unknown:
        title = say(
            "{visible} names {unknown}, and there is no such MIG instance", visible=_VISIBLE, unknown=unknown[0]
        )
    else:
        return
    fixes = tuple(
        Fix(summary=say("Name one instance."), commands=(("nvidia-smi", "-L"), set_variable(machine, _VISIBLE, uuid)))
        for uuid in known[:1]
    )
    yield found(
        title,
        say("Several entries do not make several GPUs: a process sees one instance at the most."),
        evidence=(f"variables.{_VISIBLE}", *(f"gpus[{place}].mig.instances" for place, _ in cards)),
        severity="error" if unknown and len(unknown) == len(named) else None,
        fixes=fixes or (Fix(summary=say("Name one instance of this list."), commands=(("nvidia-smi", "-L"),)),),
    )


@rule(
    "HW009",
    "laptop-gpu-switched-off",
    "warning",
    certainty="likely",
    needs=("system.graphics_mode", "gpus.bound_driver", "driver.module_loaded"),
    sources=("https://github.com/pop-os/system76-power", "https://github.com/openSUSE/SUSEPrime"),
)
def laptop_gpu_is_off(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """This laptop is set to its integrated graphics, and the NVIDIA GPU is switched off.

    In that mode the chip gets no power, so CUDA sees nothing. The mode "on-demand" keeps it ready for computing alone.

    Check: `prime-select query`, then `nvidia-smi` after a restart.
    Silent about a card that only sleeps (D3cold) until a program uses it, which is healthy.
    """
    system, driver = machine.system, machine.driver
    if system is None or system.graphics_mode not in ("off", "intel", "integrated") or not on_bare_linux(machine):
        return
    if driver is not None and driver.module_loaded:
        return
    seen = [
        place for place, gpu in enumerate(machine.gpus) if gpu.vendor == "nvidia" and gpu.bound_driver != "vfio-pci"
    ]
    if not seen and not (driver and driver.module_on_disk):
        return
    yield found(
        say("This laptop is set to its integrated graphics, so the NVIDIA GPU is off"),
        say(
            "The setting survives restarts. “On-demand” leaves the display to the integrated graphics and the NVIDIA "
            "GPU to programs that ask for it."
        ),
        evidence=("system.graphics_mode", *(f"gpus[{place}].bound_driver" for place in seen)),
        fixes=(
            Fix(
                summary=say("Switch to on-demand, then restart."),
                commands=(("sudo", "prime-select", "on-demand"), ("sudo", "reboot")),
                effect="needs-reboot",
            ),
        ),
    )


@rule(
    "ENV003",
    "gpu-numbering-differs",
    "note",
    needs=("gpus.name", "variables"),
    sources=(_GUIDE,),
)
def numbering_differs(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """CUDA numbers the GPUs in another order than nvidia-smi.

    CUDA puts the fastest card first unless CUDA_DEVICE_ORDER=PCI_BUS_ID is set; nvidia-smi goes by the place on the
    bus. Number 0 may then be two different cards.

    Check: `python -c "import torch; print(torch.cuda.get_device_name(0))"` beside `nvidia-smi -L`.
    Silent with cards of one model, and where the variable is set to the order of the bus.
    """
    listed_cards = [(place, gpu) for place, gpu in enumerate(machine.gpus) if gpu.vendor == "nvidia" and gpu.name]
    models = dict.fromkeys(gpu.name for _, gpu in listed_cards)
    if len(models) < 2 or machine.variable("CUDA_DEVICE_ORDER") == "PCI_BUS_ID":
        return
    yield found(
        say("CUDA may number {models} differently from nvidia-smi", models=listed(name or "" for name in models)),
        say("CUDA puts the fastest card first, nvidia-smi goes by the place on the bus."),
        evidence=tuple(f"gpus[{place}].name" for place, _ in listed_cards),
        fixes=(
            Fix(
                summary=say("Let CUDA use the order of nvidia-smi."),
                commands=(set_variable(machine, "CUDA_DEVICE_ORDER", "PCI_BUS_ID"),),
            ),
        ),
    )


@rule(
    "CPU002",
    "gpu-on-other-numa-node",
    "note",
    certainty="hint",
    needs=("cpu.numa_nodes", "gpus.numa_node"),
    sources=("https://docs.pytorch.org/tutorials/recipes/recipes/tuning_guide.html",),
)
def process_far_from_gpu(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """This process is bound to processors on the other side of the board from the GPU.

    On boards with several processors memory traffic to the other one is slower, and so is feeding a card there.

    Check: `nvidia-smi topo -m`.
    Silent without such a binding, which is the usual case, and where the firmware does not tell the card's side.
    """
    allowed = machine.cpu.numa_nodes if machine.cpu else None
    if not allowed:
        return
    for place, gpu in enumerate(machine.gpus):
        if gpu.vendor != "nvidia" or gpu.numa_node is None or gpu.numa_node in allowed:
            continue
        node = gpu.numa_node
        yield found(
            say(
                "{card} belongs to NUMA node {node}, and this process may use node {allowed} only",
                card=sentence(card(gpu)),
                node=node,
                allowed=listed(str(each) for each in allowed),
            ),
            say("Data for the card crosses the link between the processors, which costs some speed."),
            evidence=(f"gpus[{place}].numa_node", "cpu.numa_nodes"),
            fixes=(
                Fix(
                    summary=say("Start the program on the card's side."),
                    commands=(("numactl", f"--cpunodebind={node}", f"--membind={node}", "python", "train.py"),),
                ),
            ),
        )
