"""A solver and an installer for hosts without conda: scripts that are started by path, in a folder of their own."""
