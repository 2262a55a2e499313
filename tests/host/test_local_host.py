"""This machine, and one that is mounted below a folder."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from envdoctor.host import Completed, names, text
from envdoctor.host.local import LocalHost


def test_files_folders_and_what_is_neither(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes(b"caf\xe9\n\0")
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("b.txt")
    os.mkfifo(tmp_path / "pipe")
    host, folder = LocalHost(), str(tmp_path)
    assert host.read(f"{folder}/b.txt", 3) == b"caf"
    assert text(host, f"{folder}/b.txt") == "caf\N{REPLACEMENT CHARACTER}"
    assert host.list(folder) == ("a", "b.txt", "link", "pipe")
    kinds = [host.kind(f"{folder}/{name}") for name in ("a", "link", "pipe", "none", "b.txt/below")]
    assert kinds == ["directory", "file", "other", None, None]
    assert host.kind("/dev/null") == "character"
    assert host.realpath(f"{folder}/a/../link") == os.path.realpath(tmp_path / "b.txt")
    assert (text(host, f"{folder}/none"), text(host, folder), names(host, f"{folder}/none")) == (None, None, ())


def test_a_pipe_without_a_writer_does_not_hold_us(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert LocalHost().read(str(tmp_path / "pipe")) == b""


def test_large_files_are_read_up_to_the_limit(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * (3 << 20))
    host = LocalHost()
    assert len(host.read(str(tmp_path / "large"))) == 1 << 20
    assert len(host.read(str(tmp_path / "large"), 5 << 20)) == 3 << 20


def test_only_a_file_that_may_be_run_is_a_program(tmp_path: Path) -> None:
    program, plain = tmp_path / "program", tmp_path / "plain"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    plain.write_text("")
    host = LocalHost()
    assert [host.executable(str(path)) for path in (program, plain, tmp_path)] == [True, False, False]


def test_space_is_measured_for_an_ordinary_user(tmp_path: Path) -> None:
    space, size = LocalHost().space(str(tmp_path)), os.statvfs(tmp_path)
    assert space.total_bytes == size.f_blocks * size.f_frsize
    assert space.device == tmp_path.stat().st_dev
    assert 0 <= space.free_bytes <= space.total_bytes
    with pytest.raises(FileNotFoundError):
        LocalHost().space(str(tmp_path / "none"))


def test_what_the_system_says_of_itself() -> None:
    host = LocalHost()
    name = os.uname()
    assert host.uname() == (name.sysname, name.release, name.machine)
    assert host.affinity() == len(os.sched_getaffinity(0))
    libc = host.libc()
    assert libc is None or (libc[0] == "glibc" and libc[1].startswith("2."))
    resources = host.resources()
    assert resources is not None
    assert resources.logical == os.cpu_count()
    assert resources.total_bytes >= resources.available_bytes > 0


def test_programs_get_no_input_no_shell_and_the_environment_of_the_host() -> None:
    host = LocalHost(environ={"GREETING": "hello"})
    code = "import os, sys; print(os.environ['GREETING'], sys.argv[1], sys.stdin.read() == ''); sys.exit(3)"
    assert host.run((sys.executable, "-c", code, "$HOME;x"), 30) == Completed(
        returncode=3, stdout="hello $HOME;x True\n", stderr=""
    )
    other = host.run((sys.executable, "-c", code, "x"), 30, {"GREETING": "bye"})
    assert other.stdout == "bye x True\n"


def test_a_program_that_hangs_is_ended() -> None:
    with pytest.raises(TimeoutError, match=r"gave no answer in 0\.2 s"):
        LocalHost().run((sys.executable, "-c", "import time; time.sleep(60)"), 0.2)
    with pytest.raises(FileNotFoundError):
        LocalHost().run(("/nonexistent/program",), 5)


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """Give the disk of another machine, with links as distributions have them."""
    root = tmp_path / "mnt"
    (root / "usr/lib").mkdir(parents=True)
    (root / "etc").mkdir()
    (root / "usr/lib/os-release").write_text("ID=fedora\n")
    (root / "etc/os-release").symlink_to("../usr/lib/os-release")
    (root / "lib").symlink_to("usr/lib")
    (root / "etc/absolute").symlink_to("/usr/lib/os-release")
    (root / "etc/outside").symlink_to("../../../../../../../../etc/passwd")
    (root / "etc/loop").symlink_to("loop")
    return root


def test_links_of_a_mounted_machine_stay_inside_it(mounted: Path) -> None:
    host = LocalHost(f"{mounted}/", environ={"HOME": "/root"})
    assert host.read("/etc/absolute") == b"ID=fedora\n"
    assert host.realpath("/etc/absolute") == "/usr/lib/os-release"
    assert host.realpath("/lib/../etc/os-release") == "/usr/etc/os-release"
    assert host.realpath("/lib/os-release") == "/usr/lib/os-release"
    assert host.realpath("/") == "/"
    assert text(host, "/etc/outside") is None  # /etc/passwd of the mounted machine, which has none
    assert host.list("/") == ("etc", "lib", "usr")
    with pytest.raises(OSError, match=r"[Tt]oo many"):
        host.read("/etc/loop")


def test_a_mounted_machine_is_not_this_one(mounted: Path) -> None:
    host = LocalHost(str(mounted), environ={"HOME": "/root"})
    assert (host.environ, host.uname(), host.affinity(), host.libc(), host.resources()) == (
        {},
        ("Linux", "", ""),
        None,
        None,
        None,
    )
    with pytest.raises(PermissionError, match="not run"):
        host.run(("/bin/true",), 5)
    with pytest.raises(FileNotFoundError):
        host.nvml(5)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(stat.S_IWUSR)
    with pytest.raises(PermissionError):
        LocalHost().read(str(tmp_path / "secret"))
