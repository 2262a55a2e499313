"""What the tools ask of a package index, with the real pip and an index of files."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from index import Index, NoAnswer
from shelf import Shelf, environment

LINUX = "torch-2.16.0-cp312-cp312-manylinux_2_28_x86_64.whl"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "simple")


@pytest.fixture
def configured(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    _set(monkeypatch, environment(shelf.url))
    return shelf


def _set(monkeypatch: pytest.MonkeyPatch, wanted: dict[str, str]) -> None:
    for name in os.environ.keys() - wanted.keys():
        monkeypatch.delenv(name)
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)


def test_the_files_of_every_platform_and_python_by_final_release(configured: Shelf) -> None:
    other = ("torch-2.16.0-cp315-cp315t-win_amd64.whl", "torch-2.9.1-cp310-none-macosx_11_0_arm64.whl")
    left_out = ("torch-2.17.0rc1-cp312-cp312-win_amd64.whl", "torch-2.16.0+cpu-cp312-cp312-win_amd64.whl")
    for file in (LINUX, *other, *left_out):
        configured.put(file)
    assert Index().releases("torch") == {"2.16.0": (LINUX, other[0]), "2.9.1": (other[1],)}


@pytest.mark.parametrize(
    "file",
    [
        LINUX,
        "torch-2.16.0-cp39-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "torch-2.16.0-py3-none-any.whl",
        "torch-2.16.0-py39-none-manylinux_2_28_x86_64.whl",
        "torch-2.16.0-cp315-cp315t-win_amd64.whl",
    ],
)
def test_the_metadata_of_exactly_the_wheel_that_was_meant(configured: Shelf, file: str) -> None:
    configured.put("torch-2.16.0-cp311-cp311-manylinux_2_28_x86_64.whl", "wrong")
    configured.put(file, 'triton==3.9.0; platform_system == "Linux"', "a>=1; extra == 'b'", python=">=3.16")
    index = Index()
    said = index.metadata("torch", file)
    assert [text.replace("'", '"') for text in said.requires] == [
        'triton==3.9.0; platform_system == "Linux"',
        'a>=1; extra == "b"',
    ]
    assert (said.requires_python, said.extras, said.withdrawn, said.asked) == (">=3.16", ("b",), False, index.today)


def test_a_withdrawn_release_is_listed_and_known_as_withdrawn(configured: Shelf) -> None:
    configured.put(LINUX)
    configured.withdraw(LINUX)
    assert list(Index().releases("torch")) == ["2.16.0"]
    assert Index().metadata("torch", LINUX).withdrawn is True


def test_the_configured_index_is_asked_and_nothing_that_one_machine_has_beside_it(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.put(LINUX)
    own = Shelf(tmp_path / "own")
    own.put("torch-9.9.9-cp312-cp312-manylinux_2_28_x86_64.whl")
    settings = tmp_path / "pip.conf"
    settings.write_text(
        f"[global]\nindex-url = {shelf.url}\nextra-index-url = {own.url}\nfind-links = {own.folder / 'torch'}\n"
        f"constraint = {tmp_path / 'constraint.txt'}\n"
    )
    (tmp_path / "constraint.txt").write_text("torch<2\n")
    _set(
        monkeypatch, {**environment(""), "PIP_CONFIG_FILE": str(settings), "PIP_FIND_LINKS": str(own.folder / "torch")}
    )
    monkeypatch.delenv("PIP_INDEX_URL")
    assert list(Index().releases("torch")) == ["2.16.0"]
    assert Index().metadata("torch", LINUX).requires == ()


def test_kept_answers_spare_questions_and_name_no_address(configured: Shelf, tmp_path: Path) -> None:
    configured.put(LINUX, "numpy")
    cache = tmp_path / "cache"
    first, second = Index(cache=cache), Index(cache=cache)
    for index in (first, second):
        assert list(index.releases("torch")) == ["2.16.0"]
        assert index.metadata("torch", LINUX).requires == ("numpy",)
    assert (first.questions, second.questions) == (2, 0)
    kept = sorted(cache.iterdir())
    assert [path.name for path in kept] == [f"{LINUX}.json", "torch.files.json"]
    assert not any(str(configured.folder) in path.read_text() or "://" in path.read_text() for path in kept)
    # However old: the day is the answer's.
    kept[0].write_text(json.dumps({**json.loads(kept[0].read_text()), "asked": "2026-01-02"}))
    assert Index(cache=cache).metadata("torch", LINUX).asked == "2026-01-02"


def test_an_index_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, environment("http://somebody:secret@127.0.0.1:9/simple"))
    with pytest.raises(NoAnswer) as refused:
        Index().releases("torch")
    assert str(refused.value) == "the package index did not answer for torch"
    with pytest.raises(NoAnswer) as refused:
        Index().metadata("torch", LINUX)
    assert str(refused.value) == "the package index did not answer for torch 2.16.0"


def test_a_package_that_is_not_there_and_a_client_that_is_none(configured: Shelf) -> None:
    with pytest.raises(NoAnswer, match=r"^the package index has no triton$"):
        Index().releases("triton")
    with pytest.raises(NoAnswer, match=r"^/no/python has no pip that runs$"):
        Index("/no/python").releases("triton")


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on the loopback, as an index without metadata files or range requests."""
    code = (
        "import functools, http.server, sys\n"
        "handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])\n"
        "server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)\n"
        "print(server.server_port, flush=True)\n"
        "server.serve_forever()\n"
    )
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}/"
        finally:
            server.terminate()


def test_a_wheel_is_never_fetched_whole_for_its_metadata(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    small = "torch-2.15.0-cp312-cp312-manylinux_2_28_x86_64.whl"
    shelf.put(LINUX, filling=6_000_000)
    shelf.put(small, "numpy")
    with served(shelf.folder) as url:
        _set(monkeypatch, environment(url))
        assert list(Index().releases("torch")) == ["2.16.0", "2.15.0"]
        assert Index().metadata("torch", small).requires == ("numpy",)
        with pytest.raises(NoAnswer, match=rf"^pip would fetch {LINUX} whole \(6\.0 MB\)"):
            Index().metadata("torch", LINUX)
        with pytest.raises(NoAnswer, match=r"^the package index has no triton$"):
            Index().releases("triton")
