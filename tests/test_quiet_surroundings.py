"""What conftest.py promises to every other test."""

from __future__ import annotations

import os
import socket

import pytest


def test_the_network_is_out_of_reach() -> None:
    with socket.socket() as caller, pytest.raises(AssertionError, match="without the marker"):
        caller.connect(("127.0.0.1", 9))
    with socket.socket(socket.AF_INET6) as caller, pytest.raises(AssertionError, match="without the marker"):
        caller.connect_ex(("::1", 9))


def test_processes_of_one_machine_may_talk() -> None:
    with socket.socket(socket.AF_UNIX) as caller, pytest.raises(FileNotFoundError):
        caller.connect("/nonexistent/socket")


def test_the_terminal_is_plain() -> None:
    assert os.environ["COLUMNS"] == "80"
    assert "NO_COLOR" not in os.environ
    assert "FORCE_COLOR" not in os.environ
