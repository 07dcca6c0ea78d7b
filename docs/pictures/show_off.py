"""Make the README's pictures: the front of its first search, and the top of that search's report.

`python docs/pictures/show_off.py [FOLDER]`, with the extra `dev`; without a Chromium at hand the pictures of
the page are left as they are.
"""

import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import ViewportSize, sync_playwright

from ofa_nas.charts import DARK, LIGHT, draw_svg
from ofa_nas.cli import main
from ofa_nas.report.page import report_page
from ofa_nas.report.plots import picture_chart
from ofa_nas.report.reader import read_search

SEARCH = ("search", "--device", "rpi4", "--latency", "30ms", "--peak-memory", "1.2MB")
SIZE = ViewportSize(width=1160, height=1220)  # of the window [px]
COLOURS = 96  # of a picture of the page: it is that small then


def draw(folder: Path) -> list[Path]:
    """Search, and write every picture that can be made here."""
    with tempfile.TemporaryDirectory() as name:
        document = Path(name, "search.json")
        sys.argv = ["ofa-nas", *SEARCH]  # what the page says that made it
        assert main([*SEARCH, "--json-file", str(document)]) == 0
        found = read_search(document)
        page = Path(name, "report.html")
        page.write_text(report_page(found))
        written = []
        for theme, colours in (("light", LIGHT), ("dark", DARK)):
            written.append(folder / f"front-{theme}.svg")
            written[-1].write_text(draw_svg(picture_chart(found), colours) + "\n")
        return written + photograph(page, folder)


def photograph(page: Path, folder: Path) -> list[Path]:
    """The top of a page in both colours, with a point of its front pointed at; nothing without a browser."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return []
    written = []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        schemes: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")
        for theme in schemes:
            opened = browser.new_page(viewport=SIZE, color_scheme=theme)
            opened.goto(page.as_uri())
            points = opened.locator("#chart-front .scatterlayer .trace").first.locator("path.point")
            points.first.wait_for()
            points.nth(points.count() // 2).hover(force=True)
            opened.locator(".hovertext").wait_for()
            opened.wait_for_timeout(300)  # until the label has faded in
            picture = Image.open(io.BytesIO(opened.screenshot())).convert("RGB").quantize(COLOURS)
            written.append(folder / f"report-{theme}.png")
            picture.save(written[-1], optimize=True)
        browser.close()
    return written


if __name__ == "__main__":
    for path in draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent):
        sys.stderr.write(f"wrote {path}, {path.stat().st_size / 1e3:.0f} kB\n")
