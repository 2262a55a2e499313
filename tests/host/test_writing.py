from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from envdoctor.errors import Unreadable
from envdoctor.host.writing import write
from envdoctor.model.stack import GENERATED, Artifact

MARK = f"# {GENERATED} 0.1.0; edit and remove this line to keep it\n"


def artifact(path: str, text: str = "new\n", executable: bool = False) -> Artifact:
    return Artifact(path=path, text=MARK + text, executable=executable)


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def test_it_makes_the_folder_and_gives_the_paths(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "er"
    written = write((artifact("Dockerfile"), artifact("verify/cnn.py", "pass é\n", True)), str(folder))
    assert written == (str(folder / "Dockerfile"), str(folder / "verify/cnn.py"))
    assert tree(folder) == {"Dockerfile": MARK + "new\n", "verify/cnn.py": MARK + "pass é\n"}


def test_modes_are_what_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write((artifact("a"), artifact("b", executable=True)), str(tmp_path))
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"] == [0o640, 0o750]


def test_its_own_files_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(MARK + "old\n")
    (tmp_path / "b").write_text("#!/bin/sh\n" + MARK + "old\n")
    write((artifact("a"), artifact("b")), str(tmp_path))
    assert set(tree(tmp_path).values()) == {MARK + "new\n"}


def test_a_persons_files_are_all_named_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine\n")
    (tmp_path / "b").write_text("one\ntwo\n" + MARK)  # the line was moved down: it is a person's file now
    before = tree(tmp_path)
    with pytest.raises(Unreadable) as raised:
        write((artifact("a"), artifact("b"), artifact("c/d")), str(tmp_path))
    assert f"{tmp_path}/a, {tmp_path}/b" in raised.value.message
    assert "\n" not in raised.value.message
    assert "--force" in (raised.value.hint or "")
    assert tree(tmp_path) == before
    assert not (tmp_path / "c").exists()


def test_force_replaces_them(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine\n")
    write((artifact("a"),), str(tmp_path), force=True)
    assert tree(tmp_path) == {"a": MARK + "new\n"}


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text(MARK + "precious\n")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").symlink_to(outside)
    (folder / "b").symlink_to(tmp_path / "nowhere")
    with pytest.raises(Unreadable, match="not written by envdoctor"):
        write((artifact("a"),), str(folder))
    with pytest.raises(Unreadable, match="not written by envdoctor"):
        write((artifact("b"),), str(folder))
    write((artifact("a"), artifact("b")), str(folder), force=True)
    assert outside.read_text() == MARK + "precious\n"
    assert not (folder / "a").is_symlink()
    assert not (tmp_path / "nowhere").exists()


def test_a_linked_folder_that_leads_out_is_refused_even_with_force(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    folder.mkdir()
    (folder / "verify").symlink_to(outside)
    with pytest.raises(Unreadable, match="leads out of"):
        write((artifact("verify/cnn.py"),), str(folder), force=True)
    assert list(outside.iterdir()) == []


def test_the_output_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write((artifact("a/b"),), str(tmp_path / "link"))
    assert tree(tmp_path / "real") == {"a/b": MARK + "new\n"}


def test_a_relative_folder_is_written_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert write((artifact("a"),), "out") == ("out/a",)
    assert write((artifact("b"),), ".") == ("./b",)
    assert tree(tmp_path) == {"b": MARK + "new\n", "out/a": MARK + "new\n"}


@pytest.mark.parametrize("path", ["../a", "/etc/a", "a/../../b", "a//b", "", ".", "a\0b"])
def test_a_path_out_of_the_folder_is_a_defect(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="not a path inside"):
        write((artifact(path),), str(tmp_path / "folder"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in ("file", "file/below"):
        with pytest.raises(Unreadable, match="cannot write to") as raised:
            write((artifact("a"),), str(tmp_path / folder))
        assert "\n" not in raised.value.message
    assert tree(tmp_path) == {"file": "mine"}


def test_a_folder_where_a_file_should_be(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").mkdir()
    with pytest.raises(Unreadable, match="is a folder"):
        write((artifact("a"), artifact("Dockerfile")), str(tmp_path), force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["Dockerfile"]


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")  # opening it would wait for a writer for ever
    with pytest.raises(Unreadable, match="not written by envdoctor"):
        write((artifact("a"),), str(tmp_path))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_leaves_what_was_there(small_disk: Path) -> None:
    (small_disk / "a").write_text(MARK + "old\n")
    with pytest.raises(Unreadable, match="No space left on device") as raised:
        write((artifact("a"), artifact("verify/b"), artifact("c", "x" * 100_000)), str(small_disk))
    assert "free some space" in (raised.value.hint or "")
    assert tree(small_disk) == {"a": MARK + "old\n"}
    assert [path.name for path in small_disk.iterdir()] == ["a"]


def test_a_disk_that_may_only_be_read(small_disk: Path) -> None:
    (small_disk / "a").write_text(MARK + "old\n")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(Unreadable, match="Read-only file system"):
        write((artifact("a"),), str(small_disk))
    assert tree(small_disk) == {"a": MARK + "old\n"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; the read-only disk shows the same to root")
def test_a_folder_without_the_right_to_write(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o500)
    with pytest.raises(Unreadable, match="Permission denied"):
        write((artifact("a"),), str(folder))
    assert list(folder.iterdir()) == []


def test_an_interruption_leaves_no_half_file(tmp_path: Path) -> None:
    class Interrupting(str):
        def encode(self, *_: object) -> bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write((artifact("a"), Artifact(path="new/b", text=Interrupting())), str(tmp_path))
    assert list(tmp_path.iterdir()) == []
