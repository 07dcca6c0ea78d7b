"""Import the look-up tables that once-for-all published: one YAML file a resolution, one entry a layer.

The files hold nothing but `KEY:` lines, each with indented `name: number` lines below it, so a strict reader
of that much takes the place of a YAML library.

Source: Cai et al. 2020, arXiv:1908.09791, section 3.4; the keys are those of its tutorial's tables.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path

from ofa_nas.errors import TableError
from ofa_nas.files import read_bytes
from ofa_nas.latency.published import Published, PublishedRow
from ofa_nas.latency.table import LARGEST_MS, LEAST_MS, RUNTIME_NOT_STATED, LatencyTable, TableDevice
from ofa_nas.provenance import record_provenance
from ofa_nas.space.costs import every_layer
from ofa_nas.space.layer import Layer
from ofa_nas.space.search_space import SearchSpace

MOST_SPREAD = 1e3
NOT_STATED = "not stated"
_KEY = re.compile(r"([A-Za-z_][\w:-]{0,199}):", re.ASCII)
_FIELD = re.compile(r" +(count|mean|std): ([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)", re.ASCII)
_STEM = re.compile(r"Conv-input:(\d{1,5})x\1x3-output:.*", re.ASCII)
_NAMES = {  # our layer -> the first word of its key
    "stem": "Conv",
    "head_conv": "Conv_1",
    "head_pool": "AvgPool2D",
    "head_mix": "Conv_2",
    "classifier": "Logits",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """What a file says of one layer.

    Attributes:
        mean: Over its runs [ms].
        std: Their standard deviation [ms]; None where the file does not say.
    """

    mean: float
    std: float | None


@dataclass(frozen=True, slots=True)
class LookupTable:
    """One file.

    Attributes:
        path: Of it.
        resolution: Of the networks that it is about [px].
        entries: By key.
        sha256: Of its bytes.
    """

    path: Path
    resolution: int
    entries: dict[str, Entry]
    sha256: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a published table comes from, as far as anybody says.

    Attributes:
        board: The device, for people.
        runtime: That it was timed with.
        source: Who published it, and where.
        licence: Of the data.
    """

    board: str
    runtime: str = RUNTIME_NOT_STATED
    source: str = NOT_STATED
    licence: str = NOT_STATED


def read_lookup_table(path: Path) -> LookupTable:
    """Read a file.

    Raises:
        TableError: It is missing or holds anything else; the message names the line.
    """
    content = read_bytes(path, error=TableError)
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: not a text file: {error}") from error
    fields: dict[str, dict[str, float]] = {}
    key = ""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        head, field = _KEY.fullmatch(line), _FIELD.fullmatch(line)
        name = head[1] if head else field[1] if field else ""
        if not name or (field and not key) or name in (fields if head else fields[key]):
            raise TableError(
                f"{path}:{number}: expected a new 'KEY:' or an indented new 'count:', 'mean:' or 'std:' "
                f"with a number, got {line[:80]!r}"
            )
        if head:
            key = name
            fields[key] = {}
        else:
            assert field
            fields[key][name] = _read_number(field[2], f"{path}:{number}")
    entries = {key: _read_entry(path, key, found) for key, found in fields.items()}
    return LookupTable(path, _resolution_of(path, entries), entries, hashlib.sha256(content).hexdigest())


def _read_number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = nan
    if not isfinite(value):
        raise TableError(f"{where}: expected a number, got {text[:40]!r}")
    return value


def _read_entry(path: Path, key: str, fields: dict[str, float]) -> Entry:
    if "mean" not in fields:
        raise TableError(f"{path}: {key}: mean is missing")
    if not LEAST_MS <= fields["mean"] <= LARGEST_MS or not 0.0 <= fields.get("std", 0.0) <= LARGEST_MS:
        raise TableError(f"{path}: {key}: expected a mean from {LEAST_MS:g} to {LARGEST_MS:g} ms, and a std")
    if fields.get("std", 0.0) > MOST_SPREAD * fields["mean"]:
        raise TableError(f"{path}: {key}: its std is more than {MOST_SPREAD:g} times its mean")
    return Entry(fields["mean"], fields.get("std"))


def _resolution_of(path: Path, entries: dict[str, Entry]) -> int:
    stems = [match for match in map(_STEM.fullmatch, entries) if match]
    if len(stems) != 1:
        raise TableError(
            f"{path}: holds {len(stems)} keys Conv-input:RxRx3-output:…; a file is about one resolution, "
            "told by the one such key"
        )
    return int(stems[0][1])


def layer_key(layer: Layer) -> str:
    """Key of a layer in once-for-all's tables."""
    into = f"input:{layer.in_size}x{layer.in_size}x{layer.in_channels}"
    if layer.name == "classifier":
        return f"Logits-{into}-output:{layer.out_channels}"
    ends = f"{into}-output:{layer.out_size}x{layer.out_size}x{layer.out_channels}"
    if layer.name in _NAMES:
        return f"{_NAMES[layer.name]}-{ends}"
    return (
        f"expanded_conv-{ends}-expand:{layer.mid_channels}-kernel:{layer.kernel_size}-stride:{layer.stride}"
        f"-idskip:{int(layer.residual)}-se:{int(layer.se_channels > 0)}"
        f"-hs:{int(layer.activation == 'hard_swish')}"
    )


def import_lookup_tables(
    paths: Sequence[Path], space: SearchSpace, *, name: str, origin: Origin
) -> LatencyTable:
    """Turn published files into a table for the architectures of a space at their resolutions.

    Args:
        paths: One a resolution.
        space: Whose layers are looked up.
        name: Of the table.
        origin: Where the files come from.

    Raises:
        TableError: A file is wrong, or misses a key of the space; the message names both.
    """
    files = sorted(map(read_lookup_table, paths), key=lambda file: file.resolution)
    _check_resolutions(files, space)
    rows = tuple(row for file in files for row in _rows(file, space))
    published = Published(
        space=space.name,
        digest=space.digest,
        classes=space.classes,
        resolutions=tuple(file.resolution for file in files),
        rows=rows,
        licence=origin.licence,
        files={file.path.name: file.sha256 for file in files},
    )
    return LatencyTable(
        name=name,
        device=TableDevice(origin.board, NOT_STATED, None, origin.runtime, None),
        held=published,
        error=None,
        notes=(
            "Nobody here timed anything on this device: the sums are its publisher's, their error unknown.",
        ),
        sources=(origin.source,),
        made_by=record_provenance(seed=0).to_json(),
    )


def _check_resolutions(files: Sequence[LookupTable], space: SearchSpace) -> None:
    seen: dict[int, Path] = {}
    for file in files:
        if file.resolution in seen:
            raise TableError(f"{file.path}: is about {file.resolution} px, as {seen[file.resolution]} is")
        if file.resolution not in space.resolutions:
            raise TableError(
                f"{file.path}: is about {file.resolution} px, which {space.name} does not have; it has "
                f"{', '.join(map(str, space.resolutions))}"
            )
        seen[file.resolution] = file.path


def _rows(file: LookupTable, space: SearchSpace) -> Iterator[PublishedRow]:
    for layer in every_layer(space, file.resolution):
        entry = file.entries.get(layer_key(layer))
        if entry is None:
            raise TableError(f"{file.path}: the key {layer_key(layer)} is missing, which {space.name} needs")
        spread = None if entry.std is None else entry.std / entry.mean
        yield PublishedRow(file.resolution, layer, entry.mean, spread)
