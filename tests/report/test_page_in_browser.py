"""The page in a real Chromium: it looks right, is readable for everybody, runs nothing of what it shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from page_contents import FINDING, HOSTILE, everything

from envdoctor.report.pages import page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page

pytestmark = pytest.mark.browser
TEMPLATES = str(Path(__file__).parents[2] / "templates")
WIDTHS = (360, 1200)
THEMES = ("light", "dark")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(page(everything(), TEMPLATES), encoding="ascii")
    return file.as_uri()


class Watched:
    """A page, and what it complained of or asked for."""

    def __init__(self, browser: Browser, address: str, **how: Any) -> None:
        self.context = browser.new_context(**how)
        self.page: Page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", self._dismiss)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)

    def _dismiss(self, dialog: Dialog) -> None:
        self.said.append(dialog.message)
        dialog.dismiss()


@pytest.fixture
def watch(browser: Browser, address: str) -> Iterator[Any]:
    opened: list[Watched] = []

    def watch(**how: Any) -> Watched:
        opened.append(Watched(browser, address, **how))
        return opened[-1]

    yield watch
    for each in opened:
        each.context.close()


def open_all(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_it_is_quiet_fits_and_can_be_read_by_everybody(width: int, theme: str, watch: Any, address: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    seen = watch(viewport={"width": width, "height": 800}, color_scheme=theme)
    open_all(seen.page)
    assert seen.page.evaluate("document.documentElement.scrollWidth") == width
    # Nothing sticks out but what scrolls in a box of its own.
    beyond = seen.page.evaluate(
        """() => [...document.querySelectorAll("body *")].filter(each => !each.closest(".scroll, svg, .skip, .unseen")
             && each.getBoundingClientRect().right > innerWidth + 1).map(each => each.outerHTML.slice(0, 200))"""
    )
    assert beyond == []
    answer = Axe().run(seen.page, options={"resultTypes": ["violations", "incomplete"]}).response
    bad = [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in answer["violations"]]
    assert bad == []
    # What axe cannot judge is text in SVG, whose contrast test_pages.py computes, and cells that a narrow window hides.
    unsure = [node["html"] for each in answer["incomplete"] if each["id"] == "color-contrast" for node in each["nodes"]]
    assert [html[:200] for html in unsure if not html.startswith(("<text", "<th", "<td"))] == []
    assert width < max(WIDTHS) or not [html for html in unsure if html.startswith(("<th", "<td"))]
    assert len(answer["passes"]) > 20
    assert (seen.said, seen.asked) == ([], [address])


def test_what_it_shows_does_nothing(watch: Any) -> None:
    seen = watch()
    open_all(seen.page)
    assert seen.page.evaluate("window.harm") is None
    assert seen.page.locator("img, iframe, form").count() == 0
    told = seen.page.locator("main").inner_text()
    assert all(text in told for text in HOSTILE[:3])
    # The policy stops a script even if it gets into the page.
    blocked = seen.page.evaluate(
        """() => new Promise(done => {
             document.addEventListener("securitypolicyviolation", event => done(event.effectiveDirective));
             const added = document.createElement("script");
             added.textContent = "window.harm = 4";
             document.body.append(added);
             setTimeout(() => done("ran"), 2000);
           })"""
    )
    assert blocked.startswith("script-src")
    assert seen.page.evaluate("window.harm") is None


def test_text_from_right_to_left_leaves_the_rest_in_order(watch: Any) -> None:
    seen = watch()
    title = seen.page.locator(".finding h3").first
    assert title.inner_text().split()[:2] == ["error", "DRV007"]
    places = [title.locator(kind).first.bounding_box()["x"] for kind in (".mark", "code", ".data")]
    assert places == sorted(places)
    assert seen.page.locator("pre").first.evaluate("each => getComputedStyle(each).direction") == "ltr"


def test_without_scripts_everything_can_be_read(watch: Any) -> None:
    seen = watch(java_script_enabled=False)
    assert seen.page.locator("button").count() == 0
    assert FINDING.title in seen.page.locator("main").inner_text()
    file = seen.page.locator("#files details").first
    assert not file.locator("pre").is_visible()
    file.locator("summary").click()
    assert "- pytorch" in file.locator("pre").inner_text()


def test_copying_and_saving(watch: Any, tmp_path: Path) -> None:
    seen = watch(permissions=["clipboard-read", "clipboard-write"], accept_downloads=True)
    copied = seen.page.locator(".finding pre").first
    button = copied.locator("xpath=preceding-sibling::div[1]").get_by_role("button")
    button.click()
    seen.page.wait_for_function("document.getElementById('told').textContent === 'Copied'")
    text = seen.page.evaluate("navigator.clipboard.readText()")
    assert text == "pip install 'torch; <script>window.harm = 1</script>'\necho '$(reboot)' 'it'\"'\"'s'"
    seen.page.locator("#files summary").nth(1).click()
    with seen.page.expect_download() as download:
        seen.page.get_by_role("button", name="Save: Dockerfile").click()
    download.value.save_as(tmp_path / "saved")
    assert (tmp_path / "saved").read_text() == everything().artifacts[1].text
    assert download.value.suggested_filename == "Dockerfile"
    assert seen.said == []


def test_by_keyboard(watch: Any) -> None:
    seen = watch()
    seen.page.keyboard.press("Tab")
    first = seen.page.evaluate("[document.activeElement.textContent, document.activeElement.getBoundingClientRect().x]")
    assert first[0] == "Skip to the content"
    assert first[1] >= 0  # it comes into sight when it has the focus
    seen.page.keyboard.press("Enter")
    assert seen.page.evaluate("document.activeElement.id") == "content"
    reached = []
    for _ in range(60):
        seen.page.keyboard.press("Tab")
        reached.append(seen.page.evaluate("document.activeElement.tagName"))
        outline = seen.page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert outline == "3px", reached
        if reached[-1] == "SUMMARY":
            break
    assert {"BUTTON", "A", "SUMMARY"} <= set(reached)
    seen.page.keyboard.press("Enter")
    assert seen.page.evaluate("document.activeElement.parentElement.open") is True


def test_on_paper_it_is_black_on_white(watch: Any) -> None:
    seen = watch(color_scheme="dark")
    seen.page.emulate_media(media="print")
    assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for gone in ("nav", ".tools", "#snapshot"):
        assert not seen.page.locator(gone).first.is_visible(), gone
    seen.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert seen.page.locator("#files pre").first.is_visible()
    seen.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert not seen.page.locator("#files pre").first.is_visible()


@pytest.mark.parametrize("width", WIDTHS)
def test_bars_and_curves_are_drawn_to_scale(width: int, watch: Any) -> None:
    seen = watch(viewport={"width": width, "height": 800})
    frames = [box for bar in seen.page.locator("#memory svg.bar").all() if (box := bar.bounding_box())]
    assert len(frames) == 4
    assert all(frame["x"] >= 0 and frame["x"] + frame["width"] <= width and frame["height"] > 15 for frame in frames)
    small, large = (seen.page.locator("#memory svg.bar").nth(place) for place in (0, 1))

    def end(bar: Any) -> float:
        box = bar.locator("rect").last.bounding_box()
        return float(box["x"] + box["width"] - bar.bounding_box()["x"])

    limit = small.locator(".limit").bounding_box()["x"] - frames[0]["x"]
    estimates = everything().estimates
    for bar, found in ((small, estimates[0]), (large, estimates[1])):
        assert end(bar) / limit == pytest.approx(found.device_bytes_likely / (11 << 30), abs=0.02)
    curve = seen.page.locator("svg.curve").first.bounding_box()
    assert curve["width"] / curve["height"] == pytest.approx(2, rel=0.01)
    sizes = seen.page.evaluate(
        "[...document.querySelectorAll('svg.curve text')].map(each => each.getBoundingClientRect().height)"
    )
    assert min(sizes) >= 9
