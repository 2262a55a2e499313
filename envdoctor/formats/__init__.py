"""What other tools print, parsed: shared by probes, which run the tools, and readers, which get their output pasted."""
