"""The templates travel: from the wheel, where the source tree is gone, and in a checkout."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from envdoctor.render import environment

ROOT = Path(__file__).parents[2]
RENDER = """
import sys
import envdoctor
from envdoctor.render import environment, render
from render_plans import CPU

print(envdoctor.__file__)
print(environment.templates_folder())
print(",".join(file.path for file in render(CPU, created="2026-11-24")))
"""


def templates(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_checkout_uses_the_top_level_folder() -> None:
    assert environment.templates_folder() == str(ROOT / "templates")


@pytest.mark.skipif(importlib.util.find_spec("hatchling") is None, reason="building a wheel needs hatchling")
def test_a_wheel_renders_without_the_source_tree(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    # Built with the suite's environment; what pip of the machine wants by configuration has no say in it.
    environ = {**os.environ, "PIP_CONFIG_FILE": os.devnull}
    subprocess.run(
        [*build, "--wheel-dir", str(tmp_path), str(ROOT)], check=True, capture_output=True, timeout=120, env=environ
    )
    (wheel,) = tmp_path.glob("envdoctor-*.whl")
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    assert templates(unpacked / "envdoctor" / "templates") == templates(ROOT / "templates")

    done = subprocess.run(
        [sys.executable, "-c", RENDER],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{unpacked}{os.pathsep}{Path(__file__).parent}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    package, folder, paths = done.stdout.split()
    assert package == str(unpacked / "envdoctor" / "__init__.py")
    assert folder == str(unpacked / "envdoctor" / "templates")
    assert paths.split(",") == [
        "environment.yml",
        "requirements.txt",
        "Dockerfile",
        ".dockerignore",
        "compose.yaml",
        ".devcontainer/devcontainer.json",
        "README.md",
        "health.py",
    ]


def test_a_broken_installation_is_said_so(tmp_path: Path) -> None:
    module = tmp_path / "envdoctor" / "render" / "environment.py"
    module.parent.mkdir(parents=True)
    module.write_text(Path(environment.__file__).read_text())
    spec = importlib.util.spec_from_file_location("broken", module)
    assert spec is not None
    assert spec.loader is not None
    broken = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(broken)
    with pytest.raises(FileNotFoundError, match="without its templates"):
        broken.templates_folder()


def test_a_misspelt_name_in_a_template_is_an_error() -> None:
    import jinja2

    with pytest.raises(jinja2.UndefinedError):
        environment.engine().from_string("{{ nmae }}").render(name="x")
