"""What somebody timed on a board, read from a CSV file: whole networks, or blocks alone."""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from math import isfinite
from pathlib import Path

from ofa_nas.errors import ConfigError, OfaNasError, TableError
from ofa_nas.files import read_bytes
from ofa_nas.latency.roofline import Work
from ofa_nas.latency.table import LARGEST_MS
from ofa_nas.plugins import is_trusted, plugin_names, trusted_help
from ofa_nas.space.blocks import lower
from ofa_nas.space.layer import Layer
from ofa_nas.space.points import named_architecture
from ofa_nas.space.search_space import SearchSpace

NETWORK_COLUMNS = ("space", "architecture", "ms")
BLOCK_COLUMNS = (
    *("kind", "in_channels", "mid_channels", "out_channels", "kernel_size", "stride", "in_size", "out_size"),
    *("activation", "se_channels", "residual", "ms"),
)
_COUNTS = BLOCK_COLUMNS[1:8]


@dataclass(frozen=True, slots=True)
class Timing:
    """A network or a block that was timed on a board.

    Attributes:
        name: For people; equal names are the same thing.
        work: Of its operators.
        ms: Measured [ms].
    """

    name: str
    work: Work
    ms: float


@dataclass(frozen=True, slots=True)
class Timings:
    """What was timed on a board.

    Attributes:
        kind: `networks` or `blocks`.
        timings: One each.
        source: Where they come from.
    """

    kind: str
    timings: tuple[Timing, ...]
    source: str


def read_timings(path: Path, *, element_bytes: int = 4, classes: int | None = None) -> Timings:
    """Read a CSV file of networks (`NETWORK_COLUMNS`) or of blocks (`BLOCK_COLUMNS`).

    Args:
        path: The file.
        element_bytes: Of weights and activations as they were timed.
        classes: Outputs of the classifier of networks; their spaces' own without.

    Raises:
        TableError: The file is missing or wrong; the message names line and column.
        ConfigError: Classes are told of blocks.
    """
    try:
        text = read_bytes(path, error=TableError).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        columns = tuple(reader.fieldnames or ())
        kind = _kind_of(columns, path)
        if kind == "blocks" and classes is not None:
            raise ConfigError(
                f"--classes {classes}: {path} holds blocks, which have no classifier: leave it out"
            )
        read = partial(_read_network, classes=classes) if kind == "networks" else _read_block
        timings = tuple(
            read(row, f"{path}:{reader.line_num}", element_bytes) for row in _whole_rows(reader, path)
        )
    except (csv.Error, UnicodeDecodeError) as error:
        raise TableError(f"{path}: not a CSV file: {error}") from error
    return Timings(kind, timings, path.name)


def _kind_of(columns: tuple[str, ...], path: Path) -> str:
    for kind, wanted in (("networks", NETWORK_COLUMNS), ("blocks", BLOCK_COLUMNS)):
        if sorted(columns) == sorted(wanted):
            return kind
    raise TableError(
        f"{path}: expected the columns {','.join(NETWORK_COLUMNS)} for networks or {','.join(BLOCK_COLUMNS)} "
        f"for blocks, got {','.join(columns)[:200] or 'none'}"
    )


def _whole_rows(reader: "csv.DictReader[str]", path: Path) -> Iterator[Mapping[str, str]]:
    for row in reader:
        if None in row or None in row.values():
            raise TableError(f"{path}:{reader.line_num}: expected {len(reader.fieldnames or ())} values")
        yield row


def _read_network(row: Mapping[str, str], where: str, element_bytes: int, *, classes: int | None) -> Timing:
    try:
        space = _load_space(row["space"])
        space = space if classes is None else space.with_classes(classes)
        arch = named_architecture(space, row["architecture"])
    except OfaNasError as error:
        raise TableError(f"{where}: {error}") from error
    operators = [operator for layer in space.layers(arch) for operator in lower(layer)]
    return Timing(
        f"{space.name} {arch}", Work.of(operators, element_bytes=element_bytes), _read_ms(row, where)
    )


@lru_cache(maxsize=16)
def _load_space(name: str) -> SearchSpace:
    return SearchSpace.load(name)


def _read_block(row: Mapping[str, str], where: str, element_bytes: int) -> Timing:
    kind, kinds = row["kind"], plugin_names("space.blocks")
    if kind not in kinds and not is_trusted(kind):
        raise TableError(
            f"{where}: kind: expected one of {', '.join(kinds)}, {trusted_help()}; got {kind!r:.80}"
        )
    layer = Layer(
        name="",
        kind=kind,
        activation=row["activation"],
        se_channels=_read_count(row, "se_channels", where, minimum=0),
        residual=bool(_read_count(row, "residual", where, minimum=0, maximum=1)),
        norm=True,
        padding="symmetric",
        **{name: _read_count(row, name, where) for name in _COUNTS},
    )
    try:
        work = Work.of(lower(layer), element_bytes=element_bytes)
    except OfaNasError as error:
        raise TableError(f"{where}: {error}") from error
    name = " ".join(row[column] for column in BLOCK_COLUMNS if column != "ms")
    return Timing(name, work, _read_ms(row, where))


def _read_count(
    row: Mapping[str, str], column: str, where: str, *, minimum: int = 1, maximum: int = 10**6
) -> int:
    text = row[column].strip()
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 8 else -1
    if not minimum <= value <= maximum:
        raise TableError(
            f"{where}: {column}: expected an integer from {minimum} to {maximum}, got {text!r:.40}"
        )
    return value


def _read_ms(row: Mapping[str, str], where: str) -> float:
    try:
        value = float(row["ms"])
    except ValueError:
        value = -1.0
    if not (isfinite(value) and 0.0 < value <= LARGEST_MS):
        raise TableError(f"{where}: ms: expected milliseconds above 0, got {row['ms']!r:.40}")
    return value
