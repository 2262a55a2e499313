"""The template engine, and where the templates are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from envdoctor.formats import markdown
from envdoctor.render import quoting

if TYPE_CHECKING:
    import jinja2


def templates_folder() -> str:
    """Find the templates: packed beside this package in a wheel, one level up in a checkout.

    Raises:
        FileNotFoundError: neither is there, so the installation is incomplete.
    """
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for folder in (os.path.join(package, "templates"), os.path.join(os.path.dirname(package), "templates")):
        if os.path.isfile(os.path.join(folder, "docker", "Dockerfile.j2")):
            return folder
    raise FileNotFoundError(2, "envdoctor was installed without its templates", package)


def source(template: str) -> str:
    """Read a file of the templates as it stands."""
    with open(os.path.join(templates_folder(), template), encoding="utf-8") as file:
        return file.read()


def engine() -> jinja2.Environment:
    """Make the engine: a name that a template misspells is an error, and every text is quoted by a filter's name."""
    import jinja2  # 25 ms; only commands that write files need it

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_folder()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - none of these files is HTML; each value names the filter of its format
    )
    environment.filters.update(
        q=quoting.shell,
        ps=quoting.powershell,
        ps_text=quoting.powershell_text,
        yaml=quoting.yaml,
        json=quoting.json_text,
        docker_label=quoting.docker_label,
        comment=quoting.comment,
        md=markdown.escaped,
        link=markdown.link,
    )
    return environment
