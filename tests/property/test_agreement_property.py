"""What a rule proposes and what the resolver chooses are the same: diagnose and provision never disagree."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from test_rules_property import FACTS, machines

from envdoctor.knowledge.targets import target_of
from envdoctor.knowledge.wheels import best_wheel
from envdoctor.model.snapshot import Snapshot
from envdoctor.model.stack import Plan, Request, Target, TargetGpu
from envdoctor.resolver.choice import resolve
from envdoctor.rules import registry

CAPABILITIES = ("3.7", "5.2", "6.1", "7.0", "7.5", "8.0", "8.6", "8.7", "8.9", "9.0", "10.0", "12.0", "12.1", "13.0")
DRIVERS = (
    None,
    "440.33",
    "450.80.02",
    "451.48",
    "470.82.01",
    "528.33",
    "550.54.14",
    "570.26",
    "580.95.05",
    "595.71.05",
)

targets = st.builds(
    Target,
    os=st.sampled_from(("linux", "linux", "wsl2", "wsl2", "windows", "windows", "macos")),
    arch=st.sampled_from((*["x86_64"] * 6, "aarch64", "aarch64", "ppc64le")),
    libc=st.sampled_from((*["glibc"] * 6, None, "musl")),
    glibc=st.sampled_from((None, "2.17", "2.31", "2.39")),
    driver=st.sampled_from(DRIVERS),
    gpus=st.lists(
        st.sampled_from(CAPABILITIES).map(lambda each: TargetGpu(vendor="nvidia", capability=each)), max_size=2
    ).map(tuple),
    python=st.sampled_from((None, "3.8", "3.11", "3.13", "3.16")),
)


def built(version: str, cuda: str, target: Target) -> None:
    """Hold the resolver to a build: asked for that release and CUDA on that machine, it hands over that very build."""
    release, _, tag = version.partition("+")
    found = resolve(Request(cuda=cuda, framework_version=release, python=target.python), target, FACTS)
    assert isinstance(found, Plan), found
    assert (found.stack.framework_version, found.stack.variant) == (release, tag)
    assert "not certain" not in {reason.choice for reason in found.reasons}


@settings(deadline=None, max_examples=200)
@given(targets, st.sampled_from((None, "2.8.0", "2.5.1", "1.13.1")))
def test_the_wheel_that_rules_propose_is_a_plan(target: Target, kept: str | None) -> None:
    wheel = best_wheel(FACTS, target, only=FACTS.torch(kept) if kept else None)
    if wheel is None:
        return
    assert wheel.cuda
    built(wheel.version, wheel.cuda, target)
    if target.gpus or target.driver:
        found = resolve(Request(cuda="auto", framework_version=kept, python=target.python), target, FACTS)
        assert isinstance(found, Plan)
        assert f"{found.stack.framework_version}+{found.stack.variant}" == wheel.version


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(machines)
def test_every_torch_that_a_finding_installs_is_a_plan(machine: Snapshot) -> None:
    for finding in registry.evaluate(machine, FACTS).findings:
        for fix in finding.fixes:
            for command in fix.commands:
                pinned = [word.partition("==")[2] for word in command if word.startswith("torch==")]
                tag = command[-1].rpartition("/")[2] if "--index-url" in command else ""
                if not pinned or not tag.startswith("cu"):
                    continue
                # A newer driver may be proposed beside the wheel, and a subset of the cards may be meant.
                target = replace(target_of(machine, FACTS), driver=None, gpus=())
                built(f"{pinned[0]}+{tag}", f"{tag[2:-1]}.{tag[-1]}", target)
