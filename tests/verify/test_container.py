"""Workloads in containers of a real engine. No torch is in the image, so each run is short and has a known end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from docker_fixture import docker

from envdoctor import errors
from envdoctor.host import engine
from envdoctor.verify import container
from envdoctor.verify.container import Asking
from envdoctor.verify.runner import Progress

pytestmark = pytest.mark.docker
ASKING = Asking(device="cpu", timeout=60.0, memory_cap=1 << 30)


@pytest.fixture
def client(docker_base: str) -> Iterator[Any]:
    """Open the engine; afterwards no container of a workload may be left."""
    opened = engine.client()
    yield opened
    opened.close()
    assert docker("ps", "--all", "--quiet", "--filter", "label=envdoctor.verify") == ""


def silent(step: Progress) -> None:
    """Take no notice of a step."""


def test_an_image_without_torch_is_an_outcome(client: Any, docker_base: str, tmp_path: Path) -> None:
    steps: list[Progress] = []
    asking = msgspec.structs.replace(ASKING, logs=str(tmp_path / "logs"))
    outcomes = container.run(client, docker_base, ("cnn", "gpt2"), asking, steps.append)
    assert [(each.workload, each.status) for each in outcomes] == [("cnn", "failed"), ("gpt2", "failed")]
    assert outcomes[0].reason == "torch is not installed in /usr/bin/python3"
    assert [step.workload for step in steps] == ["cnn", "gpt2"]
    assert outcomes[0].log == str(tmp_path / "logs" / "torch-cnn.log")
    assert '"outcome"' in Path(outcomes[0].log).read_text()


def test_nothing_of_the_host_goes_in_and_no_right_is_gained(client: Any, docker_base: str) -> None:
    seen: list[dict[str, Any]] = []

    def look(step: Progress) -> None:
        (one,) = client.containers.list(all=True, filters={"label": "envdoctor.verify=cnn"})
        seen.append(one.attrs)

    container.run(client, docker_base, ("cnn",), ASKING, look)
    host = seen[0]["HostConfig"]
    assert (seen[0]["Mounts"], host["Binds"], host["NetworkMode"], host["Privileged"]) == ([], None, "none", False)
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert (host["Memory"], host["MemorySwap"], host["ShmSize"]) == (1 << 30, 1 << 30, 1 << 30)
    assert host["DeviceRequests"] is None


def test_past_its_deadline_it_is_ended(client: Any, docker_base: str) -> None:
    (outcome,) = container.run(client, docker_base, ("cnn",), msgspec.structs.replace(ASKING, timeout=0.001), silent)
    assert outcome.status == "timeout"


def test_an_interrupt_ends_it(client: Any, docker_base: str) -> None:
    def interrupt(step: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        container.run(client, docker_base, ("cnn",), ASKING, interrupt)


def test_a_gpu_that_the_engine_cannot_hand_over(client: Any, docker_base: str) -> None:
    """Here the engine has no NVIDIA toolkit, so that its own words are met."""
    if "nvidia" in client.info()["Runtimes"]:
        pytest.skip("this engine has the NVIDIA runtime")
    with pytest.raises(errors.MissingPart, match="cannot hand the GPU") as caught:
        container.run(client, docker_base, ("cnn",), msgspec.structs.replace(ASKING, gpu="nvidia"), silent)
    assert "NVIDIA Container Toolkit" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("envdoctor-test-nowhere", "the Docker engine has no image envdoctor-test-nowhere"),
        ("Not A Name", "not the name of an image"),
        ("$(touch x)", "not the name of an image"),
    ],
)
def test_an_image_that_is_not_there(client: Any, image: str, words: str) -> None:
    with pytest.raises(errors.UsageProblem, match=words):
        container.run(client, image, ("cnn",), ASKING, silent)


def test_a_workload_that_is_not_there(client: Any, docker_base: str) -> None:
    with pytest.raises(errors.UsageProblem, match="no workload vgg"):
        container.run(client, docker_base, ("vgg",), ASKING, silent)
