"""From a Plan to the files of its folder."""

from __future__ import annotations

import time

from envdoctor.model.stack import Artifact, Plan, Stack


def folder_of(stack: Stack) -> str:
    """Name the folder of a stack.

    >>> folder_of(Stack(framework="torch", framework_version="2.7.1", variant="cu118", cuda="11.8", cudnn=None,
    ...     python="3.12", index_url=None, packages={}, conda_packages={}, pip_command=(), base_image=""))
    'envdoctor-torch-2.7.1-cu118'
    """
    return f"envdoctor-{stack.framework}-{stack.framework_version}-{stack.variant}"


def artifacts_of(plan: Plan) -> tuple[Artifact, ...]:
    """Render every file of a plan, with the verification scripts beside them."""
    from envdoctor.render import render
    from envdoctor.verify.runner import scripts

    return render(plan, created=time.strftime("%Y-%m-%d", time.gmtime()), scripts=scripts(plan.stack.framework))
