"""What differs between two snapshots, and which findings came or went with it: "it worked yesterday"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import msgspec

from envdoctor.model import Record
from envdoctor.model.finding import SEVERITIES, Diagnosis, Finding
from envdoctor.model.snapshot import Snapshot

ChangeKind = Literal["changed", "appeared", "gone", "now-known", "now-unknown"]

UNKNOWN, NONE = "unknown", "none"


class Change(Record):
    """A fact that is not the same. `before` and `after` are text: "none" is absent, "unknown" could not be seen."""

    area: str  # the part of the Snapshot: driver, pythons, gpus
    fact: str  # driver.version, pythons.packages.torch
    kind: ChangeKind
    before: str
    after: str
    explains: tuple[str, ...] = ()  # ids of findings that came or went and rest on this fact


class Moved(Record):
    """A finding of one side only, and what the other side says: nothing, not judged, explained, or less severe."""

    finding: Finding
    other: Literal["absent", "unknown", "explained", "milder"]


class Difference(Record):
    """All that differs; the change that explains the first new finding comes first."""

    changes: tuple[Change, ...]
    came: tuple[Moved, ...]
    went: tuple[Moved, ...]
    stayed: tuple[Finding, ...]  # as they are now


# What is no fact of the machine, or another one at every look.
_APART = frozenset(("schema_version", "taken_at", "tool", "problems", "declared", "gaps", "origins"))
# These move while nothing is wrong: they are named only where a finding that came or went rests on them.
_RESTLESS: tuple[str, ...] = (
    "available_bytes",
    "shm_free_bytes",
    "free_bytes",
    "used_bytes",
    "files_free",
    "drive_free_bytes",
)
_RESTLESS += ("reserved_huge_bytes", "processes", "temperature", "held_back", "power_state", "link_width")
# What says most of a record whose name is known.
_BRIEF = ("value", "version", "build", "installer")
# Compared as a whole: a version or a value says more than each field beside it.
_WHOLE = ("pythons.packages", "variables")
# What tells the members of a list apart, the first that all members of both sides have and none shares.
_KEYS = ("bus_id", "index", "uuid", "path", "name", "package", "code")
_INDEX = re.compile(r"\[\d+\]")
# Short names that evidence uses for places in a Snapshot.
_SHORT = (("python.", "pythons."), ("wsl.", "system.wsl."), ("nvidia_gpus", "gpus"))


def compare(before: Snapshot, after: Snapshot, judged_before: Diagnosis, judged_after: Diagnosis) -> Difference:
    """Compare two machines, or one at two times, with their diagnoses.

    What one side could not see is unknown there and never counts as gone; a finding of a rule that the other side
    could not judge is told as such.
    """
    came, stayed = _moved(judged_after, judged_before)
    went, _ = _moved(judged_before, judged_after)
    worse = {_key(each.finding) for each in came if each.other == "milder"}
    went = tuple(each for each in went if _key(each.finding) not in worse)
    rests = [(each.finding.id, fact) for each in (*came, *went) for fact in _rests_on(each.finding)]
    changes = [_explained(each, rests) for each in _changes(before, after)]
    changes = [each for each in changes if each.explains or each.fact.rpartition(".")[2] not in _RESTLESS]
    rank = {code: place for place, code in reversed(list(enumerate(each.finding.id for each in (*came, *went))))}
    facts = {fact: place for place, (_, fact) in reversed(list(enumerate(rests)))}
    changes.sort(key=lambda each: (min((rank[code] for code in each.explains), default=len(rank)), _first(each, facts)))
    return Difference(changes=tuple(changes), came=came, went=went, stayed=stayed)


def _key(finding: Finding) -> tuple[str, str]:
    return finding.id, finding.rule


def _moved(here: Diagnosis, there: Diagnosis) -> tuple[tuple[Moved, ...], tuple[Finding, ...]]:
    """Give the findings of `here` that `there` lacks or has in a milder form, and those that both have."""
    others: dict[tuple[str, str], list[Finding]] = {}
    for finding in there.findings:
        others.setdefault(_key(finding), []).append(finding)
    unjudged = {each.id for each in there.not_checked}
    explained = {code for finding in there.findings for code in finding.supersedes}
    moved, both = [], []
    for finding in here.findings:
        same = others.get(_key(finding))
        other = same.pop(0) if same else None
        if other is None:
            state: Literal["absent", "unknown", "explained", "milder"] = (
                "explained" if finding.id in explained else "unknown" if finding.id in unjudged else "absent"
            )
            moved.append(Moved(finding=finding, other=state))
        elif SEVERITIES.index(finding.severity) < SEVERITIES.index(other.severity):
            moved.append(Moved(finding=finding, other="milder"))
        else:
            both.append(finding)
    return tuple(moved), tuple(both)


class _Side(NamedTuple):
    """A machine and the facts that it does not tell."""

    machine: Snapshot
    hidden: frozenset[str]
    reported: bool  # by a pasted text, which never lists everything

    def unseen(self, value: object, *facts: str) -> bool:
        """Tell whether nothing stands there because nobody could look."""
        if value not in (None, (), False):
            return False
        if self.reported and not any(fact in self.machine.origins for fact in facts):
            return True
        return any(part in self.hidden for fact in facts for part in _above(fact))


def _side(machine: Snapshot) -> _Side:
    hidden = frozenset(_INDEX.sub("", gap.fact) for gap in machine.gaps)
    return _Side(machine, hidden, any(gap.probe == "report" for gap in machine.gaps))


def _above(fact: str) -> Iterator[str]:
    while fact:
        yield fact
        fact = fact.rpartition(".")[0]


def _changes(before: Snapshot, after: Snapshot) -> Iterator[Change]:
    sides = _side(before), _side(after)
    for name in Snapshot.__struct_fields__:
        if name not in _APART:
            yield from _compared(name, name, getattr(before, name), getattr(after, name), sides)


def _compared(fact: str, plain: str, old: object, new: object, sides: tuple[_Side, _Side]) -> Iterator[Change]:
    """Go down as long as both sides have something; `plain` is the path as gaps write it, without names in it."""
    if old == new:
        return
    if isinstance(old, msgspec.Struct) and isinstance(new, msgspec.Struct):
        for name in new.__struct_fields__:
            yield from _compared(f"{fact}.{name}", f"{plain}.{name}", getattr(old, name), getattr(new, name), sides)
    elif _members(old) and _members(new):
        yield from _lists(fact, plain, old, new, sides)  # type: ignore[arg-type]  # _members has looked
    else:
        yield from _change(fact, plain, old, new, sides)


def _members(value: object) -> bool:
    return isinstance(value, tuple) and any(isinstance(each, msgspec.Struct) for each in value)


def _lists(
    fact: str, plain: str, old: tuple[msgspec.Struct, ...], new: tuple[msgspec.Struct, ...], sides: tuple[_Side, _Side]
) -> Iterator[Change]:
    # The judged Python stands first, and is compared also where it has become another one.
    by = None if fact == "pythons" else _telling(old, new)
    olds, news = _named(old, by), _named(new, by)
    for name in dict.fromkeys((*olds, *news)):
        here = f"{fact}.{name}" if name else fact
        one, other = olds.get(name), news.get(name)
        if one is None or other is None:
            yield from _change(here, plain, one, other, sides)
        elif plain in _WHOLE:
            if _brief(one) != _brief(other):
                yield from _change(here, plain, one, other, sides)
        else:
            yield from _compared(here, plain, one, other, sides)


def _telling(old: tuple[msgspec.Struct, ...], new: tuple[msgspec.Struct, ...]) -> str | None:
    for key in _KEYS:
        for side in (old, new):
            values = [getattr(each, key, None) for each in side]
            if None in values or "" in values or (len(set(values)) < len(values) and key != "name"):
                break
        else:
            return key
    return None


def _named(members: tuple[msgspec.Struct, ...], by: str | None) -> dict[str, msgspec.Struct]:
    """Name the members of a list; of several with one name the later ones get a number."""
    named: dict[str, msgspec.Struct] = {}
    for place, each in enumerate(members):
        plain = str(getattr(each, by)) if by else "" if place == 0 else str(place)
        name, count = plain, 1
        while name in named:
            count += 1
            name = f"{plain}#{count}"
        named[name] = each
    return named


def _change(fact: str, plain: str, old: object, new: object, sides: tuple[_Side, _Side]) -> Iterator[Change]:
    unseen = sides[0].unseen(old, fact, plain), sides[1].unseen(new, fact, plain)
    kind: ChangeKind = "changed"
    if unseen[0] and unseen[1]:
        return
    if unseen[0]:
        kind = "now-known"
    elif unseen[1]:
        kind = "now-unknown"
    elif old in (None, ()):
        kind = "appeared"
    elif new in (None, ()):
        kind = "gone"
    yield Change(
        area=fact.partition(".")[0],
        fact=fact,
        kind=kind,
        before=UNKNOWN if unseen[0] else _brief(old),
        after=UNKNOWN if unseen[1] else _brief(new),
    )


def _brief(value: object) -> str:
    """Write a value in few words; of a record that with which a person would name it."""
    if value is None or value == ():
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(_brief, value))
    if isinstance(value, msgspec.Struct):
        told = [getattr(value, name, None) for name in _BRIEF]
        texts = list(dict.fromkeys(str(each) for each in told if each is not None))
        names = [str(each) for name in ("name", "path") if (each := getattr(value, name, None))]
        return " ".join(texts) or " ".join(names) or "there"
    return str(value)


def _rests_on(finding: Finding) -> Iterator[str]:
    for each in finding.evidence:
        fact = _INDEX.sub("", each.fact)
        for short, whole in _SHORT:
            fact = whole + fact[len(short) :] if fact.startswith(short) else fact
        yield fact


def _explained(change: Change, rests: Iterable[tuple[str, str]]) -> Change:
    ids = dict.fromkeys(code for code, fact in rests if _touches(change.fact, fact))
    return msgspec.structs.replace(change, explains=tuple(ids)) if ids else change


def _touches(changed: str, fact: str) -> bool:
    """Tell whether a fact is, holds, or is a part of what changed; a framework is also the package it came in.

    A member is named in a change (`gpus.0000:01:00.0.capability`) and numbered in evidence (`gpus[0].capability`), so
    its name is left out where the evidence has none.
    """
    one, other = changed.replace(".frameworks.", ".packages."), fact.replace(".frameworks.", ".packages.")
    if one == other or one.startswith(other + ".") or other.startswith(one + "."):
        return True
    area, _, field = other.partition(".")
    # A package, a variable or a framework is named on both sides; of GPUs, disks and libraries any may be the one.
    return (
        bool(field)
        and area not in ("pythons", "variables")
        and one.startswith(area + ".")
        and one.endswith("." + field)
    )


def _first(change: Change, facts: dict[str, int]) -> int:
    return min((place for fact, place in facts.items() if _touches(change.fact, fact)), default=len(facts))
