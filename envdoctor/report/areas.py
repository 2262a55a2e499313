"""One line per area of the machine: what is there, what is not, what could not be seen, and where a finding lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from envdoctor.model.snapshot import Disk, Gpu, PythonEnv, Snapshot
from envdoctor.model.speech import message, say, say_number
from envdoctor.report.quantities import size

if TYPE_CHECKING:
    from envdoctor.model.finding import Diagnosis, Finding

State = Literal["good", "error", "warning", "absent", "unknown", "not-applicable"]

_NAMES = {
    "system": message("System"),
    "cpu": message("CPU"),
    "memory": message("Memory"),
    "disks": message("Disk"),
    "gpus": message("GPU"),
    "driver": message("Driver"),
    "toolkits": message("Toolkit"),
    "cudnn": message("cuDNN"),
    "python": message("Python"),
    "frameworks": message("Frameworks"),
    # These have a line only where there is a finding.
    "containers": message("Containers"),
    "variables": message("Variables"),
    "network": message("Network"),
    "files": message("Files"),
    "reported": message("Reported"),
}
# The letters of a finding's code -> the area that it is about.
TOPICS = {
    "WSL": "system",
    "MAC": "system",
    "WIN": "system",
    "CPU": "cpu",
    "MEM": "memory",
    "DISK": "disks",
    "HW": "gpus",
    "AMD": "gpus",
    "INTEL": "gpus",
    "DRV": "driver",
    "CUDA": "toolkits",
    "CUDNN": "cudnn",
    "PY": "python",
    "TORCH": "frameworks",
    "TF": "frameworks",
    "JAX": "frameworks",
    "JET": "frameworks",
    "NP": "frameworks",
    "CTR": "containers",
    "ENV": "variables",
    "NET": "network",
    "FILE": "files",
    "MSG": "reported",
}
_NVIDIA = ("driver", "toolkits", "cudnn")  # areas that only a machine with an NVIDIA GPU needs
_KINDS = {
    "hdd": message("hard disk"),
    "sata-ssd": message("SATA SSD"),
    "nvme": message("NVMe"),
    "network": message("network file system"),
}
_PURPOSES = {
    "environment": message("environment"),
    "cache": message("cache"),
    "temporary": message("temporary"),
    "home": message("home"),
    "models": message("models"),
}


class Area(NamedTuple):
    """A line of the overview; `ids` are the codes of the findings that lie here, `topic` its name for programs."""

    name: str
    state: State
    text: str
    topic: str
    ids: tuple[str, ...] = ()


def areas(machine: Snapshot, judged: Diagnosis | None = None) -> list[Area]:
    """Sum up a machine, a line an area; one with an error or a warning of `judged` is not good, whatever is there."""
    lines = [
        _area("system", machine, "system", _system(machine)),
        _area("cpu", machine, "cpu", _cpu(machine)),
        _area("memory", machine, "memory", _memory(machine)),
        *[_area("disks", machine, "disks", _disk(disk)) for disk in machine.disks],
        *([_area("gpus", machine, "gpus", _gpu(gpu)) for gpu in machine.gpus] or [_area("gpus", machine, "gpus", "")]),
        _area("driver", machine, "driver", _driver(machine)),
        _area("toolkits", machine, "toolkits", _toolkits(machine)),
        _area("cudnn", machine, "libraries", _cudnn(machine)),
        _area("python", machine, "pythons", _python(machine.python)),
        _area("frameworks", machine, "pythons", _frameworks(machine.python)),
    ]
    return _judged(lines, judged.findings) if judged and judged.findings else lines


def topic_of(finding: Finding) -> str:
    """Name the area that a finding is about."""
    return TOPICS[finding.id.rstrip("0123456789")]


def _judged(lines: list[Area], findings: tuple[Finding, ...]) -> list[Area]:
    lying: dict[str, list[Finding]] = {}
    for finding in findings:
        lying.setdefault(topic_of(finding), []).append(finding)
    marked = []
    number: dict[str, int] = {}
    for line in lines:
        place = number[line.topic] = number.get(line.topic, -1) + 1
        marked.append(_marked(line, [each for each in lying.get(line.topic, []) if _lies(each, line.topic, place)]))
    for topic in _NAMES:
        if topic in lying and topic not in number:
            text = say_number("one finding", "{number} findings", len(lying[topic]))
            marked.append(_marked(Area(say(_NAMES[topic]), "good", text, topic), lying[topic]))
    return marked


def _lies(finding: Finding, topic: str, place: int) -> bool:
    """Tell whether a finding is about this one of several: about those it names, or about all where it names none."""
    if topic not in ("gpus", "disks"):
        return True
    named = {each.fact.partition(".")[0] for each in finding.evidence if each.fact.startswith(f"{topic}[")}
    return not named or f"{topic}[{place}]" in named


def _marked(line: Area, findings: list[Finding]) -> Area:
    severities = {each.severity for each in findings}
    state: State = "error" if "error" in severities else "warning" if "warning" in severities else line.state
    return line._replace(state=state, ids=tuple(dict.fromkeys(each.id for each in findings)))


def _area(topic: str, machine: Snapshot, fact: str, text: str) -> Area:
    name = say(_NAMES[topic])
    if text:
        return Area(name, "good", text, topic)
    if topic in _NVIDIA and machine.system is not None and machine.system.os == "macos":
        return Area(name, "not-applicable", say("not used on macOS"), topic)
    gap = machine.gap(fact)
    if gap:
        return Area(name, "unknown", say("unknown: {why}", why=gap.detail), topic)
    if topic in _NVIDIA and machine.gpus and all(gpu.vendor != "nvidia" for gpu in machine.gpus):
        return Area(name, "not-applicable", say("not needed: there is no NVIDIA GPU"), topic)
    return Area(name, "absent", say("none found"), topic)


def _system(machine: Snapshot) -> str:
    system = machine.system
    if system is None:
        return ""
    parts = [system.name or system.distribution or system.os]
    parts += [say("kernel {version}", version=system.kernel)] if system.kernel else []
    parts += [system.machine] if system.machine else []
    parts += [f"{system.libc} {system.libc_version or ''}".rstrip()] if system.libc else []
    parts += [f"WSL {system.wsl.version}"] if system.wsl else []
    parts += [say("in a container ({kind})", kind=system.container.kind)] if system.container else []
    return ", ".join(parts)


def _cpu(machine: Snapshot) -> str:
    cpu = machine.cpu
    if cpu is None:
        return ""
    parts = [cpu.model or say("unknown model")]
    if cpu.usable is not None:
        cores = f"{cpu.usable:g}"
        parts.append(
            say("{cores} cores", cores=cores)
            if cpu.logical in (None, cpu.usable)
            else say("{cores} cores granted of {all}", cores=cores, all=cpu.logical)
        )
    notable = [f.upper().replace("_", "-") for f in ("avx2", "avx512f", "amx_tile") if f in (cpu.features or ())]
    return ", ".join(parts + notable)


def _memory(machine: Snapshot) -> str:
    memory = machine.memory
    if memory is None:
        return ""
    parts = [size(memory.total_bytes)]
    if memory.available_bytes is not None:
        parts.append(say("{size} available", size=size(memory.available_bytes)))
    if memory.limit_bytes is not None:
        parts.append(say("limited to {size}", size=size(memory.limit_bytes)))
    parts.append(say("swap {size}", size=size(memory.swap_bytes)) if memory.swap_bytes else say("no swap"))
    if memory.shm_bytes is not None:
        parts.append(say("shared memory {size}", size=size(memory.shm_bytes)))
    return ", ".join(parts)


def _disk(disk: Disk) -> str:
    text = say(
        "{free} free of {total} at {path} ({purposes})",
        free=size(disk.free_bytes),
        total=size(disk.total_bytes),
        path=disk.path,
        purposes=", ".join(say(_PURPOSES.get(each, each)) for each in disk.purposes),
    )
    return ", ".join((text, say(_KINDS[disk.kind]))) if disk.kind in _KINDS else text


def _gpu(gpu: Gpu) -> str:
    parts = [gpu.name or f"{gpu.vendor} GPU {gpu.pci_id or ''}".strip()]
    parts += [say("compute capability {capability}", capability=gpu.capability)] if gpu.capability else []
    parts += [gpu.target] if gpu.target else []
    if gpu.memory_bytes is not None:
        total = size(gpu.memory_bytes)
        free = gpu.free_bytes
        parts.append(total if free is None else say("{free} free of {total}", free=size(free), total=total))
    parts += [say("does not answer")] if gpu.lost else []
    if gpu.bound_driver and gpu.bound_driver != "nvidia":
        parts.append(say("held by {driver}", driver=gpu.bound_driver))
    return ", ".join(parts)


def _driver(machine: Snapshot) -> str:
    driver = machine.driver
    if driver is None or (driver.version is None and not driver.module_loaded):
        return ""
    version = driver.version or say("of unknown version")
    said = say("NVIDIA {version} (of Windows)", version=version) if machine.wsl else f"NVIDIA {version}"
    return ", ".join((said, say("runs CUDA up to {cuda}", cuda=driver.cuda))) if driver.cuda else said


def _toolkits(machine: Snapshot) -> str:
    texts = []
    for kit in machine.toolkits:
        version = kit.version or say("of unknown version")
        texts.append(
            say("CUDA {version} at {path}", version=version, path=kit.path)
            if kit.nvcc
            else say("CUDA {version} at {path} (no compiler)", version=version, path=kit.path)
        )
    return "; ".join(texts)


def _cudnn(machine: Snapshot) -> str:
    return "; ".join(
        f"{library.version or say('unknown version')} ({library.package or library.owner})"
        for library in machine.libraries
        if library.name == "cudnn"
    )


def _python(python: PythonEnv | None) -> str:
    if python is None:
        return ""
    return say(
        "{version} at {path} ({manager}, from {source})",
        version=python.version or say("unknown version"),
        path=python.executable,
        manager=python.manager,
        source=python.selected_by,
    )


def _frameworks(python: PythonEnv | None) -> str:
    if python is None:
        return ""
    texts = []
    for framework in python.frameworks:
        build = next(
            (
                f"{word} {version}"
                for word, version in (("CUDA", framework.cuda), ("ROCm", framework.hip), ("XPU", framework.xpu))
                if version
            ),
            say("CPU build") if framework.gpu_build is False else "",
        )
        cudnn = f", cuDNN {framework.cudnn}" if framework.cudnn else ""
        texts.append(f"{framework.name} {framework.version}{f' ({build}{cudnn})' if build else ''}")
    return "; ".join(texts)
