"""Whether the installed packages satisfy each other, as `pip check` would say."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.snapshot import PythonEnv, Snapshot
from envdoctor.model.speech import say
from envdoctor.model.version import compare, public, readable
from envdoctor.rules.frameworks.installed import by_conda, unmet, version_of
from envdoctor.rules.registry import Found, found, rule
from envdoctor.rules.remedies import pip_install
from envdoctor.rules.wording import listed

# What rules of their own judge, with a better remedy.
_ELSEWHERE = ("torch", "torchvision", "torchaudio", "xformers", "jax", "tensorflow")
_MOST = 5


@rule(
    "PY019",
    "requirements-unmet",
    "warning",
    needs=("pythons.packages", "system.machine"),
    sources=("https://pip.pypa.io/en/stable/cli/pip_check/",),
)
def packages_do_not_satisfy_each_other(machine: Snapshot, facts: Knowledge) -> Iterator[Found]:
    """Installed packages ask for others that are missing or of another version.

    pip lets a later installation break an earlier one. The list says who asks for what.

    Check: `python -m pip check`.
    Only packages that this tool watches are looked at (frameworks and what is built on them), with their markers
    evaluated for this machine; extras are not counted. torch, TensorFlow and JAX have rules of their own. Silent about
    what conda installed.
    """
    python = machine.python
    if python is None:
        return
    broken = [
        (owner, each)
        for owner in python.packages
        if owner.build is None and owner.name not in _ELSEWHERE
        if (doubtful := tuple(text for text in owner.requires if not met(text, python)))
        if not by_conda(python, owner.name)
        for each in unmet(machine, replace(owner, requires=doubtful), "")
        if not each.name.startswith("nvidia-")
    ]
    if not broken:
        return
    shown = listed(
        say(
            "{owner} asks for {package} {wanted} ({have})",
            owner=owner.name,
            package=each.name,
            wanted=each.wanted,
            have=each.have or say("not installed"),
        )
        for owner, each in broken[:_MOST]
    )
    if len(broken) > _MOST:
        shown = say("{requirements}, and {count} more", requirements=shown, count=len(broken) - _MOST)
    again = tuple(dict.fromkeys(owner.name for owner, _ in broken[:_MOST]))
    owner, lack = broken[0]
    title = (
        say(
            "{owner} {version} asks for {package} {wanted}, and {have} is installed",
            owner=owner.name,
            version=owner.version,
            package=lack.name,
            wanted=lack.wanted,
            have=lack.have,
        )
        if lack.have
        else say(
            "{owner} {version} asks for {package} {wanted}, and it is not installed",
            owner=owner.name,
            version=owner.version,
            package=lack.name,
            wanted=lack.wanted,
        )
    )
    yield found(
        say("{title} (and {count} more like this)", title=title, count=len(broken) - 1) if len(broken) > 1 else title,
        say("{requirements}.", requirements=shown),
        evidence=tuple(version_of(python, owner) for owner, _ in broken[:_MOST]),
        fixes=(
            Fix(
                summary=say("Upgrade those that ask, together with what they ask for."),
                commands=(pip_install(machine, "--upgrade", *again),),
                effect="changes-env",
            ),
        ),
    )


def met(text: str, python: PythonEnv) -> bool:
    """Tell whether a requirement is met beyond doubt, without the parser, whose import takes 15 ms.

    False: it is not met, or it is of a form that only the parser understands. Extras count as not asked for.
    """
    head, _, marker = text.partition(";")
    if "extra" in marker:
        return True
    end = next((at for at, letter in enumerate(head) if not (letter.isalnum() or letter in "-_.")), len(head))
    package = python.package(head[:end].lower().replace("_", "-").replace(".", "-"))
    if package is None or not readable(package.version):
        return False
    wanted = head[end:].strip(" ()")
    if wanted.startswith("[") or "@" in wanted:
        return False
    return all(_holds(public(package.version), part.strip()) for part in wanted.split(",") if part.strip())


def _holds(have: str, condition: str) -> bool:
    digits = next((at for at, letter in enumerate(condition) if letter.isdigit()), len(condition))
    sign, version = condition[:digits].strip(), condition[digits:].strip()
    if not version.replace(".", "").isdigit() or not have.replace(".", "").isdigit():
        return False
    ordered = compare(have, version)
    return {">=": ordered >= 0, "<=": ordered <= 0, ">": ordered > 0, "<": ordered < 0, "!=": ordered != 0}.get(
        sign, sign == "==" and ordered == 0
    )
