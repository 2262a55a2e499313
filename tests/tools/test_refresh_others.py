"""The tables of TensorFlow, JAX, NVIDIA's packages and the companions, by answers that the index gave before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from shelf import files, get_rows, put_table, run, says

NOWHERE = "http://127.0.0.1:9/simple"  # every answer is in the cache
LINUX = "manylinux_2_28_x86_64.whl"


class Desk:
    def __init__(self, folder: Path) -> None:
        self.cache, self.tables = folder / "cache", folder / "tables"

    def refresh(self, script: str, package: str, *words: str) -> tuple[int, str]:
        options = ("--cache", str(self.cache), "--tables", str(self.tables), "--package", package, *words)
        told = run(script, *options, url=NOWHERE)
        assert told.stderr == ""
        assert "pip was asked 0 times" in told.stdout
        return told.returncode, told.stdout

    def rows(self, table: str) -> list[dict[str, Any]]:
        return get_rows(self.tables / f"{table}.json")

    def put(self, table: str, *rows: dict[str, Any]) -> None:
        """Write a table whose rows came from the index on one day."""
        plain = {"checked": "2026-11-01", "how": "metadata", "doubt": None}
        put_table(self.tables, table, *({**plain, **row} for row in rows))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


TENSORFLOW: dict[str, Any] = {
    "version": "2.21.0",
    "pythons": ["3.12"],
    "requires_python": ">=3.9",
    "tags": ["manylinux_2_27_x86_64"],
    "glibc": "2.27",
    "cuda": "12.5",
    "cudnn": "9.3",
    "tested": "2.21.0",
    "tested_pythons": "3.10-3.13",
    "tested_source": "https://github.com/tensorflow/docs/blob/master/site/en/install/source.md",
    "cuda_doubt": None,
    "and_cuda": {"nvidia-cudnn-cu12": "<10.0,>=9.3.0.75"},
    "keras_major": 3,
    "keras": ["keras>=3.12.0"],
    "numpy": ["numpy>=1.26.0"],
    "protobuf": [],
    "ml_dtypes": [],
    "h5py": [],
    "windows_gpu": False,
    "windows_wheel": True,
    "avx": True,
    "source": "pkg:pypi/tensorflow@2.21.0",
}


def test_tensorflow(desk: Desk) -> None:
    desk.put("tensorflow", TENSORFLOW)
    known = ("tensorflow-2.21.0-cp312-cp312-manylinux_2_27_x86_64.whl", "tensorflow-2.21.0-cp312-cp312-win_amd64.whl")
    fresh = f"tensorflow-2.22.0-cp314-cp314-{LINUX}", f"tensorflow-2.22.0-cp312-cp312-{LINUX}"
    files(desk.cache, "tensorflow", *known, *fresh, f"tensorflow-2.23.0rc0-cp312-cp312-{LINUX}")
    extra = "; extra == 'and-cuda'"
    says(desk.cache, known[0], "keras>=3.12.0", "numpy (>=1.26.0)", f"nvidia-cudnn-cu12<10.0,>=9.3.0.75{extra}")
    says(
        desk.cache,
        fresh[1],
        "keras>=3.14.0",
        "numpy>=2.1",
        "h5py<3.16,>=3.11; sys_platform == 'linux'",
        f"nvidia-cuda-runtime-cu12<13.0,>=12.9.79{extra}",
        f"nvidia-cudnn-cu12<10.0,>=9.10.1.4{extra}",
    )
    status, out = desk.refresh("refresh_tensorflow.py", "tensorflow")
    assert status == 0
    new, old = desk.rows("tensorflow")
    assert old == {**TENSORFLOW, "checked": "2026-11-20", "how": "metadata", "doubt": None}
    assert "~" not in out
    assert (new["version"], new["pythons"], new["tags"]) == ("2.22.0", ["3.12", "3.14"], ["manylinux_2_28_x86_64"])
    assert (new["keras"], new["numpy"], new["h5py"]) == (["keras>=3.14.0"], ["numpy>=2.1"], ["h5py<3.16,>=3.11"])
    assert (new["cuda"], new["cudnn"], new["keras_major"], new["windows_wheel"]) == ("12.9", "9.10", 3, False)
    assert new["and_cuda"] == {
        "nvidia-cuda-runtime-cu12": "<13.0,>=12.9.79",
        "nvidia-cudnn-cu12": "<10.0,>=9.10.1.4",
    }
    assert new["cuda_doubt"] == "CUDA 12.9 and cuDNN 9.10 are the lowest that its extra and-cuda accepts"
    assert new["doubt"] == "not documented yet: the builds it was tested with"


def test_a_tensorflow_that_names_no_cuda_makes_no_row(desk: Desk) -> None:
    desk.put("tensorflow", TENSORFLOW)
    file = f"tensorflow-2.22.0-cp312-cp312-{LINUX}"
    files(desk.cache, "tensorflow", file)
    says(desk.cache, file, "keras>=3.14.0")
    status, out = desk.refresh("refresh_tensorflow.py", "tensorflow", "--only", "2.22.0")
    assert status == 0
    assert "2.22.0: no row, because its extra and-cuda does not say which CUDA and cuDNN it needs" in out
    assert len(desk.rows("tensorflow")) == 1


def test_jax(desk: Desk) -> None:
    cuda12 = {
        "plugin": True,
        "cuda_min": "12.1",
        "cudnn": "nvidia-cudnn-cu12<10.0,>=9.8",
        "nvcc": None,
        "runtime": None,
        "driver": "525",
        "capability_min": "5.2",
        "capability_doubt": None,
    }
    row = {
        "version": "0.11.2",
        "released": "2026-09-01",
        "requires_python": ">=3.9",
        "numpy": ["numpy>=2.1"],
        "extras": ["cuda12"],
        "cuda11": False,
        "cuda12": cuda12,
        "cuda13": {**cuda12, "cudnn": None, "driver": "580", "capability_min": "7.5"},
        "windows_gpu": False,
        "floors_source": "https://github.com/jax-ml/jax/blob/main/docs/installation.md",
        "note": "a note",
        "source": "pkg:pypi/jax@0.11.2",
    }
    desk.put("jax", row)
    files(desk.cache, "jax", "jax-0.13.0-py3-none-any.whl")
    pythons = ("cp312-cp312", "cp314-cp314", "cp315-cp315t")
    files(desk.cache, "jaxlib", *(f"jaxlib-0.13.0-{each}-{LINUX}" for each in pythons))
    files(desk.cache, "jax-cuda12-plugin", *(f"jax_cuda12_plugin-0.{n}-cp312-cp312-{LINUX}" for n in ("12.3", "14.0")))
    says(
        desk.cache,
        "jax-0.13.0-py3-none-any.whl",
        "numpy>=2.1",
        'numpy>=2.2; python_version >= "3.12"',
        'jax-cuda12-plugin[with-cuda]<=0.13.0,>=0.12.0; extra == "cuda12"',
        'jaxlib==0.12.9; extra == "cuda12"',
        'nothing; extra == "ci"',
    )
    says(
        desk.cache,
        f"jax_cuda12_plugin-0.12.3-cp312-cp312-{LINUX}",
        'nvidia-cudnn-cu12<10.0,>=9.12; extra == "with-cuda"',
        'nvidia-cuda-nvcc-cu12>=12.6.85; extra == "with-cuda"',
    )
    assert desk.refresh("refresh_jax.py", "jax", "--only", "0.13.0")[0] == 0
    new = desk.rows("jax")[0]
    assert (new["version"], new["released"], new["note"], new["cuda13"]) == ("0.13.0", None, None, None)
    assert new["numpy"] == ["numpy>=2.1", 'numpy>=2.2; python_version >= "3.12"']
    assert new["extras"] == ["cuda12"]
    assert new["cuda12"] == {
        **cuda12,
        "plugin": False,  # there is one that it accepts, of another release
        "cudnn": "nvidia-cudnn-cu12<10.0,>=9.12",
        "nvcc": "nvidia-cuda-nvcc-cu12>=12.6.85",
        "jaxlib": "0.12.9",
    }
    assert new["python_max"] == "3.14"  # the newest one with the usual interpreter
    assert new["doubt"] == "not documented yet: driver and capability floors, repeated from the release before"


def test_cudnn_packages_stand_in_the_order_of_their_versions(desk: Desk) -> None:
    known = [("13", "9.28.0.42"), ("12", "9.28.0.42"), ("13", "9.27.0.42"), ("12", "9.27.0.42")]
    desk.put(
        "cudnn_packages",
        *(
            {
                "package": f"nvidia-cudnn-cu{cuda}",
                "version": version,
                "cuda": int(cuda),
                "source": f"pkg:pypi/nvidia-cudnn-cu{cuda}@{version}",
            }
            for cuda, version in known
        ),
    )
    name = f"nvidia_cudnn_cu12-{{}}-py3-none-{LINUX}"
    files(desk.cache, "nvidia-cudnn-cu12", *(name.format(each) for each in ("9.29.0.1", "9.28.1.4", "9.28.0.42")))
    says(desk.cache, name.format("9.28.1.4"))
    says(desk.cache, name.format("9.29.0.1"), withdrawn=True)
    status, out = desk.refresh("refresh_nvidia.py", "nvidia-cudnn-cu12")
    assert status == 0
    assert "9.29.0.1: no row, because it is withdrawn from the package index" in out
    assert [(row["package"][-2:], row["version"]) for row in desk.rows("cudnn_packages")] == [
        ("13", "9.28.0.42"),
        ("12", "9.28.1.4"),
        *known[1:],
    ]
    assert desk.rows("cudnn_packages")[1] == {
        "package": "nvidia-cudnn-cu12",
        "version": "9.28.1.4",
        "cuda": 12,
        "source": "pkg:pypi/nvidia-cudnn-cu12@9.28.1.4",
        "checked": "2026-11-20",
        "how": "metadata",
        "doubt": None,
    }


def test_the_components_of_cuda_toolkit(desk: Desk) -> None:
    old = {"version": "13.5.0", "components": {"nvidia-cublas": "13.10.0.20.*"}, "source": "pkg:pypi/cuda-toolkit"}
    desk.put("cuda_toolkit_pypi", old)
    file = "cuda_toolkit-13.5.0-py2.py3-none-any.whl"
    files(desk.cache, "cuda-toolkit", file)
    says(
        desk.cache,
        file,
        'nvidia-cublas==13.10.0.21.*; sys_platform == "win32" and extra == "cublas"',
        'nvidia-cublas==13.10.0.20.*; sys_platform == "linux" and extra == "cublas"',
        'nvidia-cudla==13.5.25.*; platform_machine == "aarch64" and extra == "cudla"',
    )
    status, out = desk.refresh("refresh_nvidia.py", "cuda-toolkit", "--check")
    assert status == 1
    assert '~ cuda_toolkit_pypi 13.5.0 components.nvidia-cudla: null -> "13.5.25.*"' in out
    assert "nvidia-cublas" not in out


COMPANIONS: dict[str, dict[str, Any]] = {
    "xformers": {
        "version": "0.0.34",
        "torch": "==2.10.0",
        "requires_python": ">=3.9",
        "tag": "cp39-abi3-manylinux_2_28_x86_64",
        "glibc": "2.28",
        "any_python": True,
        "capability_min": "7.5",
        "capability_source": "https://example.org/",
    },
    "bitsandbytes": {"version": "0.50.2", "torch": "<3,>=2.4", "requires_python": ">=3.10"},
    "transformers": {"version": "5.23.0", "requires_python": ">=3.11.0", "torch": ">=2.6"},
    "onnxruntime-gpu": {"version": "1.31.1", "requires_python": ">=3.11", "cuda": 13, "cudnn": 9, "pins": []},
    "vllm": {
        "version": "0.33.0",
        "torch": "==2.14.0",
        "torchvision": None,
        "torchaudio": None,
        "xformers": None,
        "transformers": None,
        "flashinfer": None,
        "requires_python": "<3.15,>=3.11",
        "tag": "cp38-abi3-manylinux_2_28_x86_64",
        "glibc": "2.28",
    },
}
NEW: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    "xformers": (
        f"xformers-0.0.36-cp311-cp311-{LINUX}",
        ("torch (>=2.16)", "numpy"),
        {"torch": ">=2.16", "tag": "cp311-cp311-manylinux_2_28_x86_64", "any_python": False, "capability_min": None},
    ),
    "bitsandbytes": (
        "bitsandbytes-0.51.0-py3-none-manylinux_2_24_x86_64.whl",
        ("torch",),
        {"torch": ""},
    ),
    "transformers": (
        "transformers-5.24.0-py3-none-any.whl",
        ("numpy", 'torch>=2.7; extra == "torch"', 'accelerate; extra == "torch"'),
        {"torch": ">=2.7"},
    ),
    "onnxruntime-gpu": (
        f"onnxruntime_gpu-1.40.0-cp312-cp312-{LINUX}",
        (
            'nvidia-cuda-runtime~=14.0; extra == "cuda"',
            'nvidia-cufft~=12.0; extra == "cuda"',
            'nvidia-cudnn-cu14~=10.0; extra == "cudnn"',
        ),
        {
            "cuda": 14,
            "cudnn": 10,
            "pins": ["nvidia-cuda-runtime~=14.0", "nvidia-cufft~=12.0", "nvidia-cudnn-cu14~=10.0"],
        },
    ),
    "vllm": (
        "vllm-0.34.0-cp38-abi3-manylinux1_x86_64.whl",
        ("torch==2.15.0", "torchvision==0.30.0", "flashinfer-python==0.8", "xformers==1; platform_system == 'Windows'"),
        {"torch": "==2.15.0", "torchvision": "==0.30.0", "flashinfer": "==0.8", "xformers": None, "glibc": "2.5"},
    ),
}


@pytest.mark.parametrize("package", COMPANIONS)
def test_companions(desk: Desk, package: str) -> None:
    table = package.replace("-", "_")
    version = COMPANIONS[package]["version"]
    desk.put(table, {**COMPANIONS[package], "source": f"pkg:pypi/{package}@{version}"})
    file, wishes, columns = NEW[package]
    files(desk.cache, package, file)
    says(desk.cache, file, *wishes)
    new = file.split("-")[1]
    assert desk.refresh("refresh_companions.py", package, "--only", new)[0] == 0
    row, old = desk.rows(table)
    assert (row["version"], row["source"], row["requires_python"]) == (new, f"pkg:pypi/{package}@{new}", ">=3.9")
    assert {name: row[name] for name in columns} == columns
    assert (row["doubt"] is None) == (package != "xformers")
    assert old["checked"] == "2026-11-01"


def test_companions_of_which_no_row_can_be_made(desk: Desk) -> None:
    desk.put("onnxruntime_gpu", {**COMPANIONS["onnxruntime-gpu"], "source": "pkg:pypi/onnxruntime-gpu@1.31.1"})
    file = f"onnxruntime_gpu-1.40.0-cp312-cp312-{LINUX}"
    files(desk.cache, "onnxruntime-gpu", file)
    says(desk.cache, file, "numpy")
    _, out = desk.refresh("refresh_companions.py", "onnxruntime-gpu", "--only", "1.40.0")
    assert "1.40.0: no row, because its metadata does not say its CUDA and cuDNN" in out
    assert len(desk.rows("onnxruntime_gpu")) == 1


def test_flash_attn_gets_no_rows_and_keeps_the_day_of_its_page(desk: Desk) -> None:
    row = {
        "generation": 2,
        "capability_min": "8.0",
        "gpus": ["Ampere"],
        "cuda_min": "12.0",
        "torch_min": "2.2",
        "rocm_min": None,
        "dtypes": ["fp16"],
        "head_dim_max": 256,
        "newest": "2.8.3",
        "wheels": False,
        "prebuilt": None,
        "source": "https://github.com/Dao-AILab/flash-attention/blob/main/README.md",
        "how": "documented",
    }
    desk.put("flash_attn", {**row, "generation": 3}, row)
    files(desk.cache, "flash-attn", "flash_attn-2.8.3.post2.tar.gz", "flash_attn-2.8.3.tar.gz", "flash_attn-4.0.tar.gz")
    status, out = desk.refresh("refresh_companions.py", "flash-attn")
    assert status == 0
    assert '~ flash_attn 2 newest: "2.8.3" -> "2.8.3.post2"' in out
    three, two = desk.rows("flash_attn")
    assert (three["newest"], two["newest"], two["wheels"], two["checked"]) == (
        "2.8.3",
        "2.8.3.post2",
        False,
        "2026-11-01",
    )
