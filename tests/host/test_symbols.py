"""Symbols of extensions that the C compiler made, looked up in libraries that it made."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envdoctor.host.local import LocalHost
from envdoctor.host.recorded import RecordedHost
from envdoctor.host.recorder import Recorder
from envdoctor.host.symbols import unresolved

pytestmark = pytest.mark.compiler

# Names as the compiler writes them for c10::good(), at::gone(), torch::weak() and a class of c10.
TORCH = (
    "int _ZN3c104goodEv(void) { return 1; } int _ZN2at5thereEv(void) { return 2; } int _ZTIN3c105ErrorE; int plain;"
    + "".join(f"int _ZN3c10{len(str(n)) + 1}f{n}Ev(void) {{ return {n}; }}" for n in range(500))
)
EXTENSION = """
int _ZN3c104goodEv(void); int _ZN3c104f499Ev(void); int _ZNK2at4goneEv(void); int elsewhere(void);
extern int _ZTIN3c105ErrorE; extern int _ZTIN5torch4LostE; int _ZN3c104mineEv(void) { return 0; }
__attribute__((weak)) int _ZN5torch4weakEv(void);
int use(void) { return _ZN3c104goodEv() + _ZN3c104f499Ev() + _ZNK2at4goneEv() + elsewhere() + _ZTIN3c105ErrorE
    + _ZTIN5torch4LostE + _ZN3c104mineEv() + (_ZN5torch4weakEv ? _ZN5torch4weakEv() : 0); }
"""


@pytest.fixture(scope="session")
def cc() -> str:
    found = next((path for name in (os.environ.get("CC", "cc"), "gcc", "clang") if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no C compiler (cc, gcc or clang) is on PATH")
    return found


def build(cc: str, folder: Path, name: str, source: str, *options: str) -> str:
    (folder / f"{name}.c").write_text(source)
    target = str(folder / f"{name}.so")
    subprocess.run([cc, "-shared", "-fPIC", *options, "-o", target, str(folder / f"{name}.c")], check=True)
    return target


def test_what_no_library_defines_is_named(cc: str, tmp_path: Path) -> None:
    torch = build(cc, tmp_path, "libc10", TORCH, "-Wl,--hash-style=gnu")
    extension = build(cc, tmp_path, "extension", EXTENSION)
    assert unresolved(extension, (torch,)) == ("_ZNK2at4goneEv", "_ZTIN5torch4LostE")
    # A second library has the rest; one that needs a symbol does not define it.
    rest = build(cc, tmp_path, "rest", "int _ZNK2at4goneEv(void) { return 3; } int _ZTIN5torch4LostE;")
    assert unresolved(extension, (torch, extension, rest)) == ()
    assert unresolved(torch, ()) == ()

    recorder = Recorder(LocalHost())
    asked = recorder.unresolved(extension, (torch,))
    assert RecordedHost(recorder.recording()).unresolved(extension, (torch,)) == asked
    with pytest.raises(FileNotFoundError):
        RecordedHost(recorder.recording()).unresolved(torch, ())


def test_a_library_that_is_looked_up_otherwise_is_refused(cc: str, tmp_path: Path) -> None:
    torch = build(cc, tmp_path, "libc10", TORCH, "-Wl,--hash-style=sysv")
    with pytest.raises(ValueError, match=r"libc10\.so has no hash table"):
        unresolved(build(cc, tmp_path, "extension", EXTENSION), (torch,))
    (tmp_path / "empty.so").touch()
    (tmp_path / "text.so").write_text("no library")
    for name, words in (("empty.so", "is empty"), ("text.so", "is not a 64-bit little-endian ELF file")):
        with pytest.raises(ValueError, match=words):
            unresolved(str(tmp_path / name), ())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=8)), max_size=6), st.integers(0, 100))
def test_damage_ends_in_one_error_or_an_answer(
    cc: str, tmp_path: Path, changes: list[tuple[int, bytes]], kept: int
) -> None:
    for name, source in (("libc10", TORCH), ("extension", EXTENSION)):
        if not (tmp_path / f"{name}.so").exists():
            build(cc, tmp_path, name, source, "-Wl,--hash-style=gnu")
    content = bytearray((tmp_path / "libc10.so").read_bytes())
    for at, part in changes:
        place = at % len(content)
        content[place : place + len(part)] = part
    (tmp_path / "damaged.so").write_bytes(content[: len(content) * kept // 100 or 1])
    for asker, library in (("extension", "damaged"), ("damaged", "libc10")):
        try:
            unresolved(str(tmp_path / f"{asker}.so"), (str(tmp_path / f"{library}.so"),))
        except ValueError as problem:
            assert str(tmp_path) in str(problem)
