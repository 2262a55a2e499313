from __future__ import annotations

import pytest
from expecting import fires, silent, variables
from judged import commands
from machines import workstation

from envdoctor.model.finding import proof
from envdoctor.model.snapshot import Asked, Outcome, Snapshot


def asked(*answers: tuple[str, Outcome], source: str = "/etc/pip.conf") -> Snapshot:
    return workstation(
        network=tuple(
            Asked(target=f"{kind}.example:443", kind=kind, source=source, outcome=outcome)  # type: ignore[arg-type]
            for kind, outcome in answers
        )
    )


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        ("name-unknown", "could not be looked up"),
        ("refused", "takes no connections on this port"),
        ("no-route", "knows no way"),
        ("no-answer", "no answer in time"),
    ],
)
def test_a_server_that_is_not_reached(outcome: Outcome, word: str) -> None:
    found = fires("NET001", asked(("index", outcome), ("proxy", "reached")), "error", "index.example:443", word)
    assert proof(found) == ("envdoctor", "diagnose", "--only", "NET001", "--network")
    assert (found.rule, found.certainty) == ("network-unreachable", "certain")
    fires("NET001", asked(("index", outcome)), "warning", word, "/etc/pip.conf")
    fires("NET001", asked(("extra-index", outcome), ("index", "reached")), "warning", word)
    fires("NET001", asked(("proxy", outcome)), "error", "The proxy proxy.example:443", word)


def test_a_variable_is_taken_out() -> None:
    machine = asked(("proxy", "refused"), source="https_proxy")
    machine = workstation(network=machine.network, variables=variables(https_proxy="http://proxy.example:443"))
    assert commands(fires("NET001", machine, "error"))[0] == "unset https_proxy"
    own = asked(("index", "no-answer"), source="/env/site/pip/_internal/models/index.py")
    assert commands(fires("NET001", own, "warning", "https_proxy")) == []


def test_reached_or_not_asked_is_silent() -> None:
    silent("NET001", workstation(), workstation(network=()), asked(("index", "reached"), ("proxy", "reached")))
