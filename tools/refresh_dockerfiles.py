"""Write dockerfiles/: a Dockerfile and what it copies for each stack that is used a lot, by the resolver.

    python tools/refresh_dockerfiles.py

A test renders them again and compares, so a change of knowledge or templates shows up as a difference to be looked at.
"""

from __future__ import annotations

from pathlib import Path

from envdoctor.host.writing import write
from envdoctor.knowledge.load import Knowledge
from envdoctor.model.stack import Artifact, Conflict, Request, Target
from envdoctor.render import render
from envdoctor.render.artifacts import name_of
from envdoctor.resolver.choice import resolve

FOLDER = Path(__file__).parents[1] / "dockerfiles"
REQUESTS = (
    *(Request(cuda=cuda) for cuda in ("cpu", "11.8", "12.6", "12.8", "13.0")),
    *(Request(framework="tensorflow", cuda=cuda) for cuda in ("cpu", "12")),
    *(Request(framework="jax", cuda=cuda) for cuda in ("cpu", "12")),
)
FILES = ("Dockerfile", "requirements.txt", ".dockerignore", "health.py", "compose.yaml")


def blessed() -> tuple[Artifact, ...]:
    """Render every blessed stack for any Linux machine, dated by the knowledge they rest on.

    Raises:
        LookupError: the resolver finds no stack for one of them.
    """
    facts = Knowledge()
    known = {
        "torch": max(release.checked for release in facts.torch_releases),
        "tensorflow": max(release.checked for release in facts.tensorflow_releases),
        "jax": max(release.checked for release in facts.jax_releases),
    }
    files = []
    for request in REQUESTS:
        plan = resolve(request, Target(), facts)
        if isinstance(plan, Conflict):
            raise LookupError(f"{request.framework} {request.cuda}: {plan.summary}")
        folder = name_of(plan.stack)
        files += [
            Artifact(path=f"{folder}/{file.path}", text=file.text)
            for file in render(plan, created=known[request.framework])
            if file.path in FILES
        ]
    return tuple(files)


if __name__ == "__main__":
    for path in write(blessed(), str(FOLDER)):
        print(path)
