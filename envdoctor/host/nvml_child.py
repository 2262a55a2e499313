"""The process that really calls libnvidia-ml; `nvml.ask` starts it, reads its lines, and ends it when it hangs.

Run as a script: `python -I -S nvml_child.py LIBRARY SYS_PATH_ENTRY…`. It imports nothing of envdoctor, so that it
starts in a few milliseconds. It prints one JSON document a line, as soon as it is known, so that a call that never
returns loses only what comes after it: `status`, `system`, `count`, then one `gpu` each, then `missing` as the last.
With `--every=SECONDS` first it prints one line of `memory` again and again, until its reader has left.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from typing import Any

FUNCTION_NOT_FOUND, GPU_IS_LOST, RESET_REQUIRED, UNKNOWN = 13, 15, 16, 999
_MEMORY_V2 = 0x02000028  # nvmlMemory_v2: the structure's version and its size, as nvml.h composes them

_COMPUTE_MODES = {0: "default", 1: "exclusive-thread", 2: "prohibited", 3: "exclusive-process"}
_RECOVERY_ACTION = 230  # NVML_FI_DEV_GET_GPU_RECOVERY_ACTION
# Heat (0x20, 0x40), the board's emergency brakes (0x8, 0x80): only these are worth a second look.
_ALARMING = 0x20 | 0x40 | 0x8 | 0x80
_SAMPLES = (0.0, 0.1, 0.1)  # seconds before each look

# What a module named pynvml must have to be nvidia-ml-py, or as good as it.
_NEEDED = (
    "NVMLError",
    "nvmlInit",
    "nvmlSystemGetDriverVersion",
    "nvmlDeviceGetCount",
    "nvmlDeviceGetHandleByIndex",
    "nvmlDeviceGetName",
    "nvmlDeviceGetMemoryInfo",
    "nvmlDeviceGetCudaComputeCapability",
    "nvmlDeviceGetPciInfo",
)


class GpuGone(Exception):
    """This GPU no longer answers: it is lost, or waits for a reset."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Library:
    """libnvidia-ml behind one door; every call goes through `attempt`."""

    def __init__(self, bindings: Any) -> None:
        self._bindings = bindings
        self.missing: list[str] = []

    def attempt(self, name: str, *arguments: object) -> tuple[Any, int]:
        """Call a function by name: its value and 0, or None and NVML's return code."""
        function = getattr(self._bindings, name, None)
        if function is None:  # bindings older than the function
            code = FUNCTION_NOT_FOUND
        else:
            try:
                return function(*arguments), 0
            except self._bindings.NVMLError as refused:
                code = int(getattr(refused, "value", UNKNOWN))
            except (ValueError, TypeError):  # a text that is not UTF-8; bindings that take other arguments
                code = UNKNOWN
        if code == FUNCTION_NOT_FOUND:
            symbol = f"{name}_v2" if name.endswith("MemoryInfo") and len(arguments) > 1 else name
            if symbol not in self.missing:
                self.missing.append(symbol)
        return None, code

    def make(self, name: str) -> Any:
        """Make a structure of the bindings; None: they do not have it."""
        kind = getattr(self._bindings, name, None)
        return kind() if kind else None

    def ask(self, name: str, *arguments: object) -> Any:
        """Call a function by name; None where this card, driver or account has no answer.

        Raises:
            GpuGone: nothing else of this GPU can be asked.
        """
        value, code = self.attempt(name, *arguments)
        if code in (GPU_IS_LOST, RESET_REQUIRED):
            raise GpuGone(code)
        return value


def load(library: str) -> Any:
    """Import pynvml and let it use the library at this path.

    Raises:
        ImportError: there is no such module, or it is another one of that name; the message says what to do.
    """
    try:
        import pynvml
    except ModuleNotFoundError:
        raise ImportError("the package nvidia-ml-py is not installed beside envdoctor") from None
    except Exception as problem:
        raise ImportError(f"the module pynvml cannot be imported: {problem}") from None
    lacking = [name for name in _NEEDED if not hasattr(pynvml, name)]
    if lacking:
        place = getattr(pynvml, "__file__", None) or "an unknown place"
        raise ImportError(f"the module pynvml in {place} is not that of nvidia-ml-py: it has no {lacking[0]}")
    try:
        # pynvml opens libnvidia-ml.so.1 by name, which then finds this copy although no setting of the loader names
        # its folder (WSL, NixOS).
        ctypes.CDLL(library)
    except OSError:
        pass  # pynvml meets the same problem and has a return code for it
    return pynvml


