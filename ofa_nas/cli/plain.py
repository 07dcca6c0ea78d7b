"""Somebody else's words on a terminal: it obeys neither escapes nor markup in them."""

import re
import unicodedata

LONGEST = 2000  # letters of a line on stderr
_UNSEEN = frozenset(
    ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
)  # Unicode's categories of what is not to be seen
_OWN_TAGS = re.compile(r"(?<!\\)\[(?!/?(?:bold|red|yellow|green|dim)\])")


def visible(text: str) -> str:
    """The text with whatever a terminal would obey, or a stream could not encode, spelt out."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        letter.encode("unicode_escape").decode()
        if letter not in "\n\t" and unicodedata.category(letter) in _UNSEEN
        else letter
        for letter in text
    )


def one_line(text: str) -> str:
    """The text as one line of bearable length."""
    line = visible(" ".join(text.splitlines()))
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"


def own_markup(text: str) -> str:
    """The text with every bracket escaped that does not begin or end one of our own styles."""
    return _OWN_TAGS.sub(r"\\[", text)
