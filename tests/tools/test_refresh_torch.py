"""refresh_torch.py from end to end: a real pip, an index of files, tables in a folder of their own."""

from __future__ import annotations

import copy
import resource
from pathlib import Path
from typing import Any

import pytest
from shelf import Shelf, get_rows, put_table, run

OLD: dict[str, Any] = {
    "version": "2.15.0",
    "released": "2026-10-28",
    "python_min": "3.11",
    "python_max": "3.12",
    "glibc": "2.28",
    "variants": [
        {"tag": "cu130", "cuda": "13.0", "index_url": "https://download.pytorch.org/whl/cu130", "sm": ["7.5"]},
        {"tag": "cu132", "cuda": "13.2", "index_url": "https://download.pytorch.org/whl/cu132", "cudnn": "9.26.0.51"},
        {"tag": "cpu", "cuda": None, "index_url": "https://download.pytorch.org/whl/cpu", "cudnn": None, "sm": []},
    ],
    "rocm": ["rocm7.14"],
    "default_linux": "cu132",
    "pythons_aarch64": [],
    "pythons_windows": ["3.12"],
    "pythons_macos_arm64": [],
    "pythons_macos_x86_64": [],
    "free_threaded": [],
    "glibc_aarch64": None,
    "torchvision": "0.30.0",
    "torchaudio": "2.11.0",
    "torchaudio_pinned": False,
    "triton": "triton~=3.9.0",
    "numpy2": True,
    "source": "pkg:pypi/torch@2.15.0",
    "checked": "2026-11-01",
    "how": "metadata",
    "doubt": None,
}
PINS: dict[str, Any] = {
    "version": "2.15.0",
    "variant": "cu132",
    "cuda": "13.2.2",
    "pins": ["cuda-toolkit[cublas]==13.2.2", "nvidia-cudnn-cu13==9.26.0.51"],
    "source": "pkg:pypi/torch@2.15.0",
    "checked": "2026-11-01",
    "how": "metadata",
    "doubt": None,
}


def requires(cuda: str = "13.2.2", cudnn: str = "9.26.0.51", triton: str = "triton~=3.9.0") -> tuple[str, ...]:
    linux = 'platform_system == "Linux"'
    return (
        f"nvidia-cudnn-cu13=={cudnn}; {linux}",
        f"cuda-toolkit[cublas]=={cuda}; {linux}",
        f"{triton}; {linux}",
        'opt-einsum>=3.3; extra == "opt-einsum"',
    )


