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
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from render_plans import CPU, CU118

from envdoctor.host.writing import write
from envdoctor.model.stack import Plan
from envdoctor.render import render

pytestmark = pytest.mark.docker

BASE = "envdoctor-test-base"  # kept between runs, for debootstrap takes a minute
WORKLOADS = Path(__file__).parents[2] / "envdoctor" / "verify" / "workloads" / "torch"


def docker(*arguments: str, timeout: float = 60) -> str:
    # The client's plug-in for the other builder may be missing or present; the oldest builder is the one to satisfy.
    environ = {**os.environ, "DOCKER_BUILDKIT": "0"}
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=timeout, env=environ, check=False
    )
    assert done.returncode == 0, f"docker {' '.join(arguments)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    if shutil.which("docker") is None:
        pytest.skip("no docker client here")
    if subprocess.run(["docker", "info"], capture_output=True, timeout=30, check=False).returncode != 0:
        pytest.skip("no Docker engine answers")
    if not docker("images", "--quiet", BASE).strip():
        if shutil.which("debootstrap") is None or os.geteuid() != 0:
            pytest.skip("making a base image needs debootstrap and root")
        root = tmp_path_factory.mktemp("base") / "root"
        subprocess.run(
            ["debootstrap", "--variant=minbase", "--include=python3,python3-venv,ca-certificates", "bookworm", root],
            check=True,
            capture_output=True,
            timeout=300,
        )
        with subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE) as tar:
            subprocess.run(["docker", "import", "-", BASE], stdin=tar.stdout, check=True, capture_output=True)
        shutil.rmtree(root)
    return BASE


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
def built(plan: Plan, base: str, context: Path, *arguments: str, scripts: Mapping[str, str]) -> Iterator[str]:
    """Write a plan's files and build its image on the stand-in; afterwards no tag and no layer of it is left."""
    write(render(plan, created="2026-11-24", scripts=scripts), str(context))
    stand_in, tag = plan.stack.base_image, f"envdoctor-test-{plan.stack.variant}"
    standing = docker("images", "--quiet", stand_in).strip()
    if standing and standing != docker("images", "--quiet", base).strip():  # else left by a run that was ended
        pytest.skip(f"{stand_in} is here for real; it is not replaced")
    dangling = ("images", "--quiet", "--no-trunc", "--filter", "dangling=true")
    before = set(docker(*dangling).split())
    docker("tag", base, stand_in)
    given = [word for argument in arguments for word in ("--build-arg", argument)]
    try:
        docker("build", "--network=host", "--force-rm", *given, "--tag", tag, str(context), timeout=500)
        yield tag
    finally:
        # The first stage has no name; it would stay as a gigabyte that nothing refers to.
        for name in (tag, stand_in):
            subprocess.run(["docker", "rmi", name], capture_output=True, check=False)
        for stage in set(docker(*dangling).split()) - before:
            subprocess.run(["docker", "rmi", stage], capture_output=True, check=False)


@pytest.fixture(scope="module")
def image(base: str, wheels: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The CPU stack whole, with the machine's own certificates beside the Dockerfile."""
    context = tmp_path_factory.mktemp("context")
    (context / "secret.txt").write_text("not for the image")
    certificates = Path(os.environ.get("PIP_CERT", "/etc/ssl/certs/ca-certificates.crt"))
    if certificates.is_file():
        shutil.copy(certificates, context / "ca.crt")
    scripts = {file.name: file.read_text() for file in WORKLOADS.glob("*.py")}
    # PyTorch's index may be out of reach, and nothing of it is needed.
    arguments = (f"PIP_FIND_LINKS={wheels}", "PIP_TRUSTED_HOST=127.0.0.1", "PIP_RETRIES=0")
    with built(CPU, base, context, *arguments, scripts=scripts) as tag:
        yield tag


def run(image: str, *command: str) -> str:
    return docker("run", "--rm", "--network=none", image, *command, timeout=300).strip()


def test_what_was_asked_for_is_in_the_image(image: str) -> None:
    said = run(
        image, "python", "-c", "import sys, torch, numpy; print(torch.__version__, sys.prefix, numpy.__version__)"
    )
    version, prefix, numpy = said.split()
    assert (version, prefix) == ("2.13.0+cpu", "/opt/env")
    assert numpy.startswith("2.")


def test_the_verification_script_runs_in_it(image: str) -> None:
    *_, last = run(image, "python", "/opt/verify/cnn.py", "--quick", "--device", "cpu").splitlines()
    outcome = json.loads(last)["outcome"]
    assert (outcome["status"], outcome["framework_version"]) == ("passed", "2.13.0+cpu")
    assert outcome["metrics"]["parameters"] == 11_689_512


def test_it_runs_as_a_user_without_rights_who_can_write_where_it_works(image: str) -> None:
    assert run(image, "sh", "-c", "id -u; pwd; touch it; ls; test -w /opt/env || echo kept") == (
        "10001\n/workspace\nit\nkept"
    )


def test_the_health_check_passes_when_the_engine_runs_it(image: str) -> None:
    name = "envdoctor-test-health"
    command = ["sleep", "120"]
    docker("run", "--detach", "--rm", "--name", name, "--network=none", "--health-interval=1s", image, *command)
    try:
        end = time.monotonic() + 90
        while time.monotonic() < end:
            health = json.loads(docker("inspect", "--format", "{{json .State.Health}}", name))
            if health["Status"] == "healthy":
                break
            time.sleep(1)
        assert health["Status"] == "healthy", health
    finally:
        docker("rm", "--force", name)


def test_nothing_of_the_build_is_left(image: str) -> None:
    unwanted = ("secret.txt", "ca.crt", "bundle.crt", "requirements.txt", "torch-*.whl", "pip-*cache", "http-v2")
    named = [word for name in unwanted for word in ("-o", "-name", name)][1:]
    found = docker("run", "--rm", "--network=none", "--user=0", image, "find", "/", "-xdev", *named, timeout=120)
    assert found == ""
    assert run(image, "ls", "-A", "/tmp") == ""
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    assert "PIP_FIND_LINKS" not in history
    assert "HEALTHCHECK" in history


def test_labels_arrive_as_they_were_meant(image: str) -> None:
    labels = json.loads(docker("inspect", "--format", "{{json .Config.Labels}}", image))
    assert labels["envdoctor.packages"] == "torch==2.13.0+cpu numpy>=2,<3"
    assert labels["org.opencontainers.image.base.name"] == CPU.stack.base_image


def test_the_lines_for_a_cuda_base_build_without_a_certificate(base: str, wheels: str, tmp_path: Path) -> None:
    """On Debian they find everything installed already: that apt takes them is proven, not what Ubuntu brings."""
    stack = msgspec.structs.replace(CU118.stack, packages={"packaging": ">=23"}, index_url=None, python="3.11")
    plan = msgspec.structs.replace(CU118, stack=stack)
    arguments = (f"PIP_FIND_LINKS={wheels}", f"PIP_INDEX_URL={wheels}none", "PIP_TRUSTED_HOST=127.0.0.1", "UID=1234")
    with built(plan, base, tmp_path, *arguments, scripts={}) as tag:
        said = run(
            tag, "sh", "-c", "id -u; printenv NVIDIA_REQUIRE_CUDA; python -c 'import packaging, sys; print(sys.prefix)'"
        )
        assert said.split("\n") == ["1234", "cuda>=11.0", "/opt/env"]
