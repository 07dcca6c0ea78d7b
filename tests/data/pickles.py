"""Pickles of protocol 2, put together opcode by opcode: tables as pandas pickles them, without pandas."""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

COLUMNS = ["acc-x", "acc-y", "acc-z", "gyro-x", "gyro-y", "gyro-z", "sequence", "label"]
SAMPLES = 300  # of a written person: two activities of 140 samples, and a transition between them


@dataclass(frozen=True)
class Global:
    """A function or class, as `module name`."""

    name: str


@dataclass(frozen=True)
class Call:
    """What a function is called with, and the state that the result gets."""

    name: str
    args: tuple[Any, ...]
    state: Any = None


def pickled(value: Any) -> bytes:
    """A whole pickle."""
    return b"\x80\x02" + opcodes(value) + b"."


def opcodes(value: Any) -> bytes:  # noqa: C901, PLR0911 - one case a type
    match value:
        case None:
            return b"N"
        case bool():
            return b"I01\n" if value else b"I00\n"
        case int():
            return b"J" + struct.pack("<i", value)
        case str():
            text = value.encode()
            return b"X" + struct.pack("<I", len(text)) + text
        case bytes():
            return opcodes(Call("_codecs encode", (value.decode("latin1"), "latin1")))
        case tuple():
            return b"(" + b"".join(map(opcodes, value)) + b"t"
        case list():
            return b"](" + b"".join(map(opcodes, value)) + b"e"
        case dict():
            return b"}(" + b"".join(opcodes(one) for item in value.items() for one in item) + b"u"
        case Global(name):
            return b"c" + name.replace(" ", "\n").encode() + b"\n"
        case Call(name, args, state):
            made = opcodes(Global(name)) + opcodes(args) + b"R"
            return made if state is None else made + opcodes(state) + b"b"
    raise TypeError(type(value))


def array(values: np.ndarray[Any, Any] | list[str]) -> Call:
    shape: tuple[int, ...] = (len(values),)
    content: bytes | list[str]
    if isinstance(values, list):
        kind, order, content = "O8", "|", values
    else:
        shape, kind, order, content = values.shape, values.dtype.str[1:], "<", values.tobytes()
    dtype = Call("numpy dtype", (kind, 0, 1), (3, order, None, None, None, -1, -1, 0))
    made = (Global("numpy ndarray"), (0,), b"b")
    return Call("numpy.core.multiarray _reconstruct", made, (1, shape, dtype, False, content))


def table(signals: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], columns: list[str] = COLUMNS) -> Call:
    """A pandas table of `(T, 6)` float64 signals and `(T,)` int64 labels."""
    whole = np.stack([np.arange(len(labels)), labels]).astype(np.int64)
    blocks = [
        {"values": array(np.ascontiguousarray(signals.T)), "mgr_locs": Call("__builtin__ slice", (0, 6, 1))},
        {"values": array(whole), "mgr_locs": Call("__builtin__ slice", (6, 8, 1))},
    ]
    index = Global("pandas.core.indexes.base Index")
    names = Call("pandas.core.indexes.base _new_Index", (index, {"data": array(columns), "name": None}))
    content: Any = ([], [], [], {"0.14.1": {"axes": [names], "blocks": blocks}})
    built = Global("__builtin__ object")
    manager = Call(
        "copy_reg _reconstructor",
        (Global("pandas.core.internals.managers BlockManager"), built, None),
        content,
    )
    frame = (Global("pandas.core.frame DataFrame"), built, None)
    return Call("copy_reg _reconstructor", frame, {"_data": manager})


def pickled_people(rng: np.random.Generator, columns: list[str] = COLUMNS) -> bytes:
    """Thirty people with one recording each."""
    people = {}
    for person in range(1, 31):
        labels = np.full(SAMPLES, -1)
        labels[:140], labels[140:160], labels[160:] = 1 + person % 6, 7 + person % 6, 1 + (person + 1) % 6
        people[person] = [table(rng.standard_normal((SAMPLES, 6)), labels, columns)]
    return pickled(people)
