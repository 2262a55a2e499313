from __future__ import annotations

import pytest
from judged import commands, diagnose, only, raised, shown, values
from machines import changed, container, cpu_only, gpu, on_bus_only, system, unknown, windows, workstation

from envdoctor.model.snapshot import Container, Cpu, Mig, Snapshot, Variable
from envdoctor.rules.system.variables import Selection, parse

TWO = (gpu(uuid="GPU-aaaa1111-0000"), gpu(index=1, uuid="GPU-aaaa2222-0000"))


def with_variables(machine: Snapshot, **variables: str) -> Snapshot:
    return changed(machine, variables=tuple(Variable(name=name, value=value) for name, value in variables.items()))


def visible(value: str, *, two: bool = False) -> Snapshot:
    return with_variables(workstation(gpus=TWO if two else TWO[:1]), CUDA_VISIBLE_DEVICES=value)


@pytest.mark.parametrize(
    ("value", "selection"),
    [
        ("0,1", Selection((0, 1))),
        ("1,0", Selection((1, 0))),
        (" 1 , 0 ", Selection((1, 0))),
        ("0,", Selection((0,))),
        ("1x", Selection((1,))),
        ("+1", Selection((1,))),
        ("0,-1,1", Selection((0,), "-1", "negative", 1)),
        ("0,5,1", Selection((0,), "5", "no such device", 1)),
        ("0,0", Selection((), "0", "repeated", 0)),
        ("", Selection((), "", "empty", 0)),
        (",0", Selection((), "", "empty", 1)),
        ("all", Selection((), "all", "not a device", 0)),
        ("99999999999999999999", Selection((), "99999999999999999999", "no such device", 0)),
        ("GPU-aaaa1111-0000", Selection((0,))),
        ("GPU-aaaa2,GPU-aaaa1", Selection((1, 0))),
        ("GPU-aaaa", Selection((), "GPU-aaaa", "ambiguous", 0)),
        ("GPU-bbbb", Selection((), "GPU-bbbb", "no such device", 0)),
        ("GPU-aaaa1,1", Selection((0,), "1", "not a device", 0)),
        ("0,GPU-aaaa2", Selection((0,), "GPU-aaaa2", "not a device", 0)),
    ],
)
def test_the_list_is_read_as_cuda_reads_it(value: str, selection: Selection) -> None:
    assert parse(value, TWO) == selection


def test_what_cannot_be_judged_is_left_alone() -> None:
    assert parse("MIG-1234", TWO) is None
    assert parse("7", (gpu(mig=Mig(enabled=True, pending=True, instances=7)),)) is None
    assert parse("GPU-1", (gpu(uuid=None),)) is None


@pytest.mark.parametrize(
    ("value", "title", "detail"),
    [
        ("", "CUDA_VISIBLE_DEVICES is set to nothing", "An empty list"),
        ("-1", "CUDA_VISIBLE_DEVICES=-1 hides NVIDIA GeForce RTX 3060", "negative"),
        ("all", "CUDA_VISIBLE_DEVICES=all hides", "numbers (0) or UUIDs"),
        ("1", "CUDA_VISIBLE_DEVICES=1 hides", "There is no device “1” here (valid: 0)"),
        ("GPU-bbbb", "CUDA_VISIBLE_DEVICES=GPU-bbbb hides", "There is no device"),
    ],
)
def test_every_gpu_is_hidden(value: str, title: str, detail: str) -> None:
    finding = only("ENV001", visible(value))
    assert finding.rule == "visible-devices-hide-gpu"
    assert finding.severity == "error"
    assert finding.title.startswith(title)
    assert detail in finding.detail
    assert values(finding) == {"variables.CUDA_VISIBLE_DEVICES": value, "gpus[0].index": "0"}
    assert commands(finding) == ["unset CUDA_VISIBLE_DEVICES"]
    assert shown(visible(value)) == ["ENV001"]


def test_the_number_of_hidden_gpus_is_told() -> None:
    assert "hides the 2 GPUs from CUDA" in only("ENV001", visible("-1", two=True)).title


def test_powershell_has_its_own_command() -> None:
    finding = only("ENV001", with_variables(windows(), CUDA_VISIBLE_DEVICES="-1"))
    assert commands(finding) == ["Remove-Item Env:CUDA_VISIBLE_DEVICES"]


def test_slurm_gave_this_job_no_gpu() -> None:
    machine = with_variables(workstation(), CUDA_VISIBLE_DEVICES="NoDevFiles", SLURM_JOB_ID="4711")
    finding = only("ENV001", machine)
    assert finding.severity == "warning"
    assert "Slurm (job 4711)" in finding.detail
    assert finding.fixes[0].summary == "Ask Slurm for a GPU: --gres=gpu:1."
    assert commands(finding) == []


