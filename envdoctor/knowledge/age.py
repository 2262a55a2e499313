"""How old facts are. Nothing here asks the clock: `today` is given."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from envdoctor.knowledge.catalogue import rows_of
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.speech import say
from envdoctor.model.stack import FrameworkName, Reason

# Torch releases about every two months, so twice that has certainly missed one.
OLD_AFTER_DAYS = 120
# What the choice of a stack stands on, beside the table of its framework.
_ALWAYS = ("architectures", "cuda_families", "driver_branches")
# And beside that where a package was asked for with it.
_COMPANIONS = {
    "vllm": ("vllm", "vllm_hardware"),
    "xformers": ("xformers",),
    "transformers": ("transformers",),
    "bitsandbytes": ("bitsandbytes", "bitsandbytes_builds", "bitsandbytes_hardware"),
    "onnxruntime-gpu": ("onnxruntime_gpu",),
    "flash-attn": ("flash_attn",),
}


def days_since(checked: str, today: date) -> int:
    """Count the days since an ISO date.

    >>> days_since("2026-11-22", date(2026, 11, 24))
    2
    """
    return (today - date.fromisoformat(checked)).days


def is_old(newest: str, today: date) -> bool:
    """Tell whether a table has not been looked at for so long that releases are missing from it.

    The newest row counts: what was published long ago does not change, and need not be checked again.
    """
    return days_since(newest, today) > OLD_AFTER_DAYS


def old_tables(facts: Knowledge, tables: Iterable[str], today: date) -> tuple[tuple[str, str], ...]:
    """Give those of these tables that are old, each with the date of its newest row, the oldest first."""
    newest = ((table, max(row.checked for row in rows_of(facts, table))) for table in tables)
    return tuple(sorted((each for each in newest if is_old(each[1], today)), key=lambda each: (each[1], each[0])))


def age_reason(
    facts: Knowledge, framework: FrameworkName, today: date, companions: tuple[str, ...] = ()
) -> Reason | None:
    """Say that the facts a stack was chosen by, with its companions, are old; None: they are not.

    Something newer than what was chosen may have been published since, which is for the person to weigh.
    """
    beside = (table for name in companions for table in _COMPANIONS[name])
    old = old_tables(facts, (framework, *_ALWAYS, *beside), today)
    if not old:
        return None
    checked = old[0][1]
    names = ", ".join(table for table, _ in old)
    return Reason(
        choice="note",
        because=say(
            "the facts of {tables} were last checked on {date}, {days} days ago; what was published since is not among "
            "them: a newer envdoctor knows more",
            tables=names,
            date=checked,
            days=days_since(checked, today),
        ),
    )
