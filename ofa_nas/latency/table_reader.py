"""Read latency tables and check all of them: a malformed file is one error that names file and key."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from ofa_nas.devices import MeasuringProtocol
from ofa_nas.devices.job import read_protocol
from ofa_nas.errors import TableError
from ofa_nas.files import check_version, read_json
from ofa_nas.latency.attribution import LayerLatency
from ofa_nas.latency.measured import ErrorFigures, Holdout, Measured
from ofa_nas.latency.operator_model import OperatorModel
from ofa_nas.latency.published import Published, PublishedRow
from ofa_nas.latency.roofline import RooflineModel
from ofa_nas.latency.table import LARGEST_MS, LEAST_MS, SCHEMA, LatencyTable, TableDevice
from ofa_nas.latency.table_writer import COLUMNS
from ofa_nas.latency.verification import Verification
from ofa_nas.precisions import TABLE_PRECISIONS
from ofa_nas.section import Section
from ofa_nas.space.layer import Layer

ROUNDED = 1e-6  # by which an error may differ from that of the hold-outs, whose times are rounded
_COUNTS = (
    "in_channels",
    "mid_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "in_size",
    "out_size",
)


def read_table(path: Path) -> LatencyTable:
    """Read a table.

    Raises:
        TableError: The file is missing or wrong; the message names file and key.
    """
    return parse_table(read_json(path, error=TableError), path)


def parse_table(document: dict[str, Any], path: Path) -> LatencyTable:
    """Make a table of the document of its file.

    Raises:
        TableError: The document is wrong; the message names file and key.
    """
    root = Section(path, "", document, TableError)
    again = "measure it again: ofa-nas profile"
    check_version(document, "schema", reads=SCHEMA, where=path, error=TableError, again=again)
    root.known.append("schema")
    provenance = root.text("provenance", choices=tuple(_READERS))
    judged = _read_judgement(root, provenance)
    table = LatencyTable(
        name=root.text("name"),
        device=_read_device(root.section("device")),
        held=_READERS[provenance](root),
        error=judged[1],
        notes=root.texts("notes"),
        sources=root.texts("sources"),
        made_by=root.section("made_by").content
        if provenance != "estimated" or "made_by" in root.content
        else {},
        judged_on=judged[0],
        history=_read_history(root),
        fastest_ms=_read_fastest(root) if provenance == "estimated" else None,
    )
    if provenance == "estimated":
        root.known += ["networks", "made_by"]  # what the model was fitted to, for readers
    root.close()
    if table.measured:
        _check_summary(table.measured, root.section("validation"))
    _check_printable(table, path)
    return table


def _check_printable(table: LatencyTable, path: Path) -> None:
    """Refuse control characters in what is shown to people: a terminal would obey them."""
    device = table.device
    texts = {
        "name": (table.name,),
        "device": (device.name, device.cpu, device.runtime),
        "notes": table.notes,
        "sources": table.sources,
        "licence": (table.published.licence,) if table.published else (),
        "space": (table.rows_of.space,) if table.rows_of else (),
    }
    for key, found in texts.items():
        for text in found:
            if not text.isprintable():
                raise TableError(f"{path}: {key}: expected printable text, got {text!r:.80}")


def _read_judgement(root: Section, provenance: str) -> tuple[str, ErrorFigures | None]:
    """What the table was judged on, and its errors there; nobody judged an imported one."""
    if provenance == "imported":
        return "networks", None
    validation = root.section("validation")
    if provenance == "measured":
        return "networks", _read_errors(validation.section("holdouts"))
    kind = "block" if "block_left_out" in validation.content else "network"
    return f"{kind}s", _read_errors(validation.section(f"{kind}_left_out"))


def _read_fastest(root: Section) -> float | None:
    """What the fastest takes of the networks that a model was fitted to [ms]."""
    if root.has("fastest_ms"):
        return root.number("fastest_ms", minimum=LEAST_MS, maximum=LARGEST_MS)
    if not root.has("networks"):
        return None
    networks = root.sections("networks")
    return min(one.number("measured_ms", minimum=LEAST_MS, maximum=LARGEST_MS) for one in networks)


def _check_summary(measured: Measured, validation: Section) -> None:
    """Refuse errors that are not those of the hold-outs: a search keeps its margin by them."""
    for key, by_macs in (("holdouts", False), ("macs_linear", True)):
        own, told = measured.errors(by_macs=by_macs), _read_errors(validation.section(key))
        for name in (field.name for field in fields(ErrorFigures)):
            found, expected = getattr(told, name), getattr(own, name)
            if found is not None and abs(found - expected) > ROUNDED:
                raise validation.refusal(
                    f"{key}.{name}",
                    f"expected {expected:.6g}, as the table's hold-outs show, got {found:.6g}",
                )


def _read_errors(section: Section) -> ErrorFigures:
    sure = {
        key: section.number(key, minimum=0.0, maximum=1e6)  # a search keeps its margin by them
        for key in ("mape", "p50", "p95", "worst")
    }
    told = {
        key: section.number(key, minimum=least, maximum=1.0)
        for key, least in (("spearman", -1.0), ("within_5", 0.0), ("within_10", 0.0))
        if not section.lacks(key)
    }
    return ErrorFigures(**sure, bias=section.number("bias", minimum=-1e6, maximum=1e6), **told)


def _read_device(section: Section) -> TableDevice:
    device = TableDevice(
        name=section.text("name"),
        cpu=section.text("cpu"),
        cores=_read_count(section, "cores"),
        runtime=section.text("runtime"),
        threads=_read_count(section, "threads"),
        precision=section.text("precision", choices=TABLE_PRECISIONS),
        batch=section.integer("batch"),
    )
    section.close()
    if device.batch != 1:
        raise section.refusal("batch", f"expected 1, for latencies are of one image, got {device.batch}")
    return device


def _read_count(section: Section, key: str) -> int | None:
    """A count; None where the file says that nobody knows."""
    return None if section.has(key) and section.lacks(key) else section.integer(key, maximum=4096)


def _read_model(root: Section) -> OperatorModel | RooflineModel:
    pricing = root.section("pricing")
    kind = RooflineModel if pricing.has("gmac_per_s") else OperatorModel
    return kind.read(pricing)


def _read_measured(root: Section) -> Measured:
    space, networks = root.section("space"), root.section("networks")
    resolutions = root.integers("resolutions")
    measured = Measured(
        space=space.text("name"),
        digest=space.text("digest"),
        classes=space.integer("classes"),
        resolutions=resolutions,
        intercepts_ms=_read_intercepts(root, len(resolutions)),
        rows=tuple(_read_row(section, resolutions) for section in root.sections("rows")),
        holdouts=tuple(_read_holdout(section) for section in root.sections("holdouts")),
        seed=root.integer("seed", minimum=0, maximum=2**63),
        noisy=networks.integer("noisy", minimum=0),
        throttled=networks.integer("throttled", minimum=0),
        networks=networks.integer("measured"),
        protocol=_read_protocol(root.section("protocol")),
        environment=root.section("environment").content,
        references=_read_references(root.section("references")),
        fitted=root.texts("fitted"),
    )
    for section in (space, networks):
        section.close()
    if len(measured.prices) < len(measured.rows):
        raise root.refusal("rows", "a layer stands there twice; each may be there once, or once a resolution")
    return measured


def _read_protocol(section: Section) -> MeasuringProtocol:
    try:
        return read_protocol(section.content)
    except ValueError as cause:
        raise TableError(f"{section.path}: {cause}; measure the table anew") from cause


def _read_published(root: Section) -> Published:
    space, resolutions = root.section("space"), root.integers("resolutions")
    root.known += ["columns", "rows"]
    if root.content.get("columns") != list(COLUMNS):
        raise root.refusal("columns", f"expected {', '.join(COLUMNS)}")
    rows = root.content.get("rows")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        raise root.refusal("rows", "expected one list or more, each of a number or text a column")
    files = root.section("files")
    published = Published(
        space=space.text("name"),
        digest=space.text("digest"),
        classes=space.integer("classes"),
        resolutions=resolutions,
        rows=tuple(_read_published_row(root.path, number, row) for number, row in enumerate(rows)),
        licence=root.text("licence"),
        files={name: files.text(name) for name in files.content},
    )
    space.close()
    if len(published.prices) < len(published.rows):
        raise root.refusal("rows", "a layer stands there twice at one resolution; each may be there once")
    return published


def _read_published_row(path: Path, number: int, row: list[object]) -> PublishedRow:
    if len(row) != len(COLUMNS):
        raise TableError(f"{path}: rows[{number}]: expected {len(COLUMNS)} values, got {len(row)}")
    section = Section(path, f"rows[{number}]", dict(zip(COLUMNS, row, strict=True)), TableError)
    is_spread_known = section.content["spread"] is not None
    return PublishedRow(
        resolution=section.integer("resolution"),
        layer=_read_layer(section),
        ms=section.number("ms", minimum=LEAST_MS, maximum=LARGEST_MS),
        spread=section.number("spread", minimum=0.0, maximum=1e3) if is_spread_known else None,
    )


def _read_references(section: Section) -> dict[str, float]:
    return {name: section.number(name, minimum=LEAST_MS, maximum=LARGEST_MS) for name in section.content}


def _read_history(root: Section) -> tuple[Verification, ...]:
    """Verifications; a table that was never verified says nothing of them."""
    is_empty = root.lacks("history") or root.content["history"] == []
    return () if is_empty else tuple(map(_read_verification, root.sections("history")))


def _read_verification(section: Section) -> Verification:
    section.known += ["passed", "faults", "stale", "figures"]  # they follow
    found = Verification(
        device=section.text("device"),
        networks=tuple(_read_holdout(one, may_lack_line=True) for one in section.sections("networks")),
        speed=None if section.lacks("speed") else section.number("speed", minimum=1e-6, maximum=1e6),
        changes=section.texts("changes"),
        lint=section.texts("lint"),
        noisy=section.integer("noisy", minimum=0),
        throttled=section.integer("throttled", minimum=0),
        made_by=section.section("made_by").content,
    )
    section.close()
    for text in (found.device, found.made_on, *found.changes, *found.lint):
        if not text.isprintable():  # they will be shown to people
            raise TableError(f"{section.path}: {section.key}: expected printable texts, got {text!r:.80}")
    return found


def _read_intercepts(root: Section, count: int) -> tuple[float, ...]:
    found = root.numbers("intercepts_ms", minimum=-LARGEST_MS, maximum=LARGEST_MS)
    if len(found) != count:
        raise root.refusal("intercepts_ms", f"expected {count} numbers, one a resolution, got {len(found)}")
    return found


def _read_layer(section: Section) -> Layer:
    counts = {key: section.integer(key, maximum=10**6) for key in _COUNTS}
    return Layer(
        name="",
        kind=section.plugin("kind", "space.blocks"),
        activation=section.text("activation"),
        se_channels=section.integer("se_channels", minimum=0),
        residual=section.flag("residual"),
        norm=section.flag("norm"),
        padding=section.text("padding"),
        **counts,
    )


def _read_row(section: Section, resolutions: tuple[int, ...]) -> LayerLatency:
    layer = _read_layer(section)
    ms = section.number("ms", minimum=LEAST_MS, maximum=LARGEST_MS)
    other_ms = section.number("other_ms", minimum=0.0, maximum=ms)
    resolution = 0 if section.lacks("resolution") else section.integer("resolution")
    section.close()
    if resolution and resolution not in resolutions:
        raise section.refusal("resolution", f"expected one of the resolutions, got {resolution}")
    return LayerLatency(layer, ms, other_ms, resolution)


def _read_holdout(section: Section, *, may_lack_line: bool = False) -> Holdout:
    is_without = section.lacks("macs_ms") and may_lack_line
    holdout = Holdout(
        architecture=section.text("architecture"),
        measured_ms=section.number("measured_ms", minimum=LEAST_MS, maximum=LARGEST_MS),
        predicted_ms=section.number("predicted_ms", minimum=-LARGEST_MS, maximum=LARGEST_MS),
        macs_ms=None if is_without else section.number("macs_ms", minimum=-LARGEST_MS, maximum=LARGEST_MS),
        uncertainty=section.number("uncertainty", minimum=0.0, maximum=1e3),
    )
    section.close()
    return holdout


_READERS = {"measured": _read_measured, "estimated": _read_model, "imported": _read_published}
