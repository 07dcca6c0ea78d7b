"""The baseline that every predictor must beat: accuracy linear in the logarithm of the MACs."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ofa_nas.array_json import unpack_number
from ofa_nas.arrays import Floats
from ofa_nas.predictors import AdditiveForm, Observations, conformal_half_width, deal_folds
from ofa_nas.space.costs import CostTable, layer_macs, tabulate
from ofa_nas.space.encoding import Encoding, Genes


@dataclass(frozen=True)
class MacsPredictor:
    """`intercept + slope * log(MACs)`."""

    macs: CostTable
    intercept: float
    slope: float
    half_width: float

    def predict(self, genes: Genes) -> Floats:
        """Accuracies of architectures `(n, d)`: `(n,)` fractions."""
        return np.asarray(self.intercept + self.slope * np.log(self.macs.total(genes)))

    def half_widths(self, genes: Genes) -> Floats:
        """Halves of the 90 % intervals of architectures `(n, d)`: `(n,)` fractions, all the same."""
        return np.full(len(genes), self.half_width)

    def additive(self, encoding: Encoding) -> AdditiveForm:
        """The MACs themselves, or their negatives where accuracy falls with them."""
        sign = 1.0 if self.slope >= 0.0 else -1.0
        worth = CostTable(encoding, sign * self.macs.fixed, sign * self.macs.choices)
        return AdditiveForm(worth, lambda sums: self.intercept + self.slope * np.log(sign * sums))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"intercept": self.intercept, "slope": self.slope, "half_width": self.half_width}


def fit(encoding: Encoding, observations: Observations, *, rng: np.random.Generator) -> MacsPredictor:
    """Weighted least squares."""
    macs = tabulate(encoding, layer_macs)
    folds = deal_folds(len(observations), rng)
    residuals = [
        observations.accuracies[fold]
        - _fit(macs, observations.take(~fold), 0.0).predict(observations.genes[fold])
        for fold in folds
    ]
    return _fit(macs, observations, conformal_half_width(np.concatenate(residuals)))


def from_json(encoding: Encoding, parameters: dict[str, Any]) -> MacsPredictor:
    """Read back what `to_json` gave."""
    keys = ("intercept", "slope", "half_width")
    intercept, slope, half_width = (unpack_number(parameters, key) for key in keys)
    return MacsPredictor(tabulate(encoding, layer_macs), intercept, slope, half_width)


def _fit(macs: CostTable, observations: Observations, half_width: float) -> MacsPredictor:
    log_macs = np.log(macs.total(observations.genes))
    weights = 1.0 / observations.variances
    centre = float(np.average(log_macs, weights=weights))
    mean = float(np.average(observations.accuracies, weights=weights))
    spread = float(np.average((log_macs - centre) ** 2, weights=weights))
    shared = float(np.average((log_macs - centre) * (observations.accuracies - mean), weights=weights))
    slope = shared / spread if spread > 0.0 else 0.0
    return MacsPredictor(macs, mean - slope * centre, slope, half_width)
