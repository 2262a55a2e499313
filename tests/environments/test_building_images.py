from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from envdoctor import errors
from envdoctor.environments import images
from envdoctor.host import Completed, Space
from envdoctor.host.recorded import RecordedHost, Recording
from envdoctor.model.stack import Stack

STACK = Stack(
    framework="torch",
    framework_version="2.7.1",
    variant="cu118",
    cuda="11.8",
    cudnn=None,
    python="3.12",
    index_url=None,
    packages={"torch": "2.7.1+cu118"},
    conda_packages={},
    pip_command=(),
    base_image="python:3.12-slim",
)


def machine(free: int = 1 << 40, version: str = "28.2.2", *, buildx: bool = False, **environ: str) -> RecordedHost:
    info = {"ServerVersion": version, "DockerRootDir": "/var/lib/docker"}
    answers = {
        "docker info --format {{json .}}": Completed(returncode=0, stdout=json.dumps(info), stderr=""),
        "docker buildx version": Completed(returncode=0 if buildx else 1, stdout="", stderr=""),
        "docker --version": Completed(returncode=0, stdout=f"Docker version {version}, build x\n", stderr=""),
    }
    space = Space(total_bytes=1 << 41, free_bytes=free, device=1)
    return RecordedHost(Recording(commands=answers, spaces={"/var/lib/docker": space}, environ=environ))


def test_room_is_looked_at_where_the_engine_is_this_machines() -> None:
    assert images.ready(machine(), STACK, "classic") is None
    said = images.ready(machine(free=4 << 30), STACK, "classic")
    assert said == (
        "/var/lib/docker has 4.3 GB free, and the build takes up to 16 GB: docker system df shows what takes the rest"
    )
    assert images.ready(machine(free=4 << 30, DOCKER_HOST="tcp://10.0.0.7:2375"), STACK, "classic") is None


@pytest.mark.parametrize(
    ("version", "buildx", "can"), [("28.2.2", False, False), ("28.2.2", True, True), ("20.10.24", False, True)]
)
def test_buildkit_is_asked_for_before_anything_is_written(version: str, buildx: bool, can: bool) -> None:
    host = machine(version=version, buildx=buildx)
    if can:
        assert images.ready(host, STACK, "buildkit") is None
    else:
        with pytest.raises(errors.MissingPart, match="no BuildKit"):
            images.ready(host, STACK, "buildkit")
    assert images.ready(host, STACK, "classic") is None


def test_proxy_and_index_are_handed_in_by_name_alone() -> None:
    environ = {
        "HTTPS_PROXY": "http://me:secret@proxy.example:3128",
        "no_proxy": "localhost,127.0.0.1",
        "PIP_INDEX_URL": "https://me:secret@index.example/simple",
        "PIP_FIND_LINKS": "/srv/wheels",
        "PIP_RETRIES": "",
    }
    words = images.command("/tmp/a b", "me/torch:1", "classic", environ)
    assert words == (
        *("docker", "build", "--tag", "me/torch:1", "--force-rm", "--build-arg", "HTTPS_PROXY"),
        *("--build-arg", "no_proxy", "--build-arg", "PIP_INDEX_URL", "--", "/tmp/a b"),
    )
    assert "--force-rm" not in images.command("x", "t", "buildkit", environ)


@pytest.mark.parametrize(
    ("address", "shared"),
    [
        ("http://127.0.0.1:7890", True),
        ("http://localhost:3141/simple", True),
        ("http://me@localhost/", True),
        ("http://[::1]:80", True),
        ("https://127.0.0.1.example.org/simple", False),
        ("https://localhost.example.org", False),
        ("https://mirror.example/127.0.0.1x", False),
    ],
)
def test_a_build_shares_the_network_of_an_address_on_this_machine(address: str, shared: bool) -> None:
    assert ("--network=host" in images.command("x", "t", "classic", {"PIP_INDEX_URL": address})) == shared


@pytest.mark.parametrize("tag", ["", "Torch", "a b", "-t", "--tag", "$(id)", "a;b", "a\n", "../x", "x" * 300])
def test_what_is_no_name_of_an_image_is_refused(tag: str) -> None:
    with pytest.raises(errors.UsageProblem):
        images.refuse_tag(tag)


@pytest.mark.parametrize("tag", ["torch-cu118", "me/torch:2.7.1", "registry.example:5000/a/b:1_2", "torch-rocm6.4"])
def test_names_of_images_are_taken(tag: str) -> None:
    images.refuse_tag(tag)


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a program called docker first on PATH, which says what a file holds and ends with 1."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nprint(open({str(tmp_path / 'says')!r}).read())\nraise SystemExit(1)\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "says"


@pytest.mark.parametrize(
    ("said", "words", "todo"),
    [
        (
            'Step 2/23\nGet "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io: no such host',
            "the registry of the base image cannot be reached",
            "registry-mirrors",
        ),
        (
            "manifest for nvidia/cuda:11.8.0-base-ubuntu22.04 not found: manifest unknown: manifest unknown",
            "the registry does not have the base image",
            "BASE=",
        ),
        ("toomanyrequests: You have reached your pull rate limit.", "no more images for now", "docker login"),
        ("the --mount option requires BuildKit. Refer to …", "this Docker has no BuildKit", "--builder classic"),
        (
            "ERROR: Could not install: [Errno 28] No space left on device\nThe command '/bin/sh …' returned 1",
            "the disk of the Docker engine is full",
            "docker system prune",
        ),
        ("ERROR: No matching distribution found for torch==2.7.1+cu118", "pip found no such package", "PIP_INDEX_URL"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] …", "was not trusted", "ca.crt"),
        ("something new", "the image was not built: something new", "log"),
    ],
)
def test_a_build_that_fails_says_why_and_what_to_do(client: Path, said: str, words: str, todo: str) -> None:
    client.write_text(said)
    lines: list[str] = []
    with pytest.raises(errors.NotVerified) as caught:
        images.build(".", "t", "b", "classic", os.environ, lines.append)
    assert words in caught.value.message
    assert todo in (caught.value.hint or "")
    assert lines[: said.count("\n") + 1] == said.split("\n")
