"""What a report's lines say: found by the words that software prints, with the line as evidence."""

from __future__ import annotations

import re
from typing import NamedTuple

from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.targets import capability_of
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.version import at_least, readable


class Said(NamedTuple):
    """A message that was found: its words, what the pattern caught, and the line it begins in."""

    words: re.Match[str]
    evidence: str  # path of the line in the Snapshot

    def __getitem__(self, group: int) -> str:  # type: ignore[override]
        """Give what a group of the pattern caught; empty where it caught nothing."""
        return self.words[group] or ""


def said(machine: Snapshot, *patterns: str) -> Said | None:
    """Find the first of the patterns that matches anywhere in the report, lines being joined by line feeds."""
    text = everything(machine)
    for pattern in patterns:
        found = re.search(pattern, text)
        if found:
            return Said(found, f"problems[{text.count(chr(10), 0, found.start())}].text")
    return None


def everything(machine: Snapshot) -> str:
    """Give all lines of the report as one text."""
    return "\n".join(problem.text for problem in machine.problems)


def mentions(machine: Snapshot, *patterns: str) -> bool:
    """Tell whether a report speaks of something, in whatever case its words are written."""
    text = everything(machine)
    return any(re.search(pattern, text, re.IGNORECASE) for pattern in patterns)


def in_wsl(machine: Snapshot) -> bool:
    """Tell whether the report is about WSL."""
    return machine.wsl is not None


def on_windows(machine: Snapshot) -> bool:
    """Tell whether the report is about Windows itself."""
    return machine.system is not None and machine.system.os == "windows" and machine.wsl is None


def in_container(machine: Snapshot) -> bool:
    """Tell whether a container is spoken of."""
    told = machine.system is not None and machine.system.container is not None
    return told or mentions(
        machine, r"\bdocker\b|\bpodman\b|\bcontainers?\b|kubernetes|\bk8s\b|containerd|enroot|singularity|apptainer"
    )


def on_jetson(machine: Snapshot) -> bool:
    """Tell whether the report is about a Jetson."""
    return machine.system is not None and machine.system.jetson is not None


def driver_answers(machine: Snapshot) -> bool:
    """Tell whether the report shows a driver at work: nvidia-smi printed its table."""
    return machine.driver is not None and machine.driver.module_loaded


def capability(machine: Snapshot, facts: Knowledge) -> str | None:
    """Give the compute capability that the messages or the cards of a report tell; the newest one of several."""
    found = said(
        machine,
        r"(?i)compute ?capability:? ?(?:of |is |version )?(?:sm_)?(\d{1,2}\.\d)\b",
        r"CUDA capability sm_(\d{2,3})\b",
        r"(?i)\bcc ?(\d{1,2}\.\d)\b",
    )
    if found:
        digits = found[1]
        return digits if "." in digits else f"{digits[:-1]}.{digits[-1]}"
    known = [own for gpu in machine.gpus if gpu.vendor == "nvidia" and (own := capability_of(gpu, facts))]
    return known[0] if known else None


def cards_named(machine: Snapshot) -> str:
    """Name the first card of a report, or say "the GPU"."""
    return next((f"the {gpu.name}" for gpu in machine.gpus if gpu.name), "the GPU")


def toolkit_versions(machine: Snapshot) -> tuple[str, ...]:
    """Give the CUDA versions that a report says are installed, its conda packages among them."""
    versions = [kit.version for kit in machine.toolkits if readable(kit.version)]
    python = machine.python
    if python:
        names = ("cudatoolkit", "cuda-toolkit", "cuda-runtime", "nvidia-cuda-runtime-cu11", "nvidia-cuda-runtime-cu12")
        versions += [p.version for name in names if (p := python.package(name)) and readable(p.version)]
    return tuple(version for version in versions if version)


def newer(version: str | None, floor: str) -> bool:
    """Tell whether a version is known and at least that."""
    return version is not None and readable(version) is not None and at_least(version, floor)
