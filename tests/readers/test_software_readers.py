"""What interpreters answer, what commands installed, and where toolkits lie; and what of it is not believed."""

from __future__ import annotations

import pytest

from envdoctor.model.snapshot import PythonEnv, Snapshot
from envdoctor.readers import read
from envdoctor.readers.lines import plain


def python(text: str) -> PythonEnv:
    told = read(text).python
    assert told is not None
    return told


def versions(machine: Snapshot) -> dict[str, str]:
    return {each.name: each.version for each in (machine.python.packages if machine.python else ())}


@pytest.mark.parametrize(
    "text",
    [
        ">>> torch.__version__\n'2.1.0+cpu'\n",
        "torch.__version__: 2.1.0+cpu",
        "print(torch.__version__) -> 2.1.0+cpu",
        '$ python -c "import torch; print(torch.__version__)"\n2.1.0+cpu\n',
    ],
)
def test_an_interpreter_tells_its_version(text: str) -> None:
    torch = python(text).framework("torch")
    assert torch is not None
    assert (torch.version, torch.gpu_build) == ("2.1.0+cpu", False)


@pytest.mark.parametrize("text", ["assert torch.__version__ >= '2.0'", "if tf.__version__ == '1.15.0': pass"])
def test_a_comparison_is_no_answer(text: str) -> None:
    assert read(text).python is None


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        (">>> sys.maxsize > 2**32\nFalse\n", 32),
        (">>> sys.maxsize > 2**32\nTrue\n", None),
        (">>> platform.architecture()\n('32bit', 'WindowsPE')", 32),
        (">>> platform.architecture()\n('64bit', 'ELF')", None),
        ("struct.calcsize('P') * 8\n32", 32),
    ],
)
def test_an_interpreter_of_32_bits(text: str, bits: int | None) -> None:
    told = read(text).python
    assert (told.bits if told else None) == bits


def test_commands_tell_what_was_installed_unless_they_were_refused() -> None:
    assert versions(read("pip install jax==0.4.20 jaxlib==0.4.20\npip install -U jax==0.4.30\n")) == {
        "jax": "0.4.30",
        "jaxlib": "0.4.20",
    }
    assert versions(read("conda install -c conda-forge cudatoolkit=11.2.2 cudnn=8.1.0"))["cudatoolkit"] == "11.2.2"
    refused = "pip install tensorflow==1.15\nERROR: No matching distribution found for tensorflow==1.15\n"
    assert versions(read(refused)) == {}
    assert versions(read("pip install 'torch==2.*' numpy>=1.20")) == {}


def test_the_release_that_was_left_is_not_the_installed_one() -> None:
    tensorflow = python("After upgrading from TF 2.10 to TF 2.12 it is slow").framework("tensorflow")
    assert tensorflow is not None
    assert tensorflow.version == "2.12"


def test_conda_builds_tell_what_a_framework_was_built_for() -> None:
    rows = (
        "pytorch                   1.12.1          py3.9_cuda11.3_cudnn8.3.2_0    pytorch\n"
        "tensorflow                2.10.0          mkl_py310h24f4fea_0  \n"
    )
    found = {each.name: (each.cuda, each.gpu_build) for each in python(rows).frameworks}
    assert found == {"torch": ("11.3", True), "tensorflow": (None, False)}


@pytest.mark.parametrize(
    ("text", "kits"),
    [
        ("dlerror: libcudart.so.10.1: cannot open; LD_LIBRARY_PATH: /usr/local/cuda-11.0/lib64", ["11.0"]),
        ("FROM nvidia/cuda:10.2-cudnn7-runtime-ubuntu18.04", ["10.2"]),
        (r"C:\Program Files\NVIDIA GPU Computing Toolkit\CUDA\v11.2\bin", ["11.2"]),
        ("ls: cannot access '/usr/local/cuda-12.1': No such file or directory", []),
        ("wget https://example.org/usr/local/cuda-12.1/x", []),
    ],
)
def test_toolkits_by_their_folders_and_images(text: str, kits: list[str]) -> None:
    assert [kit.version for kit in read(text).toolkits] == kits


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("> pip list\n> torch 2.0", "pip list\ntorch 2.0"),
        (">>> import torch", ">>> import torch"),
        ("<details><summary>x</summary><pre>a &lt; b</pre></details>", "xa < b"),
        ("[31;1mError[0m and std::vector<int>", "Error and std::vector<int>"),
        ("[10m 5s] it\u2019s \u201cdone\u201d\u00a0now", '[10m 5s] it\'s "done" now'),
    ],
)
def test_marks_around_a_text_are_taken_off(text: str, told: str) -> None:
    assert plain(text) == told


def test_calm_lines_that_differ_in_numbers_only_leave_room_for_what_follows() -> None:
    log = "".join(f"step {number} loss {number / 7:.3f}\n" for number in range(2000))
    texts = [problem.text for problem in read(f"RTX 3090\n{log}my last words\n").problems]
    assert texts[0] == "RTX 3090"
    assert texts[-1] == "my last words"
    assert len(texts) < 20
