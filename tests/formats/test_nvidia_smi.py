"""The tables that nvidia-smi has printed over the years."""

from __future__ import annotations

from envdoctor.formats.nvidia_smi import parse
from envdoctor.host import NvmlAnswer, NvmlGpu

MIB = 1 << 20

R610 = """\
Mon Jul 20 06:15:02 2026
+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 610.43.03              KMD Version: 610.43.03     CUDA UMD Version: 13.3     |
+-----------------------------------------+------------------------+----------------------+
| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile Uncorr. ECC |
| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  Compute M. |
|                                         |                        |               MIG M. |
|=========================================+========================+======================|
|   0  NVIDIA B200                    On  |   00000000:63:00.0 Off |                    0 |
| N/A   26C    P0            139W / 1000W |       0MiB / 183359MiB |      0%      Default |
|                                         |                        |             Disabled |
+-----------------------------------------+------------------------+----------------------+
|   1  NVIDIA GeForce RTX 3080 ...    Off |   00000000:0A:00.0  On |                  N/A |
| N/A   40C    P0            751W /   80W |      14MiB /  16384MiB |      6%      Default |
|                                         |                        |                  N/A |
+-----------------------------------------+------------------------+----------------------+

+-----------------------------------------------------------------------------------------+
| Processes:                                                                              |
|  GPU   GI   CI              PID   Type   Process name                        GPU Memory |
|        ID   ID                                                               Usage      |
|=========================================================================================|
|    0   N/A  N/A          2004      G   /usr/lib/xorg/Xorg                        4MiB   |
+-----------------------------------------------------------------------------------------+
"""

R535 = """\
+---------------------------------------------------------------------------------------+
| NVIDIA-SMI 535.183.01             Driver Version: 535.183.01   CUDA Version: 12.2     |
|-----------------------------------------+----------------------+----------------------+
|   0  NVIDIA GeForce RTX 3060        Off | 00000000:01:00.0  On |                  N/A |
|  0%   45C    P8              14W / 170W |    512MiB / 12288MiB |      3%      Default |
+---------------------------------------------------------------------------------------+
"""

R331 = """\
+------------------------------------------------------+
| NVIDIA-SMI 331.62     Driver Version: 331.62         |
|-------------------------------+----------------------+----------------------+
|   0  GeForce GTX 680     Off  | 0000:03:00.0     N/A |                  N/A |
| 30%   35C  N/A     N/A /  N/A |      9MiB /  4095MiB |     N/A      Default |
"""

WSL = """\
| NVIDIA-SMI 550.76.01              Driver Version: 551.78         CUDA Version: 12.4     |
|   0  NVIDIA RTX A2000 8GB Lap...    On  |   00000000:01:00.0 Off |                  N/A |
| N/A   41C    P8              5W /   35W |       N/A              |    N/A      Default |
"""


def test_new_words_of_release_610() -> None:
    assert parse(R610) == NvmlAnswer(
        status=0,
        driver="610.43.03",
        cuda="13.3",
        gpus=(
            NvmlGpu(
                index=0,
                name="NVIDIA B200",
                bus_id="0000:63:00.0",
                memory_bytes=183359 * MIB,
                used_bytes=0,
                display_active=False,
            ),
            # Its name is cut: it may be a laptop's, or a Ti.
            NvmlGpu(
                index=1,
                bus_id="0000:0a:00.0",
                memory_bytes=16384 * MIB,
                used_bytes=14 * MIB,
                display_active=True,
            ),
        ),
    )


def test_words_before_release_610() -> None:
    answer = parse(R535)
    assert answer
    assert (answer.driver, answer.cuda) == ("535.183.01", "12.2")
    assert [(g.name, g.used_bytes, g.display_active) for g in answer.gpus] == [
        ("NVIDIA GeForce RTX 3060", 512 * MIB, True)
    ]


def test_table_of_a_time_without_cuda_version() -> None:
    answer = parse(R331)
    assert answer
    assert (answer.driver, answer.cuda) == ("331.62", None)
    assert [(g.name, g.bus_id, g.display_active) for g in answer.gpus] == [("GeForce GTX 680", "0000:03:00.0", None)]


def test_wsl_names_the_driver_of_windows() -> None:
    answer = parse(WSL)
    assert answer
    assert (answer.driver, answer.gpus[0].name, answer.gpus[0].memory_bytes) == ("551.78", None, None)


def test_words_of_failure_are_no_answer() -> None:
    told = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest"
    assert parse(told) is None
    assert parse("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 535.183") is None
    assert parse("") is None
