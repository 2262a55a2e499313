"""A report as one web page that needs nothing else: no network, no scripts, and nothing in it is ever executed.

Whatever comes from a machine or a report is data. The engine escapes every value, characters that turn the direction of
writing are spelt out, only https addresses become links, and a policy in the page names the one style and the one
script that may run by their hashes, so that even markup that got through would do nothing.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from typing import TYPE_CHECKING, Any

from envdoctor import __version__
from envdoctor.model import Record
from envdoctor.model.estimate import Estimate
from envdoctor.model.finding import Diagnosis
from envdoctor.model.outcome import Outcome
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import message, say, say_number
from envdoctor.model.stack import Artifact, Plan
from envdoctor.model.tuning import Tuning

if TYPE_CHECKING:
    import jinja2

    from envdoctor.report.drawing import Curve

SEVERITIES = {"error": message("error"), "warning": message("warning"), "note": message("note")}
STATES = {
    "good": message("found"),
    "error": message("has an error"),
    "warning": message("has a warning"),
    "absent": message("not there"),
    "unknown": message("not checked"),
    "not-applicable": message("not applicable"),
}
VERDICTS = {
    "fits": message("fits"),
    "tight": message("tight"),
    "out-of-memory": message("does not fit"),
    "unknown": message("not known"),
}
# Control characters, and those that turn the direction of writing; a browser obeys the latter even in escaped text.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


class Contents(Record):
    """What stands on a page; what is None or empty has no section."""

    title: str
    machine: Snapshot | None = None
    judged: Diagnosis | None = None
    estimates: tuple[Estimate, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    plan: Plan | None = None
    tuning: Tuning | None = None
    artifacts: tuple[Artifact, ...] = ()  # files to copy
    raw: Snapshot | None = None  # the machine without persons and secrets, to hand on


def page(contents: Contents, templates: str, *, language: str = "en") -> str:
    """Write a page.

    The text is plain ASCII, other characters are written as references: it stays the same page whatever encoding the
    shell writes it in.

    Args:
        contents: what stands on it.
        templates: the folder of the templates.
        language: of the words on it, as HTML's `lang` wants it: en, zh-CN.
    """
    engine = _engine(templates)
    style, script = (_read(templates, name) for name in ("page.css", "page.js"))
    text = engine.get_template("page.html.j2").render(
        language=language,
        version=__version__,
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        groups=_groups(contents.estimates),
        raw_text=_json(contents.raw),
        **{name: getattr(contents, name) for name in Contents.__struct_fields__},
    )
    text = _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return text.encode("ascii", "xmlcharrefreplace").decode()


def _engine(templates: str) -> jinja2.Environment:
    import jinja2

    from envdoctor.model.finding import proof
    from envdoctor.report import drawing, estimates, outcomes, plans, text, tuning_plot, tunings
    from envdoctor.report.areas import areas
    from envdoctor.report.quantities import figures, size

    engine = jinja2.Environment(
        loader=jinja2.FileSystemLoader(os.path.join(templates, "report")),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    engine.globals.update(
        say=say,
        say_number=say_number,
        areas=areas,
        bars=drawing.bars,
        loss_curve=_loss_curve,
        paces_of=_paces,
        memory_parts=drawing.memory_parts,
        parts_of=drawing.parts_of,
        title_of=estimates.title,
        verdict_of=estimates.verdict,
        speeds_of=estimates.speeds,
        change_of=estimates.change,
        judged_as=text.verdict,
        proof=proof,
        titled=text.titled,
        located=text.located,
        outcome_title=outcomes.title,
        numbers_of=outcomes.numbers,
        stack_title=plans.title,
        tunings=tunings,
        plot=tuning_plot.svg,
        shown=text.shown,
        EFFECTS=text.EFFECTS,
        SEVERITIES=SEVERITIES,
        STATES=STATES,
        VERDICTS=VERDICTS,
        PARTS={**estimates.PARTS, "context": message("context, libraries, allocator's reserve")},
    )
    engine.filters.update(size=size, figures=figures, argv=text.command_line)
    engine.tests["address"] = _is_address
    return engine


def _groups(found: tuple[Estimate, ...]) -> list[tuple[Estimate, ...]]:
    """Put the batches of one workload together, the smallest first, in the order in which the workloads came."""
    from msgspec.structs import replace

    groups: dict[Any, list[Estimate]] = {}
    for each in found:
        groups.setdefault((replace(each.workload, batch=1), each.device_name), []).append(each)
    return [tuple(sorted(group, key=lambda each: each.workload.batch)) for group in groups.values()]


def _loss_curve(outcome: Outcome) -> Curve | None:
    from envdoctor.report import drawing

    return drawing.curve([(step, loss) for step, loss in enumerate(outcome.metrics.losses or (), 1)])


def _paces(outcome: Outcome) -> list[tuple[str, float]]:
    """Give the throughput of the proof, and of what was tried beside it in the same unit."""
    metrics = outcome.metrics
    paces = [(say("the proof itself"), metrics.throughput)] if metrics.throughput else []
    tried = [(each.name, each.throughput) for each in outcome.trials if each.throughput and each.unit == metrics.unit]
    return [*paces, *tried]


def _json(raw: Snapshot | None) -> str | None:
    from envdoctor.report import documents

    return None if raw is None else documents.snapshot(raw)


def _is_address(text: str | None) -> bool:
    """Tell whether a text may become a link; what else a report holds, `javascript:` above all, stays text."""
    return text is not None and re.fullmatch(r"https://[^\s\"'<>\\]+", text) is not None


def _read(templates: str, name: str) -> str:
    with open(os.path.join(templates, "report", name), encoding="utf-8") as file:
        return file.read()


def _hash(text: str) -> str:
    """Name a style or a script as a content security policy does."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
