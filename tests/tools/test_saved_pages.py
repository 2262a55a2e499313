"""Parsers of the pages that the package index does not replace, on saved pages in the form of the real ones."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pages
import published
import pytest
import refresh
from pages import Builds, Code, Drivers, NotThatPage
from shelf import TOOLS, put_table

PAGES = Path(__file__).parent / "pages"


def page(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8")


def compare(*names: str, tables: Path) -> tuple[int, str, str]:
    command = [sys.executable, str(TOOLS / "refresh_pages.py"), "--tables", str(tables)]
    command += [word for name in names for word in ("--page", str(PAGES / name))]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    return told.returncode, told.stdout, told.stderr


def test_torch_builds() -> None:
    found = pages.torch_builds(page("release.md"))
    assert list(found) == ["2.16", "2.14", "2.11", "2.8", "2.5", "2.0"]
    assert found["2.14"] == Builds({"cu126": "9.10.2.21", "cu130": "9.24.0.43", "cu132": "9.24.0.43"}, "7.14")
    assert found["2.8"].cudnn == dict.fromkeys(("cu126", "cu128", "cu129"), "9.10.2.21")
    assert found["2.5"] == Builds(dict.fromkeys(("cu118", "cu121", "cu124"), "9.1.0.70"), "6.2")
    assert found["2.0"].cudnn == {"cu117": "8.5.0.96", "cu118": "8.7.0.84"}


def test_torch_machine_code() -> None:
    found = pages.torch_code(page("release.md"))
    assert list(found) == ["2.13", "2.14"]
    assert found["2.14"]["x86_64"]["cu126"] == Code(("5.0", "6.0", "7.0", "7.5", "8.0", "8.6", "9.0"), ())
    assert found["2.13"]["aarch64"]["cu130"] == Code(("8.0", "9.0", "10.0", "11.0", "12.0"), ("12.0",))


def test_drivers_of_toolkits() -> None:
    assert pages.toolkit_drivers(page("release-notes.html")) == {
        ("13.5", "GA"): Drivers("620.10.01", None),
        ("12.8", "Update 1"): Drivers("570.124.06", "572.61"),
        ("12.8", "GA"): Drivers("570.26", "570.65"),
        ("11.4.0", "GA"): Drivers("470.42.01", "471.11"),
        ("10.2.89", ""): Drivers("440.33", "441.22"),
        ("9.2.148", "Update 1"): Drivers("396.37", "398.26"),
    }


def test_tested_builds_of_tensorflow() -> None:
    assert pages.tested_builds(page("source.md")) == {
        "2.22.0": pages.Tested("3.11-3.14", "12.5", "9.3"),
        "2.21.0": pages.Tested("3.10-3.13", "12.5", "9.3"),
        "2.14.0": pages.Tested("3.9-3.11", "11.8", "8.7"),
        "1.15.0": pages.Tested("2.7, 3.3-3.7", "10.0", "7.4"),
        "1.1.0": pages.Tested("2.7, 3.3-3.6", "8", "5.1"),
    }


def test_image_tags() -> None:
    assert pages.image_tags(page("supported-tags.md")) == {
        "nvidia/cuda:11.8.0-base-ubuntu22.04",
        "nvidia/cuda:11.8.0-cudnn8-devel-ubuntu22.04",
        "nvidia/cuda:13.5.0-cudnn-runtime-ubuntu26.04",
    }


@pytest.mark.parametrize(
    ("parser", "name"),
    [
        ("torch_builds", "source.md"),
        ("torch_code", "release-notes.html"),
        ("toolkit_drivers", "release.md"),
        ("tested_builds", "release.md"),
        ("image_tags", "source.md"),
    ],
)
def test_another_page_is_not_an_empty_answer(parser: str, name: str) -> None:
    with pytest.raises(NotThatPage):
        getattr(pages, parser)(page(name))


def row(**fields: Any) -> dict[str, Any]:
    return fields


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    code = {"sm": ["5.0", "6.0", "7.0", "7.5", "8.0", "8.6", "9.0"], "ptx": [], "aarch64_sm": ["8.0", "9.0"]}
    blackwell = {"sm": ["7.5", "8.0", "8.6", "9.0", "10.0", "12.0"], "ptx": []}
    arm = {"aarch64_sm": ["8.0", "9.0", "10.0", "11.0", "12.0"], "aarch64_ptx": ["12.0"]}
    builds = [
        {"tag": "cu126", "cuda": "12.6", "cudnn": "9.10.2.21", **code},
        {"tag": "cu130", "cuda": "13.0", "cudnn": "9.20.0.48", **blackwell, **arm},
        {"tag": "cu134", "cuda": "13.4", "cudnn": None},
        {"tag": "cpu", "cuda": None, "cudnn": None, "sm": []},
    ]
    put_table(tmp_path, "torch", row(version="2.14.1", variants=builds, rocm=["rocm7.14"]))
    put_table(
        tmp_path,
        "cuda_toolkits",
        row(version="12.8.1", cuda="12.8", release="Update 1", driver_linux="570.124.06", driver_windows=None),
        row(version="12.8.0", cuda="12.8", release="GA", driver_linux="570.26", driver_windows="570.65"),
        row(version="11.4.0", cuda="11.4", release="GA", driver_linux="470.42.01", driver_windows="471.11"),
        row(version="10.2.89", cuda="10.2", release="GA", driver_linux="440.33", driver_windows="441.22"),
        row(version="9.2.148", cuda="9.2", release="Update 1", driver_linux="396.37", driver_windows="398.26"),
    )
    put_table(
        tmp_path,
        "tensorflow",
        row(version="2.21.0", tested="2.21.0", tested_pythons="3.10-3.13", cuda="12.5", cudnn="9.3"),
        row(version="2.14.1", tested="2.14.0", tested_pythons="3.9-3.11", cuda="11.8", cudnn="8.6"),
    )
    put_table(
        tmp_path,
        "cuda_images",
        row(cuda="11.8.0", tag="nvidia/cuda:11.8.0-base-ubuntu22.04"),
        row(cuda="11.8.0", tag="nvidia/cuda:11.8.0-cudnn8-devel-ubuntu18.04"),
        row(cuda="12.0.0", tag="nvidia/cuda:12.0.0-base-ubuntu22.04"),
    )
    return tmp_path


def test_differences_between_pages_and_tables(tables: Path) -> None:
    names = ("release.md", "release-notes.html", "source.md", "supported-tags.md")
    status, out, err = compare(*names, tables=tables)
    assert (status, err) == (1, "")
    assert out.splitlines() == [
        "torch, builds and cuDNN: 8 differences from release.md",
        "  torch 2.16: not in the table",
        "  torch 2.14.1 cu130: cuDNN 9.24.0.43, in the table 9.20.0.48",
        "  torch 2.14.1 cu132: not in the table",
        "  torch 2.14.1 cu134: not on the page",
        "  torch 2.11: not in the table",
        "  torch 2.8: not in the table",
        "  torch 2.5: not in the table",
        "  torch 2.0: not in the table",
        "torch, machine code: 1 differences from release.md",
        "  torch 2.14.1 cu130 x86_64: 7.5 8.0 8.6 9.0 10.0 12.0+PTX, in the table 7.5 8.0 8.6 9.0 10.0 12.0",
        "cuda_toolkits, drivers: 2 differences from release-notes.html",
        "  CUDA 13.5 GA: not in the table",
        "  CUDA 12.8 Update 1 windows: 572.61, in the table none",
        "tensorflow, tested builds: 2 differences from source.md",
        "  tensorflow 2.22.0: not in the table",
        (
            "  tensorflow 2.14.1: Python 3.9-3.11, CUDA 11.8, cuDNN 8.7, "
            "in the table Python 3.9-3.11, CUDA 11.8, cuDNN 8.6"
        ),
        "cuda_images, tags: 3 differences from supported-tags.md",
        "  nvidia/cuda:11.8.0-cudnn8-devel-ubuntu22.04: not in the table",
        "  nvidia/cuda:13.5.0-cudnn-runtime-ubuntu26.04: not in the table",
        "  nvidia/cuda:11.8.0-cudnn8-devel-ubuntu18.04: not on the page",
    ]


def test_without_pages_every_table_is_named_that_stays_as_it_is(tables: Path) -> None:
    status, out, _ = compare(tables=tables)
    assert status == 0
    assert [line.partition(";")[0] for line in out.splitlines()] == [
        "could not be renewed: torch, builds and cuDNN",
        "could not be renewed: torch, machine code",
        "could not be renewed: cuda_toolkits, drivers",
        "could not be renewed: tensorflow, tested builds",
        "could not be renewed: cuda_images, tags",
    ]


def test_a_page_that_is_none_and_a_file_that_is_not_there(tables: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.html"
    other.write_text("<html><table><tr><td>CUDA</td></tr></table></html>")
    for name in (str(other), str(tmp_path / "missing.html")):
        status, out, err = compare(name, tables=tables)
        assert (status, out, err.count("\n")) == (3, "", 1)
        assert name in err


@pytest.mark.parametrize("module", [published, refresh])
def test_examples_in_the_tools(module: ModuleType) -> None:
    failed, tried = doctest.testmod(module)
    assert (failed, tried > 0) == (0, True)
