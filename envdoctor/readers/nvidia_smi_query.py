"""`nvidia-smi -q` and `nvidia-smi -L`."""

from __future__ import annotations

import re

from envdoctor.model.snapshot import Driver, Snapshot
from envdoctor.readers.names import gpus_of

ORIGIN = "report: nvidia-smi -q"
_DRIVER = re.compile(r"^\s{0,12}Driver Version\s{1,60}:\s{0,4}([\d.]{3,20})", re.MULTILINE)
_CUDA = re.compile(r"^\s{0,12}CUDA (?:UMD )?Version\s{1,60}:\s{0,4}(\d{1,2}\.\d{1,2})", re.MULTILINE)
_PRODUCT = re.compile(r"^\s{0,12}Product Name\s{1,60}:\s{0,4}(\S.{0,80})$", re.MULTILINE)
_LISTED = re.compile(r"^\s{0,8}GPU \d{1,3}: (\S.{1,80}?) ?\(UUID: (?:GPU|MIG)-", re.MULTILINE)


def sniff(text: str) -> bool:
    """Tell whether there is such an output."""
    return "NVSMI LOG" in text or "Product Name" in text or "(UUID: GPU-" in text


def read(text: str) -> Snapshot:
    """Read driver and cards."""
    driver, cuda = _DRIVER.search(text), _CUDA.search(text)
    cards = _PRODUCT.findall(text) or _LISTED.findall(text)
    origins = {"driver": ORIGIN} if driver else {}
    if cards:
        origins["gpus"] = ORIGIN
    told = Driver(version=driver[1], module_loaded=True, nvml=0, cuda=cuda[1] if cuda else None) if driver else None
    return Snapshot(driver=told, gpus=gpus_of([each.strip() for each in cards[:64]]), origins=origins)
