"""A long text is searched as a whole; what is kept is what asking each line would keep."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from envdoctor.readers import lines

WORDS = ["Error", "CANNOT", "ok", "step 1", "İ", "无法", "fail\x85ed", "Out Of Memory", "out of", "memory", "", " "]


@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=3).map(" ".join), max_size=30))
def test_loud_lines_are_those_that_alarm(raw: list[str]) -> None:
    assert lines._loud(raw) == [number for number, line in enumerate(raw) if lines.alarming(line)]
