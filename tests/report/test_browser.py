"""The page in a real browser: it answers, copies, changes its colours, and asks the network for nothing."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ofa_nas.report.page import report_page
from tests.report.conftest import HOSTILE, Found

playwright = pytest.importorskip("playwright.sync_api", reason="comes with the dev extra")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DESKTOP, PHONE = (1200, 900), (375, 740)
FLAGS = (
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
    # Playwright's own loop is left to the interpreter's end, where nobody closes it.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@dataclass(slots=True)
class Opened:
    """A page that is open, and whatever it complained of or asked for."""

    page: Any
    address: str
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def chart(self, name: str) -> Any:
        """A chart, once the script has drawn it."""
        chart = self.page.locator(f"#chart-{name}")
        chart.scroll_into_view_if_needed()
        chart.locator(".main-svg").first.wait_for()
        return chart

    def point(self, index: int) -> tuple[float, float]:
        """Where a point of the front stands in the window [px]."""
        box = self.chart("front").locator(".scatterlayer .trace").first.locator("path.point").nth(index)
        box.wait_for()
        place = box.bounding_box()
        return place["x"] + place["width"] / 2, place["y"] + place["height"] / 2

    @property
    def copied(self) -> str:
        """What stands in the clipboard."""
        text: str = self.page.evaluate("navigator.clipboard.readText()")
        return text

    def colour(self, selector: str, name: str) -> str:
        """A colour as the browser computed it."""
        found: str = self.page.locator(selector).first.evaluate(
            "(element, name) => getComputedStyle(element)[name]", name
        )
        return found

    @property
    def overflow(self) -> int:
        """By how much the page is wider than its window [px]."""
        excess: int = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return excess


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield running
        running.close()


Open = Callable[..., Opened]


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Opens the page of a search, and looks at the end whether it kept quiet."""
    opened: list[Opened] = []

    def run(found: Found, size: tuple[int, int] = DESKTOP, **options: Any) -> Opened:
        path = tmp_path / "report.html"
        path.write_text(report_page(found.document))
        is_phone = size == PHONE
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            is_mobile=is_phone,
            has_touch=is_phone,
            **{"permissions": ["clipboard-read", "clipboard-write"], "color_scheme": "light"} | options,
        )
        one = Opened(context.new_page(), path.as_uri())
        one.page.on("console", lambda message: one.complaints.append(message.text))
        one.page.on("pageerror", lambda error: one.complaints.append(str(error)))
        one.page.on("request", lambda request: one.requests.append(request.url))
        one.page.goto(one.address)
        opened.append(one)
        return one

    yield run
    for one in opened:
        assert one.complaints == []
        assert [url for url in one.requests if not url.startswith(("data:", "blob:"))] == [one.address]
        one.page.context.close()


def test_pointing_tells_and_a_click_copies(open_page: Open, found: dict[str, Found]) -> None:
    opened = open_page(found["one"])
    x, y = opened.point(0)
    opened.page.mouse.move(x, y)
    label = opened.page.locator("#chart-front .hoverlayer .hovertext")
    label.wait_for()
    cheapest = found["one"].content["front"][0]
    words = "".join(label.text_content().split())
    assert cheapest["architecture"] in words
    assert f"{cheapest['predicted']['latency_ms']['rpi4']:.2f}ms" in words
    assert "590kB" in words
    opened.page.mouse.click(x, y)
    opened.page.get_by_text(f"copied {cheapest['architecture']}").wait_for()
    assert opened.copied == cheapest["architecture"]
    told = opened.page.locator("#chart-front .told")
    assert told.text_content().split("\n")[0] == cheapest["architecture"]
    assert opened.overflow == 0


def test_the_keyboard_does_what_the_mouse_does(open_page: Open, found: dict[str, Found]) -> None:
    opened = open_page(found["one"])
    opened.chart("front").locator(".plot").focus()
    opened.page.keyboard.press("End")
    opened.page.keyboard.press("Enter")
    last = found["one"].content["front"][-1]["architecture"]
    opened.page.get_by_text(f"copied {last}").wait_for()
    assert opened.copied == last
    opened.page.locator(".chosen-text .copy").focus()
    opened.page.keyboard.press("Enter")
    chosen = found["one"].content["architecture"]
    opened.page.get_by_text(f"copied {chosen}").wait_for()
    assert opened.copied == chosen