def test_a_number_that_does_not_exist_is_nobodys_purpose() -> None:
    machine = with_variables(workstation(), CUDA_VISIBLE_DEVICES="4", SLURM_JOB_ID="4711")
    assert only("ENV001", machine).severity == "error"


def test_kubernetes_gave_this_pod_no_gpu() -> None:
    pod = with_variables(container(), CUDA_VISIBLE_DEVICES="", KUBERNETES_SERVICE_HOST="10.0.0.1")
    assert "Kubernetes" in only("ENV001", pod).detail
    pod = with_variables(system(container(), container=Container(kind="kubernetes")), CUDA_VISIBLE_DEVICES="")
    assert "nvidia.com/gpu: 1" in only("ENV001", pod).fixes[0].summary


@pytest.mark.parametrize(
    "machine",
    [
        workstation(),
        visible("0"),
        visible("1,0", two=True),
        visible("MIG-abc"),
        visible("0,5"),
        visible("0,0"),  # ENV002
        with_variables(cpu_only(), CUDA_VISIBLE_DEVICES=""),
        with_variables(workstation(gpus=(on_bus_only(gpu()),)), CUDA_VISIBLE_DEVICES=""),  # no driver lists it
    ],
)
def test_a_gpu_is_visible(machine: Snapshot) -> None:
    assert raised("ENV001", machine) == ()


def test_an_entry_ends_the_list() -> None:
    finding = only("ENV002", visible("0,5,1", two=True))
    assert finding.rule == "visible-devices-hide-gpu"
    assert finding.severity == "warning"
    assert finding.title == "CUDA reads CUDA_VISIBLE_DEVICES=0,5,1 only up to “5” and shows device 0 alone"
    assert values(finding)["variables.CUDA_VISIBLE_DEVICES"] == "0,5,1"
    assert commands(finding) == ["nvidia-smi -L", "export CUDA_VISIBLE_DEVICES=0,1"]


def test_a_repeated_entry_hides_everything() -> None:
    finding = only("ENV002", visible("1,1", two=True))
    assert finding.severity == "error"
    assert "names a device twice" in finding.title
    assert commands(finding) == ["nvidia-smi -L", "export CUDA_VISIBLE_DEVICES=1"]


@pytest.mark.parametrize("value", ["0,1", "GPU-aaaa1,GPU-aaaa2", "0,1,", "0,-1", "MIG-a,MIG-b", "-1", "7", ""])
def test_no_entry_is_lost(value: str) -> None:
    assert raised("ENV002", visible(value, two=True)) == ()


def test_more_threads_than_processors() -> None:
    machine = with_variables(workstation(), OMP_NUM_THREADS="32")
    finding = only("ENV009", machine)
    assert finding.rule == "threads-differ-from-cpus"
    assert (finding.severity, finding.certainty) == ("warning", "likely")
    assert finding.title == "OMP_NUM_THREADS=32, but this process may use 16 processors"
    assert values(finding)["variables.OMP_NUM_THREADS"] == "32"
    assert commands(finding) == ["export OMP_NUM_THREADS=16"]


def test_the_cgroup_quota_counts() -> None:
    quota = Cpu(logical=64, affinity=64, quota=1.5)
    finding = only("ENV009", with_variables(container(cpu=quota), MKL_NUM_THREADS="8"))
    assert finding.title == "MKL_NUM_THREADS=8, but this process may use 2 processors"


def test_one_thread_on_many_processors_is_a_note() -> None:
    finding = only("ENV009", with_variables(workstation(), OMP_NUM_THREADS="1"))
    assert (finding.severity, finding.certainty) == ("note", "hint")
    assert "idle" in finding.detail


@pytest.mark.parametrize(
    "machine",
    [
        workstation(),
        with_variables(workstation(), OMP_NUM_THREADS="16"),
        with_variables(workstation(), OMP_NUM_THREADS="4,2"),
        with_variables(workstation(), OMP_NUM_THREADS="many"),
        with_variables(workstation(), OMP_NUM_THREADS="1", TORCHELASTIC_RUN_ID="x"),
        with_variables(workstation(), OMP_NUM_THREADS="1", SLURM_JOB_ID="1"),
        with_variables(workstation(), MKL_NUM_THREADS="1"),
        with_variables(workstation(cpu=Cpu(logical=2)), OMP_NUM_THREADS="1"),
        with_variables(workstation(cpu=Cpu()), OMP_NUM_THREADS="99"),
    ],
)
def test_threads_fit(machine: Snapshot) -> None:
    assert raised("ENV009", machine) == ()


def test_unknown_variables_are_not_judged() -> None:
    skipped = {each.id for each in diagnose(unknown(workstation(), "variables")).not_checked}
    assert {"ENV001", "ENV002", "ENV009"} <= skipped
