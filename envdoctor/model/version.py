"""Versions are compared here and nowhere else; their text is kept as it came."""

from __future__ import annotations

import re
from functools import lru_cache

_NUMBERS = re.compile(r"\d+(?:\.\d+)*")


# A choice of a stack compares the same few hundred versions tens of thousands of times.
@lru_cache(maxsize=4096)
def numbers(text: str) -> tuple[int, ...]:
    """Give the leading dotted numbers of a version.

    Driver versions (535.183.01) and CUDA's (12.8) are dotted numbers and nothing else; so are releases once a local
    tag (+cu128) or a suffix (rc1) is left out, which is what rules compare.

    >>> numbers("535.183.01"), numbers("2.7.1+cu118"), numbers("v3")
    ((535, 183, 1), (2, 7, 1), (3,))

    Raises:
        ValueError: there is no number in it.
    """
    found = _NUMBERS.search(text)
    if found is None:
        raise ValueError(f"no version in {text!r}")
    return tuple(int(part) for part in found.group().split("."))


def compare(left: str, right: str) -> int:
    """Compare two versions by number: -1, 0 or 1; missing parts count as zero.

    >>> compare("525.60.13", "525.60"), compare("12.8", "12.8.0"), compare("9.10.2", "9.9")
    (1, 0, 1)
    """
    a, b = list(numbers(left)), list(numbers(right))
    width = max(len(a), len(b))
    a += [0] * (width - len(a))
    b += [0] * (width - len(b))
    return (a > b) - (a < b)


def at_least(version: str, floor: str) -> bool:
    """Tell whether `version` is `floor` or newer.

    >>> at_least("450.80.02", "450.80.02"), at_least("451.22", "452.39")
    (True, False)
    """
    return compare(version, floor) >= 0


def major(version: str) -> int:
    """Give the first number.

    >>> major("13.0")
    13
    """
    return numbers(version)[0]


def minor(version: str) -> str:
    """Give major.minor as text.

    >>> minor("12.6.77"), minor("13")
    ('12.6', '13.0')
    """
    parts = (*numbers(version), 0)
    return f"{parts[0]}.{parts[1]}"


def public(version: str) -> str:
    """Leave out the local tag.

    >>> public("2.13.0+cpu")
    '2.13.0'
    """
    return version.partition("+")[0]


def local(version: str) -> str | None:
    """Give the local tag, or None.

    >>> local("2.13.0+cpu"), local("2.13.0")
    ('cpu', None)
    """
    return version.partition("+")[2] or None


def order(left: str, right: str) -> int | None:
    """Compare like `compare`, or give None where one of them has no number and nothing can be said.

    >>> order("2.7.1", "2.8"), order("nightly", "2.8")
    (-1, None)
    """
    return compare(left, right) if readable(left) and readable(right) else None


def readable(version: str | None) -> str | None:
    """Give the version if it has a number in it, else None: what cannot be compared is as good as unknown.

    >>> readable("2.8.0a0+git1234"), readable("nightly"), readable("")
    ('2.8.0a0+git1234', None, None)
    """
    return version if version and _NUMBERS.search(version) else None


def released(version: str) -> bool:
    """Tell whether this names a final release; nightlies, builds from source and a vendor's own have other rules.

    >>> released("2.7.1+cu118"), released("2.9.0.dev20250901+cu128"), released("2.6.0a0+df5bbc09d1.nv24.12")
    (True, False, False)
    """
    return all(part.isascii() and part.isdigit() for part in public(version).split("."))


def cudnn_of_number(encoded: int) -> str:
    """Read the number that cudnnGetVersion returns, whose digits changed their places with cuDNN 9.

    https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-graph-library.html

    >>> cudnn_of_number(91002), cudnn_of_number(90100), cudnn_of_number(8907)
    ('9.10.2', '9.1.0', '8.9.7')
    """
    unit = 10_000 if encoded >= 90_000 else 1_000
    return f"{encoded // unit}.{encoded % unit // 100}.{encoded % 100}"


def cudnn_of_wheel(version: str) -> str:
    """Give the cuDNN release inside a package, whose version adds a build number.

    >>> cudnn_of_wheel("9.10.2.21")
    '9.10.2'
    """
    return ".".join(version.split(".")[:3])
