"""Ways to spoil a file: documents with keys dropped, doubled or retyped; bytes cut, flipped or stuffed."""

import json
from collections.abc import Iterator
from copy import deepcopy
from random import Random
from typing import Any

ESCAPE = "\x1b]0;owned\x07\x1b[31m"  # sets a terminal's title and colour
DEEP: Any = []
for _ in range(200):
    DEEP = [DEEP]
NASTY: tuple[Any, ...] = (
    *(None, True, False, 0, 1, 2, -1, 7, 2**31, 2**63, 2**64, -(2**63), 10**30, 10**400, 10**4000),
    *(0.0, -0.0, 0.5, -1.5, 1e-320, 1e300, float("inf"), float("-inf"), float("nan")),
    *("", " ", "0", "a", "x" * 3000, ESCAPE, "two\nlines", "[/red]", "[bold", "../../../etc/x", "/dev/zero"),
    *(
        "\ud800",
        "\x00",
        "a\u202eb",
        "%s{0}",
        *("F8_E4M3", "C64", "I64", "BOOL", "BF16", "F4"),
        "tests.hardening.tripwire",
        "os.path",
        "1e999",
    ),
    *([], {}, [None], [[]], {"": None}, DEEP, [0] * 500, list(range(300)), {"a": {"b": [1]}}),
)
Path = tuple[Any, ...]


def paths(document: Any) -> Iterator[Path]:
    """Where the values of a document stand, itself first; of long lists the ends only."""
    yield ()
    items: Iterator[tuple[Any, Any]] = iter(())
    if isinstance(document, dict):
        items = iter(document.items())
    elif isinstance(document, list):
        numbered = list(enumerate(document))
        items = iter(numbered if len(numbered) < 8 else [*numbered[:4], *numbered[-2:]])
    for key, value in items:
        for path in paths(value):
            yield (key, *path)


def changed(document: Any, path: Path, action: str, value: Any) -> Any:
    """A copy of a document with one place dropped, doubled, emptied or replaced, or with a key beside it."""
    if not path:
        return value
    document = deepcopy(document)
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    key = path[-1]
    if action == "drop":
        del parent[key]
    elif action == "double" and isinstance(parent, list):
        parent.insert(key, deepcopy(parent[key]))
    elif action == "beside" and isinstance(parent, dict):
        parent[value if isinstance(value, str) else "extra"] = deepcopy(parent[key])
    elif action == "wrap":
        parent[key] = [parent[key]]
    elif action == "text" and not isinstance(parent[key], str):
        parent[key] = str(parent[key])
    elif action == "scale" and isinstance(parent[key], int | float):
        parent[key] = parent[key] * 1000 if value else -parent[key]
    else:
        parent[key] = value
    return document


ACTIONS = ("replace", "replace", "replace", "drop", "double", "beside", "wrap", "text", "scale")


def spoil_document(document: Any, rng: Random) -> Any:
    """A document with one to three places changed."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = rng.choice(list(paths(document)))
        document = changed(document, path, rng.choice(ACTIONS), rng.choice(NASTY))
    return document


def to_json(document: Any) -> bytes:
    """JSON, with the NaN and the lone surrogates that Python reads and writes."""
    return json.dumps(document, ensure_ascii=True).encode()


def spoil_bytes(content: bytes, rng: Random) -> bytes:
    """The content cut short, with bits flipped, bytes changed, parts doubled, or something in between."""
    spoilt = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = min(rng.choice((rng.randint(0, len(spoilt)), rng.randint(0, 300))), max(0, len(spoilt) - 1))
        match rng.choice(("cut", "flip", "flip", "byte", "double", "stuff", "ends")):
            case "cut":
                del spoilt[at : at + rng.choice((1, 2, 7, 64, 10**9))]
            case "flip" if spoilt:
                spoilt[at] ^= 1 << rng.randint(0, 7)
            case "byte" if spoilt:
                spoilt[at] = rng.choice((0, 1, 9, 10, 34, 45, 127, 128, 255))
            case "double":
                spoilt[at:at] = spoilt[at : at + 200]
            case "ends":
                head = spoilt[: rng.randint(0, 40)]
                spoilt = head + spoilt[len(head) :][-rng.randint(1, 400) :]
            case _:
                spoilt[at:at] = rng.randbytes(rng.randint(1, 16))
    return bytes(spoilt)
