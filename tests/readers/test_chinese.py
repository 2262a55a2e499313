"""Reports as they are written in Chinese: no space stands between a sign and a foreign word."""

from __future__ import annotations

from envdoctor.knowledge.load import Knowledge
from envdoctor.readers import read
from envdoctor.rules.registry import evaluate


def test_words_without_spaces_between_them() -> None:
    machine = read("我的显卡是GTX 1080 Ti，驱动580.65，系统Ubuntu 20.04，运行时报错\n")
    assert [gpu.capability for gpu in machine.gpus] == ["6.1"]
    assert machine.driver is not None
    assert machine.driver.version == "580.65"
    assert machine.system is not None
    assert machine.system.distribution_version == "20.04"


def test_an_error_between_chinese_words_is_judged() -> None:
    machine = read(
        "显卡RTX 5090，装了torch 2.5.1+cu121，报错no kernel image is available for execution on the device\n"
    )
    first = evaluate(machine, Knowledge()).findings[0]
    assert first.rule == "gpu-too-new-for-build"
    assert "5090" in first.title
