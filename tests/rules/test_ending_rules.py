from __future__ import annotations

import pytest
from judged import FACTS

from envdoctor import readers
from envdoctor.model.snapshot import Cpu
from envdoctor.rules.registry import evaluate


def ids(text: str, features: tuple[str, ...] | None = None) -> list[str]:
    machine = readers.read(text)
    if features is not None:
        from msgspec.structs import replace

        gaps = tuple(each for each in machine.gaps if not each.fact.startswith("cpu"))
        machine = replace(machine, cpu=Cpu(features=features), gaps=gaps)
    return [each.id for each in evaluate(machine, FACTS).findings]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "RuntimeError: NCCL error in: x.cpp:12, unhandled system error, NCCL version 2.18.1",
            "cannot use the network",
        ),
        ("NCCL WARN Mismatched NCCL version detected : rank 0 21805 rank 1 22005", "different releases"),
        ("ncclUnhandledCudaError: Call to CUDA function failed.", "CUDA call inside NCCL failed"),
        (
            "ncclRemoteError: A call failed possibly due to a network error or a remote process exiting",
            "Another process",
        ),
    ],
)
def test_nccl_is_told_by_its_own_words(text: str, said: str) -> None:
    found = evaluate(readers.read(text), FACTS).findings
    assert [each.id for each in found] == ["MSG808"]
    assert said in found[0].title


def test_nccl_that_merely_talks_is_silent() -> None:
    assert "MSG808" not in ids(
        "node1:12:12 [0] NCCL INFO Bootstrap : Using eth0:10.0.0.2<0>\nNCCL version 2.18.1+cuda12.1"
    )


def test_a_crash_names_the_library_and_the_line_of_python() -> None:
    text = (
        "Fatal Python error: Segmentation fault\n\nCurrent thread 0x00007f57c8055b80 (most recent call first):\n"
        '  File "/srv/train.py", line 12 in step\n'
        "python3[42]: segfault at 10 ip 00007f0000001000 sp 7ffd error 4 in _fast.cpython-311.so[7f000+5000]"
    )
    found = evaluate(readers.read(text), FACTS).findings
    assert [each.id for each in found] == ["MSG806"]
    assert "It happened in _fast.cpython-311.so." in found[0].detail
    assert "Python was in step, line 12 of /srv/train.py." in found[0].detail


@pytest.mark.parametrize(
    ("features", "said"),
    [(("avx", "avx2"), ["MSG807"]), (("sse4_2",), ["MSG610"]), (None, ["MSG610"])],
    ids=["with AVX2", "without", "unknown"],
)
def test_an_illegal_instruction_is_judged_by_the_processor(features: tuple[str, ...] | None, said: list[str]) -> None:
    assert ids("Illegal instruction (core dumped)", features) == said


def test_a_missing_library_of_cuda_has_its_own_rule() -> None:
    text = "ImportError: {}: cannot open shared object file: No such file or directory"
    assert ids(text.format("libGL.so.1")) == ["MSG809"]
    assert "MSG809" not in ids(text.format("libcudart.so.12"))
    assert "MSG809" not in ids(text.format("libtorch_cpu.so"))
