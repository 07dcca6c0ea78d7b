"""Charts as PNG files, drawn by Pillow in four times their size, so that edges are smooth."""

import unicodedata
from collections.abc import Sequence
from io import BytesIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ofa_nas.charts.chart import CROSS, DIAMOND, STAR, Chart
from ofa_nas.charts.layout import lay_out
from ofa_nas.charts.shapes import Box, Line, Mark, Place, Shape, Text
from ofa_nas.charts.svg import arms, corners
from ofa_nas.charts.theme import LIGHT, Theme

if TYPE_CHECKING:
    from PIL import Image

FINER = 4  # px drawn for one that is kept, in both directions
DASH, GAP = 5.0, 4.0  # px
_SPELT = str.maketrans({"≤": "<=", "≥": ">=", "–": "-", "×": "x", "·": "-", "…": "...", "µ": "u"})


def draw_png(chart: Chart, theme: Theme = LIGHT, *, scale: int = 2) -> bytes:
    """One chart as a PNG file.

    Args:
        chart: To draw.
        theme: Of hex colours.
        scale: Pixels of the file for one of the chart's.
    """
    from PIL import Image, ImageDraw

    width, height = chart.size
    factor = scale * FINER
    image = Image.new("RGB", (width * factor, height * factor), theme.paper)
    pen = _Pen(image, ImageDraw.Draw(image), factor, theme)
    for shape in lay_out(chart, theme):
        pen.draw(shape)
    small = image.resize((width * scale, height * scale), Image.Resampling.LANCZOS)
    content = BytesIO()
    small.quantize(256).save(content, "PNG", optimize=True)
    return content.getvalue()


class _Pen:
    """Draws shapes on an image that is `factor` times as large as they say."""

    def __init__(self, image: "Image.Image", draw: Any, factor: int, theme: Theme) -> None:
        self.image, self.canvas, self.factor, self.theme = image, draw, factor, theme

    def draw(self, shape: Shape) -> None:
        """Draw one."""
        match shape:
            case Box((x, y), (width, height), fill):
                self.canvas.rectangle([*self._at((x, y)), *self._at((x + width, y + height))], fill=fill)
            case Line():
                self._line(shape)
            case Mark():
                self._mark(shape)
            case Text():
                self._text(shape)

    def _at(self, place: Place) -> Place:
        return place[0] * self.factor, place[1] * self.factor

    def _line(self, line: Line) -> None:
        colour = _mixed(line.colour, self.theme.paper, line.opacity)
        width = max(1, round(line.width * self.factor))
        parts = _dashes(line.places) if line.is_dashed else [list(line.places)]
        for part in parts:
            self.canvas.line([self._at(place) for place in part], fill=colour, width=width, joint="curve")

    def _mark(self, mark: Mark) -> None:
        if mark.kind in (STAR, DIAMOND):
            places = corners(mark.kind, mark.place, mark.radius)
            self.canvas.polygon([self._at(place) for place in places], fill=mark.colour)
        elif mark.kind == CROSS:
            for arm in arms(mark.place, mark.radius):
                self._line(Line(arm, mark.colour, width=2.0))
        else:
            (x, y), radius = mark.place, mark.radius
            ends = [*self._at((x - radius, y - radius)), *self._at((x + radius, y + radius))]
            self.canvas.ellipse(ends, fill=mark.colour)

    def _text(self, text: Text) -> None:
        from PIL import Image, ImageDraw, ImageFont

        font, words = ImageFont.load_default(text.size * self.factor), spell(text.text)
        anchor = {"start": "ls", "middle": "ms", "end": "rs"}[text.anchor]
        stroke = self.factor // 5 if text.is_bold else 0
        if not text.is_upright:
            self.canvas.text(
                self._at(text.place),
                words,
                fill=text.colour,
                font=font,
                anchor=anchor,
                stroke_width=stroke,
            )
            return
        length = round(font.getlength(words)) + 2
        room = round(2 * text.size * self.factor)
        patch = Image.new("L", (length, room), 0)
        ImageDraw.Draw(patch).text((1, room // 2), words, fill=255, font=font, anchor="ls")
        patch = patch.rotate(90, expand=True)
        x, y = self._at(text.place)
        up = {"start": length, "middle": length / 2, "end": 0}[text.anchor]
        self.image.paste(text.colour, (round(x - room // 2), round(y - up)), patch)


def spell(text: str) -> str:
    """A text in ASCII, the letters that Pillow's own font has: the same picture on every machine."""
    plain = unicodedata.normalize("NFKD", text.translate(_SPELT))
    return "".join(
        letter if letter.isascii() else "?" for letter in plain if not unicodedata.combining(letter)
    )


def _mixed(colour: str, paper: str, opacity: float) -> str:
    """A colour that is not quite opaque, on paper."""
    pairs = ((int(colour[at : at + 2], 16), int(paper[at : at + 2], 16)) for at in (1, 3, 5))
    return "#" + "".join(f"{round(opacity * top + (1 - opacity) * below):02x}" for top, below in pairs)


def _dashes(places: Sequence[Place]) -> list[list[Place]]:
    """Pieces of the lines between places."""
    parts = []
    for (ax, ay), (bx, by) in pairwise(places):
        length = ((bx - ax) ** 2 + (by - ay) ** 2) ** 0.5
        at = 0.0
        while at < length:
            ends = at / length, min(at + DASH, length) / length
            parts.append([(ax + share * (bx - ax), ay + share * (by - ay)) for share in ends])
            at += DASH + GAP
    return parts
