"""`diagnose --network`: real connections on this machine, and what a recording of them answers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from envdoctor.app.examining import examine
from envdoctor.app.reading import read_snapshot
from envdoctor.host.local import LocalHost
from envdoctor.host.recorded import RecordedHost, Recording
from envdoctor.host.recorder import Recorder, write_recording
from envdoctor.model.snapshot import Asked, Package, Pip, PythonEnv, Setting, Snapshot, Variable
from envdoctor.probes.network import asked, own_index, targets

UNKNOWN = "index.invalid"  # RFC 6761: nobody has it
NOBODY = RecordedHost(Recording())


def machine(settings: tuple[tuple[str, str], ...] = (), **variables: str) -> Snapshot:
    return Snapshot(
        pip=Pip(settings=tuple(Setting(name=name, value=value, source="/etc/pip.conf") for name, value in settings)),
        variables=tuple(Variable(name=name, value=value) for name, value in variables.items()),
    )


def wanted(machine: Snapshot) -> list[tuple[str, str, str]]:
    return [(each.address, each.kind, each.source) for each in targets(NOBODY, machine)]


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def envdoctor(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run it in a process of its own, with no variable of pip, uv or proxies but these."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PIP_CONFIG_FILE": os.devnull,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        **variables,
    }
    command = (sys.executable, "-m", "envdoctor", *words)
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


def of_rule(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [each for each in json.loads(done.stdout)["findings"] if each["id"] == "NET001"]


def test_a_closed_port_beside_an_open_one_is_an_error_without_the_password(tmp_path: Path) -> None:
    closed = closed_port()
    with socket.create_server(("127.0.0.1", 0)) as server:
        opened = server.getsockname()[1]
        done = envdoctor(
            tmp_path,
            *("diagnose", "--network", "--only", "NET001", "--format", "json"),
            PIP_INDEX_URL=f"http://ann:hunter2secret@127.0.0.1:{closed}/simple",
            UV_INDEX_URL=f"http://127.0.0.1:{opened}/simple",
        )
    assert done.returncode == 1, done.stderr
    (one,) = of_rule(done)
    assert one["severity"] == "error"
    assert one["title"] == f"The package index 127.0.0.1:{closed} cannot be reached"
    assert [each["value"] for each in one["evidence"]] == ["refused", f"127.0.0.1:{closed}", "PIP_INDEX_URL"]
    assert "hunter2" not in done.stdout + done.stderr


def test_without_the_option_nothing_is_asked_and_nothing_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/simple"
        done = envdoctor(tmp_path, "diagnose", "--format", "json", "--fail-on", "never", PIP_INDEX_URL=url)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert done.returncode == 0, done.stderr
    assert of_rule(done) == []
    assert "NET001" not in [each["id"] for each in json.loads(done.stdout)["not_checked"]]


def test_a_recording_answers_the_same_again(tmp_path: Path) -> None:
    closed = closed_port()
    done = envdoctor(
        tmp_path,
        *("snapshot", "--network", "--record", str(tmp_path / "kept")),
        PIP_INDEX_URL=f"http://127.0.0.1:{closed}/simple",
        https_proxy="http://127.0.0.1:9",
    )
    assert done.returncode == 0, done.stderr
    replayed = read_snapshot(str(tmp_path / "kept"))
    assert replayed.network == (
        Asked(target=f"127.0.0.1:{closed}", kind="index", source="PIP_INDEX_URL", outcome="refused"),
    )


def test_a_recording_hides_a_private_address_and_still_finds_its_answer(tmp_path: Path) -> None:
    environ = {"PIP_INDEX_URL": "http://ann:hunter2secret@10.1.2.3:8080/simple"}
    host = RecordedHost(Recording(environ=environ, connections={"10.1.2.3:8080": "no-route"}))
    recorder = Recorder(host)
    examine(recorder, network=True)
    content = Path(write_recording(recorder.recording(), str(tmp_path))).read_text(encoding="utf-8")
    assert "10.1.2.3" not in content
    assert "hunter2" not in content
    replayed = read_snapshot(str(tmp_path)).network
    assert replayed
    assert replayed[0].outcome == "no-route"


def test_a_name_that_nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RES_OPTIONS", "timeout:1 attempts:1")
    assert LocalHost().connect(UNKNOWN, 443, 1.0) == "name-unknown"
    assert LocalHost().connect("a..b", 443, 1.0) == "name-unknown"


def test_another_machine_is_not_asked_for(tmp_path: Path) -> None:
    for words in (("diagnose", "--from", "x.json"), ("diagnose", "--root", "/mnt"), ("snapshot", "--root", "/mnt")):
        done = envdoctor(tmp_path, *words, "--network")
        assert (done.returncode, "--network asks from this machine" in done.stderr) == (2, True), done.stderr
    with pytest.raises(PermissionError):
        LocalHost("/mnt").connect("127.0.0.1", 9, 1.0)


def test_the_proxy_stands_for_the_index_it_serves() -> None:
    index = (("index-url", "https://***@pip.corp.example/simple"),)
    proxy = {"https_proxy": "http://***@proxy.corp.example:3128", "HTTPS_PROXY": "http://other.example"}
    assert wanted(machine(index)) == [("pip.corp.example:443", "index", "/etc/pip.conf")]
    assert wanted(machine(index, **proxy)) == [("proxy.corp.example:3128", "proxy", "https_proxy")]
    assert wanted(machine(index, http_proxy="http://x.example")) == wanted(machine(index))
    assert wanted(machine(index, ALL_PROXY="socks5://x.example")) == [("x.example:1080", "proxy", "ALL_PROXY")]
    assert wanted(machine(index, https_proxy="x.example:8080")) == [("x.example:8080", "proxy", "https_proxy")]
    own = (*index, ("proxy", "http://y.example:1"))
    assert wanted(machine(own, no_proxy="*", **proxy)) == [("y.example:1", "proxy", "/etc/pip.conf")]


@pytest.mark.parametrize(
    ("exceptions", "exempt"),
    [
        *(
            (each, True)
            for each in ("*", "corp.example", ".corp.example", "a,PIP.corp.example", "pip.corp.example:443")
        ),
        *((each, False) for each in ("", "p.corp.example", "pip.corp.example:80", "10.0.0.0/8", "orp.example")),
    ],
)
def test_no_proxy_exempts_an_index(exceptions: str, exempt: bool) -> None:
    index = (("index-url", "https://pip.corp.example/simple"),)
    found = wanted(machine(index, https_proxy="http://proxy.example:1", no_proxy=exceptions))
    assert [kind for _, kind, _ in found] == ["index" if exempt else "proxy"]


def test_networks_in_no_proxy() -> None:
    index = (("index-url", "http://10.1.2.3:8080/simple"),)
    assert wanted(machine(index, http_proxy="http://p.example:1", no_proxy="10.0.0.0/8")) == [
        ("10.1.2.3:8080", "index", "/etc/pip.conf")
    ]


def test_indexes_of_uv_and_more_than_one_of_pip() -> None:
    found = wanted(
        machine(
            (("index-url", "https://a.example/simple"), ("extra-index-url", "https://b.example https://a.example")),
            UV_INDEX="acme=https://c.example/simple https://d.example:99/x=y",
        )
    )
    assert [each[:2] for each in found] == [
        ("a.example:443", "index"),
        ("b.example:443", "extra-index"),
        ("c.example:443", "index"),
        ("d.example:99", "index"),
    ]
    assert wanted(machine(UV_INDEX="https://c.example", UV_OFFLINE="1")) == []


def test_the_index_that_pip_itself_knows() -> None:
    path = "/env/site/pip/_internal/models/index.py"
    pip = Package(name="pip", version="25.0", location="/env/site")
    python = PythonEnv(executable="/env/bin/python", prefix="/env", packages=(pip,))
    source = 'PyPI = PackageIndex("https://index.example/", file_storage_domain="f.example")\n'
    host = RecordedHost(Recording(files={path: source}, connections={"index.example:443": "no-route"}))
    found = asked(host, Snapshot(pythons=(python,))).network
    assert found == (Asked(target="index.example:443", kind="index", source=path, outcome="no-route"),)
    offline = Snapshot(pythons=(python,), pip=machine((("no-index", "true"),)).pip)
    assert targets(host, offline) == ()
    import pip._internal.models.index as real

    assert own_index(Path(real.__file__).read_text(encoding="utf-8")) == real.PyPI.url


def test_what_is_no_address_is_left_out_and_nothing_to_ask_is_said() -> None:
    for value in ("file:///srv/wheels", "https://host:port/", "https://", "nonsense", "https://[::1/simple"):
        seen = asked(NOBODY, machine((("index-url", value),)))
        assert seen.network is None
        assert [(each.probe, each.kind) for each in seen.gaps] == [("network", "not-reported")]
    assert wanted(machine(https_proxy="http://p.example:1")) == [("p.example:1", "proxy", "https_proxy")]
    assert wanted(machine((("index-url", "https://[::1]:8/simple"),))) == [("[::1]:8", "index", "/etc/pip.conf")]
