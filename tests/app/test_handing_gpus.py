"""Which GPU of a host goes into a container."""

from __future__ import annotations

import json

import pytest

from envdoctor import errors
from envdoctor.app import containers
from envdoctor.host import Completed
from envdoctor.host.recorded import RecordedHost, Recording

NVIDIA = ("/dev/nvidiactl", "/dev/nvidia0")


def host(
    devices: tuple[str, ...] = (), executables: tuple[str, ...] = (), runtimes: tuple[str, ...] = ()
) -> RecordedHost:
    info = json.dumps({"ServerVersion": "28", "Runtimes": {name: {} for name in runtimes}})
    return RecordedHost(
        Recording(
            environ={"PATH": "/usr/bin"},
            devices=devices,
            executables=("/usr/bin/docker", *executables),
            commands={"docker info --format {{json .}}": Completed(returncode=0, stdout=info, stderr="")},
        )
    )


def test_a_gpu_goes_in_where_the_engine_can_hand_it_over() -> None:
    toolkit = ("/usr/bin/nvidia-ctk",)
    for device in ("auto", "cuda"):
        assert containers.gpu_for(host(NVIDIA, toolkit), device) == ("nvidia", None)
        assert containers.gpu_for(host(NVIDIA, (), ("nvidia",)), device) == ("nvidia", None)
        assert containers.gpu_for(host(("/dev/dxg",), (), ("nvidia",)), device) == ("nvidia", None)
        assert containers.gpu_for(host(("/dev/kfd", "/dev/dri/card0")), device) == ("amd", None)


def test_without_the_toolkit_it_is_said_and_the_cpu_serves() -> None:
    gpu, said = containers.gpu_for(host(NVIDIA), "auto")
    assert gpu is None
    assert said is not None and said.startswith("the NVIDIA Container Toolkit is missing")
    assert said.endswith("the workloads run on the CPU")


def test_a_machine_without_a_gpu_is_a_legitimate_one() -> None:
    assert containers.gpu_for(host(), "auto") == (None, None)
    assert containers.gpu_for(host(NVIDIA, ("/usr/bin/nvidia-ctk",)), "cpu") == (None, None)


@pytest.mark.parametrize(
    ("devices", "words"), [((), "no GPU of NVIDIA or AMD is here"), (NVIDIA, "the NVIDIA Container Toolkit is missing")]
)
def test_a_gpu_that_was_asked_for_and_cannot_go_in_is_a_problem(devices: tuple[str, ...], words: str) -> None:
    with pytest.raises(errors.MissingPart, match=words):
        containers.gpu_for(host(devices), "cuda")
