"""A tuning as text for a person: one table of what ran, what it means, and the settings to copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envdoctor.model.speech import message, say
from envdoctor.model.tuning import changes
from envdoctor.report.quantities import figures, size
from envdoctor.report.text import Style, columns, padded

if TYPE_CHECKING:
    from collections.abc import Callable

    from envdoctor.model.estimate import Range
    from envdoctor.model.tuning import Attempt, Settings, Tuning, Use

_STATES = {
    "out-of-memory": message("out of memory"),
    "timeout": message("took too long"),
    "failed": message("failed"),
}
_USES = {
    "prototype": message("prototype"),
    "production": message("production"),
    "training": message("training"),
}
GOALS = {"inference": message("inference"), "training": message("training")}
_MARKS = {"fine": ("+", "good"), "slow": ("!", "warning"), "hopeless": ("x", "error")}
_LABEL = 12
_WORDS = (0, 3, 8)  # columns of the table that hold words
_ROW = " " * (_LABEL + 2)


def text(tuning: Tuning, style: Style | None = None) -> str:
    """Write a tuning."""
    style = style or Style(colour=False, width=100)
    lines = [style.paint(title(tuning), "bold"), *_table(tuning), ""]
    for label, words in answers(tuning):
        lines += _rows(label, [words], style)
    lines += _uses(tuning, style)
    lines += _recipe(tuning)
    lines += ["", *_left_out(tuning, style)] if tuning.left_out else []
    return "\n".join(lines) + "\n"


def title(tuning: Tuning) -> str:
    """Say in one line what was tuned where."""
    return say("{model}, {goal}, on {device}", model=tuning.model, goal=say(GOALS[tuning.goal]), device=_device(tuning))


def _device(tuning: Tuning) -> str:
    name = tuning.device_name or tuning.device
    version = f"torch {tuning.framework_version}" if tuning.framework_version else "torch"
    room = size(tuning.room_bytes)
    return say("{name}, {version}, {room} free", name=name, version=version, room=room)


def cells(tuning: Tuning) -> list[tuple[str, ...]]:
    """Give the table of what ran, its head first; a star marks the best."""
    head = (
        "",
        say("size"),
        say("batch"),
        say("precision"),
        tuning.unit,
        say("predicted"),
        say("memory"),
        say("predicted"),
        say("also"),
    )
    return [head, *(_row(each, tuning) for each in _worth(tuning))]


def _table(tuning: Tuning) -> list[str]:
    rows = cells(tuning)
    widths = [max(columns(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["".join(_cell(*each) for each in zip(row, widths, range(len(row)), strict=True)).rstrip() for row in rows]


def _cell(text: str, width: int, place: int) -> str:
    """Fill a cell: numbers stand at the right, words at the left."""
    if place in _WORDS:
        return padded(text, width + 2)
    return " " * (width - columns(text)) + text + "  "


def _worth(tuning: Tuning) -> list[Attempt]:
    """Give one trial for each of the settings, in the order they ran; the last says it with most certainty."""
    last = {each.settings: each for each in tuning.attempts}
    return list(last.values())


def _row(attempt: Attempt, tuning: Tuning) -> tuple[str, ...]:
    settings = attempt.settings
    if attempt.status == "ran":
        speed = figures(attempt.throughput) if attempt.throughput is not None else "?"
    else:
        speed = say(_STATES[attempt.status])
    predicted = attempt.predicted
    best = tuning.best is not None and settings == tuning.best.settings
    side = f"{settings.size}x{settings.size}" if tuning.kind == "image" else str(settings.size)
    return (
        "*" if best else "",
        side,
        str(settings.batch),
        settings.precision,
        speed,
        _range(predicted.throughput, figures),
        size(attempt.peak_memory_bytes) if attempt.peak_memory_bytes else "",
        _range(predicted.memory, lambda count: size(int(count))),
        ", ".join((*changes(settings), *_changed(attempt))),
    )


def _range(known: Range | None, write: Callable[[float], str]) -> str:
    if known is None:
        return "-"
    low, high = write(known.low), write(known.high)
    return low if low == high else f"{low}..{high}"


def _changed(attempt: Attempt) -> tuple[str, ...]:
    """Say what changing the model cost: how many outputs stay the same, and the size of its file."""
    words: tuple[str, ...] = ()
    if attempt.agreement is not None:
        words += (say("{share:.0%} of outputs agree", share=attempt.agreement),)
    if attempt.file_bytes is not None and (attempt.settings.precision != "fp32" or attempt.settings.pruned):
        words += (say("file {size}", size=size(attempt.file_bytes)),)
    return words


def answers(tuning: Tuning) -> list[tuple[str, str]]:
    """Say what came of it beside the table, each with its label."""
    rows = []
    if tuning.largest_batch is not None:
        words = (
            say("{batch} lives, {failed} does not", batch=tuning.largest_batch, failed=tuning.failed_batch)
            if tuning.failed_batch is not None
            else say("{batch} lives; a larger one was not seen to fail", batch=tuning.largest_batch)
        )
        rows.append((say("batch"), words))
    if tuning.wanted is not None:
        rows.append((say("wanted"), _wanted(tuning.wanted.settings, tuning.wanted_batch)))
    why = [each for each in tuning.attempts if each.status in ("failed", "timeout") and each.reason]
    if tuning.best is None and why:
        rows.append((say("why"), why[-1].reason or ""))
    if any(each.agreement is not None for each in tuning.attempts):
        note = say("the weights are random: how much the outputs of trained ones agree has to be measured with them")
        rows.append((say("note"), note))
    took = (
        message("{seconds:.0f} s of {budget:.0f} s, interrupted")
        if tuning.interrupted
        else message("{seconds:.0f} s of {budget:.0f} s")
    )
    return [*rows, (say("took"), say(took, seconds=tuning.seconds, budget=tuning.budget_seconds))]


def _wanted(settings: Settings, batch: int | None) -> str:
    """Say how the wanted batch runs here."""
    if settings.accumulation > 1:
        words = message("batch {batch} runs in {number} parts of {part}")
        return say(words, batch=batch, number=settings.accumulation, part=settings.batch)
    if settings.checkpointing:
        return say("batch {batch} runs with activation checkpointing", batch=batch)
    return say("batch {batch} runs as it is", batch=batch)


def _uses(tuning: Tuning, style: Style) -> list[str]:
    lines = [""] if tuning.uses else []
    for each in tuning.uses:
        mark, colour = _MARKS[each.grade]
        name, words = use(each)
        lines.append(style.wrap(words, _ROW, f"{style.paint(mark, colour)} {padded(name, _LABEL)}"))
    return lines


def use(each: Use) -> tuple[str, str]:
    """Give the name of a use, and what it would be like."""
    return say(_USES[each.use]), each.words if each.measured else say("predicted: {words}", words=each.words)


def _recipe(tuning: Tuning) -> list[str]:
    if not tuning.recipe:
        return []
    return ["", f"  {say('To copy:')}", *(f"    {line}" for line in tuning.recipe)]


def _left_out(tuning: Tuning, style: Style) -> list[str]:
    return _rows(say("not tried"), left_out(tuning), style)


def left_out(tuning: Tuning) -> list[str]:
    """Say what was not tried; what has the same reason stands together."""
    reasons: dict[str, list[str]] = {}
    for each in tuning.left_out:
        reasons.setdefault(each.reason, []).append(each.what)
    return [f"{'; '.join(what)}: {reason}" for reason, what in reasons.items()]


def _rows(label: str, words: list[str], style: Style) -> list[str]:
    return [
        style.wrap(each, _ROW, f"  {padded(label if place == 0 else '', _LABEL)}") for place, each in enumerate(words)
    ]
