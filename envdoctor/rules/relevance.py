"""Which machines a rare family of rules can concern; its module is imported only for those, which keeps start-up cheap.

A predicate may say yes too often, and never no where a rule of the family would speak. What is unknown concerns.
"""

from __future__ import annotations

from collections.abc import Callable

from envdoctor.model.snapshot import Snapshot


def concerns(family: str, machine: Snapshot) -> bool:
    """Tell whether rules of that family can have anything to say of the machine."""
    if family.startswith("messages_"):
        return bool(machine.problems)
    return family not in _CONCERNS or _CONCERNS[family](machine)


def _vendor(machine: Snapshot, vendor: str) -> bool:
    return any(gpu.vendor == vendor for gpu in machine.gpus) or machine.gap("gpus.vendor") is not None


def _nvidia(machine: Snapshot) -> bool:
    driver = machine.driver
    if driver is not None and (driver.module_loaded or driver.version or driver.nvml_path or driver.libcuda_path):
        return True
    return _vendor(machine, "nvidia") or machine.gap("driver") is not None or _nvml_spoke(machine)


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
    if machine.gap("pythons[0].packages") is not None:
        return True
    return machine.python is not None and any(each.name.startswith(stems) for each in machine.python.packages)


def _variable(machine: Snapshot, *prefixes: str) -> bool:
    return any(each.name.startswith(prefixes) for each in machine.variables)


def _torch(machine: Snapshot) -> bool:
    frameworks = machine.python.frameworks if machine.python else ()
    return any(each.name == "torch" for each in frameworks) or _installed(machine, "torch", "pytorch")


_SWITCHES = ("CUDA_", "PYTORCH_", "TF_", "XLA_", "JAX_", "HF_", "TRANSFORMERS_", "LD_PRELOAD")

_CONCERNS: dict[str, Callable[[Snapshot], bool]] = {
    "wsl_settings": lambda m: m.wsl is not None,
    "container_access": lambda m: m.system is not None and m.system.container is not None,
    "docker": lambda m: m.docker is not None,
    "driver_libraries": _nvidia,
    "driver_devices": _nvidia,
    "driver_cuda": _nvidia,
    "driver_state": _nvidia,
    "driver_copies": _nvidia,
    "gpu_faults": _nvidia,
    "gpu_state": _nvidia,
    "gpu_choice": _nvidia,
    "switches": lambda m: _variable(m, *_SWITCHES) or _installed(m, "tensorflow"),
    "torch": _torch,
    "companions": _torch,
    "extensions": lambda m: _installed(m, "xformers", "flash-attn", "bitsandbytes", "triton", "pytorch-triton"),
    "triton": lambda m: _installed(m, "triton", "pytorch-triton"),
    "cudnn_system": lambda m: any(each.name == "cudnn" for each in m.libraries),
    "cuda_building": lambda m: bool(m.toolkits) or _variable(m, "CUDA_", "CUDACXX", "LD_LIBRARY_PATH"),
    "tensorflow": lambda m: _installed(m, "tensorflow", "tf-nightly"),
    "jax": lambda m: _installed(m, "jax"),
    "amd": _amd,
    "intel": _intel,
    "jetson": lambda m: m.system is not None and m.system.jetson is not None,
    "macos": lambda m: _os(m, "macos"),
    "windows": lambda m: _os(m, "windows"),
}
