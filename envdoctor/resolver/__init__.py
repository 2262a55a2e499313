"""Resolver: request + machine + knowledge -> the best published Stack with reasons, or a Conflict; pure."""
