"""Images: build the one of a plan, and prove that a CNN and a GPT-2 run in one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from envdoctor import errors
from envdoctor.environments import images
from envdoctor.host import Host, engine
from envdoctor.model.onboarding import BuiltImage
from envdoctor.model.outcome import Outcome
from envdoctor.model.speech import say
from envdoctor.model.stack import Builder, Plan

if TYPE_CHECKING:
    from envdoctor.verify.container import Asking, Gpu
    from envdoctor.verify.runner import Progress

_STEP = re.compile(r"(Step \d+/\d+ : |#\d+ \[)(.*)")  # of the classic builder, of BuildKit


def build(
    host: Host,
    plan: Plan,
    folder: str,
    tag: str,
    builder: Builder,
    step: Callable[[str], None],
    line: Callable[[str], None],
) -> BuiltImage:
    """Build the image of a plan whose files are written.

    `ready` has been asked before; what the builder says goes to `line`, and what it begins to `step`.
    """

    def take(text: str) -> None:
        if _STEP.match(text):
            step(text[:100])
        else:
            line(text)

    step(say("building {tag}", tag=tag))
    return images.build(folder, tag, plan.stack.base, builder, host.environ, take)


def gpu_for(host: Host, device: str) -> tuple[Gpu | None, str | None]:
    """Say which GPU of this machine its engine can hand to a container, and what is in the way of one that is here.

    Raises:
        errors.MissingPart: a GPU was asked for, and none can be handed over.
    """
    if device not in ("auto", "cuda"):
        return None, None
    if host.kind("/dev/kfd") and host.kind("/dev/dri"):
        return "amd", None
    here = any(host.kind(path) for path in ("/dev/nvidiactl", "/dev/dxg"))
    if here and _can_hand_over(host):
        return "nvidia", None
    missing = (
        say(
            "the NVIDIA Container Toolkit is missing, which hands the GPU to a container ({toolkit})",
            toolkit=engine.TOOLKIT,
        )
        if here
        else say("no GPU of NVIDIA or AMD is here")
    )
    if device == "cuda":
        raise errors.MissingPart(missing, say("to prove the image without one: --device cpu"))
    return None, say("{missing}; the workloads run on the CPU", missing=missing) if here else None


def _can_hand_over(host: Host) -> bool:
    from envdoctor.probes import engines

    found = engines.read(host, None).docker
    if found is not None and (found.toolkit or found.desktop or found.cdi or "nvidia" in (found.runtimes or ())):
        return True
    try:
        return "nvidia" in (engine.info(host).runtimes or {})
    except errors.MissingPart:
        return False  # no client beside the socket; then what stands in files is all that is known


def verify(
    image: str, workloads: tuple[str, ...], asking: Asking, report: Callable[[Progress], None]
) -> tuple[Outcome, ...]:
    """Run workloads in an image, and give the outcome of each.

    Raises:
        errors.EnvdoctorError: the engine, its permission, its SDK, the image or the way to the GPU is missing.
    """
    from envdoctor.verify import container

    client = engine.client()
    try:
        return container.run(client, image, workloads, asking, report)
    finally:
        client.close()
