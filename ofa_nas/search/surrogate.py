"""What a predictor would say if it were a sum, fitted to its own answers: a start for a search."""

import numpy as np

from ofa_nas.search.problem import Floats
from ofa_nas.space.costs import CostTable
from ofa_nas.space.encoding import Encoding, Genes

RIDGE = 1e-4  # of the mean square of a column


def additive_worth(encoding: Encoding, genes: Genes, errors: Floats) -> CostTable:
    """Worth of each choice, by ridge regression of error rates on one-hot genes.

    Args:
        encoding: Of the space.
        genes: `(n, d)`.
        errors: `(n,)`.
    """
    count, widest = len(encoding.space.resolutions), int(encoding.choice_counts.max())
    width = max(count, 1 + widest)
    cells = np.zeros((len(genes), encoding.length * width))
    np.put_along_axis(cells, np.arange(0, cells.shape[1], width) + genes, 1.0, axis=1)
    square = cells.T @ cells + RIDGE * len(genes) * np.eye(cells.shape[1])
    table = np.linalg.solve(square, cells.T @ (errors.mean() - errors)).reshape(-1, width)
    blocks = table[1:, : 1 + widest]
    blocks[np.arange(1 + widest) > encoding.choice_counts[:, None]] = np.nan
    return CostTable(encoding, table[0, :count, None], np.repeat(blocks[None], count, axis=0))
