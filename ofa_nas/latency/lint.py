"""Lints of latency tables: what public tables got wrong, and what no device would show.

Each check is a function of rows; `lint_table` runs them all on one table.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from ofa_nas.errors import SpaceError
from ofa_nas.latency.measured import Holdout
from ofa_nas.latency.operator_model import FEATURES, solve_nonnegative
from ofa_nas.latency.shelf import Shelf
from ofa_nas.latency.table import LatencyTable
from ofa_nas.space.blocks import layer_text, lower
from ofa_nas.space.costs import every_layer, layer_macs
from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import Linear, Pool
from ofa_nas.space.search_space import SearchSpace

SHOWN = 3  # examples in a message
COPIED_SHARE = 0.5  # of rows in one ratio to another table's
SAME_RATIO = 1e-5  # relative; files are rounded to the nanosecond
LEAST_SHARED = 10  # rows that two tables must share before they are compared
FLOOR_SHARE = 0.5  # of a typical row that no work explains
KERNEL_NOISE = 0.05  # relative: a larger kernel may be faster by so much
EXACT_SUMS = 1e-4  # relative: no clock is so good
LEAST_HOLDOUTS = 5
Rows = Mapping[tuple[int, Layer], float]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a table.

    Attributes:
        rule: Name of the check.
        message: What was found, with examples.
        is_error: Whether the table cannot be used; else it deserves doubt.
    """

    rule: str
    message: str
    is_error: bool


def lint_table(
    table: LatencyTable,
    *,
    space: SearchSpace | None = None,
    others: Sequence[LatencyTable] | None = None,
) -> tuple[Finding, ...]:
    """Run every check on a table; an estimated one has no rows, and nothing to find.

    Args:
        table: To look at.
        space: That it is about; without, the one of that name, if it still is the same.
        others: Tables that it may have been copied from; without, those that ship.
    """
    held = table.rows_of
    if held is None:
        return ()
    rows = table_rows(table)
    compared = Shelf.shipped().tables.values() if others is None else others
    foreign = {other.name: table_rows(other) for other in compared if other.device.name != table.device.name}
    found = [
        *find_nonpositive(rows),
        *find_missing(rows, space or _space_of(table), held.resolutions),
        *find_copied(rows, foreign),
        *find_floor(rows),
        *find_fast_kernels(rows, noise=max(KERNEL_NOISE, _noise_of(table))),
    ]
    if table.measured:
        found += find_exact_sums(table.measured.holdouts)
    return tuple(found)


def table_rows(table: LatencyTable) -> Rows:
    """Rows of a table by resolution and layer; resolution 0 where it does not tell resolutions apart."""
    return table.rows_of.prices if table.rows_of else {}


def _space_of(table: LatencyTable) -> SearchSpace | None:
    held = table.rows_of
    assert held
    try:
        space = SearchSpace.load(held.space).with_classes(held.classes)
    except SpaceError:
        return None
    return space if space.digest == held.digest else None


def _noise_of(table: LatencyTable) -> float:
    """Relative noise of rows: three times what the source says of single measurements."""
    if table.measured:
        return 3.0 * (table.measured.noise_floor() or 0.0) if table.measured.holdouts else 0.0
    spreads = [row.spread for row in table.published.rows if row.spread] if table.published else []
    return 3.0 * median(spreads) if spreads else 0.0


def find_nonpositive(rows: Rows) -> list[Finding]:
    """Layers that take no time, or less: failed measurements that were written all the same."""
    wrong = [layer for (_, layer), ms in rows.items() if not ms > 0.0]
    if not wrong:
        return []
    return [
        Finding("non-positive", f"{len(wrong)} of {len(rows)} rows are not above 0 ms: {_name(wrong)}", True)
    ]


def find_missing(rows: Rows, space: SearchSpace | None, resolutions: Iterable[int]) -> list[Finding]:
    """Layers of the space that have no row, so that some architectures have no latency."""
    if space is None:
        message = "its space is not here, or has changed since: missing layers cannot be found"
        return [Finding("missing", message, False)]
    missing = {
        layer: None
        for size in resolutions
        for layer in every_layer(space, size)
        if (size, layer) not in rows and (0, layer) not in rows
    }
    if not missing:
        return []
    return [
        Finding("missing", f"{len(missing)} layers of {space.name} have no row: {_name(list(missing))}", True)
    ]


