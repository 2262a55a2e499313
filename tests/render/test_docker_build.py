"""The CPU Dockerfile as it is written, built by Docker's classic builder and run.

No registry is needed: a Debian made by debootstrap stands in for the image in FROM. It is not that image; what is
proven is that our lines build and that what they leave behind works.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from docker_fixture import docker
from render_plans import CPU, CU118

from envdoctor import errors
from envdoctor.app import containers
from envdoctor.environments import images
from envdoctor.host.local import LocalHost
from envdoctor.host.writing import write
from envdoctor.model.onboarding import BuiltImage
from envdoctor.model.stack import Builder, Plan
from envdoctor.render import render
from envdoctor.verify.runner import scripts

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the torch wheel that pip's own configuration offers, so that the build needs no index of PyTorch."""
    folder = tmp_path_factory.mktemp("wheels")
    pip = (sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--python-version", "3.11")
    done = subprocess.run(
        [*pip, "--platform", "manylinux_2_28_x86_64", "--dest", str(folder), "torch==2.13.0+cpu", "packaging"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"pip's configuration offers no torch 2.13.0+cpu: {done.stderr.strip().splitlines()[-1]}")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()
    shutil.rmtree(folder)


@contextmanager
def built(plan: Plan, base: str, context: Path, make: Callable[[str], object]) -> Iterator[str]:
    """Let `make` build a tag on the stand-in of a plan's base; afterwards no tag and no layer of it is left."""
    stand_in, tag = plan.stack.base_image, f"envdoctor-test-{plan.stack.variant}"
    standing = docker("images", "--quiet", stand_in).strip()
    if standing and standing != docker("images", "--quiet", base).strip():  # else left by a run that was ended
        pytest.skip(f"{stand_in} is here for real; it is not replaced")
    dangling = ("images", "--quiet", "--no-trunc", "--filter", "dangling=true")
    before = set(docker(*dangling).split())
    docker("tag", base, stand_in)
    try:
        make(tag)
        yield tag
    finally:
        # The first stage has no name; it would stay as a gigabyte that nothing refers to.
        for name in (tag, stand_in):
            subprocess.run(["docker", "rmi", name], capture_output=True, check=False)
        for stage in set(docker(*dangling).split()) - before:
            subprocess.run(["docker", "rmi", stage], capture_output=True, check=False)


@pytest.fixture(scope="module")
def image(
    docker_base: str, wheels: str, tmp_path_factory: pytest.TempPathFactory, told: list[str]
) -> Iterator[tuple[str, BuiltImage]]:
    """The CPU stack whole, built as `provision --build` does, with the machine's certificates beside the Dockerfile."""
    context = tmp_path_factory.mktemp("context")
    (context / "secret.txt").write_text("not for the image")
    certificates = Path(os.environ.get("PIP_CERT", "/etc/ssl/certs/ca-certificates.crt"))
    if certificates.is_file():
        shutil.copy(certificates, context / "ca.crt")
    write(render(CPU, created="2026-11-24", scripts=scripts("torch")), str(context))
    # PyTorch's index may be out of reach, and nothing of it is needed.
    index = {"PIP_FIND_LINKS": wheels, "PIP_TRUSTED_HOST": "127.0.0.1", "PIP_RETRIES": "0"}
    host = LocalHost(environ={**os.environ, **index, "DOCKER_BUILDKIT": "0"})
    result: list[BuiltImage] = []

    def make(tag: str) -> None:
        assert images.ready(host, CPU.stack, "classic") is None
        result.append(containers.build(host, CPU, str(context), tag, "classic", told.append, told.append))

    with built(CPU, docker_base, context, make) as tag:
        yield tag, result[0]


@pytest.fixture(scope="module")
def told() -> list[str]:
    """Collect what the build says."""
    return []


def run(image: tuple[str, BuiltImage] | str, *command: str) -> str:
    tag = image if isinstance(image, str) else image[0]
    return docker("run", "--rm", "--network=none", tag, *command, timeout=300).strip()


def ours() -> str:
    return docker("ps", "--all", "--quiet", "--filter", "label=envdoctor.verify").strip()


Image = tuple[str, BuiltImage]


def test_the_build_says_what_it_does_and_what_came_of_it(image: Image, told: list[str]) -> None:
    tag, result = image
    assert told[0] == f"building {tag}"
    steps = [line.partition(" : ")[2] for line in told if line.startswith("Step ")]
    assert steps[:3] == ["ARG BASE=python:3.11-slim-bookworm", "FROM $BASE AS build", "ARG PIP_INDEX_URL"]
    assert any(line.startswith("Successfully installed") for line in told)
    assert (result.tag, result.id) == (tag, docker("image", "inspect", "--format", "{{.Id}}", tag).strip())
    assert result.size_bytes > 700 << 20
    assert result.base is None  # what debootstrap made comes from no registry


def verify(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "envdoctor", "verify", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)


def test_a_cnn_and_a_gpt2_pass_in_the_image(image: Image, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    done = verify("--image", image[0], "--quick", "--format", "json", "--logs", str(logs))
    assert done.returncode == errors.FINE, done.stdout + done.stderr
    found = {each["workload"]: each for each in json.loads(done.stdout)["outcomes"]}
    assert {name: each["status"] for name, each in found.items()} == {"cnn": "passed", "gpt2": "passed"}
    assert found["gpt2"]["metrics"]["parameters"] == 124_439_808
    assert {each["framework_version"] for each in found.values()} == {"2.13.0+cpu"}
    assert "cnn: train" in done.stderr.splitlines()
    assert '"outcome"' in (logs / "torch-gpt2.log").read_text()
    assert ours() == ""


def test_the_scripts_that_are_handed_over_run_by_hand(image: Image) -> None:
    *_, last = run(image, "python", "/opt/verify/cnn.py", "--quick", "--device", "cpu").splitlines()
    assert json.loads(last)["outcome"]["status"] == "passed"


def test_a_workload_that_holds_too_much_ran_out_of_memory(image: Image) -> None:
    done = verify("--image", image[0], "--workload", "cnn", "--quick", "--memory-cap", "150MiB", "--format", "json")
    (outcome,) = json.loads(done.stdout)["outcomes"]
    assert (done.returncode, outcome["status"]) == (errors.NOT_VERIFIED, "out-of-memory")
    assert "150 MiB were allowed" in outcome["reason"]


def test_ctrl_c_leaves_no_container(image: Image) -> None:
    command = [sys.executable, "-m", "envdoctor", "verify", "--image", image[0], "--workload", "gpt2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "gpt2: import\n"
        assert ours() != ""
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == errors.INTERRUPTED
    assert said.splitlines()[-1] == "envdoctor: interrupted"
    assert ours() == ""


def test_what_was_asked_for_is_in_the_image(image: Image) -> None:
    said = run(
        image, "python", "-c", "import sys, torch, numpy; print(torch.__version__, sys.prefix, numpy.__version__)"
    )
    version, prefix, numpy = said.split()
    assert (version, prefix) == ("2.13.0+cpu", "/opt/env")
    assert numpy.startswith("2.")


def test_it_runs_as_a_user_without_rights_who_can_write_where_it_works(image: Image) -> None:
    assert run(image, "sh", "-c", "id -u; pwd; touch it; ls; test -w /opt/env || echo kept") == (
        "10001\n/workspace\nit\nkept"
    )


def test_the_health_check_passes_when_the_engine_runs_it(image: Image) -> None:
    name = "envdoctor-test-health"
    command = ["sleep", "120"]
    docker("run", "--detach", "--rm", "--name", name, "--network=none", "--health-interval=1s", image[0], *command)
    try:
        end = time.monotonic() + 90
        while time.monotonic() < end:
            health = json.loads(docker("inspect", "--format", "{{json .State.Health}}", name))
            if health["Status"] == "healthy":
                break
            time.sleep(1)
        assert health["Status"] == "healthy", health
        assert health["Log"][-1]["Output"] == "healthy\n"
    finally:
        docker("rm", "--force", name)


def test_nothing_of_the_build_is_left(image: Image) -> None:
    unwanted = ("secret.txt", "ca.crt", "bundle.crt", "requirements.txt", "torch-*.whl", "pip-*cache", "http-v2")
    named = [word for name in unwanted for word in ("-o", "-name", name)][1:]
    found = docker("run", "--rm", "--network=none", "--user=0", image[0], "find", "/", "-xdev", *named, timeout=120)
    assert found == ""
    assert run(image, "ls", "-A", "/tmp") == ""
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image[0])
    assert "PIP_FIND_LINKS" not in history
    assert "HEALTHCHECK" in history


def test_labels_arrive_as_they_were_meant(image: Image) -> None:
    labels = json.loads(docker("inspect", "--format", "{{json .Config.Labels}}", image[0]))
    assert labels["envdoctor.packages"] == "torch==2.13.0+cpu numpy>=2,<3"
    assert labels["org.opencontainers.image.base.name"] == CPU.stack.base_image


def buildkit_client() -> str:
    """Find a client that drives BuildKit: a new one with its plug-in, or one from before there was a plug-in."""
    for client in ("docker", "/usr/bin/docker"):
        plug_in = subprocess.run([client, "buildx", "version"], capture_output=True, timeout=30, check=False)
        said = subprocess.run([client, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
        if plug_in.returncode == 0 or int(said.partition("version ")[2].partition(".")[0] or 99) < 23:
            return client
    pytest.skip("no client here can drive BuildKit")


@pytest.mark.parametrize("builder", ["classic", "buildkit"])
def test_the_lines_for_a_cuda_base_build_without_a_certificate(
    builder: Builder, docker_base: str, wheels: str, tmp_path: Path
) -> None:
    """On Debian they find everything installed already: that apt takes them is proven, not what Ubuntu brings."""
    stack = msgspec.structs.replace(CU118.stack, packages={"packaging": ">=23"}, index_url=None, python="3.11")
    plan = msgspec.structs.replace(CU118, stack=stack)
    write(render(plan, created="2026-11-24", builder=builder), str(tmp_path))
    index = {"PIP_FIND_LINKS": wheels, "PIP_INDEX_URL": f"{wheels}none", "PIP_TRUSTED_HOST": "127.0.0.1"}
    environ = {**os.environ, **index, "DOCKER_BUILDKIT": "01"[builder == "buildkit"]}
    client = buildkit_client() if builder == "buildkit" else "docker"

    def make(tag: str) -> None:
        _, *words, _, folder = images.command(str(tmp_path), tag, builder, environ)
        command = [client, *words, "--build-arg", "UID=1234", "--", folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environ, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    with built(plan, docker_base, tmp_path, make) as tag:
        said = run(
            tag, "sh", "-c", "id -u; printenv NVIDIA_REQUIRE_CUDA; python -c 'import packaging, sys; print(sys.prefix)'"
        )
        assert said.split("\n") == ["1234", "cuda>=11.0", "/opt/env"]