def test_a_tap_on_a_phone_does_too(open_page: Open, found: dict[str, Found]) -> None:
    opened = open_page(found["one"], PHONE)
    assert opened.overflow == 0  # before the script has drawn what is further below
    opened.page.touchscreen.tap(*opened.point(0))
    first = found["one"].content["front"][0]["architecture"]
    opened.page.get_by_text(f"copied {first}").wait_for()
    assert opened.page.locator("#chart-front .told").text_content().startswith(first)
    for name in ("front", "time-0", "memory"):
        opened.chart(name)
    assert opened.overflow == 0
    sizes = opened.page.evaluate(
        "[...document.querySelectorAll('p, td, th, li, dd, figcaption, .told')]"
        ".filter(one => one.checkVisibility()).map(one => parseFloat(getComputedStyle(one).fontSize))"
    )
    assert min(sizes) >= 12


@pytest.mark.parametrize(("scheme", "other"), [("light", "dark"), ("dark", "light")])
def test_the_reader_chooses_light_or_dark(
    scheme: str, other: str, open_page: Open, found: dict[str, Found]
) -> None:
    paper = {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 22, 28)"}
    star = {"light": "rgb(194, 24, 91)", "dark": "rgb(255, 111, 163)"}
    opened = open_page(found["one"], color_scheme=scheme)
    drawn = "#chart-front .scatterlayer .trace:last-child path.point"
    opened.chart("front")
    assert opened.colour("body", "backgroundColor") == paper[scheme]
    assert opened.colour(drawn, "fill") == star[scheme]
    opened.page.get_by_role("button", name=f"change to {other} colours").click()
    assert opened.colour("body", "backgroundColor") == paper[other]
    opened.page.wait_for_timeout(100)
    assert opened.colour(drawn, "fill") == star[other]


def test_another_cost_can_be_chosen(open_page: Open, found: dict[str, Found]) -> None:
    opened = open_page(found["two"])
    chart = opened.chart("front")
    before = opened.point(40)
    chart.get_by_label("accuracy against").select_option("MACs")
    chart.get_by_text("MACs [M MACs], predicted").wait_for()
    assert opened.point(40) != before
    assert chart.get_by_label("accuracy against").locator("option").count() == 5


def test_no_button_sends_anything_away(open_page: Open, found: dict[str, Found]) -> None:
    opened = open_page(found["one"])
    chart = opened.chart("front")
    titles = {one.get_attribute("data-title") for one in chart.locator(".modebar-btn").all()}
    assert titles == {"Download plot as a PNG", "Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes"}


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_hostile_names_are_words(size: tuple[int, int], open_page: Open, hostile: Found) -> None:
    opened = open_page(hostile, size)
    for name in ("front", "time-0", "time-1", "memory"):
        opened.chart(name)
    assert opened.page.locator("img").count() == 0
    assert HOSTILE in opened.page.locator("h1").text_content()
    opened.chart("time-1").locator(".plot").focus()
    opened.page.keyboard.press("Home")
    assert opened.page.locator("#chart-time-1 .told").text_content().startswith(HOSTILE)
    assert opened.page.locator("img").count() == 0


def test_without_scripts_the_drawings_stay(open_page: Open, found: dict[str, Found]) -> None:
    opened = open_page(found["one"], PHONE, java_script_enabled=False)
    drawing = opened.page.locator("#chart-front .plot > svg")
    assert drawing.is_visible()
    assert drawing.locator("circle").count() >= 600
    assert not opened.page.locator("#theme").is_visible()
    assert opened.page.locator(".chosen-text code").text_content() == found["one"].content["architecture"]
    opened.page.locator("summary").first.click()
    assert opened.page.locator("#front table tbody tr").count() >= 600


def test_what_was_measured_can_be_pointed_at(open_page: Open, measured: Found) -> None:
    opened = open_page(measured)
    for name in ("front", "accuracy-0", "table-0", "time-0", "memory"):
        opened.chart(name)
    legend = opened.chart("front").locator(".legendtext").all_text_contents()
    assert legend == ["evaluated", "timed finalists", "chosen"]
