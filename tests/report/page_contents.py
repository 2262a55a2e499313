"""What stands on the pages of the tests: everything a page can show, with names that mean harm."""

from __future__ import annotations

from envdoctor.estimate import answer, asking, models
from envdoctor.estimate.device import Device
from envdoctor.estimate.weighing import Scales, Walked
from envdoctor.model.estimate import Estimate, Range
from envdoctor.model.finding import Diagnosis, Finding, Fix, Ignored, NotChecked
from envdoctor.model.outcome import Check, Metrics, Outcome, Trial
from envdoctor.model.snapshot import Cpu, Disk, Driver, Evidence, Gap, Gpu, Memory, PythonEnv, Snapshot, System
from envdoctor.model.stack import Artifact, Plan, Reason, Request, Stack, Target
from envdoctor.model.tuning import Attempt, LeftOut, Prediction, Settings, Tuning, Use
from envdoctor.report.pages import Contents

SCRIPT = "<script>window.harm = 1</script>"
IMAGE = "\"'><img src=x onerror='window.harm = 2'>"
ENTITY = "&lt;b&gt; &#x3c;script&#x3e; {{ 7 * 7 }} {% raw %}"
TURNED = "safe\u202egpj.exe\u2066\u200f"
HEBREW = "שלום עולם"
CHINESE = "显存不足"
CONTROLS = "bell\x07 escape\x1b[31m nul\x00 next\x85"
HOSTILE = (SCRIPT, IMAGE, ENTITY, TURNED, HEBREW, CHINESE, CONTROLS)
LINK = "javascript:window.harm=3"
LONG = "/home/user/" + "a-folder-with-a-very-long-name-and-no-place-to-break" * 3

MACHINE = Snapshot(
    taken_at="2026-11-24T12:00:00Z",
    system=System(
        os="linux", name=f"Linux {SCRIPT}", kernel=HEBREW, machine="x86_64", libc="glibc", libc_version="2.36"
    ),
    cpu=Cpu(model=f"CPU {CHINESE}", logical=8, features=("avx2",)),
    memory=Memory(total_bytes=32 << 30, available_bytes=20 << 30),
    disks=(Disk(path=LONG, purposes=("environment",), total_bytes=500 << 30, free_bytes=100 << 30),),
    driver=Driver(version="535.183.01", module_loaded=True, cuda="12.2"),
    gpus=(
        Gpu(
            vendor="nvidia",
            name=f"RTX {IMAGE}",
            uuid="GPU-12345678-1234-1234-1234-123456789abc",
            capability="8.6",
            memory_bytes=12 << 30,
            free_bytes=11 << 30,
        ),
    ),
    pythons=(PythonEnv(executable=TURNED, prefix=ENTITY, version="3.12.3", manager="venv"),),
    gaps=(Gap(probe="toolkits", fact="toolkits", kind="denied", detail=CONTROLS),),
)

FINDING = Finding(
    id="DRV007",
    rule="driver-too-old",
    severity="error",
    certainty="likely",
    title=f"The driver is too old {SCRIPT}",
    detail=f"{IMAGE} {HEBREW} {TURNED}",
    evidence=(
        Evidence(fact="driver.version", value=f"535.183.01 {CONTROLS}", source=LONG),
        Evidence(fact="problems[0].text", value=IMAGE, source=f"line 3 of {SCRIPT}"),
    ),
    fixes=(
        Fix(
            summary=f"Install another build {ENTITY}",
            commands=(("pip", "install", f"torch; {SCRIPT}"), ("echo", "$(reboot)", "it's")),
            effect="changes-env",
            page=LINK,
        ),
        Fix(
            summary="Update the driver.",
            commands=(("sudo", "apt-get", "install", "nvidia-driver-580"),),
            effect="needs-root",
            where="host",
            page="https://www.nvidia.com/drivers/",
        ),
    ),
    sources=("https://docs.nvidia.com/deploy/cuda-compatibility/", LINK, "pkg:pypi/torch@2.7.1", f"https://x/{IMAGE}"),
)
JUDGED = Diagnosis(
    findings=(
        FINDING,
        Finding(
            id="MEM001",
            rule="small-shm",
            severity="warning",
            certainty="certain",
            title="Shared memory is small",
            detail=CHINESE,
            evidence=(),
            fixes=(),
            sources=(),
        ),
    ),
    not_checked=(NotChecked(id="CUDA001", rule="x", because=f"the toolkits are unknown {SCRIPT}"),),
    ignored=(Ignored(finding=FINDING, reason=IMAGE, source="--ignore"),),
)

