"""envdoctor: look at a machine, say what is wrong and why, and hand over an environment that is proven on it."""

__version__ = "0.1.0"
