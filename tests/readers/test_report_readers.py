"""What readers take from pasted texts: facts with their origin, and gaps for what nobody said."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envdoctor.app.reading import read_snapshot
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.snapshot import Snapshot
from envdoctor.readers import TOOLS, read, recognised
from envdoctor.report.text import Style
from envdoctor.report.text import diagnosis as text_of_diagnosis
from envdoctor.rules.registry import evaluate

REPORTS = Path(__file__).parent.parent / "reports"
FACTS = Knowledge()


def report(name: str) -> Snapshot:
    return read((REPORTS / name).read_text(encoding="utf-8"))


def test_collect_env_of_a_cpu_build_on_windows() -> None:
    machine = report("collect_env/windows_cpu.txt")
    assert machine.system and machine.driver and machine.python
    torch = machine.python.framework("torch")
    assert torch
    assert (machine.system.os, machine.driver.version) == ("windows", "552.44")
    assert [(gpu.name, gpu.capability) for gpu in machine.gpus] == [("NVIDIA GeForce RTX 4060", "8.9")]
    assert (torch.version, torch.cuda, torch.gpu_build) == ("2.3.1", None, False)
    assert (machine.python.version, machine.python.bits) == ("3.11.9", 64)
    assert machine.gap("pythons.frameworks.torch.cuda") is None  # it said that there is none
    assert machine.evidence("driver.version")[0].source == "report: collect_env"


def test_what_is_not_said_is_unknown() -> None:
    machine = report("collect_env/windows_cpu.txt")
    gap = machine.gap("driver.device_nodes")
    assert gap
    assert gap.kind == "not-reported"
    assert all(machine.gap(fact) for fact in ("memory", "gpus.lost", "disks", "variables", "driver.cuda"))


def test_nvidia_smi_with_a_process() -> None:
    machine = report("nvidia_smi/busy.txt")
    assert machine.driver
    assert (machine.driver.version, machine.driver.cuda, machine.driver.module_loaded) == ("550.54.15", "12.4", True)
    (card,) = machine.gpus
    assert card.processes
    assert (card.used_bytes, card.memory_bytes) == (20104 << 20, 24576 << 20)
    assert (card.bus_id, card.processes[0].pid) == ("0000:21:00.0", 4711)
    assert machine.toolkits == ()  # its CUDA version is the driver's


def test_pip_show_and_a_wish() -> None:
    python = report("pip/show.txt").python
    assert python
    assert [(p.name, p.version) for p in python.packages] == [("torch", "2.6.0+cu124"), ("vllm", "0.8.2")]
    torch = python.framework("torch")
    assert torch
    assert torch.cuda == "12.4"


def test_conda_list_keeps_both_owners() -> None:
    python = report("conda/list.txt").python
    assert python
    builds = {package.name: package.build for package in python.packages}
    assert builds["pytorch"] == "cpu_mkl_py310h3ea73d3_100"
    assert builds["torch"] is None


def test_wsl_by_its_kernel() -> None:
    machine = report("wsl/list.txt")
    assert machine.wsl and machine.system
    assert (machine.wsl.version, machine.system.kernel) == (2, "5.15.146.1-microsoft-standard-WSL2")


def test_chinese_prose() -> None:
    machine = report("prose/chinese.txt")
    assert machine.driver and machine.python
    torch = machine.python.framework("torch")
    assert torch
    assert machine.driver.version == "525.89.02"
    assert [gpu.name for gpu in machine.gpus] == ["NVIDIA GeForce RTX 3090"]
    assert ([kit.version for kit in machine.toolkits], torch.version) == (["11.3"], "1.12.1")


@pytest.mark.parametrize("text", ["", "hello", "\n\n", "the weather is fine today"])
def test_nothing_is_recognised_in_ordinary_words(text: str) -> None:
    assert not recognised(read(text))


CAUSES = sorted((REPORTS / "causes").glob("*.txt"), key=lambda path: path.name)


@pytest.mark.parametrize("path", CAUSES, ids=lambda path: path.stem)
def test_the_cause_comes_first(path: Path) -> None:
    cause = path.stem.partition("--")[0]
    diagnosis = evaluate(read(path.read_text(encoding="utf-8")), FACTS)
    if cause == "healthy":
        assert diagnosis.count("error") == 0, [finding.title for finding in diagnosis.findings]
    else:
        assert [finding.rule for finding in diagnosis.findings][:1] == [cause]
        assert diagnosis.findings[0].evidence


# Words of every reader and rule, and shapes that make careless patterns try again and again.
_SEEDS = (
    "NVIDIA-SMI Driver Version: CUDA Version: libcudart.so.11.0 cannot open sm_86 torch==1.7.1 pip conda WSL Xid 79",
    "CUDA used to build PyTorch: Is CUDA available: [pip3] torch==2.0 - OS: x\n### TensorFlow version\n\n2.1",
)
_PARTS = st.sampled_from([word for seed in _SEEDS for word in seed.split(" ")])


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=400), st.lists(st.one_of(_PARTS, st.text(max_size=12)), max_size=60).map(" ".join)))
def test_any_text_is_read_and_judged_without_an_exception(text: str) -> None:
    machine = read(text)
    evaluate(machine, FACTS)
    assert len(machine.problems) <= 400


ADVERSARIAL = (
    "a" * 3000,
    " " * 3000,
    "GPU 0: " + "x " * 1500,
    "| " * 1500,
    "1." * 1500,
    "torch" * 600,
    "cuda version " * 230,
    "libcudart.so." * 230,
    "[pip3] " + "-" * 2900,
    "### \n" * 600,
    "Linux " * 500,
    "(you have " * 300,
    "/usr/local/cuda-" * 180,
    "rtx 30" * 500,
)


def _seconds(text: str) -> float:
    started = time.process_time()
    evaluate(read(text), FACTS)
    return time.process_time() - started


def _lines(unit: str, size: int) -> str:
    return "".join(f"{number} {unit}\n" for number in range(size // (len(unit) + 6)))


@pytest.mark.parametrize("unit", ADVERSARIAL, ids=range(len(ADVERSARIAL)))
def test_twice_the_text_takes_about_twice_the_time(unit: str) -> None:
    """A pattern that tries again and again would take four times as long; the half second covers what is constant."""
    _seconds(_lines(unit, 10_000))  # modules and tables are loaded
    assert _seconds(_lines(unit, 400_000)) <= 3 * _seconds(_lines(unit, 200_000)) + 0.5


def test_five_megabytes_of_adversarial_lines() -> None:
    half = "".join(_lines(unit, 2_500_000 // len(ADVERSARIAL)) for unit in ADVERSARIAL)
    _seconds(half[:10_000])
    assert _seconds(half + half) <= 3 * _seconds(half) + 0.5


def test_a_log_whose_first_word_is_a_number_is_no_json(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("2026 epoch 3\nCUDA out of memory. Tried to allocate 2.00 GiB\n", encoding="utf-8")
    assert read_snapshot(str(path)).problems[0].text == "2026 epoch 3"


def test_a_long_log_keeps_its_trouble_and_its_line_numbers() -> None:
    calm = [f"step {number} done" for number in range(5000)]
    calm[3210] = "RuntimeError: CUDA out of memory"
    kept = {problem.line: problem.text for problem in read("\n".join(calm)).problems}
    assert kept[3211] == "RuntimeError: CUDA out of memory"
    assert len(kept) < 400


def test_every_reader_says_no_or_reads_an_empty_text() -> None:
    import importlib

    for name in TOOLS:
        tool = importlib.import_module(f"envdoctor.readers.{name}")
        assert not tool.sniff("")
        assert tool.read("").problems == ()


def test_evidence_names_the_report_and_the_line(tmp_path: Path) -> None:
    path = tmp_path / "report.txt"
    path.write_text(
        "Hello,\n\nit says:\nRuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB\n", encoding="utf-8"
    )
    machine = read_snapshot(str(path))
    finding = evaluate(machine, FACTS).findings[0]
    assert (finding.rule, finding.evidence[0].source) == ("gpu-out-of-memory", "line 4 of report.txt")
    shown = text_of_diagnosis(machine, evaluate(machine, FACTS), Style(colour=False, width=100))
    words = " ".join(shown.split())
    assert "found: “RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB” (line 4 of report.txt)" in words
    assert (
        read("RuntimeError: CUDA out of memory").evidence("problems[0].text")[0].source == "line 1 of the pasted text"
    )


def test_a_sentence_broken_at_the_edge_of_a_window_is_whole_again_at_its_first_line() -> None:
    told = "first\nRuntimeError: CUDA error: no kernel image is available for execution\non the device\nlast"
    assert [(problem.line, problem.text) for problem in read(told).problems] == [
        (1, "first"),
        (2, "RuntimeError: CUDA error: no kernel image is available for execution on the device"),
        (4, "last"),
    ]


def test_what_a_launcher_puts_before_each_line_is_taken_off() -> None:
    told = "[rank0]: Killed\n"
    told += "(EngineCore_DP0 pid=77) Killed by x\n#12 3.456 Killed y\n2025-01-02 03:04:05,678: z\napp-1  | w"
    assert [problem.text for problem in read(told).problems] == ["Killed", "Killed by x", "Killed y", "z", "w"]


def test_torch_is_read_where_its_tag_stands_apart_or_alone() -> None:
    for told, expected in (
        ("PyTorch 2.4 cu124", ("2.4+cu124", "12.4")),
        ("pip show: Version: 2.0.1+cu117", ("2.0.1+cu117", "11.7")),
        ("torch 2.1.1, torch.version.cuda = 11.8", ("2.1.1", "11.8")),
    ):
        python = read(told).python
        assert python is not None
        torch = python.framework("torch")
        assert torch is not None
        assert (torch.version, torch.cuda) == expected
    assert read("torchvision 0.15.1+cpu").python is None or not read("torchvision 0.15.1+cpu").pythons[0].framework(
        "torch"
    )
