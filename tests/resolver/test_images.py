"""The image a stack is built on."""

from __future__ import annotations

from msgspec.structs import replace

from envdoctor.knowledge.load import Knowledge
from envdoctor.resolver.candidates import Build
from envdoctor.resolver.images import cuda_pythons, image_for


def build(facts: Knowledge, version: str, tag: str) -> Build:
    release = facts.torch(version)
    variant = release.variant(tag) if release else None
    assert release and variant
    return Build(release=release, tag=tag, kind="cuda", cuda=variant.cuda, variant=variant)


def with_ubuntu(version: str, *, python: str | None = None, glibc: str | None = None) -> Knowledge:
    facts = Knowledge()
    facts.__dict__["ubuntu_releases"] = tuple(
        replace(row, python=python or row.python, glibc=glibc or row.glibc) if row.version == version else row
        for row in facts.ubuntu_releases
    )
    return facts


def test_the_image_that_brings_the_python_comes_first() -> None:
    facts = Knowledge()
    cu126 = build(facts, "2.7.1", "cu126")
    assert image_for(cu126, "3.10", "x86_64", facts)[:2] == ("nvidia/cuda:12.6.3-base-ubuntu22.04", "3.10")
    assert image_for(cu126, "3.12", "x86_64", facts)[:2] == ("nvidia/cuda:12.6.3-base-ubuntu24.04", "3.12")
    assert image_for(cu126, "3.11", "x86_64", facts)[:2] == ("nvidia/cuda:12.6.3-base-ubuntu24.04", "3.12")
    assert cuda_pythons(cu126, facts) == ("3.8", "3.10", "3.12")


def test_else_one_whose_python_has_wheels() -> None:
    facts = with_ubuntu("24.04", python="3.15")
    tag, python, reason = image_for(build(facts, "2.7.1", "cu126"), "3.11", "x86_64", facts)
    assert (tag, python) == ("nvidia/cuda:12.6.3-base-ubuntu22.04", "3.10")
    assert "Python 3.10, not 3.11" in reason.because and "must be added" not in reason.because


def test_an_image_with_an_older_c_library_does_not_serve() -> None:
    facts = with_ubuntu("24.04", glibc="2.27")
    assert image_for(build(facts, "2.7.1", "cu126"), "3.12", "x86_64", facts)[1] == "3.10"
    assert image_for(build(facts, "2.6.0", "cu118"), "3.10", "x86_64", facts)[1] == "3.10"


def test_a_python_that_no_image_brings_must_be_added() -> None:
    facts = with_ubuntu("22.04", python="3.7")
    _, _, reason = image_for(build(facts, "2.7.1", "cu118"), "3.11", "x86_64", facts)
    assert "Python 3.11 must be added" in reason.because
