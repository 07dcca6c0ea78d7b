"""Read what a pickle says without running it: its opcodes are read as data, and build nothing but values.

A pickle is a program. Here it is no program but a listing (`pickletools`): names of functions and classes
become `Inert` records of what would have been called with what, and nothing is ever imported or called.
"""

import pickletools
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ofa_nas.errors import DataError

_ARRAY, _DTYPE, _ENCODE = "numpy.core.multiarray _reconstruct", "numpy dtype", "_codecs encode"
NUMPY_NAMES = frozenset({_ARRAY, _DTYPE, _ENCODE, "numpy ndarray"})
_NUMBERS = {"f8": "<f8", "i8": "<i8"}
_VALUES = ("INT", "BININT", "BININT1", "BININT2", "BINUNICODE")
# What damaged listings and wrong operands make of a stack of plain values.
_WRONG = (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, MemoryError)


@dataclass(frozen=True, slots=True)
class Name:
    """A function or class that a pickle names: `module name`."""

    name: str


@dataclass(slots=True)
class Inert:
    """What a pickle would have called with what, and the state it would have given to the result."""

    name: str
    args: tuple[Any, ...]
    state: Any = None


def read_inert(content: bytes, *, names: Collection[str], where: str) -> Any:
    """The value of a pickle of protocol 2, every object in it inert.

    Args:
        content: The pickle.
        names: Functions and classes that it may name, as `module name`.
        where: Names the file in messages.

    Raises:
        DataError: It names something else, uses an opcode that plain tables do not need, or is damaged.
    """
    machine = _Machine(frozenset(names), where)
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes in damaged names
            for opcode, argument, _ in pickletools.genops(content):
                if opcode.name == "STOP":
                    return machine.stack.pop()
                machine.run(opcode.name, argument)
    except _WRONG as error:
        raise DataError(f"{where}: damaged: {error!s:.200}") from error
    raise DataError(f"{where}: damaged: it has no end")


class _Machine:
    """The stack and the memo of a pickle, holding numbers, texts, tuples, lists, dicts and `Inert` only."""

    def __init__(self, names: frozenset[str], where: str) -> None:
        self.names, self.where = names, where
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, opcode: str, argument: Any) -> None:
        match opcode:
            case "PROTO":
                return
            case "MARK":
                self.outer.append(self.stack)
                self.stack = []
            case "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "GLOBAL":
                self._name(argument)
            case "REDUCE":
                self._reduce(self.stack.pop())
            case "BUILD":
                self._build(self.stack.pop())
            case "APPENDS" | "SETITEM" | "SETITEMS":
                self._fill(opcode)
            case _:
                self._push(opcode, argument)

    def _push(self, opcode: str, argument: Any) -> None:
        if opcode in _VALUES:
            self.stack.append(argument)
        elif opcode == "NONE":
            self.stack.append(None)
        elif opcode == "EMPTY_LIST":
            self.stack.append([])
        elif opcode == "EMPTY_DICT":
            self.stack.append({})
        elif opcode == "TUPLE":
            marked = self._marked()  # which changes what the stack is
            self.stack.append(tuple(marked))
        else:
            raise DataError(
                f"{self.where}: a pickle with the opcode {opcode}, which no table needs; not read"
            )

    def _marked(self) -> list[Any]:
        """What lies above the last mark."""
        marked, self.stack = self.stack, self.outer.pop()
        return marked

    def _name(self, name: str) -> None:
        if name not in self.names:
            raise DataError(
                f"{self.where}: a pickle that names {name[:80]!r}, which could run code; it was not run. "
                "Expected only tables of numbers"
            )
        self.stack.append(Name(name))

    def _reduce(self, args: Any) -> None:
        function = self.stack.pop()
        if not isinstance(function, Name) or not isinstance(args, tuple):
            raise TypeError("a call of something that is no name")
        if function.name == _ENCODE:
            text, encoding = args
            if encoding != "latin1":
                raise ValueError(f"bytes in {encoding!s:.20}")
            self.stack.append(text.encode("latin1"))
        else:
            self.stack.append(Inert(function.name, args))

    def _build(self, state: Any) -> None:
        made = self.stack[-1]
        if not isinstance(made, Inert):
            raise TypeError("a state of something that was not made")
        made.state = state

    def _fill(self, opcode: str) -> None:
        items = self._marked() if opcode != "SETITEM" else [self.stack.pop(-2), self.stack.pop()]
        target = self.stack[-1]
        if opcode == "APPENDS" and isinstance(target, list):
            target.extend(items)
        elif opcode != "APPENDS" and isinstance(target, dict):
            target.update(zip(items[::2], items[1::2], strict=True))
        else:
            raise TypeError("items of something that is no list or dict")


def array_of(made: Any, where: str) -> NDArray[Any]:
    """The array that an inert record would have become, if it holds plain float64 or int64.

    Raises:
        DataError: It is no array, or holds something else.
    """
    try:
        if made.name != _ARRAY:
            raise ValueError(f"{made.name!s:.60} is no array")
        _, shape, dtype, is_fortran, content = made.state
        kind = dtype.args[0]
        if dtype.name != _DTYPE or kind not in _NUMBERS or dtype.state[1] != "<":
            raise ValueError(f"an array of {kind!s:.20}")
        flat = np.frombuffer(content, _NUMBERS[kind])
        return flat.reshape(shape, order="F" if is_fortran else "C")
    except _WRONG as error:
        raise DataError(f"{where}: damaged: {error!s:.200}") from error
