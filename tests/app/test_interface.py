"""`import envdoctor`: what it offers is listed here, is typed, prints as the command does, and costs nothing unused."""

from __future__ import annotations

import ast
import html
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import envdoctor
from envdoctor.cli import run
from envdoctor.model.finding import Finding
from envdoctor.model.outcome import Outcome
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import language, speak

if TYPE_CHECKING:
    from playwright.sync_api import Browser

MACHINES = Path(__file__).parents[1] / "machines"
OLD_DRIVER = str(MACHINES / "cuda118-on-451-windows-wsl2")
NO_GPU = str(MACHINES / "container-without-gpus")
OFFERED = {
    "diagnose": "source=, *, python=, only=, ignore=, timeout=",
    "estimate_memory": "model, *, gpu=, memory=, device=, **workload",
    "provision": (
        "*, cuda=, framework=, framework_version=, python=, companions=, gpus=, driver=, os=, source=, timeout="
    ),
    "verify_environment": "python=, *, conda_env=, workloads=, framework=, device=, timeout=, report=",
    "speak": "language",
    "Diagnosed": "*, machine, judged",
    "Estimated": "*, estimate",
    "Provisioned": "*, plan, files",
    "Verified": "*, outcomes",
    "EnvdoctorError": "message, hint=",
    "NoStack": "message, hint=",
}


def signature(name: str) -> str:
    words, named = [], False
    for each in inspect.signature(getattr(envdoctor, name)).parameters.values():
        if each.kind is each.KEYWORD_ONLY and not named:
            words.append("*")
            named = True
        star = "**" if each.kind is each.VAR_KEYWORD else ""
        words.append(f"{star}{each.name}{'' if each.default is each.empty else '='}")
    return ", ".join(words)


def test_what_is_offered() -> None:
    assert dir(envdoctor) == sorted((*OFFERED, "__version__"))
    assert {name: signature(name) for name in OFFERED} == OFFERED
    assert all(getattr(envdoctor, name).__doc__ for name in OFFERED)


def test_type_checkers_read_the_same_list() -> None:
    tree = ast.parse(Path(envdoctor.__file__).with_suffix(".pyi").read_text())
    imported = {each.name for node in tree.body if isinstance(node, ast.ImportFrom) for each in node.names}
    assert imported == set(OFFERED)
    assert Path(envdoctor.__file__).with_name("py.typed").exists()


def test_what_is_not_used_is_not_imported() -> None:
    code = "import sys, envdoctor; dir(envdoctor); print([each for each in sys.modules if 'envdoctor' in each])"
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, check=True)
    assert done.stdout == "['envdoctor']\n"
    with pytest.raises(AttributeError, match="module 'envdoctor' has no attribute 'cure'"):
        _ = envdoctor.cure  # type: ignore[attr-defined]


def test_a_diagnosis_prints_as_the_command_does(capsys: pytest.CaptureFixture[str]) -> None:
    found = envdoctor.diagnose(NO_GPU)
    assert isinstance(found.machine, Snapshot)
    assert [type(each) for each in found.findings] == [Finding, Finding]
    assert [each.id for each in found.findings] == ["CTR001", "TORCH013"]
    assert run(["diagnose", "--isolated", "--from", NO_GPU]) == 1
    printed = capsys.readouterr().out

    def undated(text: str) -> list[str]:
        return " ".join(re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "", text).split()).split(" ")

    assert undated(repr(found)) == undated(printed)


def test_a_machine_can_be_judged_again() -> None:
    machine = envdoctor.diagnose(OLD_DRIVER).machine
    assert envdoctor.diagnose(machine, only=["drv007"]).findings[0].id == "DRV007"
    ignored = envdoctor.diagnose(machine, ignore=["driver-too-old"])
    assert ignored.findings == ()
    assert [each.finding.id for each in ignored.judged.ignored] == ["DRV007"]


def test_this_machine_is_judged_with_the_python_that_runs() -> None:
    python = envdoctor.diagnose(only=["PY001"]).machine.python
    assert python is not None
    assert Path(python.executable).parent == Path(sys.executable).parent


def test_a_notebook_shows_the_page_in_a_frame_of_its_own() -> None:
    shown = envdoctor.diagnose(OLD_DRIVER)._repr_html_()
    frame = re.fullmatch(
        r'<iframe srcdoc="([^"]*)" sandbox="allow-scripts" allow="clipboard-write" [^<>]*></iframe>', shown
    )
    assert frame
    page = html.unescape(frame[1])
    assert page.startswith("<!doctype html>")
    assert "<code>DRV007</code>" in page


