"""Verify: run a CNN and a GPT-2 in a target and say what happened; the workloads are scripts, never imported."""
