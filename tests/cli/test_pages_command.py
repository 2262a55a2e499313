"""`--format html`: the same judgement as a page, with its exit status, and nothing private in the part to hand on."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from envdoctor.cli import run
from envdoctor.host.local import LocalHost

MACHINES = Path(__file__).parents[1] / "machines"
OLD_DRIVER = str(MACHINES / "cuda118-on-451-windows-wsl2")
Capture = pytest.CaptureFixture[str]


def page(capsys: Capture, *words: str, status: int = 0) -> str:
    assert run(list(words)) == status
    text = capsys.readouterr().out
    assert text.startswith("<!doctype html>")
    assert text.endswith("</html>\n")
    return html.unescape(text)


def snapshot(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(re.findall(r"<pre data-copy=\"snapshot.json\"[^>]*>(.+?)</pre>", text, re.S)[0])
    return found


def test_a_diagnosis(capsys: Capture) -> None:
    text = page(capsys, "diagnose", "--isolated", "--from", OLD_DRIVER, "--format", "html", status=1)
    assert "<code>DRV007</code>" in text
    assert "451.48" in text
    for title in ("resnet50, training, amp-fp16, sgd", "gpt2, training, 1024 tokens, amp-fp16, adamw"):
        assert text.count(f"<h3>{title}</h3>") == 1
    assert "free on GeForce RTX 2080 (GPU 0): 7.12 GiB" in text
    assert snapshot(text)["driver"]["version"] == "451.48"


def test_the_wanted_workload_is_drawn_alone(capsys: Capture) -> None:
    words = ("--isolated", "--from", OLD_DRIVER, "--for", "gpt2:training:batch=32,seq=1024", "--format", "html")
    text = page(capsys, "diagnose", *words, status=1)
    assert re.findall(r"<strong>(batch \d+)</strong>", text)[-1] == "batch 32"
    assert "resnet50" not in text.partition('id="memory"')[2].partition('id="snapshot"')[0]
    assert "does not fit" in text


def test_a_machine_whose_memory_is_unknown_has_no_bars(capsys: Capture, tmp_path: Path) -> None:
    bare = tmp_path / "bare.json"
    bare.write_text('{"schema_version": 1}')
    assert 'id="memory"' not in page(capsys, "diagnose", "--isolated", "--from", str(bare), "--format", "html")


def test_hostile_snapshots_stay_text(capsys: Capture, tmp_path: Path) -> None:
    bad = "</pre></script><script>alert(1)</script>"
    file = tmp_path / "hostile.json"
    file.write_text(json.dumps({"schema_version": 1, "taken_at": bad, "cpu": {"model": bad}, "wanted": [bad, "gpt2"]}))
    assert run(["diagnose", "--isolated", "--from", str(file), "--format", "html"]) == 0
    text = capsys.readouterr().out
    assert text.count("<script") == 1
    assert text.count("&lt;script&gt;alert(1)") >= 3


def test_the_snapshot_names_nobody(capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SUDO_USER", "LOGNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("USER", "annabella")
    monkeypatch.setenv("HOME", "/home/annabella")
    hostname = LocalHost().read("/proc/sys/kernel/hostname").decode().strip()
    file = tmp_path / "private.json"
    python = {"executable": "/home/annabella/dl/bin/python", "prefix": "/home/annabella/dl"}
    gpu = {"vendor": "nvidia", "uuid": "GPU-8f6b3c1e-1111-2222-3333-444455556666"}
    variables = [{"name": "PIP_INDEX_URL", "value": f"https://ann:secret@pip.{hostname}/simple"}]
    file.write_text(json.dumps({"schema_version": 1, "pythons": [python], "gpus": [gpu], "variables": variables}))
    assert run(["diagnose", "--isolated", "--from", str(file), "--format", "html", "--fail-on", "never"]) == 0
    text = html.unescape(capsys.readouterr().out)
    written = json.dumps(snapshot(text))
    for private in ("annabella", "secret", "8f6b3c1e"):
        assert private not in written
    assert "~/dl/bin/python" in written
    assert "/home/annabella/dl/bin/python" in text  # what is to be typed stays true


def test_an_estimate(capsys: Capture) -> None:
    words = ("--mode", "training", "--batch", "8", "--seq-len", "1024", "--memory", "8GiB", "--format", "html")
    text = page(capsys, "estimate", "gpt2", *words)
    assert "It does not fit" in text
    assert "activation checkpointing" in text
    assert run(["estimate", "gpt2", *words, "--fail-on", "tight"]) == 1


@pytest.mark.parametrize(
    "words", [("diagnose", "--list-rules", "--format", "html"), ("estimate", "gpt2", "--for-gpus", "--format", "html")]
)
def test_what_has_no_page_says_so(words: tuple[str, ...], capsys: Capture) -> None:
    assert run(list(words)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "has no page" in said.err
    assert "--format text and json" in said.err


def test_the_page_says_its_language(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    import gettext

    from envdoctor.model import speech

    chinese = gettext.NullTranslations()
    monkeypatch.setattr(chinese, "_info", {"language": "zh_CN"})
    monkeypatch.setattr(speech, "_catalogue", chinese)
    from envdoctor.app import pages
    from envdoctor.report.pages import Contents

    assert '<html lang="zh-CN">' in pages.written(Contents(title="x"))
    monkeypatch.setattr(speech, "_catalogue", None)
    assert '<html lang="en">' in pages.written(Contents(title="x"))
