"""The image a stack is built on."""

from __future__ import annotations

import re

from msgspec.structs import replace

from envdoctor.knowledge.builds import Build, build_of
from envdoctor.knowledge.load import Knowledge
from envdoctor.resolver.images import cuda_pythons, digest_of, image_for

FACTS = Knowledge()


def build(facts: Knowledge, version: str, tag: str) -> Build:
    release = facts.torch(version)
    found = build_of(release, tag) if release else None
    assert found
    return found


def with_ubuntu(version: str, *, python: str | None = None, glibc: str | None = None) -> Knowledge:
    facts = Knowledge()
    facts.__dict__["ubuntu_releases"] = tuple(
        replace(row, python=python or row.python, glibc=glibc or row.glibc) if row.version == version else row
        for row in facts.ubuntu_releases
    )
    return facts


def test_only_a_tag_that_stays_has_a_digest() -> None:
    digest, (why,) = digest_of("nvidia/cuda:12.8.1-base-ubuntu24.04", FACTS)
    assert digest == "sha256:133c78a0575303be34164d0b90137a042172bdf60696af01a3c424ab402d86e2"
    assert why.source == "https://hub.docker.com/r/nvidia/cuda/tags" and "registry itself was not asked" in why.because
    assert digest_of("python:3.12-slim-bookworm", FACTS) == (None, ())
    known = {row.tag for row in FACTS.cuda_images}
    for row in FACTS.image_digests:
        assert row.tag in known and re.fullmatch("sha256:[0-9a-f]{64}", row.digest), row


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


def test_without_a_python_that_has_wheels_a_plain_python_image_serves() -> None:
    facts = Knowledge()
    facts.__dict__["ubuntu_releases"] = tuple(replace(row, python="3.7") for row in facts.ubuntu_releases)
    tag, python, reason = image_for(build(facts, "2.7.1", "cu118"), "3.11", "x86_64", facts)
    assert (tag, python) == ("python:3.11-slim-bookworm", "3.11")
    assert "the images of CUDA 11.8 bring Python 3.7, for which torch 2.7.1 has no wheels" in reason.because
    assert "the wheels carry CUDA themselves" in reason.because


def test_an_image_whose_python_has_no_wheels_does_not_serve() -> None:
    facts = with_ubuntu("22.04", python="3.7")
    # Ubuntu 20.04, whose 3.8 torch 2.7.1 has no wheels for either, is all that is left.
    assert image_for(build(facts, "2.7.1", "cu118"), "3.11", "x86_64", facts)[0] == "python:3.11-slim-bookworm"
    assert image_for(build(facts, "2.4.1", "cu118"), "3.11", "x86_64", facts)[:2] == (
        "nvidia/cuda:11.8.0-base-ubuntu20.04",
        "3.8",
    )