class Bench:
    """An index and tables that agree on torch 2.15.0."""

    def __init__(self, folder: Path) -> None:
        self.shelf = Shelf(folder / "simple")
        self.tables = folder / "tables"
        # The index has nothing of the second row; it is there so that a table has more than one.
        self.torch = put_table(self.tables, "torch", OLD, {**OLD, "version": "1.7.0", "source": "https://example.org/"})
        self.pins = put_table(self.tables, "torch_pins", PINS)
        self.release("2.15.0")
        self.shelf.put("torchvision-0.30.0-py3-none-manylinux_2_28_x86_64.whl", "torch==2.15.0")
        self.shelf.put("torchaudio-2.11.0-py3-none-manylinux_2_28_x86_64.whl")

    def release(self, version: str, *wishes: str) -> None:
        for tag in ("cp311-cp311-manylinux_2_28_x86_64", "cp312-cp312-manylinux_2_28_x86_64", "cp312-cp312-win_amd64"):
            self.shelf.put(f"torch-{version}-{tag}.whl", *(wishes or requires()))

    def bytes(self) -> tuple[bytes, bytes]:
        return self.torch.read_bytes(), self.pins.read_bytes()

    def refresh(self, *words: str, **more: Any) -> tuple[int, str, str]:
        # What the first run of a test was answered is enough for the others.
        options = ("--tables", str(self.tables), "--cache", str(self.tables.parent / "cache"), *words)
        told = run("refresh_torch.py", *options, url=more.pop("url", self.shelf.url), **more)
        return told.returncode, told.stdout, told.stderr


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_new_release_becomes_a_row_with_a_doubt(bench: Bench) -> None:
    before = bench.torch.read_text().splitlines()
    bench.release("2.16.0", *requires("13.4.1", "9.28.1.4", "triton~=4.0.0"))
    bench.shelf.put("torchvision-0.31.0-py3-none-manylinux_2_28_x86_64.whl", "torch==2.16.0")
    was = bench.bytes()

    status, out, _ = bench.refresh("--check", "--only", "2.16.0")
    assert (status, bench.bytes()) == (1, was)
    assert "+ torch 2.16.0: not documented yet: variants but cu134" in out

    status, out, err = bench.refresh("--only", "2.16.0")
    assert (status, err) == (0, "")
    assert "could not be renewed, the package index does not say it: torch: variants" in out
    after = bench.torch.read_text().splitlines()
    assert [before[0], *before[1:]] == [after[0], *after[2:]], "rows that were not asked for are as they were"
    row = get_rows(bench.torch)[0]
    assert [name for name in row if name in OLD] == list(OLD)
    assert (row["version"], row["source"], row["how"]) == ("2.16.0", "pkg:pypi/torch@2.16.0", "metadata")
    assert (row["python_min"], row["python_max"], row["pythons_windows"]) == ("3.11", "3.12", ["3.12"])
    assert (row["glibc"], row["default_linux"], row["triton"]) == ("2.28", "cu134", "triton~=4.0.0")
    assert (row["torchvision"], row["torchaudio"], row["torchaudio_pinned"]) == ("0.31.0", "2.11.0", False)
    assert (row["released"], row["rocm"]) == (None, [])
    assert [(each["tag"], each["cudnn"], each["sm"]) for each in row["variants"]] == [
        ("cu134", "9.28.1.4", None),
        ("cpu", None, []),
    ]
    assert row["doubt"].startswith("not documented yet: variants but cu134, machine code, ROCm, XPU")
    assert "torchaudio 2.11.0 asks for torch, without an exact pin" in row["doubt"]
    pins = get_rows(bench.pins)[0]
    assert (pins["version"], pins["variant"], pins["cuda"]) == ("2.16.0", "cu134", "13.4.1")
    assert pins["pins"] == ["cuda-toolkit[cublas]==13.4.1", "nvidia-cudnn-cu13==9.28.1.4"]

    assert bench.refresh("--check", "--only", "2.16.0")[0] == 0


def test_changed_metadata_changes_its_columns_and_no_other(bench: Bench) -> None:
    bench.release("2.15.0", *requires(cudnn="9.26.1.1", triton="triton~=3.9.1"))
    status, out, _ = bench.refresh("--only", "2.15.0")
    assert status == 0
    assert '~ torch 2.15.0 triton: "triton~=3.9.0" -> "triton~=3.9.1"' in out
    assert '~ torch 2.15.0 variants.cu132.cudnn: "9.26.0.51" -> "9.26.1.1"' in out
    row = get_rows(bench.torch)[0]
    expected = copy.deepcopy(OLD)
    expected["triton"], expected["variants"][1]["cudnn"] = "triton~=3.9.1", "9.26.1.1"
    assert row.pop("checked") > expected.pop("checked")
    assert row == expected
    assert get_rows(bench.torch)[1]["checked"] == "2026-11-01"


def test_nothing_new_gives_rows_a_new_date_and_nothing_else(bench: Bench) -> None:
    assert bench.refresh("--check", "--only", "2.15.0")[0] == 0
    was = bench.bytes()
    status, out, _ = bench.refresh("--only", "2.15.0")
    assert status == 0
    assert "facts changed in no table" in out
    now = bench.bytes()
    assert now != was
    day = get_rows(bench.torch)[0]["checked"]
    assert now[0].decode() == was[0].decode().replace('"2026-11-01"', f'"{day}"', 1)


