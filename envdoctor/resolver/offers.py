"""When the index of the best stack does not offer it: the best among what the person's own pip offers."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.speech import say
from envdoctor.model.stack import Conflict, Plan, Reason, Request
from envdoctor.model.version import local, public
from envdoctor.resolver.choice import resolve
from envdoctor.resolver.commands import with_commands
from envdoctor.resolver.mirrors import what_it_serves

_COMPANIONS = ("torchvision", "torchaudio")


def trimmed(plan: Plan, offered: Mapping[str, tuple[str, ...]]) -> Plan | None:
    """Keep the plan with the companions that its index offers; None: the index lacks the framework itself.

    `offered` maps a package to the versions its index has, with their local tags.
    """
    packages = plan.stack.packages
    if packages[plan.stack.distribution] not in offered.get(plan.stack.distribution, ()):
        return None
    lacking = [name for name in _COMPANIONS if name in packages and packages[name] not in offered.get(name, ())]
    return _without(plan, lacking, say("its index does not offer the matching build")) if lacking else plan


def alternatives(plan: Plan, facts: Knowledge, offered: Mapping[str, tuple[str, ...]]) -> tuple[Plan, ...]:
    """Give the plans that the person's own index can serve and that fit the same target, best first.

    The same variant comes before any other; without a GPU to serve, the plain build with CUDA inside comes last: it
    works on the processor, only it is gigabytes larger.
    """
    found: list[tuple[bool, Plan]] = []
    if plan.stack.framework != "torch":
        return ()  # the others come from the person's own index in the first place
    for version in offered.get(plan.stack.framework, ()):
        variant = local(version) or _untagged(plan, facts, version)
        if variant is None:
            continue
        row = facts.torch(version)
        cuda = next((each.cuda for each in row.variants if each.tag == variant), None) if row else None
        same = variant == plan.stack.variant
        if not same and (variant == "cpu" or (plan.stack.variant == "cpu" and plan.target.gpus)):
            continue
        asked = plan.request.cuda if same else cuda or "cpu"
        wish = Request(cuda=asked, framework_version=public(version), python=plan.request.python)
        fitting = resolve(wish, plan.target, facts)
        if isinstance(fitting, Conflict) or fitting.stack.variant != variant:
            continue
        found.append((not same, _served(fitting, plan, version, offered)))
    # Stable: inside each kind the order stays pip's, newest first.
    return tuple(each for _, each in sorted(found, key=lambda pair: pair[0]))


def _untagged(plan: Plan, facts: Knowledge, version: str) -> str | None:
    """Tell which variant a wheel without a local tag is."""
    row = facts.torch(version)
    if row is None:
        return None
    return "cpu" if plan.target.os in ("windows", "macos") else row.default_linux


def _served(fitting: Plan, wanted: Plan, version: str, offered: Mapping[str, tuple[str, ...]]) -> Plan:
    stack = fitting.stack
    packages = {**stack.packages, stack.framework: version}
    tag = local(version)
    lacking = []
    for name in _COMPANIONS:
        if name not in packages:
            continue
        packages[name] = f"{public(packages[name])}+{tag}" if tag else public(packages[name])
        if packages[name] not in offered.get(name, ()):
            lacking.append(name)
    lacked = {"index": wanted.stack.index_url, "wanted": wanted.stack.packages[stack.framework], "version": version}
    choice = say("{framework} {version} from your own package index", framework=stack.framework, version=version)
    because = say(
        "{index} cannot be reached from here, or lacks {wanted}; your pip configuration offers {version}, which fits "
        "this machine",
        **lacked,
    )
    if wanted.mirror and wanted.mirror.pip:
        named = {"framework": stack.framework, "version": version, "mirror": wanted.mirror.name}
        choice = say("{framework} {version} from {mirror}", **named)
        because = say(
            "{index} cannot be reached from here, or lacks {wanted}; what {mirror} and your pip configuration offer "
            "of it, and what fits this machine, is {version}",
            **lacked,
            mirror=wanted.mirror.name,
        )
    reason = Reason(choice=choice, because=because)
    # What was chosen here in place of the wanted one is said by this reason; the resolver only did as it was told.
    told = (stack.framework, *_COMPANIONS, "http")
    kept = tuple(each for each in fitting.reasons if not each.choice.startswith(told))
    served = _changed(
        replace(fitting, request=wanted.request, mirror=wanted.mirror),
        packages=packages,
        index_url=None,
        reasons=(reason, *kept, *(what_it_serves(wanted.mirror, stack) if wanted.mirror else ())),
    )
    return (
        _without(served, lacking, say("your index has no build of it for {version}", version=version))
        if lacking
        else served
    )


def _without(plan: Plan, names: list[str], because: str) -> Plan:
    packages = {name: version for name, version in plan.stack.packages.items() if name not in names}
    reason = Reason(choice=say("without {names}", names=say(" and ").join(names)), because=because)
    return _changed(plan, packages=packages, index_url=plan.stack.index_url, reasons=(*plan.reasons, reason))


def _changed(plan: Plan, *, packages: dict[str, str], index_url: str | None, reasons: tuple[Reason, ...]) -> Plan:
    before = plan.stack
    stack = with_commands(
        replace(before, packages=packages, index_url=index_url),
        beside=index_url is not None and "--extra-index-url" in before.pip_command,
        mirror=plan.mirror.pip if plan.mirror else None,
    )
    return replace(plan, stack=stack, reasons=reasons)
