"""How the scripts choose a device and explain a failure, with a torch of a few lines that has a card which refuses."""

from __future__ import annotations

import ast
import shutil
import sys
from pathlib import Path

import pytest

from envdoctor.model.outcome import Outcome
from envdoctor.verify import runner
from envdoctor.verify.targets import VerifyTarget

SCRIPT = """
import sys
import measure
run = measure.Run("probe", "torch", ("probe",))
with run.importing():
    import torch
def work(run):
    run.use(torch)
    torch.work(run)
sys.exit(run.through(work))
"""

TORCH = """
class Answer:
    def __init__(self, **answers):
        self.__dict__.update(answers)
class OutOfMemoryError(RuntimeError):
    pass
def ones(*shape, device):
    raise problem
def manual_seed(seed):
    pass
__version__ = "2.9.9"
version = Answer(cuda="12.8", hip=None)
backends = Answer()
cuda = Answer(
    is_available=lambda: True,
    get_device_name=lambda index: "NVIDIA Test 5090",
    get_device_capability=lambda index: (12, 0),
    get_arch_list=lambda: ["sm_80", "sm_90"],
    max_memory_allocated=lambda: 123,
    mem_get_info=lambda: (1 << 30, 8 << 30),
)
"""


def run(tmp_path: Path, torch: str, device: str = "auto") -> Outcome:
    folder = tmp_path / "torch"
    shutil.copytree(runner.SCRIPTS, tmp_path, dirs_exist_ok=True)
    (folder / "probe.py").write_text(SCRIPT)
    (folder / "torch.py").write_text(TORCH + torch)
    here = VerifyTarget(executable=sys.executable, kind="python")
    (outcome,) = runner.run(here, ("probe",), device, 60.0, None, lambda step: None, scripts=str(tmp_path))
    return outcome


def test_a_card_without_code_in_the_build_is_named_and_the_cpu_does_not_step_in(tmp_path: Path) -> None:
    outcome = run(
        tmp_path, "problem = RuntimeError('CUDA error: no kernel image is available for execution on the device')"
    )
    assert (outcome.status, outcome.device, outcome.device_name) == ("failed", "cuda", "NVIDIA Test 5090")
    assert outcome.reason == (
        "this torch has no code for NVIDIA Test 5090 (sm_120): it was built for sm_80 sm_90 "
        "(CUDA calls this: no kernel image)"
    )
    assert outcome.hint is not None and "envdoctor provision" in outcome.hint
    assert outcome.metrics.peak_memory_bytes == 123


@pytest.mark.parametrize(
    "problem",
    [
        "OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8 GiB')",
        "RuntimeError('CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 8.00 GiB total capacity)')",
    ],
)
def test_out_of_memory_on_a_card_is_told_with_sizes(tmp_path: Path, problem: str) -> None:
    outcome = run(tmp_path, f"problem = {problem}")
    assert outcome.status == "out-of-memory"
    assert outcome.reason == (
        "memory ran out in the stage 'import'; one more piece of 2.00 GiB could not be had; "
        "NVIDIA Test 5090 has 8.00 GiB, of which 1.00 GiB are free"
    )


def test_out_of_memory_of_the_host(tmp_path: Path) -> None:
    outcome = run(tmp_path, "cuda.is_available = lambda: False\nproblem = MemoryError()")
    assert (outcome.status, outcome.device) == ("out-of-memory", "cpu")
    assert outcome.reason is not None and "the process held at most" in outcome.reason


def test_a_card_that_adds_wrongly(tmp_path: Path) -> None:
    wrong = """
class Wrong:
    __mul__ = __matmul__ = sum = lambda self, *other: self
    item = lambda self: 8191.0
def ones(*shape, device):
    return Wrong()
"""
    outcome = run(tmp_path, wrong)
    assert outcome.status == "failed"
    assert outcome.reason == "NVIDIA Test 5090 adds wrongly: 8191.0 instead of 8192"


def test_why_there_is_no_cuda_device(tmp_path: Path) -> None:
    refusing = """
cuda.is_available = lambda: False
def init():
    raise RuntimeError('The NVIDIA driver on your system is too old (found version 11040).')
cuda.init = init
"""
    outcome = run(tmp_path, refusing, device="cuda")
    assert outcome.status == "failed"
    assert outcome.reason == (
        "torch 2.9.9 sees no CUDA device: The NVIDIA driver on your system is too old (found version 11040)."
    )


def test_a_library_that_is_missing_is_no_missing_torch(tmp_path: Path) -> None:
    outcome = run(tmp_path, "raise ImportError('libcudart.so.12: cannot open shared object file')")
    assert outcome.status == "failed"
    assert outcome.reason == (
        "torch is installed but cannot be imported: libcudart.so.12: cannot open shared object file"
    )


def test_an_unforeseen_exception_is_a_crash_with_its_words(tmp_path: Path) -> None:
    outcome = run(tmp_path, "problem = RuntimeError('cuDNN error: CUDNN_STATUS_NOT_INITIALIZED\\nStack: …')")
    assert outcome.status == "crashed"
    assert outcome.reason == "RuntimeError in the stage 'import': cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"


def test_being_asked_to_end_still_gives_a_result(tmp_path: Path) -> None:
    outcome = run(tmp_path, "import os\ndef ones(*shape, device):\n    os.kill(os.getpid(), 15)\n    return 1")
    assert outcome.status == "crashed"
    assert outcome.reason == "it was asked to end (SIGTERM) in the stage 'import'"


def test_what_libraries_print_does_not_reach_the_result(tmp_path: Path) -> None:
    noisy = "import os\nprint('hello from a library')\nos.write(1, b'hello from C\\n')\nproblem = RuntimeError('x')"
    outcome = run(tmp_path, noisy)
    assert outcome.reason == "RuntimeError in the stage 'import': x"


def test_the_scripts_are_python_of_3_8() -> None:
    for framework in ("torch", "tensorflow", "jax"):
        texts = runner.scripts(framework)
        assert texts.keys() >= {"cnn.py", "gpt2.py", "telling.py", "machine.py"}
        for text in texts.values():
            ast.parse(text, feature_version=(3, 8))


def test_the_scripts_that_are_handed_over_need_no_other() -> None:
    every = {path.stem for path in (Path(runner.SCRIPTS)).rglob("*.py")}
    for framework in ("torch", "tensorflow", "jax"):
        texts = runner.scripts(framework)
        asked = {
            name
            for text in texts.values()
            for node in ast.walk(ast.parse(text))
            for name in ([each.name for each in node.names] if isinstance(node, ast.Import) else [])
            + ([node.module or ""] if isinstance(node, ast.ImportFrom) else [])
        }
        assert asked & every <= {name.removesuffix(".py") for name in texts}
        assert not any(name.startswith("pretrained") for name in texts)


def test_what_a_workload_is_started_with() -> None:
    assert runner.script_of("resnet50") == "cnn.py"
    started = ("--device", "cpu", "--seed", "0", "--model", "resnet50", "--thorough")
    assert runner.words("resnet50", "cpu", quick=False, thorough=True) == started
    assert runner.words("gpt2", "auto", quick=True, thorough=False) == ("--device", "auto", "--seed", "0", "--quick")
