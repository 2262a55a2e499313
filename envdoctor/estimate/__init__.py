"""Estimate: arithmetic of memory and speed before anything runs; pure."""