def system(nvml: Library) -> dict[str, object]:
    """Ask what holds for all GPUs."""
    # _v2 asks the libcuda that programs would load; the older call gives the number of the driver's own.
    cuda = nvml.ask("nvmlSystemGetCudaDriverVersion_v2") or nvml.ask("nvmlSystemGetCudaDriverVersion")
    return {
        "driver": _text(nvml.ask("nvmlSystemGetDriverVersion")),
        "cuda": f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else None,
    }


def gpu(nvml: Library, index: int) -> dict[str, object]:
    """Ask everything about one GPU; a lost one keeps what it said before."""
    known: dict[str, object] = {"index": index}
    handle, code = nvml.attempt("nvmlDeviceGetHandleByIndex", index)
    if code:
        return {**known, "error": code}
    try:
        for question in (_identity, _memory, _mig, _use, _health):
            known.update(question(nvml, handle))
    except GpuGone as gone:
        known["error"] = gone.code
    return known


def _identity(nvml: Library, handle: object) -> dict[str, object]:
    pci = nvml.ask("nvmlDeviceGetPciInfo", handle)
    capability = nvml.ask("nvmlDeviceGetCudaComputeCapability", handle)
    known: dict[str, object] = {
        "name": _text(nvml.ask("nvmlDeviceGetName", handle)),
        "uuid": _text(nvml.ask("nvmlDeviceGetUUID", handle)),
        "capability": f"{capability[0]}.{capability[1]}" if capability else None,
        "minor": nvml.ask("nvmlDeviceGetMinorNumber", handle),
    }
    if pci:
        known["bus_id"] = f"{pci.domain:04x}:{pci.bus:02x}:{pci.device:02x}.0"  # as sysfs writes it
        if pci.pciDeviceId:
            known["pci_id"] = f"{pci.pciDeviceId & 0xFFFF:04x}:{pci.pciDeviceId >> 16:04x}"
    return known


def _memory(nvml: Library, handle: object) -> dict[str, object]:
    memory = nvml.ask("nvmlDeviceGetMemoryInfo", handle, _MEMORY_V2)
    if memory is None:  # the first version counts what the driver reserves as used
        memory = nvml.ask("nvmlDeviceGetMemoryInfo", handle)
    if memory is None:
        return {}
    return {
        "memory_bytes": memory.total,
        "used_bytes": memory.used,
        "free_bytes": memory.free,
        "reserved_bytes": getattr(memory, "reserved", None),
    }


def _mig(nvml: Library, handle: object) -> dict[str, object]:
    mode = nvml.ask("nvmlDeviceGetMigMode", handle)
    if mode is None:
        return {}
    known: dict[str, object] = {"mig_enabled": bool(mode[0]), "mig_pending": bool(mode[1]), "mig_instances": None}
    most = nvml.ask("nvmlDeviceGetMaxMigDeviceCount", handle) if mode[0] else None
    if most is not None:
        answers = [nvml.attempt("nvmlDeviceGetMigDeviceHandleByIndex", handle, index) for index in range(most)]
        # 2 and 6: there is none of that number. Anything else, such as a lack of permission, tells no number.
        if all(code in (0, 2, 6) for _, code in answers):
            instances = [instance for instance, code in answers if code == 0]
            uuids = [_text(nvml.ask("nvmlDeviceGetUUID", instance)) for instance in instances]
            known["mig_instances"] = len(instances)
            known["mig_uuids"] = uuids if all(uuids) else None
    return known


def _use(nvml: Library, handle: object) -> dict[str, object]:
    active = nvml.ask("nvmlDeviceGetDisplayActive", handle)
    return {
        "display_active": None if active is None else bool(active),
        "processes": _processes(nvml, handle),
    }


def _health(nvml: Library, handle: object) -> dict[str, object]:
    """Ask how the card is; the constants are those of nvml.h."""

    def flag(name: str) -> bool | None:
        value = nvml.ask(name, handle)
        return None if value is None else bool(value)

    def watts(name: str) -> float | None:
        value = nvml.ask(name, handle)
        return None if value is None else value / 1000

    rows = nvml.ask("nvmlDeviceGetRemappedRows", handle)
    known = {
        "compute_mode": _COMPUTE_MODES.get(nvml.ask("nvmlDeviceGetComputeMode", handle)),
        "persistence": flag("nvmlDeviceGetPersistenceMode"),
        "ecc_uncorrected": nvml.ask("nvmlDeviceGetTotalEccErrors", handle, 1, 0),
        "ecc_uncorrected_ever": nvml.ask("nvmlDeviceGetTotalEccErrors", handle, 1, 1),
        "pages_pending": flag("nvmlDeviceGetRetiredPagesPendingStatus"),
        "remap_pending": bool(rows[2]) if rows else None,
        "remap_failed": bool(rows[3]) if rows else None,
        "held_back": _held_back(nvml, handle),
        "temperature": nvml.ask("nvmlDeviceGetTemperature", handle, 0),
        "power_limit_watts": watts("nvmlDeviceGetEnforcedPowerLimit"),
        "power_default_watts": watts("nvmlDeviceGetPowerManagementDefaultLimit"),
        "link_width": nvml.ask("nvmlDeviceGetCurrPcieLinkWidth", handle),
        "link_width_max": nvml.ask("nvmlDeviceGetMaxPcieLinkWidth", handle),
        "recovery": _recovery(nvml, handle),
        "fabric": _fabric(nvml, handle),
    }
    return {"health": known}


