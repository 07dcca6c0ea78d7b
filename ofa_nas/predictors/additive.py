"""Additive behind a monotone link: `accuracy = ceiling - exp(-u)`, `u` a sum over resolution and blocks.

Each gene's worth is shared out over levels: a trend of the whole network, of its stage, of its position,
and its own deviation. A Gaussian prior per level, its scale found by marginal likelihood, lets 150
samples tell 200 choices apart. The link says that gains shrink towards a ceiling; it is left out where
cross-validation prefers that. Being monotone, it leaves the order of architectures to the sum alone.
What is not known of the worths makes the intervals: they grow away from the samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ofa_nas.array_json import pack_array, unpack_array, unpack_number, unpack_numbers
from ofa_nas.arrays import Flags, Floats
from ofa_nas.link_regression import Data, LinkedFit, Scales, accuracy_of, fit_linked, slope_of
from ofa_nas.predictors import WIDEST, AdditiveForm, Observations, conformal_widening, deal_folds
from ofa_nas.space.costs import CostTable
from ofa_nas.space.encoding import Encoding, Genes

START_SCALES = (1.0, 0.1, 0.1, 0.1, 0.05, 0.05)  # prior of each level, in standard deviations of the target
KEPT_VARIANCE = 1e-4  # what of the largest direction of uncertainty is not worth keeping


@dataclass(frozen=True)
class AdditivePredictor:
    """A table of worths, summed by genes, behind a link.

    Attributes:
        table: `(d, width)` worth of each value of each gene; its sum over the genes is `u`.
        ceiling: Accuracy that no architecture reaches; None for no link, `accuracy = u`.
        sigma: Standard deviation of a measurement around the model, a fraction.
        widening: Half of a 90 % interval in predicted standard deviations.
        unknown: `(d, width, r)` directions in which each worth is unknown; the squared length of their sum
            over the genes is the variance of `u`. No directions make intervals of one width.
    """

    table: Floats
    ceiling: float | None
    sigma: float
    widening: float
    unknown: Floats

    def predict(self, genes: Genes) -> Floats:
        """Accuracies of architectures `(n, d)`: `(n,)` fractions."""
        return accuracy_of(self.sums(genes), self.ceiling)

    def sums(self, genes: Genes) -> Floats:
        """The additive `u` of architectures `(n, d)`: `(n,)`, in the order of their accuracies."""
        return sum_worths(self.table, genes)

    def half_widths(self, genes: Genes) -> Floats:
        """Halves of the 90 % intervals of architectures `(n, d)`: `(n,)` fractions."""
        parts = (self.unknown[gene, genes[:, gene]] for gene in range(genes.shape[1]))
        total: Floats = np.zeros((len(genes), self.unknown.shape[2])) + sum(parts)
        deviations = np.sqrt((total**2).sum(axis=1)) * slope_of(self.predict(genes), self.ceiling)
        return np.asarray(np.minimum(self.widening * np.sqrt(deviations**2 + self.sigma**2), WIDEST))

    def additive(self, encoding: Encoding) -> AdditiveForm:
        """The table, once for each resolution."""
        worth = CostTable.by_gene(encoding, self.table)
        return AdditiveForm(worth, partial(accuracy_of, ceiling=self.ceiling))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "table": self.table.tolist(),
            "ceiling": self.ceiling,
            "sigma": self.sigma,
            "widening": self.widening,
            "unknown": pack_array(self.unknown),
        }


def fit(encoding: Encoding, observations: Observations, *, rng: np.random.Generator) -> AdditivePredictor:
    """Fit in closed form for every ceiling, and keep the one that cross-validates best."""
    features = Features.of(encoding)
    folds = deal_folds(len(observations), rng)
    fitted = _fit(features, observations, folds)
    widening = conformal_widening(
        observations, folds, left_out=fitted.left_out, refit=partial(_fit_unwidened, features, rng=rng)
    )
    return _predictor(features, fitted, widening=widening)


def fit_unwidened(
    encoding: Encoding, observations: Observations, *, rng: np.random.Generator
) -> AdditivePredictor:
    """The same predictions, with intervals that are right only in proportion."""
    return _fit_unwidened(Features.of(encoding), observations, rng=rng)


def _fit(features: "Features", observations: Observations, folds: list[Flags]) -> LinkedFit:
    return fit_linked(features.data(observations), Scales(START_SCALES), folds)


def _fit_unwidened(
    features: "Features", observations: Observations, *, rng: np.random.Generator
) -> AdditivePredictor:
    fitted = _fit(features, observations, deal_folds(len(observations), rng))
    return _predictor(features, fitted, widening=1.0)


def _predictor(features: "Features", fitted: LinkedFit, *, widening: float) -> AdditivePredictor:
    table, unknown = features.table(fitted.solution.coefficients), _unknown(features, fitted)
    return AdditivePredictor(table, fitted.ceiling, fitted.unexplained, widening, unknown)


def from_json(encoding: Encoding, parameters: dict[str, Any]) -> AdditivePredictor:
    """Read back what `to_json` gave, or what it gave when intervals had one width."""
    table = unpack_numbers(parameters, "table")
    expected = encoding.length, encoding.width
    if table.shape != expected:
        raise ValueError(f"table of shape {table.shape}, expected {expected}")
    sigma = unpack_number(parameters, "sigma")
    ceiling = None if parameters["ceiling"] is None else unpack_number(parameters, "ceiling")
    if "half_width" in parameters:
        widening, unknown = unpack_number(parameters, "half_width") / sigma, np.empty((*expected, 0))
    else:
        widening = unpack_number(parameters, "widening")
        unknown = unpack_array(parameters["unknown"]).astype(np.float64)
    if unknown.ndim != 3 or unknown.shape[:2] != expected:
        raise ValueError(f"unknown of shape {unknown.shape}, expected {expected} and directions")
    return AdditivePredictor(table, ceiling, sigma, widening, unknown)


def sum_worths(table: Floats, genes: Genes) -> Floats:
    """What a table `(d, width)` gives architectures `(n, d)`: `(n,)`."""
    flat = np.arange(0, table.size, table.shape[1]) + genes
    return np.asarray(table.ravel().take(flat).sum(axis=1))


def _unknown(features: "Features", fitted: LinkedFit) -> Floats:
    """The directions of uncertainty that matter, by the genes' values, in single precision."""
    directions, sizes, _ = np.linalg.svd(features.cells @ fitted.solution.factor, full_matrices=False)
    kept = (sizes**2 > KEPT_VARIANCE * sizes[0] ** 2) if sizes[0] > 0.0 else np.zeros(len(sizes), bool)
    parts = (directions * sizes)[:, kept].astype(np.float32).astype(np.float64)
    return np.asarray(parts.reshape(features.length, -1, int(kept.sum())))


