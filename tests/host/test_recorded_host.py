"""A machine that was written down answers as a real one does."""

from __future__ import annotations

import errno

import pytest

from envdoctor.host import Completed, ElfFacts, NvmlAnswer, NvmlGpu, Space, names, text
from envdoctor.host.recorded import RecordedHost, Recording, normal


def test_folders_exist_because_something_stands_in_them() -> None:
    host = RecordedHost(
        Recording(files={"/a/b/c.txt": "hello\n"}, devices=("/dev/dxg",), others=("/run/sock",), folders=("/empty",))
    )
    assert host.list("/") == ("a", "dev", "empty", "run")
    assert host.list("/a/b") == ("c.txt",)
    assert host.list("/empty") == ()
    asked = ("/", "/a", "/a/b/c.txt", "/dev/dxg", "/run/sock", "/empty", "/none", "/a/b/c.txt/d")
    expected = ["directory", "directory", "file", "character", "other", "directory", None, None]
    assert [host.kind(path) for path in asked] == expected
    assert host.read("/a/b/c.txt", 2) == b"he"
    assert text(host, "/a/b/c.txt") == "hello"
    with pytest.raises(IsADirectoryError):
        host.read("/a")
    assert names(host, "/none") == ()


def test_a_listing_is_given_as_it_was() -> None:
    host = RecordedHost(Recording(files={"/a/x": ""}, listings={"/a": ("x", "y", "z")}))
    assert host.list("/a") == ("x", "y", "z")
    assert host.kind("/a/y") is None


def test_links_lead_on_and_the_longest_counts() -> None:
    host = RecordedHost(
        Recording(
            files={"/usr/lib/libm.so.6": "m", "/usr/lib/libc-2.31.so": "c"},
            links={"/lib": "usr/lib", "/lib/libc.so.6": "/usr/lib/libc-2.31.so", "/lib64": "/lib"},
        )
    )
    assert host.realpath("/lib64/libm.so.6") == "/usr/lib/libm.so.6"
    assert host.realpath("/lib/libc.so.6") == "/usr/lib/libc-2.31.so"
    assert host.read("/lib/./libc.so.6") == b"c"
    assert host.list("/lib") == ("libc-2.31.so", "libm.so.6")
    assert host.realpath("/lib/none") == "/usr/lib/none"
    with pytest.raises(OSError, match=r"[Tt]oo many"):
        RecordedHost(Recording(links={"/a": "/b", "/b": "/a"})).read("/a")


def test_paths_of_odd_forms_end() -> None:
    host = RecordedHost(Recording(files={"/etc/x": "1"}))
    assert host.read("//etc//x") == b"1"
    assert host.kind("etc/x") is None
    assert host.kind("") is None
    assert (normal("//a/../b/"), normal("a//b")) == ("/b", "a/b")
    with pytest.raises(ValueError, match="absolute"):
        RecordedHost(Recording(files={"~/x": ""}))


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("denied", errno.EACCES),
        ("hidden", errno.EACCES),
        ("timeout", errno.ETIMEDOUT),
        ("missing", errno.ENOENT),
        ("ENODEV", errno.ENODEV),
        ("of another time", errno.EIO),
    ],
)
def test_errors_are_raised_again(word: str, number: int) -> None:
    host = RecordedHost(Recording(errors={"/x": word}))
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        host.read("/x")
    assert (caught.value.errno, caught.value.filename) == (number, "/x")


def test_a_closed_file_can_be_seen_and_a_hidden_one_cannot() -> None:
    host = RecordedHost(
        Recording(errors={"/shut": "denied", "/dir": "denied", "/home/ann": "hidden"}, folders=("/dir",))
    )
    assert (host.kind("/shut"), host.kind("/dir")) == ("file", "directory")
    with pytest.raises(PermissionError):
        host.list("/dir")
    for path in ("/home/ann", "/home/ann/.cache/pip"):
        with pytest.raises(PermissionError):
            host.kind(path)
    assert host.kind("/home") == "directory"


def test_space_is_that_of_the_nearest_folder_above() -> None:
    space = Space(total_bytes=2, free_bytes=1, device=3)
    host = RecordedHost(Recording(spaces={"/data": space}, errors={"/data/gone": "missing"}))
    assert host.space("/data/a/b") == space
    assert host.kind("/data") == "directory"
    assert host.kind("/data/gone") is None
    for path in ("/", "/data/gone"):
        with pytest.raises(FileNotFoundError):
            host.space(path)


def test_commands_are_answered_by_what_was_typed() -> None:
    done = Completed(returncode=1, stdout="o", stderr="e")
    host = RecordedHost(
        Recording(commands={"nvcc --version": done}, command_errors={"slow": "timeout", "shut": "denied"})
    )
    assert host.run(("nvcc", "--version"), 1) == done
    with pytest.raises(FileNotFoundError):
        host.run(("nvcc",), 1)
    with pytest.raises(TimeoutError, match="2 s"):
        host.run(("slow",), 2)
    with pytest.raises(PermissionError):
        host.run(("shut",), 2)


def test_nvml_answers_hangs_dies_or_is_not_there() -> None:
    answer = NvmlAnswer(status=0, driver="570.124.06", gpus=(NvmlGpu(index=0, name="RTX 3060"),))
    assert RecordedHost(Recording(nvml=answer)).nvml(1) == answer
    with pytest.raises(TimeoutError):
        RecordedHost(Recording(nvml_error="timeout")).nvml(1)
    with pytest.raises(ChildProcessError, match="signal 11"):
        RecordedHost(Recording(nvml_error="ended by signal 11")).nvml(1)
    with pytest.raises(FileNotFoundError):
        RecordedHost(Recording()).nvml(1)


def test_libraries_are_elf_or_not_or_not_there() -> None:
    facts = ElfFacts(soname="libcudnn.so.9")
    host = RecordedHost(
        Recording(elfs={"/l/libcudnn.so.9.1": facts}, links={"/l/c": "libcudnn.so.9.1"}, files={"/l/t": ""})
    )
    assert host.elf("/l/c") == facts
    assert host.kind("/l/c") == "file"
    with pytest.raises(ValueError, match="/l/t"):
        host.elf("/l/t")
    with pytest.raises(FileNotFoundError):
        host.elf("/l/none")
