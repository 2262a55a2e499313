"""What follows from what: ids that a cause nearer to the root explains (catalogue, "Order of evaluation")."""

from __future__ import annotations

# No CUDA program can see a GPU, whatever the environment looks like.
GPU_UNSEEN = ("HW000", "HW001", "HW010", "ENV001", "ENV002", "TORCH001", "TORCH003", "TORCH014", "TORCH016")

# There is no running kernel driver, so nothing of the driver can be judged; except why it refuses to run (DRV010,
# DRV011), which is nearer to the root than that it does not.
DRIVER_SILENT = (
    "DRV006",
    "DRV007",
    "DRV008",
    "DRV009",
    "DRV012",
    "DRV013",
    "DRV014",
    "DRV016",
    "DRV017",
    "DRV018",
    "DRV019",
    "DRV020",
    "DRV021",
)

# The driver runs, but its doors are not here.
NODES_MISSING = ("DRV012", "DRV013", "DRV014", "DRV016", "DRV017", "DRV018")