@dataclass(frozen=True)
class Features:
    """What each value of each gene contributes to.

    Attributes:
        cells: `(d * width, p)`; row `gene * width + value` holds that value's features.
        levels: `(p,)` level of each feature: 0 the mean, 1 the resolution's trend and 2 its steps, 3 trends
            of the network, 4 of its stages, 5 of its positions, 6 own deviations.
        length: `d`.
    """

    cells: Floats
    levels: npt.NDArray[np.int64]
    length: int

    @classmethod
    def of(cls, encoding: Encoding) -> "Features":
        """Those of a space."""
        width, length = encoding.width, encoding.length
        count = len(encoding.space.resolutions)
        mean, trend, steps = (np.zeros((length, width, size)) for size in (1, 2, count))
        mean[0, :count, 0] = 1.0
        size = _standardised(np.log(np.array(encoding.space.resolutions, dtype=np.float64)))
        trend[0, :count] = np.stack([size, size**2], axis=1)
        steps[0, :count] = np.eye(count)
        blocks = _block_values(encoding, width)
        stages = np.array([position.stage for position in encoding.positions])
        parts = [mean, trend, steps]
        for group in (np.zeros_like(stages), stages, np.arange(len(stages))):
            part = np.zeros((length, width, group.max() + 1, blocks.shape[2]))
            part[1 + np.arange(len(stages)), :, group] = blocks
            parts.append(part)
        own = np.zeros((length, width, length * width))
        own.reshape(length * width, -1)[:] = np.eye(length * width)
        exists = np.zeros((length, width), dtype=np.bool_)
        exists[1:] = blocks[:, :, 0] > 0.0
        parts.append(own[:, :, exists.ravel()])
        flat = [part.reshape(length * width, -1) for part in parts]
        levels = np.repeat(np.arange(len(flat)), [part.shape[1] for part in flat])
        return cls(np.concatenate(flat, axis=1), levels, length)

    def design(self, genes: Genes, *, levels: Sequence[int] | None = None) -> Floats:
        """Features of architectures `(n, d)`: `(n, p)`; without the others where levels are given."""
        cells = self.cells if levels is None else self.cells[:, np.isin(self.levels, levels)]
        chosen = np.zeros((len(genes), len(self.cells)))
        starts = np.arange(0, len(self.cells), len(self.cells) // self.length)
        np.put_along_axis(chosen, starts + genes, 1.0, axis=1)
        return np.asarray(chosen @ cells)

    def data(self, observations: Observations) -> Data:
        """What is to be regressed."""
        design = self.design(observations.genes)
        return Data(design, self.levels, observations.accuracies, observations.variances)

    def table(self, coefficients: Floats) -> Floats:
        """Worth of each value of each gene, `(d, width)`, for coefficients `(p,)`."""
        return np.asarray((self.cells @ coefficients).reshape(self.length, -1))


def _block_values(encoding: Encoding, width: int) -> Floats:
    """Presence, kernel size and expand ratio of each value of each position, `(positions, width, 3)`."""
    stages = encoding.space.stages
    kernels = np.log([block.kernel_size for stage in stages for block in stage.choices])
    expands = np.log([block.expand_ratio for stage in stages for block in stage.choices])
    every = np.stack([np.ones(len(kernels)), _standardised(kernels), _standardised(expands)], axis=1)
    starts = np.cumsum([0, *(len(stage.choices) for stage in stages)])
    values = np.zeros((len(encoding.positions), width, 3))
    for index, position in enumerate(encoding.positions):
        count = encoding.choice_counts[index]
        values[index, 1 : 1 + count] = every[starts[position.stage] :][:count]
    return values


def _standardised(values: Floats) -> Floats:
    centred = values - values.mean()
    return np.asarray(centred / (centred.std() or 1.0))
