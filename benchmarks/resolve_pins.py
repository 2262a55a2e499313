"""Whether the pinned sets of what the plain package index hosts really resolve there: how many of how many.

    python benchmarks/resolve_pins.py --limit 4

For torch's default build of each release, TensorFlow with CUDA and JAX with CUDA 12 and 13, newest first. Only metadata
is read, by `uv pip compile`, from the package index that uv is configured for.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import zip_longest

from msgspec.structs import replace

from envdoctor.knowledge.load import Knowledge
from envdoctor.model.stack import Plan, Request, Stack, Target, TargetGpu
from envdoctor.model.version import public
from envdoctor.resolver.choice import resolve

PLATFORM = "x86_64-manylinux_2_28"
# Every release is asked for as a machine with a GPU and a driver that runs it would.
TARGET = Target(glibc="2.39", driver="615.71.09", gpus=(TargetGpu(vendor="nvidia", capability="8.6"),))
OLD_DRIVER = replace(TARGET, driver="575.57.08")


def torch_stacks(facts: Knowledge) -> Iterator[Stack]:
    for row in facts.torch_releases:
        variant = row.variant(row.default_linux or "")
        if variant is None or variant.cuda is None:
            continue
        plan = resolve(Request(cuda=variant.cuda, framework_version=row.version), TARGET, facts)
        if isinstance(plan, Plan):
            packages = {name: public(version) for name, version in plan.stack.packages.items()}
            yield replace(plan.stack, packages=packages)


def other_stacks(facts: Knowledge, framework: str) -> Iterator[Stack]:
    releases = facts.tensorflow_releases if framework == "tensorflow" else facts.jax_releases
    seen = set()
    for row in releases:
        for target in (TARGET, OLD_DRIVER):
            request = Request(framework=framework, framework_version=row.version)  # type: ignore[arg-type]
            plan = resolve(request, target, facts)
            if isinstance(plan, Plan) and plan.stack.cuda and plan.stack.brings_cuda:
                key = (plan.stack.framework_version, plan.stack.variant)
                if key not in seen:
                    seen.add(key)
                    yield plan.stack


def compiles(uv: list[str], stack: Stack) -> str | None:
    """Resolve a pinned set; None: it resolves, else uv's last line."""
    python = ("--python-platform", PLATFORM, "--python-version", stack.python, "--only-binary", ":all:")
    done = subprocess.run(
        [*uv, "pip", "compile", "-", "--quiet", "--no-header", *python],
        input="\n".join(stack.requirements),
        capture_output=True,
        text=True,
        timeout=300,
    )
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no message"])[-1]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--limit", type=int, default=6, help="how many sets to resolve; 0: all (default: 6)")
    parser.add_argument("--only", default="", help="only the sets with this in a requirement: jax[cuda12]==0.4")
    parser.add_argument("--list", action="store_true", help="name the sets and resolve none")
    asked = parser.parse_args()
    facts = Knowledge()
    by_framework = (torch_stacks(facts), other_stacks(facts, "tensorflow"), other_stacks(facts, "jax"))
    # In turn, so that a small limit meets every framework.
    stacks = [stack for turn in zip_longest(*by_framework) for stack in turn if stack]
    stacks = [stack for stack in stacks if any(asked.only in each for each in stack.requirements)]
    if asked.list:
        for stack in stacks:
            print(stack.python, " ".join(stack.requirements))
        return 0
    uv = [shutil.which("uv")] if shutil.which("uv") else [sys.executable, "-m", "uv"]
    chosen = stacks[: asked.limit or None]
    failed = 0
    for stack in chosen:
        problem = compiles([each for each in uv if each], stack)
        failed += problem is not None
        print(f"{'no ' if problem else 'yes'} Python {stack.python}: {' '.join(stack.requirements)}", flush=True)
        if problem:
            print(f"      {problem}", flush=True)
    print(f"{len(chosen) - failed} of {len(chosen)} resolve; {len(stacks)} sets are known")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
