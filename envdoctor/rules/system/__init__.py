"""Memory, disks, network, processor, variables."""
