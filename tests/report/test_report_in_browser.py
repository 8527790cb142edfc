"""The report as people see it: in a browser, at three widths, light, dark and printed."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipeline.report.__main__ import main
from tests.helpers.made_outputs import FIRST, OTHER, SECOND, failed, predicted, write_run
from tests.helpers.model_fixtures import PHOTOS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# As root and without a graphics card, as in a container.
OPTIONS = ["--no-sandbox", "--disable-gpu"]
WIDTHS = (360, 800, 1400)
LONG = "an-unbroken-name-" * 12 + ".jpg"
# WCAG 2.1: relative luminance, and the contrast of text with what lies behind it.
LOW_CONTRAST = """() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => {
    const line = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    return 0.2126 * line(r) + 0.7152 * line(g) + 0.0722 * line(b);
  };
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const colour = numbers(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("script, svg, .unseen")) continue;
    const [a, b] = [numbers(getComputedStyle(element).color), behind(element)].map(luminance);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.add(`${element.tagName}.${element.className} ${ratio.toFixed(2)}`);
  }
  return [...found];
}"""
# What is wider than its box, and words of a table's header that are broken over lines.
CUT_OFF = """() => {
  const wide = (e) => e.clientWidth > 1 && e.scrollWidth > e.clientWidth + 1;
  const found = [...document.querySelectorAll("main *")].filter(wide)
    .map((e) => `${e.tagName}.${e.className}`);
  for (const header of document.querySelectorAll("thead th")) {
    const walker = document.createTreeWalker(header, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      for (const word of walker.currentNode.data.matchAll(/\\S+/g)) {
        const range = document.createRange();
        range.setStart(walker.currentNode, word.index);
        range.setEnd(walker.currentNode, word.index + word[0].length);
        if (range.getClientRects().length > 1) found.push(word[0]);
      }
    }
  }
  return found;
}"""

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs the browser chromium: apt-get install chromium"
)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on two models over photographs and over what is none."""
    output = tmp_path_factory.mktemp("report") / "out"
    photos = sorted(str(path) for path in PHOTOS.iterdir())
    others = (("tower", 0.2), ("dish", 0.1))
    broken = [
        failed(f"/photos/{LONG}", "truncated", "JPEG of 7 bytes ends too early"),
        failed("/photos/notes.txt", "not_an_image", "<b>no</b> image " * 9),
    ]
    rare = [predicted(f"/gone/{n}.jpg", f"label {n}", 0.9) for n in range(30)]
    first = [
        predicted(photo, "<i>cat</i>", n / 20 + 0.1, *others) for n, photo in enumerate(photos)
    ]
    second = [
        predicted(photo, LONG if n % 2 else "<i>cat</i>", 0.7, *others, model=OTHER)
        for n, photo in enumerate(photos)
    ]
    write_run(output, FIRST, [*first, *broken])
    write_run(output, SECOND, [row | {"model": OTHER} for row in [*second, *broken, *rare]])
    result = CliRunner().invoke(main, [str(output)])
    assert result.exit_code == 0, result.output
    return output / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


class Visit:
    """A page that notes what it complains of and what it asks for."""

    def __init__(self, browser: Any, file: Path, **context: Any) -> None:
        self.context = browser.new_context(reduced_motion="reduce", **context)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())

    def is_clean(self, file: Path) -> bool:
        """Whether nothing was complained of and nothing but the file itself was asked for."""
        asked = [url for url in self.requests if not url.startswith("data:")]
        return not self.complaints and {url.partition("#")[0] for url in asked} == {file.as_uri()}


@pytest.fixture
def visit(browser: Any, page_file: Path) -> Iterator[Visit]:
    visit = Visit(browser, page_file, viewport={"width": 1400, "height": 900})
    yield visit
    visit.context.close()


