"""The interpreter, its environment and its packages."""
