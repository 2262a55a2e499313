"""What the tables say where it is known from elsewhere, and that they agree with one another."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from envdoctor.knowledge.catalogue import rows_named
from envdoctor.knowledge.load import Knowledge
from envdoctor.knowledge.tables import Row
from envdoctor.model.version import at_least, compare, cudnn_of_wheel, major, minor, numbers

FACTS = Knowledge()


def fact(table: str, row: str, path: str) -> Any:
    """Give one value: the field of a row, and on through the records and mappings inside it."""
    found = rows_named(FACTS, table, row)
    assert len(found) == 1, (table, row)
    value: Any = found[0]
    for name in path.split("."):
        value = value[name] if isinstance(value, dict) else getattr(value, name)
    return value


@pytest.mark.parametrize(
    ("table", "row", "path", "value"),
    [
        ("tensorflow", "2.15.0", "cuda", "12.2"),
        ("tensorflow", "2.15.0", "cudnn", "8.9"),
        ("tensorflow", "2.15.0", "and_cuda.nvidia-cudnn-cu12", "==8.9.4.25"),
        ("tensorflow", "2.10.1", "windows_gpu", True),
        ("tensorflow", "2.11.0", "windows_gpu", False),
        ("tensorflow", "2.10.0", "cuda", "11.2"),
        ("tensorflow", "2.10.0", "pythons", ("3.7", "3.8", "3.9", "3.10")),
        ("tensorflow", "2.16.1", "keras", ("keras>=3.0.0",)),
        ("tensorflow", "2.16.1", "cuda", "12.3"),
        ("tensorflow", "2.13.0", "and_cuda", None),
        ("tensorflow", "2.18.0", "numpy", ("numpy<2.1.0,>=1.26.0",)),
        ("tensorflow", "2.3.0", "glibc", "2.12"),
        ("jax", "0.8.0", "cuda13.driver", "580"),
        ("jax", "0.8.0", "cuda13.cudnn", "nvidia-cudnn-cu13<10.0,>=9.12.0.46"),
        ("jax", "0.8.0", "cuda12.driver", "525"),
        ("jax", "0.4.31", "cuda12.cudnn", "nvidia-cudnn-cu12<10.0,>=9.1"),
        ("jax", "0.4.26", "cuda11", False),
        ("jax", "0.4.25", "cuda11", True),
        ("jax", "0.7.0", "cuda13.plugin", False),
        ("jax", "0.4.7", "released", "2023-03-27"),
        ("cuda_toolkits", "11.8.0", "driver_linux", "520.61.05"),
        ("cuda_toolkits", "12.4.1", "driver_linux", "550.54.15"),
        ("cuda_toolkits", "12.8.1", "driver_windows", "572.61"),
        ("cuda_toolkits", "11.4.4", "driver_linux", "470.82.01"),
        ("cuda_toolkits", "13.4.1", "bundles_driver", False),
        ("xformers", "0.0.31", "torch", "==2.7.1"),
        ("xformers", "0.0.35", "torch", ">=2.10"),
        ("vllm", "0.10.2", "torch", "==2.8.0"),
        ("vllm", "0.8.4", "requires_python", "<3.13,>=3.9"),
        ("onnxruntime_gpu", "1.18.1", "cuda", 11),
        ("onnxruntime_gpu", "1.19.2", "cuda", 12),
        ("onnxruntime_gpu", "1.27.0", "cuda", 13),
        ("transformers", "5.0.0", "requires_python", ">=3.10.0"),
        ("bitsandbytes", "0.48.2", "torch", "<3,>=2.3"),
        ("flash_attn", "2", "capability_min", "8.0"),
        ("tensorrt", "8.6.1", "cudnn", "8.9.0"),
        ("pip_indexes", "xpu", "kind", "xpu"),
        ("torch_pins", "2.7.1", "cuda", "12.6.77"),
        ("torch", "2.9.1", "xpu", True),
        ("torch", "2.4.1", "xpu", False),
        ("torch", "2.7.1", "xpu", None),
        ("cuda_toolkit_pypi", "12.4.1", "components.nvidia-cublas-cu12", "12.4.5.8.*"),
        ("pytorch_channel", "1.13.0", "last", "2.5.1"),
        ("architectures", "8.9", "fp8", True),
        ("architectures", "8.9", "fp4", False),
        ("architectures", "12.0", "fp4", True),
        ("architectures", "7.5", "int8_tensor_cores", True),
        ("architectures", "7.0", "int8_tensor_cores", False),
        ("architectures", "7.5", "flash_attention_2", False),
        ("architectures", "8.0", "flash_attention_2", True),
        ("architectures", "11.0", "flash_attention_2", None),
        ("cuda_errors", "804", "name", "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE"),
    ],
)
def test_what_is_known_from_elsewhere(table: str, row: str, path: str, value: Any) -> None:
    assert fact(table, row, path) == value


@pytest.mark.parametrize(
    ("table", "rows"),
    [("cuda_toolkits", 72), ("tensorflow", 27), ("jax", 30), ("torch", 42), ("pip_indexes", 49), ("vllm", 38)],
)
def test_no_row_was_lost(table: str, rows: int) -> None:
    from envdoctor.knowledge.catalogue import summary

    assert summary(table).rows >= rows


def test_toolkits_reach_from_9_0_to_13_5() -> None:
    assert FACTS.cuda_toolkits[0].cuda == "13.5"
    assert FACTS.cuda_toolkits[-1].cuda == "9.0"


def test_a_toolkit_ships_a_driver_that_runs_it() -> None:
    for row in FACTS.cuda_toolkits:
        assert row.cuda == minor(row.version)
        assert row.bundles_driver == (row.driver_linux is not None)
        if row.driver_linux is None:
            continue
        assert row.branch == major(row.driver_linux)
        floor = FACTS.driver_floor(row.cuda, "linux")
        # 11.0 came with drivers below what became the floor of its family.
        assert row.cuda == "11.0" or (floor and at_least(row.driver_linux, floor)), row
        assert FACTS.driver_cuda(row.driver_linux) == row.cuda, row


def test_an_installer_that_says_otherwise_is_a_doubt() -> None:
    differing = {
        row.version
        for row in FACTS.cuda_toolkits
        for said, shipped in ((row.installer_linux, row.driver_linux), (row.installer_windows, row.driver_windows))
        if said and said != shipped
    }
    assert differing == {"12.8.0", "12.2.1", "11.8.0", "11.5.0", "11.2.0", "11.1.1", "11.1.0", "10.2.89"}
    assert all(row.doubt for row in FACTS.cuda_toolkits if row.version in differing)


def test_the_driver_branches_begin_with_what_a_toolkit_shipped() -> None:
    firsts = {row.branch: row.first for row in FACTS.driver_branches}
    for row in FACTS.cuda_toolkits:
        if row.driver_linux and row.branch in firsts and row.release != "RC":
            assert at_least(row.driver_linux, firsts[row.branch]), row


def test_every_requirement_and_specifier_can_be_read() -> None:
    for tf in FACTS.tensorflow_releases:
        for name, each in (("keras", tf.keras), ("numpy", tf.numpy), ("protobuf", tf.protobuf), ("h5py", tf.h5py)):
            assert all(Requirement(text).name == name for text in each), tf.version
        assert all(Requirement(text).name.replace("-", "_") == "ml_dtypes" for text in tf.ml_dtypes)
        assert all(SpecifierSet(text) for text in (tf.and_cuda or {}).values())
    for jax in FACTS.jax_releases:
        for text in jax.numpy or ():
            assert Requirement(text).name == "numpy"
        for cuda, tag in ((jax.cuda12, "cu12"), (jax.cuda13, "cu13")):
            if cuda and cuda.cudnn:
                assert Requirement(cuda.cudnn).name == f"nvidia-cudnn-{tag}", jax
    for pins in FACTS.torch_pins:
        assert all(Requirement(text).specifier for text in pins.pins), pins
    beside: tuple[Any, ...] = (
        *FACTS.xformers_releases,
        *FACTS.transformers_releases,
        *FACTS.bitsandbytes_releases,
        *FACTS.vllm_releases,
    )
    for row in beside:
        assert str(SpecifierSet(row.torch or "")).count(",") == (row.torch or "").count(","), row
    rows: tuple[Any, ...] = (
        *FACTS.tensorflow_releases,
        *FACTS.jax_releases,
        *FACTS.xformers_releases,
        *FACTS.transformers_releases,
        *FACTS.bitsandbytes_releases,
        *FACTS.onnxruntime_releases,
        *FACTS.vllm_releases,
    )
    assert sum(bool(SpecifierSet(row.requires_python)) for row in rows if row.requires_python) > 120


def test_tensorflow_2_10_was_the_last_with_a_gpu_on_windows() -> None:
    for row in FACTS.tensorflow_releases:
        assert row.windows_gpu == (compare(row.version, "2.11") < 0), row.version
        assert row.keras_major == (3 if at_least(row.version, "2.16") else 2), row.version
        assert (row.and_cuda is not None) == at_least(row.version, "2.14"), row.version


def test_tensorflow_pins_the_cudnn_that_it_was_tested_with() -> None:
    for row in FACTS.tensorflow_releases:
        assert compare(minor(row.version), minor(row.tested)) == 0
        name = f"nvidia-cudnn-cu{major(row.cuda)}"
        for spec in SpecifierSet((row.and_cuda or {}).get(name, "")):
            assert spec.operator != "==" or spec.version.startswith(f"{row.cudnn}."), row.version
        assert row.and_cuda is None or name in row.and_cuda


def test_the_pythons_of_tensorflow_are_those_it_was_tested_with() -> None:
    for row in FACTS.tensorflow_releases:
        first, _, last = row.tested_pythons.partition("-")
        assert (row.pythons[0], row.pythons[-1]) == (first, last), row.version


def test_jax_needs_a_newer_driver_for_cuda_13() -> None:
    for row in FACTS.jax_releases:
        assert row.cuda12 is None or (row.cuda12.driver, row.cuda12.capability_min) == ("525", "5.2")
        assert row.cuda13 is None or (row.cuda13.driver, row.cuda13.capability_min) == ("580", "7.5")
        assert row.cuda13 is None or at_least(row.version, "0.7"), row.version
        assert row.requires_python or row.doubt, row.version


def test_jax_warns_where_its_pin_admits_a_cudnn_without_older_gpus() -> None:
    for row in FACTS.jax_releases:
        if row.cuda12 and row.cuda12.cudnn:
            admits = Requirement(row.cuda12.cudnn).specifier.contains("9.11.0.98")
            assert admits == bool(row.cuda12.capability_doubt), row.version


def test_every_build_of_torch_has_its_index() -> None:
    published = {variant.tag for row in FACTS.torch_releases for variant in row.variants}
    published |= {tag for row in FACTS.torch_releases for tag in row.rocm}
    for index in FACTS.pip_indexes:
        assert index.url == f"https://download.pytorch.org/whl/{index.tag}"
        assert not (index.doubt and index.tag in published), index.tag
    known = {index.tag for index in FACTS.pip_indexes}
    # What uv does not know: old ROCm builds, and one that is newer than its list.
    assert published - known == {"rocm3.10", "rocm4.3.1", "rocm4.5.2", "rocm5.0", "rocm7.14"}


def test_the_floors_of_uv_are_those_of_the_families() -> None:
    for index in FACTS.pip_indexes:
        assert (index.driver_linux is not None) == (index.kind == "cuda"), index.tag
        variant = next((v for row in FACTS.torch_releases for v in row.variants if v.tag == index.tag), None)
        if variant and variant.cuda and index.driver_linux and variant.cuda not in ("11.0", "13.0", "13.2"):
            floor = FACTS.driver_floor(variant.cuda, "linux")
            assert floor and compare(index.driver_linux, floor) == 0, index.tag


def test_what_torch_pins_is_what_its_row_says() -> None:
    assert [row.version for row in FACTS.torch_pins] == [row.version for row in FACTS.torch_releases]
    for row in FACTS.torch_pins:
        release = FACTS.torch(row.version)
        assert release is not None
        assert row.variant == release.default_linux
        variant = release.variant(row.variant)
        assert variant is not None
        assert variant.cuda == minor(row.cuda)
        for pin in map(Requirement, row.pins):
            if pin.name.startswith("nvidia-cudnn") and variant.cudnn and len(numbers(variant.cudnn)) == 4:
                assert pin.specifier.contains(variant.cudnn), row.version


def test_the_cudnn_of_torch_is_on_the_package_index() -> None:
    published = {(row.cuda, row.version) for row in FACTS.cudnn_packages}
    for release in FACTS.torch_releases:
        for variant in release.variants:
            # Before 1.13 the wheels held cuDNN, and packages of it begin with 8.5.
            whole = variant.cudnn is not None and len(numbers(variant.cudnn)) == 4
            if whole and variant.cuda and variant.cudnn and at_least(release.version, "2.3"):
                assert (major(variant.cuda), variant.cudnn) in published, (release.version, variant.tag)


def test_cudnn_packages_are_named_after_their_cuda() -> None:
    for row in FACTS.cudnn_packages:
        assert row.package == f"nvidia-cudnn-cu{row.cuda}"
        assert row.source == f"pkg:pypi/{row.package}@{row.version}"
    newest = {row.cuda: cudnn_of_wheel(row.version) for row in reversed(FACTS.cudnn_packages)}
    assert newest[11] == "9.10.2"  # the last release for CUDA 11
    assert at_least(newest[12], "9.28") and at_least(newest[13], "9.28")


def test_cudnn_lines_agree_with_the_capabilities() -> None:
    for row in FACTS.cudnn_support:
        assert compare(row.first, row.last) <= 0
        if row.capabilities:
            assert row.capabilities[0] == row.capability_min
            assert row.capabilities[-1] == row.capability_max
        for arch in FACTS.architectures:
            if arch.cudnn_dropped and row.capabilities and arch.capability in row.capabilities:
                assert compare(row.first, arch.cudnn_dropped) < 0, (row, arch.capability)
    spans = sorted({(numbers(row.first), numbers(row.last)) for row in FACTS.cudnn_support})
    assert all(earlier[1] < later[0] for earlier, later in pairwise(spans))


def test_cudnn_entry_points() -> None:
    assert {row.major: row.sonames[0] for row in FACTS.cudnn_libraries} == {
        9: "libcudnn.so.9",
        8: "libcudnn.so.8",
        7: "libcudnn.so.7",
    }
    for row in FACTS.cudnn_libraries:
        assert all(re.fullmatch(rf"libcudnn\w*\.so\.{row.major}", name) for name in row.sonames)


def test_companions_ask_for_a_torch_that_was_published() -> None:
    for row in FACTS.vllm_releases:
        (spec,) = SpecifierSet(row.torch)
        release = FACTS.torch(spec.version)
        assert release is not None, row.version
        if row.torchvision:
            assert release.torchvision and SpecifierSet(row.torchvision).contains(release.torchvision), row.version
        if row.xformers:
            (wanted,) = SpecifierSet(row.xformers)
            found = [each for each in FACTS.xformers_releases if each.version == wanted.version]
            assert all(SpecifierSet(each.torch).contains(spec.version) for each in found), row.version
    for xformers in FACTS.xformers_releases:
        (spec,) = SpecifierSet(xformers.torch)
        assert spec.operator == ">=" or FACTS.torch(spec.version), xformers.version


@pytest.mark.parametrize("rows", [FACTS.bitsandbytes_hardware, FACTS.onnxruntime_cuda, FACTS.vllm_hardware])
def test_spans_do_not_overlap(rows: tuple[Any, ...]) -> None:
    ordered = sorted(rows, key=lambda row: numbers(row.first))
    for earlier, later in pairwise(ordered):
        assert earlier.last is not None
        assert compare(earlier.first, earlier.last) <= 0
        assert compare(earlier.last, later.first) < 0, (earlier, later)


def test_bitsandbytes_has_code_for_capabilities_that_its_cuda_can_make() -> None:
    for row in FACTS.bitsandbytes_builds:
        for capability in row.capabilities:
            arch = FACTS.architecture(capability)
            assert arch is not None
            assert arch.first_cuda is None or compare(row.cuda_last, arch.first_cuda) >= 0, row
            assert arch.last_cuda is None or compare(row.cuda_first, arch.last_cuda) <= 0, row


def test_the_toolkit_package_pins_the_runtime_of_its_own_minor_version() -> None:
    for row in FACTS.cuda_toolkit_packages:
        name = "nvidia-cuda-runtime" + ("-cu12" if major(row.version) == 12 else "")
        assert row.components[name].startswith(f"{minor(row.version)}."), row.version
        assert minor(row.version) in {toolkit.cuda for toolkit in FACTS.cuda_toolkits}


def test_glibc_is_what_the_tag_says() -> None:
    floors = {"manylinux1": "2.5", "manylinux2010": "2.12", "manylinux2014": "2.17"}
    rows: list[tuple[Row, str, str]] = [(row, row.tag, row.glibc) for row in FACTS.xformers_releases]
    rows += [(row, row.tag, row.glibc) for row in FACTS.vllm_releases]
    rows += [(row, tag, row.glibc) for row in FACTS.tensorflow_releases for tag in row.tags]
    for row, tag, glibc in rows:
        modern = re.search(r"manylinux_(\d+)_(\d+)_", tag)
        legacy = re.search(r"manylinux\d+", tag)
        assert modern or legacy, row
        assert glibc == (f"{modern[1]}.{modern[2]}" if modern else floors[legacy[0]] if legacy else None), row


def test_the_drivers_in_compatibility_packages_are_those_of_their_toolkits() -> None:
    for row in FACTS.cuda_compat:
        shipped = {each.driver_linux for each in FACTS.cuda_toolkits if each.cuda == row.cuda}
        assert set(row.drivers) <= shipped, row


def test_features_grow_with_the_generation() -> None:
    for row in FACTS.architectures:
        assert not row.int8_tensor_cores or row.tensor_cores, row
        assert not row.fp4 or row.fp8, row
        assert not row.fp8 or row.tf32, row
        assert row.flash_attention_2 is not True or row.bf16, row
        assert not row.flash_attention_doubt or row.flash_attention_2, row


def test_conda_builds_say_their_glibc_where_it_was_read() -> None:
    found = {build.glibc for row in FACTS.conda_builds for build in row.builds if build.cuda == "13.0"}
    assert found == {"2.28"}
