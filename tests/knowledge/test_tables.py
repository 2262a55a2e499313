"""The tables are what they promise: typed, sourced, dated, without contradiction, and right where we know it."""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

import envdoctor.knowledge
from envdoctor.knowledge.catalogue import CATALOGUE, doubts_of, key_of, rows_of
from envdoctor.knowledge.load import Knowledge, Table, code_runs
from envdoctor.model import Record
from envdoctor.model.version import compare, minor, numbers

FOLDER = Path(envdoctor.knowledge.__file__).parent
FACTS = Knowledge()
# Tables in the order of a version, and whether the newest comes first.
NEWEST_FIRST = {
    "bitsandbytes": "version",
    "bitsandbytes_hardware": "first",
    "conda_forge_pytorch": "pytorch",
    "cuda_compat": "cuda",
    "cuda_families": "cuda",
    "cuda_images": "cuda",
    "cuda_toolkit_pypi": "version",
    "cuda_toolkits": "version",
    "cudnn": "first",
    "cudnn_packages": "version",
    "jax": "version",
    "onnxruntime_cuda": "first",
    "onnxruntime_gpu": "version",
    "pytorch_channel": "first",
    "rocm": "tag",
    "tensorflow": "version",
    "tensorrt": "version",
    "torch": "version",
    "torch_pins": "version",
    "transformers": "version",
    "vllm": "version",
    "vllm_hardware": "first",
    "xformers": "version",
}
OLDEST_FIRST = {"architectures": "capability", "driver_branches": "branch", "cuda_errors": "code", "ubuntu": "version"}


def raw_rows(table: str) -> tuple[msgspec.Raw, ...]:
    return msgspec.json.decode((FOLDER / f"{table}.json").read_bytes(), type=Table).rows


@pytest.mark.parametrize("table", CATALOGUE)
def test_every_row_is_one_line_of_known_fields(table: str) -> None:
    text = (FOLDER / f"{table}.json").read_text(encoding="utf-8")
    raw = raw_rows(table)
    assert raw, table
    assert len(text.splitlines()) == len(raw) + 2
    kind = type(rows_of(FACTS, table)[0])
    for each in raw:
        msgspec.json.decode(each, type=kind, strict=True)
        assert_known(kind, msgspec.json.decode(each))
        assert {"source", "checked", "how", "doubt"} <= set(msgspec.json.decode(each)), each


def assert_known(kind: type[Record], fields: dict[str, Any]) -> None:
    """Hold a row, and the records inside it, to the fields of their types; msgspec overlooks others."""
    hints = get_type_hints(kind)
    assert set(fields) <= set(hints), (kind, set(fields) - set(hints))
    for name, value in fields.items():
        for inner in inner_records(hints[name]):
            for part in value if isinstance(value, list) else [value]:
                if part is not None:
                    assert_known(inner, part)


def inner_records(hint: Any) -> Iterator[type[Record]]:
    if isinstance(hint, type) and issubclass(hint, Record):
        yield hint
    for part in get_args(hint):
        yield from inner_records(part)


@pytest.mark.parametrize("table", CATALOGUE)
def test_every_row_has_a_source_and_a_date_that_has_been(table: str) -> None:
    for row in rows_of(FACTS, table):
        assert re.fullmatch(r"https://[^\s]+|pkg:[a-z]+/[\w.-]+(@[\w.+-]+)?", row.source), row
        assert "2026-11-22" <= row.checked <= datetime.date.today().isoformat(), row
        assert datetime.date.fromisoformat(row.checked)
        for whose, doubt in doubts_of(row):
            assert doubt.strip() == doubt, (row, whose)


@pytest.mark.parametrize("table", CATALOGUE)
def test_no_key_stands_twice(table: str) -> None:
    counted = Counter(key_of(table, row) for row in rows_of(FACTS, table))
    assert [name for name, times in counted.items() if times > 1] == []


@pytest.mark.parametrize("table", CATALOGUE)
def test_the_columns_that_are_shown_are_fields(table: str) -> None:
    entry = CATALOGUE[table]
    for row in rows_of(FACTS, table):
        assert all(hasattr(row, name) for name in (*entry.key, *entry.columns))


@pytest.mark.parametrize(("table", "field"), [*NEWEST_FIRST.items(), *OLDEST_FIRST.items()])
def test_rows_are_in_order(table: str, field: str) -> None:
    found = [padded(str(getattr(row, field))) for row in rows_of(FACTS, table)]
    assert found == sorted(found, reverse=table in NEWEST_FIRST)


