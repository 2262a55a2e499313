"""Calibrating: measure once in about a second how fast this processor is, and remember it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

import msgspec

from envdoctor.errors import Unreadable
from envdoctor.estimate import peaks
from envdoctor.host import Host
from envdoctor.host.local import LocalHost
from envdoctor.model.estimate import Peaks
from envdoctor.model.snapshot import Cpu

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SCRIPT = os.path.join(_PACKAGE, "verify", "workloads", "processor", "calibrate.py")
TIMEOUT = 60.0  # seconds: importing torch from a slow disk, then measuring on a busy machine
KEPT = 64  # measurements that the file holds at the most
_COPIED = 32 << 20


class _Kept(msgspec.Struct, frozen=True):
    """The file of measurements. It is only a cache: whatever is wrong with it, the measurement is made again."""

    schema: int = 1
    measured: dict[str, peaks.Calibration] = {}


def processor_speed(host: Host, python: str | None) -> Peaks:
    """Give how fast this machine's processor is, for `estimate.speed.speeds(walk, peaks)`.

    With `python`, the path of an interpreter that has torch, it is measured there (about a second and torch's import);
    the result is kept in the user's cache folder, for `remembered`. Without an interpreter, without torch in it, or for
    a machine that is not this one, it is what a processor of that kind can do, a wide range. `basis` says which.

    Never raises for a machine that cannot be measured: a prediction of memory must not fail for want of speed.
    """
    found = _looked(host)
    if not isinstance(host, LocalHost) or host.root:
        return peaks.likely(found)
    measured = None if python is None else _calibration(host, python, found)
    if measured is not None:
        try:
            return peaks.measured(measured, found.model)
        except ValueError:
            pass  # a torch that lacks what is asked for, or a clock that stood still
    return peaks.likely(found, copied())


def remembered(host: Host) -> Peaks:
    """Give what was last measured on this processor with this many threads, else what one of its kind can do.

    Takes no time to speak of: nothing is measured.
    """
    found = _looked(host)
    path = cache_path(host.environ)
    same = _processor(host, found)
    kept = [value for key, value in read(path).items() if key.startswith(same)] if path else []
    for each in reversed(kept):
        try:
            return peaks.measured(each, found.model)
        except ValueError:
            continue
    return peaks.likely(found)


def _looked(host: Host) -> Cpu:
    from envdoctor.probes import cpu

    try:
        return cpu.read(host, None).cpu or Cpu()
    except (OSError, ValueError):
        return Cpu()


def _calibration(host: LocalHost, python: str, cpu: Cpu) -> peaks.Calibration | None:
    path = cache_path(host.environ)
    kept = read(path) if path else {}
    key = _key(host, python, cpu)
    measured = _measure(host, python)
    if measured is not None and path is not None:
        _keep(path, {**{k: v for k, v in kept.items() if k != key}, key: measured})
    return measured


def _key(host: LocalHost, python: str, cpu: Cpu) -> str:
    """Name what a measurement holds for: the processor, the threads it may have, and the torch of an interpreter.

    Which torch that is, only its import would say; the interpreter's path and when its packages last changed stand for
    it.
    """
    folder = os.path.dirname(os.path.dirname(python))
    changed = 0.0
    for place in (folder, *_packages(folder)):
        try:
            changed = max(changed, os.stat(place).st_mtime)
        except OSError:
            continue
    return f"{_processor(host, cpu)}{python} | {changed:.0f}"


def _processor(host: Host, cpu: Cpu) -> str:
    threads = host.environ.get("OMP_NUM_THREADS", "")
    return f"{cpu.model or 'unknown'} | {cpu.usable or 0:g} | {threads} | "


def _packages(folder: str) -> tuple[str, ...]:
    places = [os.path.join(folder, "Lib", "site-packages")]
    try:
        versions = [name for name in os.listdir(os.path.join(folder, "lib")) if name.startswith("python")]
    except OSError:
        versions = []
    return (*places, *(os.path.join(folder, "lib", name, "site-packages") for name in versions))


def _measure(host: LocalHost, python: str) -> peaks.Calibration | None:
    try:
        done = host.run((python, SCRIPT), TIMEOUT)
    except OSError:
        return None
    if done.returncode:
        return None
    # Something that Python runs at its start may have printed before; the figures are the last line.
    lines = done.stdout.strip().splitlines()
    try:
        return msgspec.json.decode(lines[-1] if lines else b"", type=peaks.Calibration)
    except msgspec.DecodeError:
        return None


def cache_path(environ: Mapping[str, str]) -> str | None:
    """Give where measurements are kept, as the system wants it; None: there is no home folder."""
    folder = environ.get("XDG_CACHE_HOME") or environ.get("LOCALAPPDATA")
    if not folder or not os.path.isabs(folder):
        home = environ.get("HOME")
        if not home:
            return None
        folder = os.path.join(home, ".cache")
    return os.path.join(folder, "envdoctor", "processor-speed.json")


def read(path: str) -> dict[str, peaks.Calibration]:
    """Read what is kept; nothing, where there is no such file or it is not one of these."""
    try:
        with open(path, "rb") as file:
            kept = msgspec.json.decode(file.read(1 << 20), type=_Kept)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return kept.measured if kept.schema == 1 else {}


def _keep(path: str, measured: dict[str, peaks.Calibration]) -> None:
    """Write the measurements; a cache that cannot be written is none, and no reason to stop."""
    from envdoctor.host.writing import write_text

    latest = dict(list(measured.items())[-KEPT:])
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_text(path, msgspec.json.encode(_Kept(measured=latest)).decode() + "\n", replace=True)
    except (OSError, Unreadable):
        pass


def copied() -> float:
    """Measure the bytes a second that one thread copies, read and written counted once each."""
    source, target = bytearray(_COPIED), bytearray(_COPIED)
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        target[:] = source
        best = min(best, time.perf_counter() - begun)
    return 2 * _COPIED / best
