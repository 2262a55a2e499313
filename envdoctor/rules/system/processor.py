"""The processor's share of the work: how much of it a container may use, and what slows it down."""

from __future__ import annotations

from collections.abc import Iterator

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import set_variable
from envdoctor.rules.wording import size

_GUIDE = "https://docs.pytorch.org/tutorials/recipes/recipes/tuning_guide.html"
# With these drivers "powersave" is the normal mode that follows the load.
_DYNAMIC = ("intel_pstate", "amd-pstate-epp", "amd-pstate", "amd_pstate_epp")
_MUCH = 0.25  # of the memory set aside for huge pages: a threshold of ours


@rule(
    "CPU001",
    "cpu-quota-below-cores",
    "warning",
    certainty="likely",
    needs=("cpu.quota", "cpu.logical", "cpu.affinity", "variables"),
    sources=("https://docs.kernel.org/admin-guide/cgroup-v2.html", _GUIDE),
)
def quota_below_cores(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """This process may use far less of the processors than it sees.

    Math libraries start one thread for each processor they see. Under a quota of cgroups the kernel then stops all of
    them for a part of each period, which is slower than a few threads.

    Needed: as many threads as the quota grants.
    Check: /sys/fs/cgroup/cpu.max beside `nproc`.
    Silent where the quota is half of what is seen or more, and where OMP_NUM_THREADS is set already.
    """
    cpu = machine.cpu
    if cpu is None or cpu.quota is None or cpu.logical is None or machine.variable("OMP_NUM_THREADS"):
        return
    seen = min(cpu.logical, cpu.affinity or cpu.logical)
    granted = max(1, -int(-cpu.quota // 1))
    if granted * 2 >= seen:
        return
    yield found(
        say("This process sees {seen} processors and may use the time of {quota:g}", seen=seen, quota=cpu.quota),
        say("Math libraries start one thread for each processor they see, and the kernel then pauses all of them."),
        evidence=("cpu.quota", "cpu.logical"),
        fixes=(
            Fix(
                summary=say(
                    "Let the libraries start as many threads as the quota grants, and give a data loader one less."
                ),
                commands=(
                    set_variable(machine, "OMP_NUM_THREADS", str(granted)),
                    set_variable(machine, "MKL_NUM_THREADS", str(granted)),
                ),
            ),
        ),
    )


@rule(
    "CPU003",
    "huge-pages-reserved",
    "warning",
    certainty="hint",
    needs=("memory.reserved_huge_bytes", "memory.total_bytes", "system.container"),
    variants=("transparent-huge-pages-off",),
    sources=("https://docs.kernel.org/filesystems/proc.html", _GUIDE),
)
def huge_pages_lie_idle(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Memory is set aside for huge pages and idle, or huge pages are switched off where the processor does the work.

    Memory that is reserved for huge pages is lost to programs that do not ask for it, which is all of deep learning.
    Transparent huge pages cost nothing, and make large tensors on the processor a little faster.

    Check: `grep Huge /proc/meminfo`, `cat /sys/kernel/mm/transparent_hugepage/enabled`.
    Silent below a quarter of the memory (a threshold of ours). Transparent ones: a note where they are set to "never",
    a framework is installed and no GPU is there; "madvise" is the usual setting, which frameworks can work with.
    """
    memory = machine.memory
    if memory is not None and memory.huge_pages == "never":
        yield from _without_huge_pages(machine)
    if memory is None or not memory.reserved_huge_bytes or memory.reserved_huge_bytes < memory.total_bytes * _MUCH:
        return
    inside = machine.system is not None and machine.system.container is not None
    yield found(
        say(
            "{reserved_huge_bytes} of {total_bytes} memory is set aside for huge pages and idle",
            reserved_huge_bytes=size(memory.reserved_huge_bytes),
            total_bytes=size(memory.total_bytes),
        ),
        say("Programs cannot use it unless they ask for huge pages, which frameworks do not."),
        evidence=("memory.reserved_huge_bytes", "memory.total_bytes"),
        fixes=(
            Fix(
                summary=say("Give it back, unless a database or a virtual machine here needs it."),
                commands=(("sudo", "sysctl", "vm.nr_hugepages=0"),),
                effect="needs-root",
                where="host" if inside else "here",
            ),
        ),
    )


def _without_huge_pages(machine: Snapshot) -> Iterator[Found]:
    python = machine.python
    unknown = machine.gap("gpus") or machine.gap("pythons") or machine.gap("memory.huge_pages")
    if python is None or not python.frameworks or unknown or any(gpu.vendor != "intel" for gpu in machine.gpus):
        return
    inside = machine.system is not None and machine.system.container is not None
    file = "/sys/kernel/mm/transparent_hugepage/enabled"
    yield found(
        say("Transparent huge pages are switched off"),
        say("Large tensors on the processor are a little faster with them; programs may then ask for such pages."),
        evidence=("memory.huge_pages",),
        severity="note",
        slug="transparent-huge-pages-off",
        fixes=(
            Fix(
                summary=say("Write the word madvise into {file}, as root.", file=file),
                effect="needs-root",
                where="host" if inside else "here",
            ),
        ),
    )


@rule(
    "HW012",
    "cpu-without-avx2",
    "note",
    certainty="hint",
    needs=("cpu.features", "gpus.vendor", "system.machine"),
    sources=("https://www.tensorflow.org/install/pip", _GUIDE),
)
def processor_without_avx2(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The work is done by the processor, and it shows no AVX2.

    Math libraries choose their fast paths by the processor's instructions. Without AVX2 they take paths that are
    several times slower.

    Check: `grep -m1 -o avx2 /proc/cpuinfo` prints a line.
    Silent with a GPU, on processors that are not x86, and without AVX, where HW011 says more.
    """
    system, cpu = machine.system, machine.cpu
    if system is None or cpu is None or cpu.features is None or system.machine not in ("x86_64", "AMD64"):
        return
    if "avx" not in cpu.features or "avx2" in cpu.features or any(gpu.vendor != "intel" for gpu in machine.gpus):
        return
    yield found(
        say("{processor} shows no AVX2, so computing on it is slow", processor=cpu.model or say("The processor")),
        say("Math libraries then take slower paths.")
        + (" " + say("A virtual machine may hide it.") if system.virtual else ""),
        evidence=("cpu.features",),
        fixes=(Fix(summary=say("Set the CPU model of the virtual machine to host or host-passthrough."), where="host"),)
        if system.virtual
        else (),
    )


@rule(
    "HW013",
    "cpu-governor-powersave",
    "note",
    certainty="hint",
    needs=("cpu.governor", "cpu.scaling_driver", "system.container"),
    sources=("https://docs.kernel.org/admin-guide/pm/cpufreq.html",),
)
def governor_keeps_clocks_low(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """The processor is kept at its lowest clock by the governor powersave.

    With the older drivers this governor means the lowest clock whatever the load, and starves data loading.

    Check: `cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor`.
    Silent with intel_pstate and amd-pstate, where the same word names the normal mode, and where nothing scales clocks
    (virtual machines, containers).
    """
    cpu, system = machine.cpu, machine.system
    if cpu is None or cpu.governor != "powersave" or cpu.scaling_driver is None or cpu.scaling_driver in _DYNAMIC:
        return
    if system and system.container:
        return
    yield found(
        say(
            "The processor stays at its lowest clock: governor powersave of {scaling_driver}",
            scaling_driver=cpu.scaling_driver,
        ),
        say("With this driver the governor does not follow the load."),
        evidence=("cpu.governor", "cpu.scaling_driver"),
        severity="warning",
        fixes=(
            Fix(
                summary=say("Let the clock follow the load."),
                commands=(("sudo", "cpupower", "frequency-set", "-g", "schedutil"),),
                effect="needs-root",
            ),
        ),
    )
