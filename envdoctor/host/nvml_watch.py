"""Watch the memory of NVIDIA's GPUs from a process of its own, for libnvidia-ml may hang."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping

import msgspec

from envdoctor.host import NvmlGpu, loader, nvml
from envdoctor.host.local import LocalHost

_CHUNK = 1 << 16


class _Line(msgspec.Struct):
    memory: tuple[NvmlGpu, ...] = ()


class NvmlWatch:
    """A process that tells every few seconds what each GPU holds; `take` is called with every answer."""

    def __init__(self, process: subprocess.Popen[bytes], take: Callable[[tuple[NvmlGpu, ...]], None]) -> None:
        assert process.stdout is not None
        self._process = process
        self._pipe = process.stdout
        self._take = take
        self._part = b""

    @property
    def descriptor(self) -> int:
        """What becomes readable when there is an answer."""
        return self._pipe.fileno()

    def read(self) -> bool:
        """Take what has come; False: nothing more will."""
        data = os.read(self.descriptor, _CHUNK)
        *lines, self._part = (self._part + data).split(b"\n")
        for line in lines:
            self._take(msgspec.json.decode(line, type=_Line).memory)
        return bool(data)

    def close(self) -> None:
        """End the process; one that hangs in the driver is left behind."""
        self._process.kill()
        self._pipe.close()
        try:
            self._process.wait(0.2)
        except subprocess.TimeoutExpired:
            self._process.returncode = -9  # without this Python warns that it still runs


def start(environ: Mapping[str, str], every: float, take: Callable[[tuple[NvmlGpu, ...]], None]) -> NvmlWatch | None:
    """Begin to watch; None: there is no libnvidia-ml, or no process can be started."""
    library = loader.find(LocalHost(environ=environ), nvml.SONAME, also=loader.DRIVER_FOLDERS)
    if library is None:
        return None
    try:
        process = subprocess.Popen(
            nvml.command(library, f"--every={every}"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environ),
            start_new_session=True,
        )
    except OSError:
        return None
    return NvmlWatch(process, take)