def _held_back(nvml: Library, handle: object) -> int | None:
    """Give the reasons for lower clocks that stand; a change of clocks shows some of them for an instant."""
    reasons: int | None = None
    for pause in _SAMPLES:
        time.sleep(pause)
        seen = nvml.ask("nvmlDeviceGetCurrentClocksEventReasons", handle)
        if seen is None:
            seen = nvml.ask("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
        if seen is None:
            return None
        reasons = seen if reasons is None else reasons & seen
        if not reasons & _ALARMING:
            break  # the usual case, which then costs one call
    return reasons


def _recovery(nvml: Library, handle: object) -> int | None:
    values = nvml.ask("nvmlDeviceGetFieldValues", handle, [_RECOVERY_ACTION])
    return int(values[0].value.uiVal) if values and values[0].nvmlReturn == 0 else None


def _fabric(nvml: Library, handle: object) -> int | None:
    info = nvml.make("c_nvmlGpuFabricInfo_t")
    if info is None or nvml.attempt("nvmlDeviceGetGpuFabricInfo", handle, ctypes.byref(info))[1]:
        return None
    return int(info.state) or None  # 0: the card has no fabric


def memory(nvml: Library, count: int) -> list[dict[str, object]]:
    """Ask what each GPU holds, and for whom; one that no longer answers is left out."""
    found = []
    for index in range(count):
        handle, code = nvml.attempt("nvmlDeviceGetHandleByIndex", index)
        if code:
            continue
        try:
            name = _text(nvml.ask("nvmlDeviceGetName", handle))
            held = _memory(nvml, handle)
            processes = _processes(nvml, handle)
        except GpuGone:
            continue
        found.append({"index": index, "name": name, **held, "processes": processes})
    return found


def _processes(nvml: Library, handle: object) -> list[tuple[int, int | None]] | None:
    running = nvml.ask("nvmlDeviceGetComputeRunningProcesses_v3", handle)
    if running is None:
        running = nvml.ask("nvmlDeviceGetComputeRunningProcesses_v2", handle)
    return None if running is None else [(each.pid, each.usedGpuMemory) for each in running]


def _text(value: object) -> object:
    """Give text whether the bindings answer with it (since 11.515) or with bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def main() -> None:
    """Print what libnvidia-ml says, line by line."""
    every = float(sys.argv.pop(1).partition("=")[2]) if sys.argv[1].startswith("--every=") else None
    library, *folders = sys.argv[1:]
    # Behind the standard library, so that nothing there can take the place of a module of it.
    sys.path += [folder for folder in folders if folder not in sys.path]
    # The library writes where it likes and may start nvidia-modprobe: neither may get hold of our pipe.
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(**document: object) -> None:
        lines.write(json.dumps(document) + "\n")
        lines.flush()

    try:
        bindings = load(library)
        nvml = Library(bindings)
        status = nvml.attempt("nvmlInit")[1]
        say(status=status)
        if status == 0 and every is not None:
            count = nvml.attempt("nvmlDeviceGetCount")[0] or 0
            while count:
                say(memory=memory(nvml, count))
                time.sleep(every)
        elif status == 0:
            say(system=system(nvml))
            count, code = nvml.attempt("nvmlDeviceGetCount")
            say(**({"status": code} if code else {"count": count}))
            for index in range(count or 0):
                say(gpu=gpu(nvml, index))
        say(missing=nvml.missing)
    except BrokenPipeError:
        pass  # nobody wants to know any more
    except Exception as problem:
        say(problem=str(problem) if isinstance(problem, ImportError) else f"{type(problem).__name__}: {problem}")
    # nvmlShutdown is one more call that may hang, and so may the library's own clean-up; the kernel does both.
    os._exit(0)


if __name__ == "__main__":
    main()
