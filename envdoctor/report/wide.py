"""Lines of text in which Chinese stands: such a character is two columns wide, and a line may end after it.

Imported only for text that has one; plain English needs none of this.
"""

from __future__ import annotations

import re

from rich.cells import cell_len

# Chinese typography: these never begin a line, and those never end one.
_NOT_FIRST = "，。、；：？！）》】」』”’…—·"
_NOT_LAST = "（《【「『“‘"
_WIDE = "\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6"
PARTS = re.compile(rf"[{_NOT_LAST}]*(?:[{_WIDE}]|[^\s{_WIDE}{_NOT_LAST}]+|(?<=[{_NOT_LAST}]))[{_NOT_FIRST}]*|\S|\s+")


def width(text: str) -> int:
    """Count the columns that a text takes on a terminal."""
    return cell_len(text)


def wrap(text: str, room: int, first_room: int) -> list[str]:
    """Break a text into lines of at most `room` columns, the first of `first_room`; paths and words stay whole."""
    lines: list[str] = []
    line, space = "", ""
    for part in PARTS.findall(text):
        if part.isspace():
            space = " "
            continue
        if line and cell_len(line + space + part) > (room if lines else first_room):
            lines.append(line)
            line, space = "", ""
        line += (space if line else "") + part
        space = ""
    return [*lines, line] if line or not lines else lines