def padded(version: str) -> tuple[tuple[int, ...], int]:
    """Order versions by number and then by their post release: 0.0.28.post1."""
    post = re.search(r"post(\d+)", version)
    return numbers(version), int(post.group(1)) if post else -1


def test_every_table_on_disk_is_in_the_catalogue() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(CATALOGUE)


def test_a_table_is_decoded_when_it_is_asked_for_and_not_before() -> None:
    script = (
        "import sys; from envdoctor.knowledge.load import Knowledge; facts = Knowledge(); facts.torch_releases;"
        "loaded = [name for name in sys.modules if name.startswith('envdoctor.knowledge.tables.')];"
        "facts.jax_releases; print(sorted(vars(facts)), loaded)"
    )
    done = subprocess.run((sys.executable, "-c", script), capture_output=True, text=True, check=True)
    assert done.stdout == "['jax_releases', 'torch_releases'] []\n"


def test_conda_ranges_do_not_overlap_and_are_releases() -> None:
    ordered = sorted(FACTS.conda_builds, key=lambda row: numbers(row.first))
    for row in ordered:
        assert compare(row.first, row.pytorch) <= 0
        assert FACTS.torch(row.first) and FACTS.torch(row.pytorch), row
        for left_out in row.skipped:
            assert FACTS.torch(left_out) and compare(row.first, left_out) < 0 < compare(row.pytorch, left_out), row
    for earlier, later in pairwise(ordered):
        assert compare(earlier.pytorch, later.first) < 0


def test_driver_branches_offer_ever_more() -> None:
    assert all(compare(a.cuda, b.cuda) < 0 for a, b in pairwise(FACTS.driver_branches))


def test_torch_variants_are_whole() -> None:
    for release in FACTS.torch_releases:
        tags = [variant.tag for variant in release.variants]
        assert len(tags) == len(set(tags)) and "cpu" in tags
        assert release.default_linux in tags
        for variant in release.variants:
            assert variant.index_url == f"https://download.pytorch.org/whl/{variant.tag}"
            if variant.cuda is None:
                continue
            assert variant.tag == "cu" + variant.cuda.replace(".", "")
            assert FACTS.driver_floor(variant.cuda, "linux"), variant
            assert FACTS.driver_floor(variant.cuda, "windows"), variant
            known = {row.capability for row in FACTS.architectures}
            for listed in (variant.sm, variant.ptx, variant.windows_sm, variant.aarch64_sm):
                assert set(listed or ()) <= known, (release.version, variant)


def test_torch_machine_code_is_what_its_cuda_can_make() -> None:
    for release in FACTS.torch_releases:
        for variant in release.variants:
            for capability in variant.sm or ():
                row = FACTS.architecture(capability)
                assert row is not None and variant.cuda is not None
                assert row.first_cuda is None or compare(variant.cuda, row.first_cuda) >= 0, (release.version, variant)
                assert row.last_cuda is None or compare(variant.cuda, row.last_cuda) <= 0, (release.version, variant)


def test_torch_2_15_has_no_architecture_list_that_nobody_read() -> None:
    release = FACTS.torch("2.15.0")
    assert release is not None and release.doubt
    assert {variant.tag: variant.sm for variant in release.variants if variant.cuda} == {"cu130": None, "cu132": None}


def test_ptx_of_cuda_13_wheels_is_doubted() -> None:
    for version in ("2.11.0", "2.12.0", "2.12.1", "2.13.0", "2.14.0", "2.14.1"):
        release = FACTS.torch(version)
        assert release is not None
        for variant in release.variants:
            if variant.cuda and variant.cuda.startswith("13."):
                assert variant.ptx_doubt, (version, variant.tag)


def test_gpu_patterns_match_their_own_name_and_no_other() -> None:
    for row in FACTS.gpus:
        pattern = re.compile(row.pattern)
        assert pattern.search(row.name), row
        assert [other.name for other in FACTS.gpus if pattern.search(other.name)] == [row.name], row
        assert (row.capability is not None) == (row.vendor == "nvidia"), row
        assert row.capability is None or FACTS.architecture(row.capability), row
        assert all(size > 0 for size in (*row.memory_gib, *row.bandwidth_gb_s)), row


