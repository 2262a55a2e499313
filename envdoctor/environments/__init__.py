"""Environments: find an interpreter, make a virtual or conda environment, and install into it the person's own way."""
