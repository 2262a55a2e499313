from __future__ import annotations

import gc
import json

import pytest

from envdoctor import errors
from envdoctor.host import Completed, engine
from envdoctor.host.recorded import RecordedHost, Recording

INFO = "docker info --format {{json .}}"


def host(stdout: str = "", stderr: str = "", returncode: int = 0, **more: object) -> RecordedHost:
    answer = Completed(returncode=returncode, stdout=stdout, stderr=stderr)
    return RecordedHost(Recording(commands={INFO: answer}, executables=("/usr/bin/docker",)))


@pytest.mark.parametrize(
    ("said", "message", "todo"),
    [
        (
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: x",
            "you may not talk to the Docker engine at unix:///var/run/docker.sock",
            'sudo usermod -aG docker "$USER"',
        ),
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            "no Docker engine answers at unix:///var/run/docker.sock",
            "sudo systemctl start docker",
        ),
        (
            "Cannot connect to the Docker daemon at tcp://10.0.0.7:2375. Is the docker daemon running?",
            "no Docker engine answers at tcp://10.0.0.7:2375",
            "start it",
        ),
        (
            'could not select device driver "" with capabilities: [[gpu]]',
            "the Docker engine cannot hand the GPU to a container",
            "NVIDIA Container Toolkit",
        ),
        (
            "nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown",
            "the Docker engine cannot hand the GPU to a container",
            "--device cpu",
        ),
        ("write /var/lib/docker/tmp/x: no space left on device", "the disk of the Docker engine is full", "system df"),
    ],
)
def test_what_an_engine_says_becomes_what_to_do(said: str, message: str, todo: str) -> None:
    found = engine.refusal(said)
    assert found is not None and found.status == errors.UNREADABLE
    assert found.message == message
    assert todo in (found.hint or "")


def test_words_that_are_not_known_are_not_guessed_at() -> None:
    assert engine.refusal("exec format error") is None


def test_an_engine_that_answers_is_described() -> None:
    said = {"ServerVersion": "28.2.2", "Runtimes": {"runc": {}, "nvidia": {}}, "DockerRootDir": "/var/lib/docker"}
    found = engine.info(host(json.dumps(said)))
    assert set(found.runtimes or ()) == {"runc", "nvidia"}
    assert found.docker_root_dir == "/var/lib/docker"


@pytest.mark.parametrize(
    ("recorded", "words"),
    [
        (RecordedHost(Recording()), "Docker's client, the program docker, is not here"),
        # A new client answers with JSON and status 0 also where the engine is away.
        (
            host(json.dumps({"ServerErrors": ["Cannot connect to the Docker daemon at unix:///x. Is the docker …"]})),
            "no Docker engine answers at unix:///x",
        ),
        (host("", "dial unix /run/docker.sock: connect: permission denied", 1), "you may not talk"),
        (host("not JSON", "something new", 1), "gives no answer: something new"),
    ],
)
def test_what_is_missing_is_named(recorded: RecordedHost, words: str) -> None:
    with pytest.raises(errors.MissingPart, match=words):
        engine.info(recorded)


@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
def test_the_sdk_says_the_same_of_a_socket_that_nobody_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(errors.MissingPart, match=r"answers at unix:///nowhere/docker\.sock$"):
        engine.client()
    gc.collect()  # the SDK leaves a socket that could not connect to the collector, which complains
