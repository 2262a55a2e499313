"""From a Plan to the files of its folder."""

from __future__ import annotations

import os
import re
import time

from envdoctor.model.stack import GENERATED, Artifact, Builder, Plan, Stack

_CREATED = re.compile(r"^Chosen by envdoctor \S+ on (\d{4}-\d{2}-\d{2}) for ", re.MULTILINE)


def folder_of(stack: Stack) -> str:
    """Name the folder of a stack.

    >>> folder_of(Stack(framework="torch", framework_version="2.7.1", variant="cu118", cuda="11.8", cudnn=None,
    ...     python="3.12", index_url=None, packages={}, conda_packages={}, pip_command=(), base_image=""))
    'envdoctor-torch-2.7.1-cu118'
    """
    return f"envdoctor-{stack.framework}-{stack.framework_version}-{stack.variant}"


def artifacts_of(
    plan: Plan, folder: str | None = None, *, locked: bool = False, builder: Builder = "classic"
) -> tuple[Artifact, ...]:
    """Render every file of a plan, with the verification scripts beside them.

    Where `folder` has the very same files of another day, theirs is the date, so that choosing the same stack again
    changes nothing.
    """
    from envdoctor.render import render
    from envdoctor.verify.runner import scripts

    today = time.strftime("%Y-%m-%d", time.gmtime())
    texts = scripts(plan.stack.framework)
    for created in dict.fromkeys((_created(folder) or today, today)):
        artifacts = render(plan, created=created, scripts=texts, locked=locked, builder=builder)
        if created == today or all(_stands(artifact, folder) for artifact in artifacts):
            break
    return artifacts


def _created(folder: str | None) -> str | None:
    text = _text(folder, "README.md")
    found = _CREATED.search(text) if text and GENERATED in text.partition("\n")[0] else None
    return found[1] if found else None


def _stands(artifact: Artifact, folder: str | None) -> bool:
    return _text(folder, artifact.path) == artifact.text


def _text(folder: str | None, path: str) -> str | None:
    if folder is None:
        return None
    try:
        with open(os.path.join(folder, path), encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, UnicodeDecodeError, ValueError):
        return None
