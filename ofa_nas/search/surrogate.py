"""What a predictor would say if it were a sum behind a link, fitted to its answers: a start for a search."""

import numpy as np

from ofa_nas.arrays import Floats
from ofa_nas.space.costs import CostTable
from ofa_nas.space.encoding import Encoding, Genes

RIDGE = 1e-4  # of the mean square of a column
LEAST_SPREAD = 1e-6  # of error rates
FLOORS = np.array([0.03, 0.1, 0.3, 1.0, 3.0])  # below the least error, of its distance to the median


def additive_worth(encoding: Encoding, genes: Genes, errors: Floats) -> CostTable:
    """Worth of each choice, by ridge regression on one-hot genes.

    What is a sum is the error rate itself, or the logarithm of what it is above a floor; the fit decides.

    Args:
        encoding: Of the space.
        genes: `(n, d)`.
        errors: `(n,)`.
    """
    width = encoding.width
    cells = np.zeros((len(genes), encoding.length * width))
    np.put_along_axis(cells, np.arange(0, cells.shape[1], width) + genes, 1.0, axis=1)
    floors = errors.min() - FLOORS * max(float(np.median(errors) - errors.min()), LEAST_SPREAD)
    sums = np.column_stack([errors, np.log(errors[:, None] - floors)])
    means = sums.mean(axis=0)
    square = cells.T @ cells + RIDGE * len(genes) * np.eye(cells.shape[1])
    slopes = np.linalg.solve(square, cells.T @ (sums - means))
    fitted = cells @ slopes + means
    fitted[:, 1:] = np.exp(fitted[:, 1:]) + floors
    best = np.square(fitted - errors[:, None]).sum(axis=0).argmin()
    return CostTable.by_gene(encoding, -slopes[:, best].reshape(-1, width))
