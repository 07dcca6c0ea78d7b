"""Colours by what they are for, on light and on dark paper, and as CSS variables of a page that has both."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours.

    Attributes:
        paper: Behind everything; empty for nothing.
        ink: Of texts.
        faint: Of frames and ticks.
        grid: Of lines behind the points.
        accent: Of what was chosen.
        limit: Of rules.
        series: In turn.
        scale: From the least value to the greatest.
    """

    paper: str
    ink: str
    faint: str
    grid: str
    accent: str
    limit: str
    series: tuple[str, ...]
    scale: tuple[str, ...]

    def colour(self, role: str, turn: int) -> str:
        """The colour of a role; without one, that of series number `turn`."""
        return str(getattr(self, role)) if role else self.series[turn % len(self.series)]


# Texts have a contrast of 4.5 to their paper, points of 3 (WCAG 2.1, 1.4.3, 1.4.11); a test holds them to it.
LIGHT = Theme(
    paper="#ffffff",
    ink="#1c2430",
    faint="#5b6675",
    grid="#e4e8ee",
    accent="#c2185b",
    limit="#b3261e",
    series=("#1f6fb5", "#c2410c", "#2e7d32", "#7b4fb3", "#8c564b", "#00798c"),
    scale=("#2f4bb8", "#8a3fb0", "#c73e7c", "#d9622b"),
)
DARK = Theme(
    paper="#12161c",
    ink="#e6eaf0",
    faint="#9aa6b5",
    grid="#2a323d",
    accent="#ff6fa3",
    limit="#ff8a80",
    series=("#6cb2f0", "#ffa26b", "#7fd184", "#c3a0f5", "#d6a79b", "#58c9d6"),
    scale=("#7f9bff", "#bd8cf5", "#f58ab8", "#ffc069"),
)
PAGE = Theme(
    paper="",
    ink="var(--ink)",
    faint="var(--faint)",
    grid="var(--grid)",
    accent="var(--accent)",
    limit="var(--limit)",
    series=tuple(f"var(--series-{index})" for index in range(len(LIGHT.series))),
    scale=tuple(f"var(--scale-{index})" for index in range(len(LIGHT.scale))),
)


def on_scale(share: float, scale: tuple[str, ...]) -> str:
    """The colour at a share of a scale; of colours that are no hex digits, the nearest one."""
    place = min(max(share, 0.0), 1.0) * (len(scale) - 1)
    low = min(int(place), len(scale) - 2)
    first, second = scale[low], scale[low + 1]
    if not (first.startswith("#") and second.startswith("#")):
        mixed = round(100 * (place - low))
        return f"color-mix(in srgb, {second} {mixed}%, {first})"
    parts = (
        round(
            int(first[at : at + 2], 16) * (1 - (place - low)) + int(second[at : at + 2], 16) * (place - low)
        )
        for at in (1, 3, 5)
    )
    return "#" + "".join(f"{part:02x}" for part in parts)
