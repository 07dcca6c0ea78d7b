"""Read latency tables and check all of them: a malformed file is one error that names file and key."""

from pathlib import Path

from ofa_nas.errors import TableError
from ofa_nas.files import read_json
from ofa_nas.latency.attribution import LayerLatency
from ofa_nas.latency.operator_model import OperatorModel
from ofa_nas.latency.table import SCHEMA, ErrorFigures, Holdout, LatencyTable, Measured, TableDevice
from ofa_nas.space.layer import Layer
from ofa_nas.space.toml_reader import Section

LARGEST_MS = 1e7
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
    root = Section(path, "", read_json(path, error=TableError), TableError)
    root.integer("schema", minimum=SCHEMA, maximum=SCHEMA)
    is_measured = root.text("provenance", choices=("measured", "estimated")) == "measured"
    validation = root.section("validation")
    table = LatencyTable(
        name=root.text("name"),
        device=_read_device(root.section("device")),
        measured=_read_measured(root) if is_measured else None,
        model=None if is_measured else _read_model(root),
        error=_read_errors(validation.section("holdouts" if is_measured else "network_left_out")),
        notes=_read_texts(root, "notes"),
        sources=_read_texts(root, "sources"),
        made_by=root.section("made_by").content if is_measured or "made_by" in root.content else {},
    )
    if not is_measured:
        root.known.append("networks")  # what the model was fitted to, for readers
    root.close()
    return table


def _read_errors(section: Section) -> ErrorFigures:
    sure = {
        key: section.number(key, minimum=-100.0, maximum=1e6)
        for key in ("mape", "p50", "p95", "worst", "bias")
    }
    told = {
        key: section.number(key, minimum=-1.0, maximum=1.0)
        for key in ("spearman", "within_5", "within_10")
        if section.content.get(key) is not None
    }
    return ErrorFigures(**sure, **told)


def _read_device(section: Section) -> TableDevice:
    device = TableDevice(
        name=section.text("name"),
        cpu=section.text("cpu"),
        cores=section.integer("cores"),
        runtime=section.text("runtime"),
        threads=None
        if section.content.get("threads", 0) is None
        else section.integer("threads", maximum=4096),
        precision=section.text("precision", choices=("fp32", "int8")),
        batch=section.integer("batch"),
    )
    section.known.append("threads")
    section.close()
    return device


def _read_model(root: Section) -> OperatorModel:
    return OperatorModel.from_json(root.section("pricing").content, f"{root.path}: pricing")


def _read_texts(root: Section, key: str) -> tuple[str, ...]:
    root.known.append(key)
    value = root.content.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TableError(f"{root.path}: {key}: expected a list of strings, got {value!r:.80}")
    return tuple(value)


def _read_measured(root: Section) -> Measured:
    space, networks = root.section("space"), root.section("networks")
    resolutions = root.integers("resolutions")
    measured = Measured(
        space=space.text("name"),
        digest=space.text("digest"),
        classes=space.integer("classes"),
        resolutions=resolutions,
        intercepts_ms=_read_intercepts(root, len(resolutions)),
        rows=tuple(_read_row(section) for section in root.sections("rows")),
        holdouts=tuple(_read_holdout(section) for section in root.sections("holdouts")),
        seed=root.integer("seed", minimum=0, maximum=2**63),
        noisy=networks.integer("noisy", minimum=0),
        throttled=networks.integer("throttled", minimum=0),
        networks=networks.integer("measured"),
        protocol=root.section("protocol").content,
        environment=root.section("environment").content,
        references=_read_references(root.section("references")),
    )
    for section in (space, networks):
        section.close()
    if len(measured.prices) < len(measured.rows):
        raise TableError(f"{root.path}: rows: a layer stands there twice; each may be there once")
    return measured


def _read_references(section: Section) -> dict[str, float]:
    return {name: section.number(name, minimum=1e-6, maximum=LARGEST_MS) for name in section.content}


def _read_intercepts(root: Section, count: int) -> tuple[float, ...]:
    root.known.append("intercepts_ms")
    value = root.content.get("intercepts_ms")
    if not isinstance(value, list) or len(value) != count or not all(_is_number(item) for item in value):
        raise TableError(
            f"{root.path}: intercepts_ms: expected {count} numbers, one a resolution, got {value!r:.80}"
        )
    return tuple(float(item) for item in value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_MS


def _read_row(section: Section) -> LayerLatency:
    counts = {key: section.integer(key, maximum=10**6) for key in _COUNTS}
    layer = Layer(
        name="",
        kind=section.text("kind"),
        activation=section.text("activation"),
        se_channels=section.integer("se_channels", minimum=0),
        residual=section.flag("residual"),
        norm=section.flag("norm"),
        padding=section.text("padding"),
        **counts,
    )
    ms = section.number("ms", minimum=1e-6, maximum=LARGEST_MS)
    row = LayerLatency(layer, ms, section.number("other_ms", minimum=0.0, maximum=ms))
    section.close()
    return row


def _read_holdout(section: Section) -> Holdout:
    holdout = Holdout(
        architecture=section.text("architecture"),
        measured_ms=section.number("measured_ms", minimum=1e-6, maximum=LARGEST_MS),
        predicted_ms=section.number("predicted_ms", minimum=-LARGEST_MS, maximum=LARGEST_MS),
        macs_ms=section.number("macs_ms", minimum=-LARGEST_MS, maximum=LARGEST_MS),
        uncertainty=section.number("uncertainty", minimum=0.0, maximum=1e3),
    )
    section.close()
    return holdout
