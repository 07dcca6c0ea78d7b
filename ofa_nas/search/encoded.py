"""Problems over the architectures of a search space, with a predictor and costs of one's own."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ofa_nas.arrays import Floats
from ofa_nas.errors import ConfigError
from ofa_nas.search.problem import Problem, Tables, Worth, limited_problem, stage_swaps
from ofa_nas.space.costs import CostTable
from ofa_nas.space.encoding import Encoding, Genes


def encoding_problem(
    encoding: Encoding,
    predict: Callable[[Genes], npt.NDArray[Any]] | Worth,
    *,
    costs: Callable[[Genes], npt.NDArray[Any]] | CostTable | Sequence[CostTable] = (),
    limits: Sequence[float] = (),
    levels: Sequence[float] = (),
) -> Problem:
    """A search over a search space; everything is minimised.

    With an error that is a `Worth` and costs that are tables, of which the first is no peak, the `exact`
    method applies.

    Args:
        encoding: Of the space.
        predict: Genes `(n, d)` → error rates `(n,)`, NaN where nobody knows; or an error that follows from a
            sum.
        costs: Genes `(n, d)` → costs `(n,)` or `(n, k)`, positive; or a table, or `k`; none means that
            nothing is limited.
        limits: The most of each cost, in order, above 0; costs beyond the last one given have no limit.
        levels: More limits of the first cost, below the one in `limits`, to be answered in the same run.

    Raises:
        ConfigError: A table is of another space, and as `ChoiceSpace.problem` does.
    """
    worth = predict if isinstance(predict, Worth) else None
    if callable(costs):
        tables, values = None, costs
    else:
        listed = (costs,) if isinstance(costs, CostTable) else tuple(costs)
        tables = Tables(listed or (_nothing(encoding),), worth)
        values = _values_of(tables.costs)
    _check(encoding, (*(tables.costs if tables else ()), *([worth.table] if worth else [])))
    return limited_problem(
        encoding,
        _error_of(predict) if isinstance(predict, Worth) else predict,
        costs=values,
        limits=limits,
        levels=levels,
        swaps=stage_swaps(encoding),
        tables=tables,
    )


def _check(encoding: Encoding, tables: Sequence[Any]) -> None:
    for table in tables:
        if not isinstance(table, CostTable) or table.encoding != encoding:
            found = table.encoding.space.name if isinstance(table, CostTable) else repr(table)[:80]
            raise ConfigError(f"costs, worth: expected tables of {encoding.space.name}, got {found}")


def _error_of(worth: Worth) -> Callable[[Genes], Floats]:
    return lambda genes: worth.error(worth.table.total(genes))


def _values_of(tables: Sequence[CostTable]) -> Callable[[Genes], Floats]:
    return lambda genes: np.stack([table.values(genes) for table in tables], axis=1)


def _nothing(encoding: Encoding) -> CostTable:
    """A cost that is 1 for every architecture."""
    table = np.zeros((encoding.length, encoding.width))
    table[0] = 1.0
    return CostTable.by_gene(encoding, table)
