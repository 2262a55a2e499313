from __future__ import annotations

import pytest

from envdoctor.cli.sizes import Size


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1000", 1000),
        ("1000B", 1000),
        ("8GiB", 8 << 30),
        ("8g", 8 << 30),
        ("8 GB", 8_000_000_000),
        ("1.5MiB", 3 << 19),
        ("2TiB", 2 << 40),
    ],
)
def test_sizes_as_people_type_them(text: str, count: int) -> None:
    assert Size().convert(text, None, None) == count
