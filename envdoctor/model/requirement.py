"""What a job needs of a machine, and whether it is so."""

from __future__ import annotations

from typing import Literal

from envdoctor.model import Record

State = Literal["ok", "not met", "unknown"]


class Requirements(Record):
    """What must be there; None: anything will do. Bytes."""

    gpus: int | None = None
    cuda: str | None = None  # that the driver runs
    driver: str | None = None
    capability: str | None = None
    gpu_free_bytes: int | None = None
    ram_bytes: int | None = None
    shm_bytes: int | None = None
    disk_bytes: int | None = None
    disk_path: str = "."
    framework: str | None = None  # torch, tensorflow, jax
    framework_versions: str = ""  # >=2.4,<3

    @property
    def needs_gpu(self) -> bool:
        """Tell whether any of it speaks of a GPU."""
        return any(each is not None for each in (self.gpus or None, self.cuda, self.capability, self.gpu_free_bytes))


class Checked(Record):
    """A requirement, whether it is met, and what was found."""

    requirement: str  # gpu, cuda, driver, memory …
    needed: str
    state: State
    found: str