@pytest.mark.parametrize(
    ("scheme", "background"), [("light", "rgb(246, 247, 249)"), ("dark", "rgb(16, 21, 27)")]
)
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overflows_complains_or_is_fetched(
    browser: Any, page_file: Path, width: int, scheme: str, background: str
) -> None:
    visit = Visit(browser, page_file, viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = visit.page
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    pictures = page.evaluate(
        "[...document.images].map((one) => [one.complete, one.naturalWidth, one.alt !== ''])"
    )
    assert len(pictures) > 12
    assert {tuple(picture) for picture in pictures} == {(True, 184, True)}
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == background
    assert page.evaluate(LOW_CONTRAST) == []
    assert page.evaluate(CUT_OFF) == []
    assert visit.is_clean(page_file)
    visit.context.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_each_number_of_a_run_is_in_view_and_named(
    browser: Any, page_file: Path, width: int
) -> None:
    visit = Visit(browser, page_file, viewport={"width": width, "height": 800})
    row = visit.page.get_by_role("table", name="The latest first").get_by_role("row").nth(1)
    assert row.get_by_role("rowheader").inner_text() == SECOND
    boxes = [cell.bounding_box() for cell in row.get_by_role("cell").all()]
    assert len(boxes) == 8
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
    names = row.locator("td.n").evaluate_all(
        "(all) => all.map((one) => getComputedStyle(one, '::before').content)"
    )
    columns = ("Listed", "Predicted", "Failed", "Skipped", "Seconds", "Images/s")
    beside = [f'"{column}"' for column in columns]  # in a card, which has no header in view
    assert names == (["none"] * 6 if width == 1400 else beside)
    visit.context.close()


def test_each_link_of_the_navigation_leads_to_its_heading(visit: Visit, page_file: Path) -> None:
    links = visit.page.locator("nav a").all()
    assert len(links) == 8
    for each in links:
        each.click()
        heading = visit.page.locator(f"h2{each.get_attribute('href')}")
        heading.wait_for(state="visible")
        visit.page.wait_for_function(
            "(h) => { const y = h.getBoundingClientRect().y; return y >= 40 && y < innerHeight; }",
            arg=heading.element_handle(),
        )
    assert visit.is_clean(page_file)


def test_the_keyboard_reaches_and_opens_everything(visit: Visit) -> None:
    page = visit.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main"

    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.tagName"))
        if reached[-1] == "SUMMARY":
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert (reached[0], reached[-1], outline) == ("DIV", "SUMMARY", "solid")
    assert "INPUT" in reached
    details = page.locator("details.more")
    assert not details.evaluate("(one) => one.open")
    page.keyboard.press("Enter")
    assert details.evaluate("(one) => one.open")


def test_a_summary_opens_by_a_click_and_the_filter_narrows_the_labels(visit: Visit) -> None:
    page = visit.page
    numbers = page.get_by_text("The histogram as numbers")
    table = page.get_by_role("table", name="Images by score")
    assert not table.is_visible()
    numbers.click()
    assert table.is_visible()

    page.get_by_label("Filter labels").fill("LABEL 2")
    shown = page.locator("table.labels tbody tr:visible th").all_inner_texts()
    assert shown == ["label 2", *(f"label {n}" for n in range(20, 30))]
    assert page.get_by_text("11 of 32 labels shown here").is_visible()


def test_everything_can_be_read_without_script(browser: Any, page_file: Path) -> None:
    visit = Visit(browser, page_file, java_script_enabled=False)
    page = visit.page
    assert page.get_by_role("heading", name="Two models").is_visible()
    assert not page.get_by_label("Filter labels").is_visible()
    page.get_by_text("The histogram as numbers").click()
    assert page.get_by_role("table", name="Images by score").is_visible()
    assert visit.is_clean(page_file)
    visit.context.close()


def test_names_are_text_in_the_browser_too(visit: Visit) -> None:
    assert visit.page.locator("main i:not(.bar i, .median i)").count() == 0
    assert visit.page.get_by_role("rowheader", name="<i>cat</i>").first.is_visible()


def test_in_print_the_examples_of_every_reason_are_there(visit: Visit) -> None:
    page = visit.page
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    example = page.get_by_text(LONG).last
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert example.is_visible()
    assert page.locator("details:not([open]):not(.more)").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details.reason[open]").count() == 1
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
