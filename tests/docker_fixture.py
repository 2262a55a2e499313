"""A Docker engine, and a base image that needs no registry: a Debian made by debootstrap.

It is kept between runs, for debootstrap takes a minute.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

BASE = "envdoctor-test-base"


def docker(*arguments: str, timeout: float = 60) -> str:
    """Run Docker's client and give what it printed."""
    # The client's plug-in for the other builder may be missing or present; the oldest builder is the one to satisfy.
    environ = {**os.environ, "DOCKER_BUILDKIT": "0"}
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=timeout, env=environ, check=False
    )
    assert done.returncode == 0, f"docker {' '.join(arguments)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def docker_base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give the name of an image with Python and nothing else."""
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
