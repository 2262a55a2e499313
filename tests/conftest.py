"""What every test stands on: a plain terminal, no network, and golden files that `pytest --bless` rewrites."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

pytest_plugins = ["browser_fixture", "docker_fixture", "torch_fixture"]

GOLDEN = Path(__file__).parent / "golden"

# `pytest tests/property -k hostile --hypothesis-profile hour` searches for an hour.
settings.register_profile("hour", max_examples=40_000, print_blob=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="write the golden files anew instead of comparing")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with a file below tests/golden; with --bless, make it that file."""

    def compare(path: str, text: str) -> None:
        file = GOLDEN / path
        if request.config.getoption("--bless"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            return
        assert file.is_file(), f"no golden file {path}; look at the output, then run pytest --bless"
        assert text == file.read_text(encoding="utf-8"), f"differs from tests/golden/{path}; pytest --bless to accept"

    return compare


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuse connections, so that a test which needs the network says so by its marker."""
    if not any(request.node.get_closest_marker(name) for name in ("torch", "docker", "frameworks")):

        def refusing(real: Callable[..., Any]) -> Callable[..., Any]:
            def connect(self: socket.socket, address: Any) -> Any:
                if self.family != getattr(socket, "AF_UNIX", None):
                    raise AssertionError(f"a test without the marker `torch` or `docker` connects to {address!r}")
                return real(self, address)

            return connect

        monkeypatch.setattr(socket.socket, "connect", refusing(socket.socket.connect))
        monkeypatch.setattr(socket.socket, "connect_ex", refusing(socket.socket.connect_ex))
    yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where every system part is said to be there (ENVDOCTOR_NO_SKIP, as in CI), a skip for want of one fails."""
    report = yield
    parts = ("docker", "torch", "frameworks", "compiler", "browser", "privileged", "programs")
    needs = [name for name in parts if item.get_closest_marker(name)]
    if report.skipped and needs and os.environ.get("ENVDOCTOR_NO_SKIP") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but {', '.join(needs)} must be there: {report.longrepr}"
    return report
