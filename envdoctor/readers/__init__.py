"""Readers: from what people paste to a Snapshot; one file per tool, each with sniff(text) and read(text), both pure.

A reader tells only what its tool printed; what no reader told is a Gap of kind "not-reported", for a report that does
not speak of something says nothing about it. All readers take time in proportion to the text.
"""

from __future__ import annotations

import importlib

from envdoctor.model.snapshot import Snapshot

# The most exact first: where two readers tell the same fact, the earlier one is believed.
TOOLS = (
    "collect_env",
    "nvidia_smi",
    "nvidia_smi_query",
    "nvcc",
    "tensorflow_env",
    "issue_form",
    "key_values",
    "prompt",
    "pip_packages",
    "pip_errors",
    "conda",
    "wsl",
    "kernel",
    "loader",
    "devices",
    "variables",
    "prose",
    "commands",
)


def read(text: str, source: str = "the pasted text") -> Snapshot:
    """Read a pasted text of any kind, and mixtures; `problems` and all facts are empty where nothing is recognised.

    `source` is what the evidence calls the text: "line 42 of report.txt".
    """
    from envdoctor.readers import joining, lines

    raw = lines.ended(text).split("\n")
    kept = lines.once("\n".join(raw))
    plain = lines.plain("\n".join([raw[number] for number in kept]))
    parts = []
    for name in TOOLS:
        tool = importlib.import_module(f"envdoctor.readers.{name}")
        if tool.sniff(plain):
            parts.append(tool.read(plain))
    return joining.joined(parts, lines.speaking(plain.split("\n"), source, kept))


def recognised(machine: Snapshot) -> bool:
    """Tell whether anything was read from a text: a fact, or a line that speaks of a failure."""
    from envdoctor.readers import lines

    facts = (machine.system, machine.cpu, machine.memory, machine.driver, machine.gpus, machine.toolkits)
    return any((*facts, machine.pythons, machine.variables)) or any(lines.alarming(p.text) for p in machine.problems)
