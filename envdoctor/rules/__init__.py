"""Rules: one module per family, one function per rule; a rule's docstring is the page that `explain` shows."""

from __future__ import annotations

# In the order of evaluation: what stands earlier is nearer to the root (catalogue, "Order of evaluation").
FAMILIES = (
    "wsl",
    "container",
    "driver",
    "driver_libraries",
    "driver_devices",
    "driver_cuda",
    "hardware",
    "variables",
    "torch",
    "companions",
    "cudnn",
    "numpy",
    "cuda",
    "python",
    "environment",
    "memory",
    "disk",
)
