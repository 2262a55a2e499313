"""Locks and environments from a channel in a folder, as a person makes them, by conda-lock and the embedded solver."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import local_channel
import pytest
import yaml

from envdoctor.environments.embedded import installer, solver

CLOSED = "http://127.0.0.1:9"  # nothing listens on the discard port
GPU = ("--cuda", "11.8", "--gpu", "RTX 3060", "--driver", "520.61.05")
TORCH = "lib/python3.11/site-packages/torch/__init__.py"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody without conda, whose configuration leads conda-forge to a folder."""
    local_channel.make(tmp_path / "channels" / "conda-forge")
    return leading_to(tmp_path, (tmp_path / "channels").as_uri())


def leading_to(folder: Path, alias: str) -> dict[str, str]:
    (folder / "condarc").write_text(f"channel_alias: {alias}\n")
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("CONDA", "MAMBA", "PIP_", "UV_", "VIRTUAL_ENV"))}
    return {
        **kept,
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "CONDARC": str(folder / "condarc"),
    }


def provision(environ: dict[str, str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "envdoctor", "provision", "--python", "3.11", "--manager", "conda")
    return subprocess.run(
        (*command, "-o", str(folder), *words), capture_output=True, text=True, env=environ, timeout=300, check=False
    )


def last_words(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Give what stands on standard error besides the progress."""
    assert "Traceback" not in done.stdout + done.stderr
    return [line for line in done.stderr.splitlines() if not line.startswith("[")]


def locked(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    content = yaml.safe_load((folder / "conda-lock.yml").read_text())
    return {(each["platform"], each["name"]): each for each in content["package"]}


def conda(folder: Path) -> Path:
    """Give a conda-shaped program that is the embedded solver."""
    program = folder / "bin" / "conda"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {shlex.join((sys.executable, solver.__file__))} "$@"\n')
    program.chmod(0o755)
    return program


def conda_lock(environ: dict[str, str], folder: Path, *words: str) -> str:
    done = subprocess.run(
        (sys.executable, "-m", "conda_lock", *words),
        capture_output=True,
        text=True,
        env=environ,
        cwd=folder,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_stack_for_a_gpu_is_locked_and_made_where_there_is_none(environ: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "a b'$(touch x)"
    done = provision(environ, folder, *GPU, "--lock", "--create", "--format", "json")
    assert (done.returncode, last_words(done)) == (0, [])
    made = json.loads(done.stdout)["environment"]
    assert (made["manager"], made["path"]) == ("conda", str(folder / "env"))
    assert "build = 'cuda118_py311_h1ee7a2b_301'" in (folder / "env" / TORCH).read_text()
    assert (folder / "env" / "lib" / "libcudart.so.11.0").is_file()
    assert not (tmp_path / "x").exists()

    packages = locked(folder)
    assert {name for _, name in packages} == {
        "python",
        "numpy",
        "cuda-version",
        "cudatoolkit",
        "pytorch",
        "pytorch-gpu",
    }
    for package in packages.values():
        place = installer.local_path(package["url"])
        assert place is not None
        assert hashlib.sha256(Path(place).read_bytes()).hexdigest() == package["hash"]["sha256"]
    record = json.loads((folder / "env/conda-meta/pytorch-2.5.1-cuda118_py311_h1ee7a2b_301.json").read_text())
    assert record["url"] == packages["linux-64", "pytorch"]["url"]
    assert "__cuda" in record["depends"]

    # The same again changes nothing, and makes nothing anew.
    texts = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".log"}
    again = provision(environ, folder, *GPU, "--lock", "--create")
    assert again.returncode == 0 and "creating" not in again.stderr
    assert {path: path.read_bytes() for path in texts} == texts

    # What conda-lock makes of it, by itself.
    conda_lock(environ, folder, "render", "-k", "explicit", "-p", "linux-64", "conda-lock.yml")
    entries = installer.entries((folder / "conda-linux-64.lock").read_text())
    assert sorted(entry.url for entry in entries) == sorted(package["url"] for package in packages.values())
    program, prefix = str(conda(tmp_path)), str(tmp_path / "again")
    conda_lock(environ, folder, "install", "--conda", program, "--no-mamba", "-p", prefix, "conda-lock.yml")
    assert "cuda118" in (tmp_path / "again" / TORCH).read_text()


def test_several_platforms_and_an_update(environ: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "new"
    done = provision(environ, folder, "--cuda", "cpu", "--lock", "--platform", "osx-arm64", "--platform", "linux-64")
    assert (done.returncode, last_words(done)) == (0, [])
    packages = locked(folder)
    assert {platform for platform, _ in packages} == {"linux-64", "osx-arm64"}
    assert "/osx-arm64/pytorch-2.13.0-cpu_generic" in packages["osx-arm64", "pytorch"]["url"]
    assert "/linux-64/pytorch-2.13.0-cpu_generic" in packages["linux-64", "pytorch"]["url"]
    assert ("linux-64", "cuda-version") not in packages
    assert "pytorch=2.13.0=cpu*" in (folder / "environment.osx-arm64.yml").read_text()

    # One package is brought up to date, and the others stay, build and all.
    newer = local_channel.Built("numpy", "2.2.9", "py311h5d046bc_0", ("python >=3.11,<3.12.0a0",))
    local_channel.make(tmp_path / "channels" / "conda-forge", (*local_channel.PACKAGES, newer))
    words = ("--lockfile", "conda-lock.yml", "-f", "environment.yml", "-p", "linux-64", "--update", "numpy")
    conda_lock(environ, folder, "lock", "--conda", str(conda(tmp_path)), "--no-mamba", *words)
    updated = locked(folder)
    assert updated["linux-64", "numpy"]["version"] == "2.2.9"
    assert updated["linux-64", "pytorch"] == packages["linux-64", "pytorch"]


def test_a_conda_that_is_there_solves(environ: dict[str, str], tmp_path: Path) -> None:
    program = conda(tmp_path)
    done = provision({**environ, "CONDA_EXE": str(program)}, tmp_path / "new", *GPU, "--lock", "--create")
    assert (done.returncode, last_words(done)) == (0, [])
    assert "choosing the packages with conda\n" in done.stderr
    assert "cuda118" in (tmp_path / "new" / "env" / TORCH).read_text()


def test_the_driver_of_the_target_decides(environ: dict[str, str], tmp_path: Path) -> None:
    def chosen(cuda: str | None) -> dict[str, str]:
        words = ("create", "--prefix", "p", "--dry-run", "--json", "--channel", "conda-forge", "pytorch 2.13.0.*")
        overrides = {"CONDA_SUBDIR": "linux-64", **({"CONDA_OVERRIDE_CUDA": cuda} if cuda else {})}
        done = subprocess.run(
            (str(conda(tmp_path)), *words), capture_output=True, text=True, env={**environ, **overrides}, timeout=60
        )
        return {each["name"]: each["build"] for each in json.loads(done.stdout)["actions"]["FETCH"]}

    assert chosen("12.8")["pytorch"] == "cuda129_mkl_py311_h1ee7a2b_301"
    assert chosen(None)["pytorch"] == "cpu_generic_py311_hd5083e0_101"
    assert chosen("11.8")["pytorch"] == "cpu_generic_py311_hd5083e0_101"


def test_another_package_behind_the_index_is_refused(environ: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert provision(environ, folder, *GPU, "--lock").returncode == 0
    pytorch = Path(installer.local_path(locked(folder)["linux-64", "pytorch"]["url"]) or "")
    evil = local_channel.Built("pytorch", "2.5.1", "cuda118_py311_h1ee7a2b_301", files=((TORCH, "evil"),))
    pytorch.write_bytes(local_channel.archive(evil))
    for words in (("--create",), ("--lock",)):
        done = provision(environ, folder, *GPU, *words)
        said = last_words(done)
        assert done.returncode == 3 and len(said) == 2
        assert "wrong hash" in said[0] and "pytorch-2.5.1-cuda118" in said[0] and "do not use it" in said[1]
        assert not (folder / "env").exists()
    # conda-lock by itself stops at it too.
    done = subprocess.run(
        (sys.executable, installer.__file__, str(_explicit(folder)), str(tmp_path / "p")),
        capture_output=True, text=True, env=environ, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1 and "wrong hash" in done.stderr and not (tmp_path / "p" / "conda-meta").exists()


def _explicit(folder: Path) -> Path:
    listed = folder / "explicit.lock"
    listed.write_text("".join(f"{each['url']}#{each['hash']['sha256']}\n" for each in locked(folder).values()))
    return listed


def test_a_channel_out_of_reach(tmp_path: Path) -> None:
    environ = leading_to(tmp_path, CLOSED)
    done = provision(environ, tmp_path / "new", *GPU, "--create")
    said = last_words(done)
    assert done.returncode == 3 and len(said) == 2
    assert f"{CLOSED}/conda-forge/" in said[0] and "cannot be reached" in said[0] and "Connection refused" in said[0]
    assert "proxy" in said[1]
    assert not (tmp_path / "new" / "env").exists() and not (tmp_path / "new" / "conda-lock.yml").exists()


def test_nothing_satisfies_it_and_then_something_does(environ: dict[str, str], tmp_path: Path) -> None:
    folder, channel = tmp_path / "new", tmp_path / "channels" / "conda-forge"
    fewer = tuple(each for each in local_channel.PACKAGES if each.name != "cudatoolkit")
    local_channel.make(channel, fewer)
    done = provision(environ, folder, *GPU, "--create")
    said = last_words(done)
    assert done.returncode == 4 and len(said) == 2
    assert "no set of conda packages fits linux-64" in said[0] and "cudatoolkit" in said[0]
    assert "--manager venv" in said[1]
    assert json.loads((folder / "state.json").read_text())["done"] == []

    local_channel.make(channel)
    done = provision(environ, folder, *GPU, "--create")
    assert done.returncode == 0 and "going on in" in done.stderr
    assert (folder / "env" / TORCH).is_file()


@pytest.mark.parametrize(
    ("without", "words"),
    [
        ("conda_lock", ("conda-lock is not installed", "envdoctor[conda]")),
        ("rattler", ("no conda", "envdoctor[conda]")),
    ],
)
def test_a_part_is_missing(environ: dict[str, str], tmp_path: Path, without: str, words: tuple[str, str]) -> None:
    program = f"import sys; sys.modules[{without!r}] = None; from envdoctor.__main__ import main; sys.exit(main())"
    options = ("provision", "--python", "3.11", "--manager", "conda", "--lock", "-o", str(tmp_path / "new"), *GPU)
    pixi = tmp_path / "bin" / "pixi"
    pixi.parent.mkdir()
    pixi.touch(0o755)
    environ["PATH"] += f":{pixi.parent}"
    done = subprocess.run(
        (sys.executable, "-c", program, *options), capture_output=True, text=True, env=environ, timeout=60, check=False
    )
    said = last_words(done)
    assert done.returncode == 3 and len(said) == 2
    assert words[0] in said[0] and words[1] in said[1]
    assert (tmp_path / "new" / "environment.yml").is_file()


def test_what_is_somebody_elses_stays(environ: dict[str, str], tmp_path: Path) -> None:
    mine = tmp_path / "mine" / "precious"
    mine.parent.mkdir()
    mine.write_text("work")
    for words in ((), ("--force",)):
        done = provision(environ, tmp_path / "new", *GPU, "--create", "--path", str(mine.parent), *words)
        assert done.returncode == 3 and "envdoctor did not make it" in last_words(done)[0]
    assert mine.read_text() == "work" and not (tmp_path / "new").exists()
    (tmp_path / "new").mkdir()
    lock = tmp_path / "new" / "conda-lock.yml"
    lock.write_text("version: 1\n")
    done = provision(environ, tmp_path / "new", *GPU, "--lock")
    assert done.returncode == 3 and "not written by envdoctor" in last_words(done)[0]
    assert lock.read_text() == "version: 1\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk(environ: dict[str, str], tmp_path: Path) -> None:
    big = local_channel.Built("tqdm", "5", "py_0", files=(("big", os.urandom(1 << 20).hex()),), subdir="noarch")
    torch = next(each for each in local_channel.PACKAGES if each.build.startswith("cuda118") and each.name == "pytorch")
    others = tuple(each for each in local_channel.PACKAGES if each is not torch)
    needing = torch._replace(depends=(*torch.depends, "tqdm 5.*"))
    local_channel.make(tmp_path / "channels" / "conda-forge", (*others, needing, big))
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)), check=False)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        done = provision(environ, tmp_path / "new", *GPU, "--create", "--path", str(small / "env"))
        said = last_words(done)
        assert done.returncode == 3 and len(said) == 2
        assert "the disk is full" in said[0]
    finally:
        subprocess.run(("umount", str(small)), check=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--path", "x"), "goes with --create"),
        (("--create", "--dry-run"), "makes nothing"),
        (("--create", "--os", "windows"), "describes another one"),
        (("--platform", "osx-arm64"), "goes with --lock"),
        (("--lock", "--platform", "amiga"), "--platform amiga is not known"),
    ],
)
def test_words_that_do_not_fit(environ: dict[str, str], tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = provision(environ, tmp_path / "new", *(("--lock",) if "--path" in words else ()), *words, "--cuda", "cpu")
    assert done.returncode == 2 and said in last_words(done)[0]


def test_a_stack_conda_forge_lacks(environ: dict[str, str], tmp_path: Path) -> None:
    done = provision(environ, tmp_path / "new", "--cuda", "cpu", "--framework", "jax", "--lock", "--create")
    assert done.returncode == 4 and "conda-forge has no such stack" in last_words(done)[0]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """Serve the folder of channels on this machine's own network, and give its address."""
    handler = functools.partial(_Quiet, directory=str(tmp_path / "channels"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


def test_a_channel_on_the_network(environ: dict[str, str], served: str, tmp_path: Path) -> None:
    environ = leading_to(tmp_path, served)
    folder = tmp_path / "new"
    assert provision(environ, folder, *GPU, "--lock").returncode == 0
    url = locked(folder)["linux-64", "pytorch"]["url"]
    assert url.startswith(f"{served}/conda-forge/linux-64/pytorch-2.5.1-cuda118")

    archive = tmp_path / "channels" / url.removeprefix(f"{served}/")
    right = archive.read_bytes()
    archive.write_bytes(right + b"\0")
    done = provision(environ, folder, *GPU, "--create")
    assert done.returncode == 3 and f"wrong hash: {url}" in last_words(done)[0]
    assert not (folder / "env").exists()
    archive.unlink()
    done = provision(environ, folder, *GPU, "--create")
    assert done.returncode == 3 and f"{url} cannot be fetched" in last_words(done)[0]

    archive.write_bytes(right)
    done = provision(environ, folder, *GPU, "--create")
    assert (done.returncode, last_words(done)) == (0, [])
    assert "cuda118" in (folder / "env" / TORCH).read_text()
    # What was downloaded is kept no longer than it is needed.
    assert [path for path in (tmp_path / "cache" / "envdoctor").rglob("*") if path.is_file()] == []


def test_conda_makes_it_from_environment_yml(environ: dict[str, str], tmp_path: Path) -> None:
    program = tmp_path / "bin" / "conda"
    program.parent.mkdir()
    notes = 'printf "%s\\n" "$CONDA_OVERRIDE_CUDA" "$@" > "$HOME/asked"'
    program.write_text(f'#!/bin/sh\n{notes}\nmkdir -p "$5/bin" && touch "$5/bin/python"\n')
    program.chmod(0o755)
    found = {**environ, "CONDA_EXE": str(program)}
    done = provision(found, tmp_path / "new", *GPU, "--create", "--path", str(tmp_path / "there"))
    assert (done.returncode, last_words(done)) == (0, [])
    # The driver offers CUDA 11.8 to the target, and this machine need not have one.
    words = ["env", "create", "--yes", "--prefix", str(tmp_path / "there"), "--file", f"{tmp_path}/new/environment.yml"]
    assert (tmp_path / "asked").read_text().splitlines() == ["11.8", *words]

    program.write_text(
        "#!/bin/sh\necho 'CondaHTTPError: HTTP 000 CONNECTION FAILED for url <https://h/x/y.json>'; exit 1\n"
    )
    done = provision(found, tmp_path / "other", *GPU, "--create")
    assert done.returncode == 3 and "https://h/x/y.json" in last_words(done)[0]
