"""The pages of the documentation that are made of the code, as a hook of mkdocs: nothing of them is committed.

`mkdocs build --strict` writes one page a command and a rule, the list of JSON schemas, the Python interface,
and the README as the first page. docs/ holds what a person wrote.
"""

from __future__ import annotations

import inspect
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import envdoctor as offered
from envdoctor.cli.commands import COMMANDS, envdoctor
from envdoctor.rules.registry import Rule, rules

ROOT = Path(__file__).resolve().parent.parent
SCHEMAS = ROOT / "envdoctor" / "schemas"
# What is kept beside the code because it is read there as well, and its place in the documentation.
BESIDE = {"README.md": "index.md", "README.zh.md": "chinese.md", "CONTRIBUTING.md": "contributing.md"}
_SPECIAL = re.compile(r"[\\*_\[\]<>#|~{}]")
_CODE = re.compile(r"(`[^`]+`)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages to those of docs/ (an event of mkdocs)."""
    for uri, content in pages():
        files.append(File.generated(config, uri, content=content))
    for path in sorted(SCHEMAS.glob("*.json")):
        files.append(File.generated(config, f"schemas/{path.name}", abs_src_path=str(path)))
    return files


def pages() -> Iterator[tuple[str, str]]:
    """Give each page: its place below docs/, and its Markdown."""
    for name, uri in BESIDE.items():
        yield uri, moved((ROOT / name).read_text(encoding="utf-8"))
    yield "commands/index.md", _commands_index()
    yield from ((f"commands/{name}.md", command_page(name)) for name in COMMANDS)
    every = rules()
    yield "rules/index.md", _rules_index(every)
    yield from ((f"rules/{each.id}.md", rule_page(each, every)) for each in every)
    yield "schemas/index.md", _schemas_index()
    yield "api.md", _interface()


def moved(text: str) -> str:
    """Give a document of the repository's root with its links as they lead from inside of docs/."""
    text = re.sub(r"\]\(docs/", "](", text)
    for name, uri in BESIDE.items():
        text = text.replace(f"]({name})", f"]({uri})")
    return text


def command_page(name: str) -> str:
    """Write the page of a command from what click knows of it."""
    parent = click.Context(envdoctor, info_name="envdoctor")
    command = envdoctor.get_command(parent, name)
    assert command is not None
    context = click.Context(command, info_name=name, parent=parent)
    usage = " ".join((context.command_path, *command.collect_usage_pieces(context)))
    records = [record for each in command.get_params(context) if (record := each.get_help_record(context))]
    parts = [
        f"# envdoctor {name}",
        *(written(each) for each in _paragraphs(command.help)),
        f"```text\n{usage}\n```",
        *(_block(each) for each in _paragraphs(command.epilog)),
        "## Options",
        "\n".join(
            ("| option | |", "|---|---|", *(f"| {_option(left)} | {written(right)} |" for left, right in records))
        ),
    ]
    return "\n\n".join(parts) + "\n"


def rule_page(rule: Rule, every: tuple[Rule, ...]) -> str:
    """Write the page of a rule: what `envdoctor explain` shows, with the rules that explain it away."""
    above = [each.id for each in every if rule.id in each.supersedes]
    title, *body = rule.page.split("\n\n")
    facts = {
        "severity": f"{rule.severity}, {rule.certainty}",
        "cause": ", ".join(f"`{each}`" for each in (rule.slug, *rule.variants)),
        "not checked without": ", ".join(f"`{each}`" for each in rule.needs),
        "explains away": ", ".join(map(_linked, rule.supersedes)),
        "is explained away by": ", ".join(map(_linked, above)),
    }
    parts = [
        f"# {rule.id}: {written(title.rstrip('.'))}",
        "\n".join(f"- **{name}**: {text}" for name, text in facts.items() if text),
        *map(written, body),
        "## Ask for it",
        f"```bash\nenvdoctor explain {rule.id}\n```",
        "## Sources",
        "\n".join(f"- <{each}>" if each.startswith("https://") else f"- `{each}`" for each in rule.sources),
    ]
    return "\n\n".join(parts) + "\n"


def written(text: str) -> str:
    """Give a plain text, with code between backticks, for Markdown: nothing else of it means anything there."""
    parts = _CODE.split(" ".join(text.split()))
    return "".join(part if at % 2 else _SPECIAL.sub(_entity, part) for at, part in enumerate(parts))


def _entity(found: re.Match[str]) -> str:
    return f"&#{ord(found.group())};"


def _paragraphs(text: str | None) -> list[str]:
    return inspect.cleandoc(text).split("\n\n") if text else []


def _block(paragraph: str) -> str:
    """Write a paragraph of an epilog; after click's \\b its lines stay as they are, the first being their heading."""
    if not paragraph.startswith("\b"):
        return written(paragraph)
    heading, _, lines = paragraph.removeprefix("\b").strip("\n").partition("\n")
    if not lines:
        return written(heading)
    language = "bash" if "envdoctor " in lines else "text"
    return f"{written(heading)}\n\n```{language}\n{inspect.cleandoc(lines)}\n```"


def _option(text: str) -> str:
    return f"`{text}`"


def _linked(code: str) -> str:
    return f"[{code}]({code}.md)"


def _commands_index() -> str:
    rows = [f"| [`envdoctor {name}`]({name}.md) | {written(line)} |" for name, line in COMMANDS.items()]
    return "\n".join(("# Commands", "", "| command | |", "|---|---|", *rows)) + "\n"


def _rules_index(every: tuple[Rule, ...]) -> str:
    kinds: dict[str, list[Rule]] = defaultdict(list)
    for each in every:
        kinds[each.id.rstrip("0123456789")].append(each)
    about = (
        f"{len(every)} rules judge a machine, a pasted report, the end of a program, or your own files. Findings come "
        "root cause first; what an error explains is not shown beside it."
    )
    parts = ["# Rules", about]
    for kind in sorted(kinds):
        rows = [
            f"| {_linked(each.id)} | {each.severity} | {written(each.title)} |"
            for each in sorted(kinds[kind], key=lambda each: each.id)
        ]
        parts += [f"## {kind}", "\n".join(("| rule | severity | |", "|---|---|---|", *rows))]
    return "\n\n".join(parts) + "\n"


def _interface() -> str:
    parts = ["# What `import envdoctor` offers"]
    for name in sorted(each for each in offered.__all__ if not each.startswith("_")):
        thing = getattr(offered, name)
        words = inspect.cleandoc(thing.__doc__ or "")
        call = f"{name}{inspect.signature(thing)}" if inspect.isfunction(thing) else f"class {name}"
        parts += [f"## {name}", f"```text\n{call}\n\n{words}\n```"]
    return "\n\n".join(parts) + "\n"


def _schemas_index() -> str:
    rows = []
    for path in sorted(SCHEMAS.glob("*.json")):
        schema = json.loads(path.read_text(encoding="utf-8"))
        about = schema["$defs"][schema["$ref"].rpartition("/")[2]]["description"].split("\n\n")[0]
        rows.append(f"| [`{path.stem}`]({path.name}) | {written(about)} |")
    return "\n".join(("# JSON schemas", "", "| document | |", "|---|---|", *rows)) + "\n"
