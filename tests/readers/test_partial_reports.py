"""Reports that lost a part, or came in another form than the tool's usual one."""

from __future__ import annotations

from envdoctor.knowledge.load import Knowledge
from envdoctor.readers import read
from envdoctor.rules.registry import evaluate

PADDED = """\
Collecting environment information...
==============================
        System Info
==============================
OS                           : Ubuntu 22.04.5 LTS (x86_64)
Libc version                 : glibc-2.35

==============================
       PyTorch Info
==============================
PyTorch version              : 2.8.0+cu128
CUDA used to build PyTorch   : 12.8
ROCM used to build PyTorch   : N/A

==============================
      Python Environment
==============================
Python version               : 3.12.12 (main, Oct 21 2025, 20:16:04) [GCC 11.2.0] (64-bit runtime)
Python platform              : Linux-5.10.134-x86_64-with-glibc2.35

==============================
       CUDA / GPU Info
==============================
Is CUDA available            : True
CUDA runtime version         : 12.6.85
GPU models and configuration :
GPU 0: NVIDIA H20
GPU 1: NVIDIA H20

Nvidia driver version        : 570.86.15
cuDNN version                : Could not collect
"""
ROWS = """\
|   0  NVIDIA A100-SXM...  On   | 00000000:07:00.0 Off |                    0 |
| N/A   35C    P0    61W / 400W |  39890MiB / 40536MiB |      0%      Default |
|   1  NVIDIA GeForce RTX 3090  On   | 00000000:0A:00.0 Off |               N/A |
|  0%   35C    P0    61W / 350W |    100MiB / 24576MiB |      0%      Default |
"""
HEAD = "| NVIDIA-SMI 535.104.05   Driver Version: 535.104.05   CUDA Version: 12.2 |\n"


def test_vllms_padded_form_is_read_like_the_plain_one() -> None:
    for text in (PADDED, PADDED.replace("  :", ":")):
        machine = read(text)
        assert machine.driver is not None and machine.driver.version == "570.86.15"
        assert [gpu.name for gpu in machine.gpus] == ["NVIDIA H20", "NVIDIA H20"]
        assert [kit.version for kit in machine.toolkits] == ["12.6"]
        assert machine.system is not None and machine.system.libc_version == "2.35"
        assert machine.python is not None and machine.python.version == "3.12.12" and machine.python.bits == 64
        assert [(each.version, each.cuda) for each in machine.python.frameworks] == [("2.8.0+cu128", "12.8")]


def test_a_form_far_down_in_a_long_log_is_found() -> None:
    log = "\n".join(f"value {'abcdefghij'[n % 10] * (n % 89 + 1)} of row {n}" for n in range(9000))
    machine = read(f"{log}\n{PADDED}")
    assert machine.driver is not None and machine.driver.version == "570.86.15"


def test_rows_without_the_tables_head_prove_a_driver_of_unknown_release() -> None:
    machine = read(f"my run died\n{ROWS}")
    assert machine.driver is not None and machine.driver.module_loaded and machine.driver.version is None
    assert machine.gap("driver.version") is not None
    assert [(gpu.used_bytes, gpu.memory_bytes) for gpu in machine.gpus] == [
        (39890 << 20, 40536 << 20),
        (100 << 20, 24576 << 20),
    ]
    assert machine.gpus[1].name == "NVIDIA GeForce RTX 3090"


def test_a_line_that_only_names_a_bus_is_no_table() -> None:
    assert read("loaded 20MiB from 0000:07:00.0 today").driver is None


def test_an_indented_table_keeps_its_cards() -> None:
    for blanks in ("", "    ", "        "):
        machine = read("".join(f"{blanks}{line}\n" for line in (HEAD + ROWS).splitlines()))
        assert [gpu.memory_bytes for gpu in machine.gpus] == [40536 << 20, 24576 << 20]


def test_tensorflow_gpu_in_prose_is_one_distribution() -> None:
    machine = read("RTX 2070, tensorflow-gpu 1.15 with CUDA 10.0")
    assert machine.python is not None
    assert [package.name for package in machine.python.packages] == ["tensorflow-gpu"]
    assert "cpu-and-gpu-packages-conflict" not in {each.rule for each in evaluate(machine, Knowledge()).findings}
    both = read("$ pip list\ntensorflow                1.15.0\ntensorflow-gpu            1.15.0\n")
    assert both.python is not None
    assert {package.name for package in both.python.packages} == {"tensorflow", "tensorflow-gpu"}
