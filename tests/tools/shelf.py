"""A package index made of files, with wheels that hold nothing but metadata."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from html import escape
from pathlib import Path
from typing import Any

TOOLS = Path(__file__).resolve().parents[2] / "tools"


class Shelf:
    """A folder that pip reads as an index."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return self.folder.as_uri()

    def put(self, file: str, *requires: str, python: str = ">=3.9", filling: int = 0) -> None:
        """Add a wheel by its file name; one that is there is replaced."""
        name, version = file.split("-")[:2]
        folder = self.folder / name.lower().replace("_", "-")
        folder.mkdir(exist_ok=True)
        inside = f"{name}-{version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: {python}\n"
        metadata += "".join(f"Requires-Dist: {each}\n" for each in requires)
        extras = {each.partition("extra == ")[2].strip("\"'") for each in requires if "extra == " in each}
        metadata += "".join(f"Provides-Extra: {each}\n" for each in sorted(extras))
        tag = "-".join(file.removesuffix(".whl").split("-")[2:])
        with zipfile.ZipFile(folder / file, "w") as wheel:
            wheel.writestr(f"{inside}/METADATA", metadata)
            wheel.writestr(f"{inside}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n")
            wheel.writestr(f"{inside}/RECORD", "")
            if filling:
                wheel.writestr("filling", os.urandom(filling))
        self._page(folder)

    def withdraw(self, file: str) -> None:
        """Yank a file."""
        folder = self.folder / file.split("-")[0].lower().replace("_", "-")
        (folder / f"{file}.yanked").write_text("")
        self._page(folder)

    def _page(self, folder: Path) -> None:
        links = []
        for each in sorted(folder.glob("*.whl")):
            yanked = ' data-yanked=""' if (folder / f"{each.name}.yanked").exists() else ""
            links.append(f'<a href="{escape(each.name)}"{yanked}>{escape(each.name)}</a>')
        (folder / "index.html").write_text("<!DOCTYPE html><html><body>" + "<br>\n".join(links) + "</body></html>")


def environment(url: str, **more: str) -> dict[str, str]:
    """Give an environment in which pip is configured for that index and nothing else."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return {**kept, "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": url, "PIP_RETRIES": "0", **more}


def run(script: str, *words: str, url: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run one of the tools."""
    command = [sys.executable, str(TOOLS / script), *words]
    return subprocess.run(command, env=environment(url), capture_output=True, text=True, check=False, **more)


def answer(cache: Path, name: str, said: object, asked: str = "2026-11-20") -> None:
    """Put an answer of the index where the tools keep them, so that they need not ask."""
    cache.mkdir(parents=True, exist_ok=True)
    (cache / f"{name}.json").write_text(json.dumps({"asked": asked, "answer": said}), encoding="utf-8")


def files(cache: Path, package: str, *names: str) -> None:
    """Answer which files a package has."""
    answer(cache, f"{package}.files", list(names))


def says(cache: Path, file: str, *requires: str, python: str | None = ">=3.9", withdrawn: bool = False) -> None:
    """Answer what a wheel says of itself."""
    extras = sorted({each.partition("extra == ")[2].strip("\"'") for each in requires if "extra == " in each})
    said = {"requires": requires, "requires_python": python, "extras": extras, "withdrawn": withdrawn}
    answer(cache, file, said)


def put_table(folder: Path, table: str, *rows: dict[str, Any]) -> Path:
    """Write a table as the project has them."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{table}.json"
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(f'{{"title": "A table", "rows": [\n{lines}\n]}}\n', encoding="utf-8")
    return path


def get_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a table."""
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return rows
