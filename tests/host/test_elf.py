"""Libraries made by the C compiler, by nvcc, and by chance."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envdoctor.host import ElfFacts, elf
from envdoctor.model.version import compare

PTX, MACHINE_CODE = 1, 2


def container(*entries: tuple[int, int], payload: int = 40) -> bytes:
    """Write a container of GPU code as NVIDIA's fatbinary does: entries of kind and architecture."""
    body = b"".join(
        struct.pack("<HHIQQIIIIQQQ", kind, 0x101, 64, payload, 0, 0, arch, 64, 0, 0, 0, 0).ljust(64, b"\0")
        + b"\xaa" * payload
        for kind, arch in entries
    )
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


def build(folder: Path, compiler: str, *options: str, section: bytes | None = None, name: str = ".nv_fatbin") -> str:
    """Compile a shared library, with a section of these bytes."""
    source = "int answer(void) { return 42; }\n"
    if section is not None:
        (folder / "section.bin").write_bytes(section)
        source += f'__asm__(".section {name},\\"a\\"\\n.incbin \\"{folder}/section.bin\\"\\n.text");\n'
    (folder / "library.c").write_text(source)
    target = str(folder / "library.so")
    subprocess.run([compiler, "-shared", "-fPIC", *options, "-o", target, str(folder / "library.c")], check=True)
    return target


@pytest.fixture(scope="session")
def compiler() -> str:
    found = next((path for name in (os.environ.get("CC", "cc"), "gcc", "clang") if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no C compiler (cc, gcc or clang) is on PATH")
    return found


@pytest.mark.compiler
def test_dynamic_section(tmp_path: Path, compiler: str) -> None:
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
    first = build(tmp_path / "first", compiler, "-Wl,-soname,libanswer.so.4", "-Wl,--enable-new-dtags,-rpath,$ORIGIN/x")
    facts = elf.inspect(first)
    assert (facts.soname, facts.rpath, facts.runpath, facts.gpu_archs) == ("libanswer.so.4", None, "$ORIGIN/x", None)

    needing = ("-Wl,--no-as-needed", first, "-Wl,--disable-new-dtags,-rpath,/opt/a:/opt/b")
    facts = elf.inspect(build(tmp_path / "second", compiler, *needing))
    assert (facts.soname, facts.rpath, facts.runpath) == (None, "/opt/a:/opt/b", None)
    assert facts.needed[0] == "libanswer.so.4"


@pytest.mark.compiler
@pytest.mark.parametrize("name", [".nv_fatbin", "__nv_relfatbin"])
def test_architectures(tmp_path: Path, compiler: str, name: str) -> None:
    usual = container((MACHINE_CODE, 75), (MACHINE_CODE, 86), (MACHINE_CODE, 120), (PTX, 90))
    assert elf.inspect(build(tmp_path, compiler, section=usual, name=name)).gpu_archs == (
        "sm_75",
        "sm_86",
        "sm_120",
        "compute_90",
    )


@pytest.mark.compiler
def test_few_special_kernels_do_not_count(tmp_path: Path, compiler: str) -> None:
    usual = container((MACHINE_CODE, 80), (MACHINE_CODE, 90))
    special = container((MACHINE_CODE, 103))
    path = build(tmp_path, compiler, section=special + usual * 8 + special + b"\0" * 24 + usual)
    assert elf.inspect(path).gpu_archs == ("sm_80", "sm_90")


@pytest.mark.compiler
def test_kernels_that_each_have_one_architecture_all_count(tmp_path: Path, compiler: str) -> None:
    chain = b"".join(container((MACHINE_CODE, arch), payload=arch) for arch in (80, 90, 100))
    assert elf.inspect(build(tmp_path, compiler, section=chain)).gpu_archs == ("sm_80", "sm_90", "sm_100")


@pytest.mark.compiler
@pytest.mark.parametrize("section", [b"\0" * 64, container(), container((64, 80)), container((2, 80))[:20]])
def test_section_without_code_has_no_architecture(tmp_path: Path, compiler: str, section: bytes) -> None:
    assert elf.inspect(build(tmp_path, compiler, section=section)).gpu_archs == ()


@pytest.mark.compiler
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cut=st.one_of(st.none(), st.integers(1, 20000)),
    # The header, and the section table at the end, are what everything else is found by.
    noise=st.lists(
        st.tuples(st.integers(-2500, 64), st.one_of(st.binary(max_size=9), st.just(b"\xff" * 8))), max_size=8
    ),
)
def test_damaged_library_raises_nothing_else(
    tmp_path: Path, compiler: str, cut: int | None, noise: list[tuple[int, bytes]]
) -> None:
    whole = tmp_path / "whole.so"
    if not whole.exists():
        os.rename(build(tmp_path, compiler, section=container((MACHINE_CODE, 75)) * 3), whole)
    damaged = bytearray(whole.read_bytes()[:cut])
    for place, piece in noise:
        at = place % len(damaged)
        damaged[at : at + len(piece)] = piece
    (tmp_path / "damaged.so").write_bytes(damaged)
    try:
        assert isinstance(elf.inspect(str(tmp_path / "damaged.so")), ElfFacts)
    except ValueError as problem:
        assert str(tmp_path / "damaged.so") in str(problem)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda noise: b"\x7fELF\x02\x01" + noise)))
def test_noise_is_no_library(tmp_path: Path, noise: bytes) -> None:
    (tmp_path / "noise").write_bytes(noise)
    with pytest.raises(ValueError, match="noise"):
        elf.inspect(str(tmp_path / "noise"))


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        elf.inspect(str(tmp_path / "absent"))
    with pytest.raises(OSError):
        elf.inspect(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises((OSError, ValueError)):
        elf.inspect(str(tmp_path / "pipe"))


def test_versions_of_the_cxx_library(tmp_path: Path) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not on PATH")
    (tmp_path / "words.cpp").write_text(
        '#include <string>\nstd::string words(int n) { return std::to_string(n) + "x"; }\n'
    )
    target = str(tmp_path / "words.so")
    subprocess.run([compiler, "-O0", "-shared", "-fPIC", "-o", target, str(tmp_path / "words.cpp")], check=True)
    told = subprocess.run([compiler, "-print-file-name=libstdc++.so.6"], check=True, capture_output=True, text=True)
    needs, has = elf.inspect(target), elf.inspect(told.stdout.strip())
    # std::string of the newer ABI came with GCC 5, whose library is 3.4.21; any compiler that is used today has it.
    assert needs.glibcxx_needed is not None and has.glibcxx_defined is not None
    assert compare("3.4.21", needs.glibcxx_needed) <= 0 <= compare(has.glibcxx_defined, needs.glibcxx_needed)
    assert (needs.glibcxx_defined, has.glibcxx_needed) == (None, None)


def test_reads_what_nvcc_builds(tmp_path: Path) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not on PATH")
    (tmp_path / "kernel.cu").write_text("__global__ void twice(float *x) { x[threadIdx.x] *= 2; }\n")
    wanted = ["arch=compute_75,code=sm_75", "arch=compute_86,code=sm_86", "arch=compute_90,code=compute_90"]
    target = str(tmp_path / "kernel.so")
    options = [word for each in wanted for word in ("-gencode", each)]
    subprocess.run(
        [nvcc, "-shared", "-Xcompiler", "-fPIC", *options, "-o", target, str(tmp_path / "kernel.cu")], check=True
    )
    assert elf.inspect(target).gpu_archs == ("sm_75", "sm_86", "compute_90")
