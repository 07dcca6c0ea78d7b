"""A whole page: its head with the style in it, light and dark."""

from importlib.resources import files

from ofa_nas.charts import DARK, LIGHT, Theme
from ofa_nas.pages.html import Markup, markup, tag


def whole_page(title: str, *body: str, head: Markup | None = None) -> str:
    """A page, as text.

    Args:
        title: Of the window.
        body: Of the page; what is no markup is escaped.
        head: What its head holds beside title and style.
    """
    css = files("ofa_nas.pages").joinpath("page.css").read_text(encoding="utf-8")
    inner = markup(
        Markup('<meta charset="utf-8">'),
        head or Markup(),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="color-scheme" content="light dark">'),
        tag("title", title),
        Markup(f"<style>{_variables()}{css}</style>"),
    )
    return f'<!doctype html>\n<html lang="en">{tag("head", inner)}{tag("body", *body)}</html>\n'


def _variables() -> str:
    """Colours of both themes as CSS variables; the system chooses until the button does."""
    light, dark = _colours(LIGHT), _colours(DARK)
    return (
        f":root{{color-scheme:light;{light}}}"
        f"@media(prefers-color-scheme:dark){{:root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}"
        f":root[data-theme=dark]{{color-scheme:dark;{dark}}}"
    )


def _colours(theme: Theme) -> str:
    named = {name: getattr(theme, name) for name in ("paper", "ink", "faint", "grid", "accent", "limit")}
    named |= {f"series-{index}": colour for index, colour in enumerate(theme.series)}
    named |= {f"scale-{index}": colour for index, colour in enumerate(theme.scale)}
    return "".join(f"--{name}:{colour};" for name, colour in named.items())
