"""Versions are compared as numbers and printed as they came."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envdoctor.model.version import at_least, compare, local, major, minor, numbers, public


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("535.183.01", (535, 183, 1)),
        ("9.10.2", (9, 10, 2)),
        ("2.7.1+cu118", (2, 7, 1)),
        ("v12", (12,)),
        ("2.10.0rc1", (2, 10, 0)),
        ("glibc-2.36-9+deb12u10", (2, 36)),
    ],
)
def test_the_leading_numbers(text: str, expected: tuple[int, ...]) -> None:
    assert numbers(text) == expected


@pytest.mark.parametrize("text", ["", "none", "cu", "…"])
def test_without_a_number_there_is_no_version(text: str) -> None:
    with pytest.raises(ValueError, match="no version"):
        numbers(text)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("9.9", "9.10.2", -1),
        ("12.8", "12.8.0", 0),
        ("525.60.13", "525.60", 1),
        ("450.80.02", "450.80.2", 0),
        ("13.0", "12.9", 1),
        ("2.7.1+cu118", "2.7.1+cu128", 0),
    ],
)
def test_comparison_is_by_number(left: str, right: str, expected: int) -> None:
    assert compare(left, right) == expected
    assert compare(right, left) == -expected


def test_floors_parts_and_tags() -> None:
    assert at_least("452.39", "452.39")
    assert not at_least("451.99", "452.39")
    assert (major("13"), major("535.183.01")) == (13, 535)
    assert (minor("12.6.77"), minor("13")) == ("12.6", "13.0")
    assert (public("2.13.0+cpu"), public("2.13.0")) == ("2.13.0", "2.13.0")
    assert (local("2.13.0+cpu"), local("2.13.0"), local("2.13.0+")) == ("cpu", None, None)


VERSIONS = st.lists(st.integers(0, 999), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))


@given(VERSIONS, VERSIONS, VERSIONS)
def test_comparison_is_an_order(a: str, b: str, c: str) -> None:
    assert compare(a, a) == 0
    assert compare(a, b) == -compare(b, a)
    if compare(a, b) <= 0 and compare(b, c) <= 0:
        assert compare(a, c) <= 0
    assert at_least(a, b) == (compare(a, b) >= 0)


@given(VERSIONS)
def test_zeros_at_the_end_change_nothing(version: str) -> None:
    assert compare(version, version + ".0.0") == 0
    assert compare(version, version + ".0.1") == -1