@pytest.mark.browser
def test_the_frame_shows_the_page_in_a_browser(browser: Browser) -> None:
    said: list[str] = []
    context = browser.new_context()
    notebook = context.new_page()
    notebook.on("console", lambda message: said.append(message.text))
    notebook.on("pageerror", lambda error: said.append(str(error)))
    notebook.set_content(f"<body>before {envdoctor.diagnose(OLD_DRIVER)._repr_html_()} after</body>")
    frame = notebook.frames[1]
    frame.wait_for_selector("h1")
    assert "451.48" in frame.inner_text("body")
    assert notebook.inner_text("body").split() == ["before", "after"]
    copied = frame.locator("button").first
    assert copied.is_visible()
    assert said == []
    context.close()


def test_an_estimate() -> None:
    found = envdoctor.estimate_memory("gpt2", memory=8 << 30, mode="training", batch=8, seq_len=1024)
    assert found.estimate.verdict == "out-of-memory"
    assert found.estimate.workload.optimizer == "adamw"
    assert "gpt2" in repr(found)
    assert "does not fit" in html.unescape(found._repr_html_())
    card = envdoctor.estimate_memory("resnet50", gpu="RTX 3060")
    assert (card.estimate.verdict, card.estimate.device_name) == ("fits", "NVIDIA GeForce RTX 3060")
    here = envdoctor.estimate_memory("resnet50", device="cpu", memory=4 << 30).estimate
    assert (here.workload.device, here.workload.foreach, here.verdict) == ("cpu", False, "fits")


def test_a_stack_and_its_files(tmp_path: Path) -> None:
    found = envdoctor.provision(gpus=["RTX 3060"], driver="535.183.01", os="linux", python="3.12", source=OLD_DRIVER)
    assert found.plan.stack.cuda
    assert found.plan.stack.python == "3.12"
    assert "Dockerfile" in {each.path for each in found.files}
    assert found.plan.stack.framework_version in repr(found)
    assert "environment.yml" in html.unescape(found._repr_html_())
    written = found.write(str(tmp_path / "dl"))
    assert len(written) == len(found.files)
    assert all(Path(path).is_file() for path in written)


def test_a_verification_is_what_happened() -> None:
    passed = Outcome(workload="cnn", framework="torch", device="cpu", status="passed")
    crashed = Outcome(workload="gpt2", framework="torch", device="cpu", status="crashed", reason="it ended")
    assert envdoctor.Verified(outcomes=(passed,)).passed
    both = envdoctor.Verified(outcomes=(passed, crashed))
    assert not both.passed
    assert "it ended" in repr(both)
    assert "it ended" in html.unescape(both._repr_html_())


def test_an_environment_without_the_framework_is_an_outcome(bare_python: str) -> None:
    steps: list[object] = []
    (done,) = envdoctor.verify_environment(bare_python, workloads=["cnn"], timeout=60, report=steps.append).outcomes
    assert done.status == "failed"
    assert "torch" in str(done.reason)
    assert steps


@pytest.fixture
def bare_python(tmp_path: Path) -> str:
    import venv

    venv.create(tmp_path / "bare", with_pip=False)
    return str(tmp_path / "bare" / "bin" / "python")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("diagnose('/no/such/file')", "there is no file /no/such/file"),
        ("diagnose(only=['DRV999'])", "there is no rule DRV999"),
        ("diagnose('x', python='y')", "give one"),
        ("estimate_memory('gpt2', seq_length=8)", "a workload has no seq_length"),
        ("estimate_memory('gpt2', gpu='RTX 3060', device='cpu')", "device=cpu wants none"),
        ("provision(gpus=['RTX 9999 Super'])", "no GPU called RTX 9999 Super is known"),
        ("verify_environment('/no/python')", "/no/python"),
        ("speak('klingon')", "there is no language klingon"),
    ],
)
def test_what_is_wrong_is_one_clear_error(call: str, said: str) -> None:
    with pytest.raises(envdoctor.EnvdoctorError, match=re.escape(said)):
        eval(f"envdoctor.{call}")


def test_where_nothing_fits_the_ways_out_are_named() -> None:
    with pytest.raises(envdoctor.NoStack) as problem:
        envdoctor.provision(gpus=["RTX 3060"], driver="300.01", cuda="12.8", source=OLD_DRIVER)
    assert "driver" in str(problem.value.hint)


@pytest.fixture
def _english() -> Iterator[None]:
    yield
    speak(None)


@pytest.mark.usefixtures("_english")
def test_it_speaks_chinese() -> None:
    envdoctor.speak("zh")
    assert language() == "zh_CN"
    assert "驱动" in repr(envdoctor.diagnose(OLD_DRIVER))
    envdoctor.speak("en")
    assert language() == "en"


def test_records_are_written_as_json() -> None:
    import msgspec

    document = json.loads(msgspec.json.encode(envdoctor.diagnose(OLD_DRIVER)))
    assert document["judged"]["findings"][0]["id"] == "DRV007"
