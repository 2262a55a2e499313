"""Jetson modules: the wheels that NVIDIA publishes for them, outside every index of the frameworks."""

from __future__ import annotations

from envdoctor.knowledge.builds import gpus_of
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.finding import Fix
from envdoctor.model.speech import say
from envdoctor.model.stack import Request, Target


def jetson_ways(request: Request, target: Target, facts: Knowledge) -> tuple[Fix, ...]:
    """Say where a person with a Jetson module finds torch; nothing: there is no such module, or no GPU is wanted.

    Which wheel fits follows from JetPack, which is not among what is known of a target, so that reading it comes first.
    """
    if request.cuda == "cpu" or request.framework != "torch" or (target.os, target.arch) != ("linux", "aarch64"):
        return ()
    here = {gpu.capability for gpu in gpus_of(target, "nvidia")}
    rows = [row for row in facts.other_indexes if here & set(row.jetson)]
    if not rows:
        return ()
    read = Fix(
        summary=say("Read which JetPack the module has: R36 is JetPack 6, R35 is JetPack 5, R32 is JetPack 4."),
        commands=(("cat", "/etc/nv_tegra_release"),),
    )
    ways = [read]
    for row in rows:
        is_index = row.url != row.source

        ways.append(
            Fix(
                summary=say("Take what {url} has: {holds} ({doubt}).", url=row.url, holds=row.holds, doubt=row.doubt)
                if row.doubt
                else say("Take what {url} has: {holds}.", url=row.url, holds=row.holds),
                commands=(("pip", "install", "torch", "torchvision", "--index-url", row.url),) if is_index else (),
                effect="changes-env",
                page=row.source,
            )
        )
    return tuple(ways)
