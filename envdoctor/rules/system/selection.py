"""Which findings a person wants to hear of: rules by code or slug, and findings that are known and accepted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from msgspec.structs import replace

from envdoctor.model.finding import Diagnosis, Finding, Ignored
from envdoctor.rules.registry import rules


class Ignore(NamedTuple):
    """A wish not to hear of a rule."""

    rule: str  # code or slug
    reason: str | None
    source: str  # --ignore, or the settings file


def unknown(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Give the names that no rule has, each with up to three that look like it."""
    known = [name for each in rules() for name in (each.id, each.slug, *each.variants)]
    strange = [name for name in names if _form(name) not in known]
    if not strange:
        return {}
    from difflib import get_close_matches

    known = list(dict.fromkeys(known))
    return {name: tuple(get_close_matches(_form(name), known, 3, 0.6)) for name in strange}


def named(names: Iterable[str]) -> frozenset[str]:
    """Give codes and slugs as the rules write them: DRV007, driver-too-old."""
    return frozenset(map(_form, names))


def without(judged: Diagnosis, ignores: Iterable[Ignore]) -> Diagnosis:
    """Move the findings that are to be ignored to `ignored`, with the first reason that was given.

    What an ignored finding explained away stays explained: who accepts a cause knows what follows from it, and would
    have to write down each consequence otherwise. It is named in the finding's `supersedes`.
    """
    wishes: dict[str, Ignore] = {}
    for each in ignores:
        known = wishes.get(_form(each.rule))
        if known is None or (known.reason is None and each.reason is not None):
            wishes[_form(each.rule)] = each

    def wish(finding: Finding) -> Ignore | None:
        return wishes.get(finding.id) or wishes.get(finding.rule)

    ignored = tuple(
        Ignored(finding=finding, reason=found.reason, source=found.source)
        for finding in judged.findings
        if (found := wish(finding))
    )
    kept = tuple(finding for finding in judged.findings if not wish(finding))
    return replace(judged, findings=kept, ignored=ignored)


def _form(name: str) -> str:
    """Write a code in capitals and a slug in small letters: a code has no hyphen."""
    return name.lower() if "-" in name else name.upper()
