"""Windows itself: which Python is judged, and what System32 tells of the driver."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from envdoctor.errors import UsageProblem
from envdoctor.host import Completed, NvmlAnswer, NvmlGpu
from envdoctor.host.recorded import RecordedHost, Recording
from envdoctor.model.snapshot import GpuProcess
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


CARD = NvmlGpu(
    index=0,
    name="NVIDIA GeForce RTX 3060",
    uuid="GPU-1",
    bus_id="0000:01:00.0",
    pci_id="10de:2504",
    capability="8.6",
    memory_bytes=12 << 30,
    used_bytes=1 << 30,
    free_bytes=11 << 30,
    mig_enabled=None,
    processes=((4711, None),),  # WDDM tells of no program how much it holds
)
ANSWER = NvmlAnswer(status=0, library="C:/Windows/System32/nvml.dll", driver="560.94", cuda="12.6", gpus=(CARD,))
TABLE = """+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 560.94                 Driver Version: 560.94         CUDA Version: 12.6     |
+-----------------------------------------------------------------------------------------+
"""


def test_nvml_tells_more_than_nvidia_smi() -> None:
    files = {"C:/Windows/System32/nvcuda.dll": "", SMI: ""}
    seen = nvidia.PROBE.read(host(files=files, nvml=ANSWER), None)
    assert seen.driver is not None
    assert (seen.driver.version, seen.driver.cuda, seen.driver.nvml) == ("560.94", "12.6", 0)
    assert (seen.driver.nvml_path, seen.driver.libcuda_path) == (
        "C:/Windows/System32/nvml.dll",
        "C:/Windows/System32/nvcuda.dll",
    )
    (card,) = seen.gpus
    assert (card.pci_id, card.capability, card.free_bytes, card.integrated) == ("10de:2504", "8.6", 11 << 30, False)
    assert card.processes == (GpuProcess(pid=4711),)
    assert {gap.fact for gap in seen.gaps} == {"driver.device_nodes", "driver.uvm", "driver.copies"}
    assert seen.origins["gpus"] == "NVML"


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"nvml_error": "timeout"},
        {"nvml_error": "the process that asks libnvidia-ml ended with status 1"},
        {"nvml": replace(ANSWER, status=9)},
        {"nvml": replace(ANSWER, incomplete="it stopped early")},
    ],
)
def test_where_nvml_has_no_answer_nvidia_smi_is_asked(facts: dict[str, Any]) -> None:
    table = {SMI: Completed(returncode=0, stdout=TABLE, stderr="")}
    seen = nvidia.PROBE.read(host(files={SMI: ""}, commands=table, **facts), None)
    assert seen.driver is not None
    assert (seen.driver.version, seen.origins["driver"]) == ("560.94", SMI)


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