PLAN = Plan(
    request=Request(cuda="12.6"),
    target=Target(),
    stack=Stack(
        framework="torch",
        framework_version="2.7.1",
        variant="cu126",
        cuda="12.6",
        cudnn="9.5",
        python="3.12",
        index_url="https://download.pytorch.org/whl/cu126",
        packages={"torch": "2.7.1+cu126", SCRIPT: IMAGE},
        conda_packages={},
        pip_command=("pip", "install", "torch==2.7.1+cu126", SCRIPT),
        base_image="nvidia/cuda",
        conda_note=IMAGE,
    ),
    reasons=(
        Reason(choice="CUDA 12.6", because=f"the driver runs it {SCRIPT}", source="https://docs.nvidia.com/cuda/"),
        Reason(choice=IMAGE, because=HEBREW, source=LINK),
    ),
)

OUTCOMES = (
    Outcome(
        workload="cnn",
        framework="torch",
        device="cuda",
        status="passed",
        framework_version="2.7.1",
        device_name=f"RTX {IMAGE}",
        metrics=Metrics(
            parameters=11689512,
            loss_first=2.2,
            loss_last=0.4,
            losses=tuple(2.3 * 0.9**step for step in range(32)),
            throughput=800.0,
            unit="images/s",
            peak_memory_bytes=700 << 20,
        ),
        checks=(
            Check(name=f"loss falls {SCRIPT}", passed=True, expected="at most 1", actual=IMAGE),
            Check(name="gradients are finite", passed=False, expected="yes", actual=CONTROLS),
        ),
        trials=(Trial(name="bf16 inference", ran=True, throughput=1600.0, unit="images/s"),),
        log=LONG,
    ),
    Outcome(workload=SCRIPT, framework="torch", device="cpu", status="crashed", reason=IMAGE, hint=ENTITY),
)


TUNING = Tuning(
    model="resnet18",
    goal="inference",
    kind="image",
    unit="images/s",
    framework_version="2.7.1",
    device="cpu",
    device_name=f"CPU {IMAGE}",
    room_bytes=4 << 30,
    seconds=12,
    budget_seconds=60,
    attempts=(
        Attempt(
            settings=Settings(batch=1),
            purpose="base",
            status="ran",
            throughput=20.0,
            peak_memory_bytes=1 << 30,
            predicted=Prediction(throughput=Range(low=10, high=30), memory=Range(low=1 << 29, high=1 << 31)),
        ),
        Attempt(settings=Settings(batch=8), purpose="batch", status="ran", throughput=60.0, peak_memory_bytes=2 << 30),
        Attempt(settings=Settings(batch=64), purpose="batch", status="out-of-memory", reason=SCRIPT),
    ),
    left_out=(LeftOut(what="bf16", reason=f"this processor cannot {SCRIPT}"),),
    best=Attempt(settings=Settings(batch=8), purpose="batch", status="ran", throughput=60.0),
    largest_batch=8,
    failed_batch=64,
    recipe=("import torch", f"torch.set_num_threads(4)  # {SCRIPT}"),
    uses=(Use(use="prototype", grade="slow", words=f"60 images/s {IMAGE}", measured=True),),
)


def estimates(text: str, batches: tuple[int, ...], free: int | None = 11 << 30) -> tuple[Estimate, ...]:
    name, how = asking.short(text)
    model = Walked(models.named(name))
    scales, device = Scales(model), Device(name=f"RTX {IMAGE}", capability="8.6", free_bytes=free)
    found = []
    for batch in batches:
        workload = asking.workload(model, device="cuda", **{**how, "batch": batch})
        found.append(answer.estimate(workload, scales, device))
    return tuple(found)


def everything() -> Contents:
    return Contents(
        title=f"Diagnosis {SCRIPT}",
        machine=MACHINE,
        judged=JUDGED,
        estimates=(
            *estimates("gpt2:training:seq=1024,dtype=amp-fp16", (1, 4, 64)),
            *estimates("resnet50:inference:batch=1", (8,)),
        ),
        outcomes=OUTCOMES,
        plan=PLAN,
        tuning=TUNING,
        artifacts=(
            Artifact(path="environment.yml", text="name: dl\ndependencies:\n  - pytorch\n"),
            Artifact(path="Dockerfile", text=f"FROM debian\nRUN echo {SCRIPT} {IMAGE}\n"),
        ),
        raw=MACHINE,
    )
