"""Budgets that nothing meets in fp32, and what int8 files would reach."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from ofa_nas.errors import BudgetError
from ofa_nas.figures import format_amount
from ofa_nas.pipeline.searching.estimators import BYTES
from ofa_nas.precisions import FP32, INT8
from ofa_nas.search.feasibility import BudgetedCost, check_budgets
from ofa_nas.space.costs import CostTable, tabulate
from ofa_nas.space.encoding import Genes


def check_reach(costs: Sequence[BudgetedCost], *, precision: str, rng: np.random.Generator) -> Genes:
    """Find an architecture within all budgets.

    Args:
        costs: One or more, of one encoding, for files of the precision.
        precision: `fp32` or `int8`.
        rng: See `check_budgets`.

    Returns:
        `(1, d)`.

    Raises:
        BudgetError: Nothing meets them; it tells what int8 files reach, if those keep the bytes.
    """
    try:
        return check_budgets(costs, rng=rng)
    except BudgetError as error:
        told = _told_of_int8(costs) if precision == FP32 else ""
        if not told:
            raise
        raise BudgetError(f"{error}; int8 files (--precision int8) reach {told}") from error


def _told_of_int8(costs: Sequence[BudgetedCost]) -> str:
    """The least of each number of bytes that only int8 files keep; nothing where one is beyond them, too."""
    told = []
    for cost in costs:
        budget, table = cost.budget, cost.table
        if budget.name not in BYTES or _least(table) <= budget.searched_limit:
            continue
        in_int8 = partial(BYTES[budget.name], precision=INT8)
        least = _least(tabulate(table.encoding, in_int8, is_peak=table.is_peak))
        if least > budget.searched_limit:
            return ""
        told.append(f"{budget.title} {format_amount(least, budget.unit, up=True)}")
    return ", ".join(told)


def _least(table: CostTable) -> float:
    return float(table.values(table.encoding.encode([table.smallest()]))[0])
