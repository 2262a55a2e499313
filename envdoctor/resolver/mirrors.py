"""A plan for people who cannot reach the public indexes: the same packages, from a mirror."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.speech import say
from envdoctor.model.stack import Mirror, Plan, Reason, Stack
from envdoctor.model.version import local
from envdoctor.resolver.commands import with_commands

TORCH_INDEX = "https://download.pytorch.org/whl"
_PIP_CONFIGURATION = "https://pip.pypa.io/en/stable/topics/configuration/"
_KEPT = ("index-url", "extra-index-url", "find-links", "constraint", "no-index")


def mirrored(plan: Plan, mirror: Mirror, facts: Knowledge) -> Plan:
    """Take every package of a plan from a mirror as far as it has them, and say what it lacks and what to do then."""
    stack = plan.stack
    beside = "--extra-index-url" in stack.pip_command
    changed = _from(stack, mirror)
    with_mirror = with_commands(changed, beside=beside, mirror=mirror.pip)
    reasons = (*what_it_serves(mirror, stack), *_lacking(stack, changed, mirror, facts))
    return replace(plan, stack=with_mirror, reasons=(*plan.reasons, *reasons), mirror=mirror)


def _from(stack: Stack, mirror: Mirror) -> Stack:
    """Change where the framework comes from, where the mirror has that."""
    if not mirror.torch or not stack.index_url or not stack.index_url.startswith(TORCH_INDEX):
        return stack
    url = mirror.torch.rstrip("/") + stack.index_url.removeprefix(TORCH_INDEX)
    if not mirror.links:
        return replace(stack, index_url=url)
    # Beside a page of links pip asks an index too, and without a tag it could take another build from there.
    return replace(stack, index_url=None, find_links=url) if _is_tagged(stack) else stack


def _is_tagged(stack: Stack) -> bool:
    return local(stack.packages.get(stack.framework, stack.framework_version)) is not None


def what_it_serves(mirror: Mirror, stack: Stack) -> Iterator[Reason]:
    """Say what comes from a mirror, and what is not certain of it."""
    debian = stack.base_image.startswith("python:")
    parts = (
        mirror.pip and say("packages from {url}", url=mirror.pip),
        mirror.conda and say("conda-forge from {url}", url=mirror.conda),
        mirror.ubuntu and not debian and say("Ubuntu's packages in the image from {url}", url=mirror.ubuntu),
        mirror.debian and debian and say("Debian's packages in the image from {url}", url=mirror.debian),
        mirror.hub and say("models from {url}", url=mirror.hub),
    )
    said = ", ".join(part for part in parts if part)
    yield Reason(choice=say("mirror {name}", name=mirror.name), because=say("it was asked for: {said}", said=said))
    if not mirror.conda:
        because = say(
            "no copy of it at {name} is known; where your .condarc leads it elsewhere, it goes there", name=mirror.name
        )
        yield Reason(choice=say("conda-forge by its name"), because=because)
    for note in mirror.notes:
        yield Reason(choice=say("not certain"), because=note)


def _lacking(before: Stack, after: Stack, mirror: Mirror, facts: Knowledge) -> Iterator[Reason]:
    index = before.index_url
    if index is None or after.index_url != index:
        return
    having = [row.mirror for row in facts.mirrors if row.kind == "torch" and row.url and row.mirror != mirror.name]
    build = f"+{before.variant}" if _is_tagged(before) else before.variant
    because = say(
        "no copy of the {build} wheels is known at {name}, so that they come from PyTorch's own index",
        build=build,
        name=mirror.name,
    )
    if mirror.torch:
        because = say(
            "{name} has its files on a page of links, which is no safe place for a version without a tag",
            name=mirror.name,
        )
    way = say(
        "where that is out of reach: --mirror {having}, or --wheelhouse on a machine that reaches it",
        having=" or ".join(having),
    )
    yield Reason(choice=index, because=f"{because}; {way}", source=mirror_source(mirror, facts))


def mirror_source(mirror: Mirror, facts: Knowledge) -> str | None:
    """Give where it is said whether a mirror has PyTorch's wheels."""
    return next((row.source for row in facts.mirrors if (row.mirror, row.kind) == (mirror.name, "torch")), None)


def settings_reasons(machine: Snapshot, mirror: Mirror | None) -> tuple[Reason, ...]:
    """Say what pip is told by files and variables here, and that it stays in force."""
    found: dict[str, str] = {}
    places: list[str] = []
    for setting in machine.pip.settings if machine.pip else ():
        if setting.name in _KEPT and setting.name not in found:
            found[setting.name] = setting.value
            places.append(setting.source)
    if not found:
        return ()
    own = found.get("index-url")
    said = ", ".join(f"{name} {value}" for name, value in found.items())
    because = say("they go beside what these files name")
    if own and mirror and mirror.pip:
        because = say(
            "--mirror was asked for, so that {pip} goes before {own} where these files are used",
            pip=mirror.pip,
            own=own,
        )
    elif own:
        because = say("requirements.txt leaves it the first index")
    choice = say("your pip settings stay: {said}", said=said)
    return (
        Reason(choice=choice, because=f"{because} ({', '.join(dict.fromkeys(places))})", source=_PIP_CONFIGURATION),
    )
