"""Whether requirements are met, a line each."""

from __future__ import annotations

from envdoctor.model.requirement import Checked
from envdoctor.model.speech import message, say
from envdoctor.report.text import Style, padded

_KINDS = {"ok": "good", "not met": "error", "unknown": "unknown"}
_STATES = {"ok": message("ok"), "not met": message("not met"), "unknown": message("unknown")}


def text(found: tuple[Checked, ...], style: Style) -> str:
    """Write a line for each requirement; it is never wrapped, so that grep finds it whole."""
    lines = []
    for each in found:
        mark = style.paint(padded(say(_STATES[each.state]), 8), _KINDS[each.state])
        lines.append(f"{mark} {each.requirement}: {each.needed}; {each.found}")
    return "\n".join(lines) + "\n"
