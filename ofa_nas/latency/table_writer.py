"""Write latency tables: JSON with a line for every key and every row, rows sorted."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from ofa_nas.errors import TableError
from ofa_nas.files import read_json, write_bytes
from ofa_nas.latency.attribution import LayerLatency
from ofa_nas.latency.measured import Measured
from ofa_nas.latency.published import Published, PublishedRow
from ofa_nas.latency.table import SCHEMA, LatencyTable
from ofa_nas.latency.verification import Verification
from ofa_nas.locks import changing
from ofa_nas.space.layer import Layer

LAYER_FIELDS = tuple(field.name for field in fields(Layer) if field.name != "name")
COLUMNS = ("resolution", *LAYER_FIELDS, "ms", "spread")  # of an imported table's rows


def table_document(table: LatencyTable) -> dict[str, Any]:
    """What the file of a table holds."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "name": table.name,
        "provenance": table.provenance,
        "device": asdict(table.device),
        "notes": list(table.notes),
        "sources": list(table.sources),
    }
    if table.measured:
        document |= _measured(table.measured, table.made_by)
    elif table.published:
        document |= _published(table.published, table.made_by)
    else:
        assert table.model
        assert table.error
        document |= {
            "pricing": table.model.to_json(),
            "validation": {f"{table.judged_on.removesuffix('s')}_left_out": asdict(table.error)},
            "made_by": dict(table.made_by),
        }
        document |= {} if table.fastest_ms is None else {"fastest_ms": table.fastest_ms}
    if table.history:
        document["history"] = [one.to_json() for one in table.history]
    return document


def write_document(document: Mapping[str, Any], path: Path) -> None:
    """Write the document of a table, once it was read as its file will be.

    Raises:
        TableError: A table that holds this could not be read; nothing was written.
        FileError: It cannot be written.
    """
    from ofa_nas.latency.table_reader import parse_table  # it knows the columns of this module

    try:
        text = _layout(document)
    except ValueError as cause:
        raise TableError(f"{path}: not written, for a figure is not a finite number") from cause
    parse_table(json.loads(text), path)
    write_bytes(path, text.encode())


def append_verification(path: Path, found: Verification, *, verified: LatencyTable) -> None:
    """Add to the history in a table's file; all else in it stays as it is, and so does what others add.

    Args:
        path: The file.
        found: To add.
        verified: The table as it was read from that file before it was verified.

    Raises:
        TableError: The file holds another table by now, or none.
        FileError: It cannot be written.
    """
    with changing(path):
        now = LatencyTable.load(path)
        if (now.made_by, now.rows_of, now.model) != (verified.made_by, verified.rows_of, verified.model):
            raise TableError(
                f"{path}: was replaced while it was verified; verify the table that is there now"
            )
        document = read_json(path, error=TableError)
        document["history"] = [*document.get("history", []), found.to_json()]
        write_document(document, path)


def _measured(held: Measured, made_by: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "space": {"name": held.space, "digest": held.digest, "classes": held.classes},
        "resolutions": list(held.resolutions),
        "intercepts_ms": [round(value, 6) for value in held.intercepts_ms],
        "seed": held.seed,
        "fitted": list(held.fitted),
        "networks": {"measured": held.networks, "noisy": held.noisy, "throttled": held.throttled},
        "protocol": asdict(held.protocol),
        "environment": dict(held.environment),
        "references": {name: round(value, 6) for name, value in held.references.items()},
        "validation": {
            "holdouts": asdict(held.errors()),
            "macs_linear": asdict(held.errors(by_macs=True)),
        },
        "made_by": dict(made_by),
        "holdouts": [asdict(holdout) for holdout in held.holdouts],
        "rows": sorted((_row(row) for row in held.rows), key=json.dumps),
    }


def _row(row: LayerLatency) -> dict[str, Any]:
    layer = asdict(row.layer)
    del layer["name"]
    size = {"resolution": row.resolution} if row.resolution else {}
    return {**layer, **size, "ms": round(row.ms, 6), "other_ms": round(row.other_ms, 6)}


def _published(held: Published, made_by: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "licence": held.licence,
        "space": {"name": held.space, "digest": held.digest, "classes": held.classes},
        "resolutions": list(held.resolutions),
        "files": dict(held.files),
        "made_by": dict(made_by),
        "columns": list(COLUMNS),
        "rows": sorted((list(_cells(row)) for row in held.rows), key=lambda row: (row[0], json.dumps(row))),
    }


def _cells(row: PublishedRow) -> Iterator[Any]:
    yield row.resolution
    yield from (getattr(row.layer, name) for name in LAYER_FIELDS)
    yield row.ms  # unrounded: a sum of rows is the source's own sum
    yield None if row.spread is None else round(row.spread, 4)


def _layout(document: Mapping[str, Any]) -> str:
    """JSON with a line for every key, and for every item of a list of objects or rows."""
    parts = []
    for key, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], dict | list):
            items = ",\n    ".join(json.dumps(item, ensure_ascii=False, allow_nan=False) for item in value)
            text = f"[\n    {items}\n  ]"
        else:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        parts.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
