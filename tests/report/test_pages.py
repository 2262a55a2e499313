"""Web pages: what stands on them, that nothing hostile gets through, and that every word can be translated."""

from __future__ import annotations

import base64
import gettext
import hashlib
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import pytest
from msgspec.structs import replace
from page_contents import HOSTILE, MACHINE, OUTCOMES, estimates, everything

from envdoctor.model import speech
from envdoctor.report import documents, drawing
from envdoctor.report.pages import Contents, page

TEMPLATES = Path(__file__).parents[2] / "templates"
VOID = {"meta", "link", "br"}
SAID = ("h2", "h4", "dt", "summary", "caption", "title", "a")  # what holds words of ours alone


class Reader(HTMLParser):
    """Reads a page as a browser would: elements with attributes, and text with the path of elements around it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((tuple(self.open), data))

    def told(self) -> str:
        return "".join(text for path, text in self.texts if path[-1] not in ("style", "script"))


def read(contents: Contents, **how: str) -> Reader:
    reader = Reader()
    reader.feed(page(contents, str(TEMPLATES), **how))
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def full() -> Reader:
    return read(everything())


def test_nothing_hostile_becomes_markup(full: Reader) -> None:
    tags = [tag for tag, _ in full.elements]
    assert tags.count("script") == 1
    assert not {"img", "iframe", "object", "form", "b"} & set(tags)
    for tag, attributes in full.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "src", "srcdoc")], tag
        href = attributes.get("href")
        assert href is None or href.startswith(("https://", "#")), href


def test_hostile_text_is_shown_as_it_is(full: Reader) -> None:
    told = full.told()
    for text in HOSTILE:
        plain = re.sub("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200f\u202e\u2066]", lambda found: f"\\u{ord(found[0]):04x}", text)
        assert plain in told, text


def test_a_page_is_the_same_in_every_encoding() -> None:
    text = page(everything(), str(TEMPLATES))
    assert text.isascii()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", text)


def test_links_lead_only_to_addresses(full: Reader) -> None:
    links = [attributes["href"] or "" for tag, attributes in full.elements if tag == "a"]
    outside = [link for link in links if not link.startswith("#")]
    assert "https://docs.nvidia.com/deploy/cuda-compatibility/" in outside
    assert all(re.fullmatch(r"https://[\w./-]+", link) for link in outside)
    anchors = {attributes.get("id") for _, attributes in full.elements}
    assert {link[1:] for link in links if link.startswith("#")} <= anchors


def test_the_policy_names_the_style_and_the_script(full: Reader) -> None:
    policy = next(a["content"] for _, a in full.elements if a.get("http-equiv") == "Content-Security-Policy") or ""
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (text,) = ("".join(text for path, text in full.texts if path[-1] == tag),)
        hashed = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{hashed}'" in policy


def test_the_snapshot_is_the_same_json(full: Reader) -> None:
    block = [text for path, text in full.texts if path[-1] == "pre"][-1]
    assert json.loads(block) == json.loads(documents.snapshot(MACHINE))


def test_what_is_not_there_has_no_section() -> None:
    small = read(Contents(title="Proof", outcomes=OUTCOMES))
    assert [text for path, text in small.texts if path[-1] == "h2"] == ["Proof"]
    assert [a["href"] for tag, a in small.elements if tag == "a"] == ["#content", "#proof"]


class Loud(gettext.NullTranslations):
    """Says every message between brackets, so that what was not said by `say` stands out."""

    def gettext(self, message: str) -> str:
        return f"«{message}»"

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return f"«{msgid1 if n == 1 else msgid2}»"


@pytest.fixture
def _loud() -> Iterator[None]:
    speech.speak(Loud())
    yield
    speech.speak(None)


@pytest.mark.usefixtures("_loud")
def test_every_word_of_the_templates_can_be_translated() -> None:
    contents = everything()
    found = read(replace(contents, title="«»"), language="zh-Hans")
    assert found.elements[0] == ("html", {"lang": "zh-Hans"})
    words = [(path[-1], text) for path, text in found.texts if path[-1] in SAID and "svg" not in path]
    assert len(words) > 40
    left = {text for _, text in words if "«" not in text and not text.startswith("https://")}
    assert left == set()
    labels = [a["aria-label"] for _, a in found.elements if "aria-label" in a]
    assert labels
    assert all("«" in (label or "") for label in labels)
    body = next(attributes for tag, attributes in found.elements if tag == "body")
    assert all("«" in (value or "") for value in body.values())
    heads = [text for path, text in found.texts if "thead" in path]
    assert [text for text in heads if "«" not in text] == ["images/s"]


def test_a_misspelt_name_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    for file in (TEMPLATES / "report").iterdir():
        (folder / file.name).write_text(file.read_text().replace("{{ title }}", "{{ tilte }}"))
    with pytest.raises(jinja2.UndefinedError, match="tilte"):
        page(Contents(title="x"), str(tmp_path))


def test_a_bar_is_the_memory_of_its_parts() -> None:
    (small, large) = drawing.bars(estimates("gpt2:training:seq=1024,dtype=amp-fp16", (1, 4)))
    for bar in (small, large):
        assert sum(segment.size for segment in bar.segments) == bar.estimate.device_bytes_likely
        widths = sum(segment.width for segment in bar.segments)
        assert bar.free is not None
        assert widths / bar.free == pytest.approx(bar.estimate.device_bytes_likely / (11 << 30), rel=1e-3)
        assert not bar.cut
    assert small.free == large.free
    parts = {segment.part: segment.size for segment in small.segments}
    assert parts["weights"] == small.estimate.memory.parts.weights + small.estimate.memory.parts.buffers
    assert [segment.part for segment in small.segments][-1] == "context"


def test_a_bar_that_is_far_too_long_is_cut() -> None:
    small, large = drawing.bars(estimates("gpt2:training:seq=1024,dtype=amp-fp16", (1, 64)))
    assert (small.cut, large.cut) == (False, True)
    assert sum(segment.width for segment in large.segments) == pytest.approx(drawing.BAR_WIDTH)
    assert large.free == pytest.approx(drawing.BAR_WIDTH / 2)


def test_unknown_free_memory_draws_no_limit() -> None:
    (bar,) = drawing.bars(estimates("gpt2:training:seq=1024", (1,), free=None))
    assert bar.free is None
    found = read(Contents(title="x", estimates=(bar.estimate,)))
    assert not [1 for tag, a in found.elements if a.get("class") == "limit"]


def test_batches_of_one_workload_stand_together_in_order() -> None:
    mixed = (*estimates("gpt2:training:seq=64", (8, 2)), *estimates("resnet18:training:batch=1", (4,)))
    found = read(Contents(title="x", estimates=mixed))
    assert [text for path, text in found.texts if path[-1] == "h3"] == [
        "gpt2, training, 64 tokens, fp32, adamw",
        "resnet18, training, batch 4, fp32, sgd",
    ]
    assert [text for path, text in found.texts if path[-1] == "strong"] == ["batch 2", "batch 8", "batch 4"]


def test_a_curve_goes_through_its_points() -> None:
    drawn = drawing.curve([(1, 2.0), (2, 1.0), (5, 0.0)])
    assert drawn is not None
    assert [tick.value for tick in drawn.up] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert drawn.points[0] == (drawn.left, drawn.top)
    assert drawn.points[-1] == (drawn.right, drawn.bottom)
    assert drawn.points[1][0] == pytest.approx(drawn.left + (drawn.right - drawn.left) / 4)
    assert drawn.across[0].value == 1
    assert drawn.across[-1].value == 5


@pytest.mark.parametrize(
    "points",
    [
        [],
        [(1, 1.0)],
        [(1, 1.0), (1, 2.0)],
        [(1, float("nan")), (2, 1.0)],
        [(1, float("inf")), (2, 1.0)],
        [(0, 0), (1, 1e300)],
    ],
)
def test_what_no_axis_can_hold_is_not_drawn(points: list[tuple[float, float]]) -> None:
    assert drawing.curve(points) is None


def test_a_curve_of_zeros_lies_on_the_axis() -> None:
    drawn = drawing.curve([(1, 0.0), (2, 0.0)])
    assert drawn is not None
    assert {y for _, y in drawn.points} == {drawn.bottom}


def _themes() -> dict[str, dict[str, str]]:
    text = (TEMPLATES / "report" / "page.css").read_text()
    blocks = re.findall(r":root \{(.+?)\}", text, re.DOTALL)
    assert len(blocks) == 3
    read = [dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in blocks]
    return dict(zip(("light", "dark", "print"), read, strict=True))


def _luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_text_and_figures_stand_out_in_every_theme(theme: str) -> None:
    # WCAG 2.2 AA: 4.5 for text (1.4.3), 3 for what must be seen of a figure (1.4.11).
    colours = _themes()[theme]
    for name in ("ink", "faint", "link", "error", "warning", "note", "good"):
        for behind in ("paper", "sheet"):
            assert _contrast(colours[name], colours[behind]) >= 4.5, (name, behind)
    for name in ("weights", "gradients", "optimizer", "activations", "context"):
        assert _contrast(colours[name], colours["sheet"]) >= 3, name
