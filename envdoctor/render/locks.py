"""The files of a lock, and of a folder of wheels."""

from __future__ import annotations

from collections.abc import Mapping

from envdoctor import __version__
from envdoctor.model.stack import Artifact, Plan
from envdoctor.render import quoting
from envdoctor.render.artifacts import index_lines, mark, script_files, system_of, title
from envdoctor.render.environment import engine


def lock_files(
    plan: Plan, requirements: str, constraints: str, pylock: str, version: str = __version__
) -> tuple[Artifact, ...]:
    """Give requirements.lock.txt, constraints.txt and pylock.toml from what a resolver wrote."""
    where = "".join(f"{each}\n" for each in index_lines(plan.stack, plan.mirror))
    install = "python -m pip install --require-hashes -r requirements.lock.txt"
    return (
        Artifact(path="requirements.lock.txt", text=f"{_head(plan, install, version)}{where}\n{requirements}"),
        Artifact(
            path="constraints.txt",
            text=f"{_head(plan, 'python -m pip install -c constraints.txt …', version)}\n{constraints}",
        ),
        Artifact(path="pylock.toml", text=f"{_head(plan, 'uv pip sync pylock.toml', version)}\n{pylock}"),
    )


def bundle_files(
    plan: Plan, requirements: str, scripts: Mapping[str, str], version: str = __version__
) -> tuple[Artifact, ...]:
    """Give what stands beside a folder of wheels: a lock that names no index, and scripts to install and to verify."""
    windows = plan.target.os == "windows"
    name = "install.ps1" if windows else "install.sh"
    text = engine().get_template(f"pip/{name}.j2").render(
        mark=mark(version), title=title(plan.stack, plan.stack.python), system=system_of(plan.target),
        python=quoting.dotted(plan.stack.python),
    )  # fmt: skip
    return (
        Artifact(path="requirements.lock.txt", text=f"{_head(plan, f'see {name}', version)}\n{requirements}"),
        Artifact(path=name, text=text, executable=not windows),
        *script_files(scripts, version),
    )


def _head(plan: Plan, usage: str, version: str) -> str:
    what = f"{title(plan.stack, plan.stack.python)} on {system_of(plan.target)}"
    return f"# {mark(version)}\n#\n{quoting.comment(what)}\n{quoting.comment(usage)}\n"
