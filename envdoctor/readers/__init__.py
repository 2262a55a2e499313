"""Readers of foreign reports: text a person pasted becomes a partial Snapshot."""