def test_withdrawn_releases_make_no_rows_and_known_rows_doubtful(bench: Bench) -> None:
    bench.release("2.16.0")
    for version in ("2.15.0", "2.16.0"):
        for tag in ("cp311-cp311-manylinux_2_28_x86_64", "cp312-cp312-manylinux_2_28_x86_64", "cp312-cp312-win_amd64"):
            bench.shelf.withdraw(f"torch-{version}-{tag}.whl")
    status, out, _ = bench.refresh("--only", "2.15.0", "--only", "2.16.0")
    assert status == 0
    assert "2.16.0: no row, because it is withdrawn from the package index" in out
    assert [row["version"] for row in get_rows(bench.torch)] == ["2.15.0", "1.7.0"]
    assert get_rows(bench.torch)[0]["doubt"] == "withdrawn from the package index"
    assert bench.refresh("--check", "--only", "2.15.0")[0] == 0, "the doubt is not added again"


def test_few_questions_unless_more_are_wanted(bench: Bench) -> None:
    for version in ("2.16.0", "2.16.1", "2.17.0"):
        bench.release(version)
    bench.shelf.put("torch-1.7.0-cp36-cp36m-manylinux1_x86_64.whl")
    status, out, _ = bench.refresh("--limit", "1")
    assert status == 0
    assert "  torch: not asked: 2.16.1, 2.16.0 (--limit N, --only VERSION or --all asks)" in out
    assert [row["version"] for row in get_rows(bench.torch)] == ["2.17.0", "2.15.0", "1.7.0"]
    assert bench.refresh("--only", "2.16.1")[0] == 0
    assert [row["version"] for row in get_rows(bench.torch)] == ["2.17.0", "2.16.1", "2.15.0", "1.7.0"]


def test_without_an_index_one_line_and_no_table_touched(bench: Bench) -> None:
    was = bench.bytes()
    status, out, err = bench.refresh(url="http://127.0.0.1:9/simple")
    assert (status, out) == (3, "")
    assert err == "refresh_torch.py: the package index did not answer for torch; no table was changed\n"
    assert bench.bytes() == was


def test_an_answer_that_stops_midway_changes_nothing(bench: Bench) -> None:
    bench.release("2.16.0")
    (bench.shelf.folder / "torchaudio" / "index.html").unlink()
    was = bench.bytes()
    status, _, err = bench.refresh()
    assert (status, bench.bytes()) == (3, was)
    assert err.count("\n") == 1 and "torchaudio" in err


def test_a_write_that_fails_leaves_both_tables_whole(bench: Bench) -> None:
    bench.release("2.16.0")
    was, files = bench.bytes(), sorted(path.name for path in bench.tables.iterdir())

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(was[0]), len(was[0])))

    assert bench.refresh("--check", "--only", "2.16.0")[0] == 1
    status, _, err = bench.refresh("--only", "2.16.0", preexec_fn=full)
    assert (status, bench.bytes()) == (3, was)
    assert err.startswith("refresh_torch.py: cannot write to ") and err.count("\n") == 1
    assert sorted(path.name for path in bench.tables.iterdir()) == files


def test_a_release_that_no_row_can_be_made_of_is_named(bench: Bench) -> None:
    bench.shelf.put("torch-2.16.0-cp312-cp312-manylinux_2_28_x86_64.whl", "numpy")
    bench.shelf.put("torch-2.17.0-cp312-cp312-win_amd64.whl", "numpy")
    status, out, _ = bench.refresh("--check", "--only", "2.16.0", "--only", "2.17.0", "--only", "3.0")
    assert status == 0
    assert "2.16.0: no row, because the plain wheel of torch 2.16.0 does not say its CUDA" in out
    assert "2.17.0: no row, because torch 2.17.0 has no wheel for Linux x86_64" in out
    assert "3.0: no row, because the package index has no torch 3.0" in out


def test_words_that_do_not_fit(bench: Bench) -> None:
    for words in (("--limit", "-1"), ("--only", "newest"), ("--package", "numpy")):
        assert bench.refresh(*words)[0] == 2
