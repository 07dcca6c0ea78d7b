"""HTML from values: whatever is no markup of ours is escaped, so that no name from a file is read as HTML."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape


class Markup(str):
    """Text that is HTML already; only this module and our own drawings make it."""

    __slots__ = ()


def markup(*parts: str) -> Markup:
    """Join parts; those that are no markup are escaped."""
    return Markup("".join(part if isinstance(part, Markup) else escape(part) for part in parts))


def tag(name: str, *children: str, attributes: Mapping[str, str] | None = None) -> Markup:
    """An element; children that are no markup are escaped, and so are the values of attributes."""
    told = "".join(f' {key}="{escape(value)}"' for key, value in (attributes or {}).items())
    return Markup(f"<{name}{told}>{markup(*children)}</{name}>")


def table(
    headers: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "", chosen: int = -1
) -> Markup:
    """A table that scrolls in its own box; the first cell of a row is its header, row `chosen` stands out."""
    head = tag("tr", *(tag("th", text, attributes={"scope": "col"}) for text in headers))
    body = [
        tag(
            "tr",
            tag("th", row[0], attributes={"scope": "row"}),
            *(tag("td", cell) for cell in row[1:]),
            attributes={"class": "chosen"} if index == chosen else {},
        )
        for index, row in enumerate(rows)
    ]
    title = tag("caption", caption) if caption else Markup()
    whole = tag("table", title, tag("thead", head), tag("tbody", *body))
    return tag(
        "div", whole, attributes={"class": "scroll", "tabindex": "0", "role": "region"} | _label(caption)
    )


def _label(caption: str) -> dict[str, str]:
    return {"aria-label": caption or "table"}


def copyable(text: str) -> Markup:
    """A text with a button that copies it; without scripts the button is not shown."""
    return markup(tag("code", text), Markup(' <button type="button" class="copy">copy</button>'))
