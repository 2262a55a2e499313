"""Which machines a rare family of rules can concern; its module is imported only for those, which keeps start-up cheap.

A predicate may say yes too often, and never no where a rule of the family would speak. What is unknown concerns.
"""

from __future__ import annotations

from collections.abc import Callable

from envdoctor.model.snapshot import Snapshot


def concerns(family: str, machine: Snapshot) -> bool:
    """Tell whether rules of that family can have anything to say of the machine."""
    if family.startswith("messages."):
        return bool(machine.problems)
    if family.startswith("files."):
        return bool(machine.declared)
    if family not in _CONCERNS:
        return True
    facts, predicate = _CONCERNS[family]
    return any(machine.gap(fact) for fact in facts) or predicate(machine)


def _vendor(machine: Snapshot, vendor: str) -> bool:
    return any(gpu.vendor == vendor for gpu in machine.gpus)


def _nvidia(machine: Snapshot) -> bool:
    driver = machine.driver
    if driver is not None and (driver.module_loaded or driver.version or driver.nvml_path or driver.libcuda_path):
        return True
    return _vendor(machine, "nvidia") or _nvml_spoke(machine)


def _nvml_spoke(machine: Snapshot) -> bool:
    return machine.driver is not None and (machine.driver.nvml is not None or machine.driver.cuda is not None)


def _amd(machine: Snapshot) -> bool:
    frameworks = machine.python.frameworks if machine.python else ()
    return _vendor(machine, "amd") or any(each.hip for each in frameworks)


def _intel(machine: Snapshot) -> bool:
    frameworks = machine.python.frameworks if machine.python else ()
    return _vendor(machine, "intel") or any(each.xpu for each in frameworks)


def _os(machine: Snapshot, os: str) -> bool:
    return machine.system is not None and machine.system.os == os


def _installed(machine: Snapshot, *stems: str) -> bool:
    """Tell whether a distribution whose name begins with one of these is in the judged environment."""
    return machine.python is not None and any(each.name.startswith(stems) for each in machine.python.packages)


def _variable(machine: Snapshot, *prefixes: str) -> bool:
    return any(each.name.startswith(prefixes) for each in machine.variables)


def _torch(machine: Snapshot) -> bool:
    frameworks = machine.python.frameworks if machine.python else ()
    return any(each.name == "torch" for each in frameworks) or _installed(machine, "torch", "pytorch")


def _network(machine: Snapshot) -> bool:
    set_up = machine.pip is not None and bool(machine.pip.settings)
    asked = bool(machine.network)
    return set_up or asked or any(each.missing or each.name == "HF_ENDPOINT" for each in machine.variables)


def _odd_python(machine: Snapshot) -> bool:
    python = machine.python
    if python is None:
        return False
    odd = python.libc == "musl" or python.externally_managed or python.home_missing or python.free_threaded
    pip = python.package("pip")
    return bool(odd) or (pip is not None and pip.version.partition(".")[0] in _OLD_PIPS)


def _odd_files(machine: Snapshot) -> bool:
    python = machine.python
    if _variable(machine, "PYTHONHOME", "PYTHONPATH"):
        return True
    if python is None:
        return False
    if python.leftovers or python.without_record or python.damaged or python.local_modules:
        return True
    return any("/.local/lib/" in (each.location or "") for each in python.packages)


def _odd_processor(machine: Snapshot) -> bool:
    cpu, memory = machine.cpu, machine.memory
    if memory is not None and (memory.reserved_huge_bytes or memory.huge_pages == "never"):
        return True
    if cpu is None:
        return False
    return cpu.quota is not None or cpu.governor == "powersave" or "avx2" not in (cpu.features or ("avx2",))


_OLD_PIPS = tuple(str(number) for number in range(21))
_SWITCHES = ("CUDA_", "PYTORCH_", "TF_", "XLA_", "JAX_", "HF_", "TRANSFORMERS_", "LD_PRELOAD")

_Predicate = Callable[[Snapshot], bool]

_DRIVER_FAMILIES = (
    "driver.libraries",
    "driver.copies",
    "driver.devices",
    "driver.state",
    "driver.cuda",
    "driver.sleep",
    "cards.faults",
    "cards.state",
    "cards.choice",
)

# A family: the facts that its predicate looks at, and the predicate.
_CONCERNS: dict[str, tuple[tuple[str, ...], _Predicate]] = {
    "platforms.wsl_settings": (("system.wsl",), lambda m: m.wsl is not None),
    "containers.access": (("system.container",), lambda m: m.system is not None and m.system.container is not None),
    "containers.docker": (("docker",), lambda m: m.docker is not None),
    **dict.fromkeys(_DRIVER_FAMILIES, (("gpus.vendor", "driver.module_loaded"), _nvidia)),
    "system.switches": (
        ("variables", "pythons.packages"),
        lambda m: _variable(m, *_SWITCHES) or _installed(m, "tensorflow"),
    ),
    "frameworks.torch": (("pythons.packages",), _torch),
    "frameworks.companions": (("pythons.packages",), _torch),
    "frameworks.extensions": (
        ("pythons.packages",),
        lambda m: _installed(m, "torch", "xformers", "flash-attn", "bitsandbytes", "triton", "pytorch-triton"),
    ),
    "frameworks.triton": (("pythons.packages",), lambda m: _installed(m, "triton", "pytorch-triton")),
    "toolkit.cudnn_system": (("libraries",), lambda m: any(each.name == "cudnn" for each in m.libraries)),
    "toolkit.building": (
        ("toolkits", "variables", "driver.libcuda_path"),
        lambda m: bool(m.toolkits) or _variable(m, "CUDA_") or (m.driver is not None and bool(m.driver.libcuda_path)),
    ),
    "frameworks.tensorflow": (("pythons.packages",), lambda m: _installed(m, "tensorflow", "tf-", "onnxruntime")),
    "frameworks.jax": (("pythons.packages",), lambda m: _installed(m, "jax")),
    "system.fit": ((), lambda m: bool(m.wanted)),
    "system.network": (("pip", "variables", "network"), _network),
    "python.install": (("pythons", "system.container"), _odd_python),
    "python.files": (("pythons", "variables"), _odd_files),
    "python.requirements": (
        ("pythons.packages", "system.machine"),
        lambda m: m.python is not None and any(each.requires for each in m.python.packages),
    ),
    "system.processor": (("cpu", "memory", "gpus.vendor", "system.container", "system.machine"), _odd_processor),
    "cards.amd": (("gpus.vendor",), _amd),
    "cards.intel": (("gpus.vendor",), _intel),
    "cards.jetson": (("system.jetson",), lambda m: m.system is not None and m.system.jetson is not None),
    "platforms.macos": (("system.os",), lambda m: _os(m, "macos")),
    "platforms.windows": (("system.os",), lambda m: _os(m, "windows")),
}