def find_copied(rows: Rows, others: Mapping[str, Rows]) -> list[Finding]:
    """Another device's values, as they are or all times one number.

    Args:
        rows: Of the table.
        others: Rows of tables of other devices, by name.
    """
    found = []
    for name, other in others.items():
        shared = [(ms, other[key]) for key, ms in rows.items() if key in other and min(ms, other[key]) > 0]
        if len(shared) < LEAST_SHARED:
            continue
        ratios = np.array([ms / foreign for ms, foreign in shared])
        typical = float(np.median(ratios))
        share = float(np.mean(np.abs(ratios / typical - 1.0) < SAME_RATIO))
        if share >= COPIED_SHARE:
            times = "" if abs(typical - 1.0) < SAME_RATIO else f" times {typical:.4g}"
            found.append(
                Finding(
                    "copied", f"{share:.0%} of {len(shared)} shared rows are those of {name}{times}", False
                )
            )
    return found


def find_floor(rows: Rows) -> list[Finding]:
    """Blocks that hardly depend on their work: a fixed overhead, of eager mode for one, was measured.

    A constant is fitted beside MACs and elements moved, relative errors least and nothing negative.
    """
    blocks = [(layer, ms) for (_, layer), ms in rows.items() if _is_block(layer) and ms > 0]
    if len(blocks) < LEAST_SHARED:
        return []
    work = np.array([[layer_macs(layer), _moved(layer), 1.0] for layer, _ in blocks])
    ms = np.array([ms for _, ms in blocks])
    scale = work.max(axis=0)
    floor = float((solve_nonnegative(work / scale / ms[:, None], np.ones(len(ms))) / scale)[2])
    share = floor / float(np.median(ms))
    if share < FLOOR_SHARE:
        return []
    message = f"{floor:.3g} ms of every row do not depend on its work, {share:.0%} of the median row"
    return [Finding("floor", message, False)]


def _is_block(layer: Layer) -> bool:
    """Whether a layer is more than pooling or the classifier."""
    return not all(isinstance(operator, Pool | Linear) for operator in lower(layer))


def _moved(layer: Layer) -> float:
    return float(sum(FEATURES["elements_moved"](operator) for operator in lower(layer)))


def find_fast_kernels(rows: Rows, *, noise: float = KERNEL_NOISE) -> list[Finding]:
    """Layers that a larger kernel makes faster, beyond `noise` (relative)."""
    families: dict[tuple[int, Layer], list[tuple[int, float]]] = {}
    for (size, layer), ms in rows.items():
        families.setdefault((size, replace(layer, kernel_size=1)), []).append((layer.kernel_size, ms))
    wrong = []
    pairs = 0
    for (_, layer), members in families.items():
        members.sort()
        (small, small_ms), (large, large_ms) = members[0], members[-1]
        pairs += large > small
        if large > small and large_ms < small_ms * (1.0 - noise):
            wrong.append(f"{layer_text(layer)}: {large} px {large_ms:.4g} ms, {small} px {small_ms:.4g} ms")
    if not wrong:
        return []
    examples = "; ".join(wrong[:SHOWN])
    message = (
        f"{len(wrong)} of {pairs} layers are faster with the larger kernel by over {noise:.0%}: {examples}"
    )
    return [Finding("kernel", message, False)]


def find_exact_sums(holdouts: Sequence[Holdout]) -> list[Finding]:
    """Hold-outs whose measured times are a line through the table's own sums: nobody measured them."""
    if len(holdouts) < LEAST_HOLDOUTS:
        return []
    measured = np.array([one.measured_ms for one in holdouts])
    columns = np.array([[one.predicted_ms, 1.0] for one in holdouts]) / measured[:, None]
    line = np.linalg.lstsq(columns, np.ones(len(holdouts)), rcond=None)[0]
    worst = float(np.abs(columns @ line - 1.0).max())
    if worst > EXACT_SUMS:
        return []
    message = f"{len(holdouts)} hold-outs are sums of the table's rows to {worst:.1g}: they were not measured"
    return [Finding("exact-sums", message, False)]


def _name(layers: Sequence[Layer]) -> str:
    more = f" and {len(layers) - SHOWN} more" if len(layers) > SHOWN else ""
    return "; ".join(map(layer_text, layers[:SHOWN])) + more
