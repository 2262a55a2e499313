"""`--lock` where nobody asked for conda in particular: what stands in its way is said, and is no failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from envdoctor import errors
from envdoctor.cli import making
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.stack import FrameworkName, Plan, Request, Target
from envdoctor.resolver.choice import resolve

FACTS = Knowledge()


@pytest.fixture(autouse=True)
def _out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "condarc").write_text("channel_alias: http://127.0.0.1:9\n")
    monkeypatch.setenv("CONDARC", str(tmp_path / "condarc"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    for name in ("CONDA_EXE", "MAMBA_EXE"):
        monkeypatch.delenv(name, raising=False)


def lock(framework: FrameworkName, folder: Path, words: making.Words) -> tuple[str, ...]:
    chosen = resolve(Request(cuda="cpu", framework=framework), Target(glibc="2.39"), FACTS)
    assert isinstance(chosen, Plan)
    return making.conda_lock(chosen, str(folder), FACTS, words, force=False)


def test_a_lock_by_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lock("torch", tmp_path, making.Words((), False, None, None)) == ()
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("envdoctor: no conda-lock.yml: http://127.0.0.1:9/conda-forge/")
    assert "cannot be reached" in said and "proxy" in said
    assert not (tmp_path / "conda-lock.yml").exists()
    with pytest.raises(errors.Unreadable, match="cannot be reached"):
        lock("torch", tmp_path, making.Words((), False, "conda", None))


@pytest.mark.parametrize(("framework", "manager"), [("jax", None), ("torch", "venv")])
def test_nothing_to_lock(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], framework: FrameworkName, manager: str | None
) -> None:
    words = making.Words((), False, "venv" if manager else None, None)
    assert lock(framework, tmp_path, words) == ()
    assert capsys.readouterr().err == ""
    if manager is None:
        with pytest.raises(errors.NoStack, match="conda-forge has no such stack"):
            lock(framework, tmp_path, making.Words((), False, "conda", None))