def test_images_are_named_as_their_fields_say() -> None:
    for row in FACTS.cuda_images:
        assert row.tag.startswith(f"nvidia/cuda:{row.cuda}-") and row.tag.endswith(f"-ubuntu{row.ubuntu}")
        assert ("cudnn" in row.tag) == row.flavour.startswith("cudnn-")
        assert row.ubuntu in {ubuntu.version for ubuntu in FACTS.ubuntu_releases}
    assert {row.flavour for row in FACTS.cuda_images} == {"base", "runtime", "devel", "cudnn-runtime", "cudnn-devel"}


@pytest.mark.parametrize(
    ("driver", "cuda"),
    [("470.82.01", "11.4"), ("570.124.06", "12.8"), ("525.60.13", "12.0"), ("580.95.05", "13.0"), ("300.1", None)],
)
def test_driver_offers(driver: str, cuda: str | None) -> None:
    assert FACTS.driver_cuda(driver) == cuda


@pytest.mark.parametrize(
    ("cuda", "linux", "windows"),
    [
        ("11.8", "450.80.02", "452.39"),
        ("12.9", "525.60.13", "528.33"),
        ("13.2", "580.65.06", "580"),
        ("10.2", "440.33", "441.22"),
        ("9.2", "396.26", "397.44"),
    ],
)
def test_driver_floors(cuda: str, linux: str, windows: str) -> None:
    assert (FACTS.driver_floor(cuda, "linux"), FACTS.driver_floor(cuda, "windows")) == (linux, windows)
    assert FACTS.driver_floor("99.0", "linux") is None


def test_a_doubted_windows_floor_says_so() -> None:
    family = FACTS.cuda_family("13.0")
    assert family is not None and family.doubt is None and family.windows_doubt


def test_torch_2_7_1() -> None:
    release = FACTS.torch("2.7.1+cu118")
    assert release is not None
    assert [variant.tag for variant in release.variants] == ["cu118", "cu126", "cu128", "cpu"]
    assert (release.torchvision, release.torchaudio, release.triton) == ("0.22.1", "2.7.1", "triton==3.3.1")
    assert (release.python_min, release.python_max, release.glibc, release.default_linux) == (
        "3.9",
        "3.13",
        "2.28",
        "cu126",
    )
    assert release.numpy2
    old = FACTS.torch("2.2.2")
    assert old is not None and not old.numpy2 and old.glibc == "2.17"
    assert len(FACTS.torch_releases) == 42
    assert len(FACTS.gpus) == 254


@pytest.mark.parametrize(
    ("name", "capability"),
    [("GeForce RTX 3060", "8.6"), ("NVIDIA GeForce GTX 1080 Ti", "6.1"), ("NVIDIA GeForce RTX 5090", "12.0")],
)
def test_capabilities(name: str, capability: str) -> None:
    assert [row.capability for row in FACTS.gpus if re.search(row.pattern, name)] == [capability]


@pytest.mark.parametrize(
    ("capability", "last_cuda", "first_driver", "last_driver", "cudnn_dropped"),
    [
        ("3.7", "11.8", None, 470, "8.9.5"),
        ("6.1", "12.9", None, 580, "9.11"),
        ("7.0", "12.9", None, 580, "9.11"),
        ("7.5", None, None, None, None),
        ("12.0", None, 570, None, None),
    ],
)
def test_architectures(
    capability: str, last_cuda: str | None, first_driver: int | None, last_driver: int | None, cudnn_dropped: str | None
) -> None:
    row = FACTS.architecture(capability)
    assert row is not None
    found = (row.last_cuda, row.first_driver, row.last_driver, row.cudnn_dropped)
    assert found == (last_cuda, first_driver, last_driver, cudnn_dropped)


def test_conda_forge_last_built_11_8_at_2_5_1() -> None:
    rows_ = [row for row in FACTS.conda_builds if "11.8" in row.cuda]
    assert rows_[0].pytorch == "2.5.1"
    assert all(minor(cuda) == cuda for row in FACTS.conda_builds for cuda in (*row.cuda, *row.cuda_windows))


def test_code_runs_by_major_and_ptx_upward_only() -> None:
    assert code_runs(["sm_86"], "8.9") and not code_runs(["sm_86"], "8.0")
    assert not code_runs(["sm_80"], "8.7", integrated=True)
    assert code_runs(["sm_90a"], "9.0") and not code_runs(["sm_100a"], "10.3")
    assert code_runs(["compute_90"], "12.0") and not code_runs(["compute_120"], "9.0")
