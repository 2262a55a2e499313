"""Windows itself: which Python is judged, and what System32 tells of the driver."""

from __future__ import annotations

from typing import Any

import pytest

from envdoctor.errors import UsageProblem
from envdoctor.host import Completed
from envdoctor.host.recorded import RecordedHost, Recording
from envdoctor.probes import nvidia, place

SMI = "C:/Windows/System32/nvidia-smi.exe"


def host(**facts: Any) -> RecordedHost:
    return RecordedHost(Recording(system="Windows", machine="AMD64", **facts))


def test_conda_tells_its_version_by_its_package() -> None:
    files = {
        "D:/conda/envs/ml/python.exe": "",
        "D:/conda/envs/ml/conda-meta/python-3.10.13-h966fe2a_0.json": "{}",
        "D:/conda/envs/ml/Lib/site-packages/six.py": "",
    }
    found = place.locate(host(environ={"CONDA_PREFIX": "D:\\conda\\envs\\ml"}, files=files), None)
    assert found is not None
    assert (found.manager, found.version, found.selected_by) == ("conda", "3.10.13", "CONDA_PREFIX")
    assert found.site_dirs == ("D:/conda/envs/ml/Lib/site-packages",)


def test_the_program_that_opens_the_store_is_passed_over() -> None:
    files = {
        "C:/Users/ann/AppData/Local/Microsoft/WindowsApps/python.exe": "",
        "C:/Python312/python.exe": "",
        "C:/Python312/include/patchlevel.h": '#define PY_VERSION              "3.12.3"\n',
    }
    path = "C:\\Users\\ann\\AppData\\Local\\Microsoft\\WindowsApps;C:\\Python312\\"
    found = place.locate(host(environ={"PATH": path}, files=files), None)
    assert found is not None
    assert (found.executable, found.version, found.manager) == ("C:/Python312/python.exe", "3.12.3", "other")


def test_no_python_is_said_plainly() -> None:
    assert place.locate(host(environ={"PATH": "C:\\Windows"}), None) is None
    with pytest.raises(UsageProblem, match="no Python"):
        place.locate(host(files={"C:/notes.txt": ""}), "C:\\missing\\python.exe")


def test_without_nvidia_smi_there_is_no_driver() -> None:
    seen = nvidia.PROBE.read(host(folders=("C:/Windows/System32",)), None)
    assert (seen.driver, seen.gpus, seen.gaps) == (None, (), ())


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({"command_errors": {SMI: "timeout"}}, "timeout"),
        ({"commands": {SMI: Completed(returncode=9, stdout="NVIDIA-SMI has failed", stderr="")}}, "not-reported"),
    ],
)
def test_a_silent_nvidia_smi_leaves_gaps(facts: dict[str, Any], kind: str) -> None:
    seen = nvidia.PROBE.read(host(files={SMI: ""}, **facts), None)
    assert {(gap.fact, gap.kind) for gap in seen.gaps} == {("driver", kind), ("gpus", kind)}
