"""The documentation is built without a warning, and its generated pages hold what the code says."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

import click
import docs_pages
import pytest

from envdoctor.cli.commands import COMMANDS, envdoctor
from envdoctor.rules.registry import rules

ROOT = Path(__file__).parents[2]


def build(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Build it; with --quiet mkdocs would count no warning, and --strict would stop at none."""
    command = (sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder), *words)
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def text(page: Path) -> str:
    """Give the words of a page as a person reads them."""
    whole = page.read_text(encoding="utf-8")
    _, _, body = whole.partition('itemprop="articleBody"')
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", body.partition("<footer")[0])).split())


def test_a_rule_has_a_page_with_everything_that_explain_shows(site: Path) -> None:
    for rule in rules():
        shown = text(site / "rules" / rule.id / "index.html")
        title, *body = rule.page.replace("`", "").split("\n\n")
        assert title.rstrip(".") in shown, rule.id
        for paragraph in (*body, *rule.sources, *rule.needs, rule.slug, rule.severity, rule.certainty):
            assert " ".join(paragraph.split()) in shown, (rule.id, paragraph)


def test_a_rule_names_those_that_explain_it_away(site: Path) -> None:
    page = (site / "rules" / "WSL002" / "index.html").read_text(encoding="utf-8")
    _, _, above = page.partition("is explained away by")
    assert 'href="../WSL001/"' in above.partition("</li>")[0]
    every = (site / "rules" / "index.html").read_text(encoding="utf-8")
    assert [each.id for each in rules() if f'href="{each.id}/"' not in every] == []


def test_a_command_has_a_page_with_every_option_and_example(site: Path) -> None:
    parent = click.Context(envdoctor, info_name="envdoctor")
    for name in COMMANDS:
        command = envdoctor.get_command(parent, name)
        assert command is not None
        shown = text(site / "commands" / name / "index.html")
        for option in command.params:
            assert all(each in shown for each in option.opts if each.startswith("-")), (name, option.opts)
            assert " ".join((getattr(option, "help", None) or "").replace("`", "").split()) in shown, (
                name,
                option.opts,
            )
        for line in (command.epilog or "").split("\n"):
            assert " ".join(line.replace("\b", "").replace("`", "").split()) in shown, (name, line)


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in (site / "index.html", site / "rules" / "NP001" / "index.html", site / "search.html"):
        whole = page.read_text(encoding="utf-8")
        assert re.findall(r'<(?:script|img|iframe)[^>]*src="(?:https?:)?//[^"]*"', whole) == []
        assert re.findall(r'<link[^>]*rel="stylesheet"[^>]*href="(?:https?:)?//[^"]*"', whole) == []


def test_every_schema_is_served_as_it_is_committed(site: Path) -> None:
    schemas = sorted((ROOT / "envdoctor" / "schemas").glob("*.json"))
    assert len(schemas) > 10
    for each in schemas:
        assert (site / "schemas" / each.name).read_bytes() == each.read_bytes()


def test_the_first_page_is_the_readme_with_its_links(site: Path) -> None:
    page = (site / "index.html").read_text(encoding="utf-8")
    assert 'href="how-to/first-answer/"' in page
    assert 'href="contributing/"' in page
    assert docs_pages.moved("[a](docs/a.md) [b](CONTRIBUTING.md)") == "[a](a.md) [b](contributing.md)"


def test_plain_text_means_nothing_in_markdown() -> None:
    assert docs_pages.written("a_b_c <x> *y* `k_<v>` [z](u)") == (
        "a&#95;b&#95;c &#60;x&#62; &#42;y&#42; `k_<v>` &#91;z&#93;(u)"
    )


def test_a_link_that_leads_nowhere_stops_the_build(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "page.md").write_text("[x](missing.md) [y](page.md#nothing)\n", encoding="utf-8")
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nhooks:")[0]
    validation = re.search(
        r"^validation:\n(?:  .*\n)+", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert validation
    file = tmp_path / "mkdocs.yml"
    file.write_text(
        f"{settings}\n{validation.group()}".replace("docs_dir: docs", f"docs_dir: {docs}"), encoding="utf-8"
    )
    done = build(tmp_path / "site", "--config-file", str(file))
    assert done.returncode == 1
    assert "missing.md" in done.stderr
    assert "#nothing" in done.stderr
