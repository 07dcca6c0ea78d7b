"""Additive behind a monotone link: `accuracy = ceiling - exp(-u)`, `u` a sum over resolution and blocks.

Each gene's worth is shared out over levels: a trend of the whole network, of its stage, of its position,
and its own deviation. A Gaussian prior per level, its scale found by marginal likelihood, lets 150
samples tell 200 choices apart. The link says that gains shrink towards a ceiling; it is left out where
cross-validation prefers that. Being monotone, it leaves the order of architectures to the sum alone.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ofa_nas.predictors import AdditiveForm, Floats, Observations, conformal_half_width, deal_folds
from ofa_nas.space.costs import CostTable
from ofa_nas.space.encoding import Encoding, Genes

CEILINGS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)  # above the best sample, in ranges of the samples
BIAS_SCALE = 10.0  # prior of the mean, in standard deviations: as good as none
START_SCALES = (1.0, 0.1, 0.1, 0.1, 0.05, 0.05)  # prior of each level, in standard deviations of the target
START_MISFIT = (
    0.1  # of the model itself beside the noise of measuring, in standard deviations of the accuracies
)
STEPS = (4.0, 2.0, 1.4)  # factors by which scales are tried larger and smaller
SMALLEST, LARGEST = 1e-4, 10.0
LINK_STEPS = 2


@dataclass(frozen=True)
class AdditivePredictor:
    """A table of worths, summed by genes, behind a link.

    Attributes:
        table: `(d, width)` worth of each value of each gene; its sum over the genes is `u`.
        ceiling: Accuracy that no architecture reaches; None for no link, `accuracy = u`.
        sigma: Standard deviation of cross-validated residuals, a fraction.
        half_width: Of 90 % intervals, a fraction.
    """

    table: Floats
    ceiling: float | None
    sigma: float
    half_width: float

    def predict(self, genes: Genes) -> Floats:
        """Accuracies of architectures `(n, d)`: `(n,)` fractions."""
        return _from_link(self.sums(genes), self.ceiling)

    def sums(self, genes: Genes) -> Floats:
        """The additive `u` of architectures `(n, d)`: `(n,)`, in the order of their accuracies."""
        width = self.table.shape[1]
        flat = np.arange(0, self.table.size, width) + genes
        return np.asarray(self.table.ravel().take(flat).sum(axis=1))

    def additive(self, encoding: Encoding) -> AdditiveForm:
        """The table, once for each resolution."""
        count, widest = len(encoding.space.resolutions), int(encoding.choice_counts.max())
        blocks = self.table[1:, : 1 + widest].copy()
        blocks[np.arange(1 + widest) > encoding.choice_counts[:, None]] = np.nan
        choices = np.repeat(blocks[None], count, axis=0)
        return AdditiveForm(
            CostTable(encoding, self.table[0, :count, None], choices),
            partial(_from_link, ceiling=self.ceiling),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "table": self.table.tolist(),
            "ceiling": self.ceiling,
            "sigma": self.sigma,
            "half_width": self.half_width,
        }


def fit(encoding: Encoding, observations: Observations, *, rng: np.random.Generator) -> AdditivePredictor:
    """Fit in closed form for every ceiling, and keep the one that cross-validates best."""
    features = _Features.of(encoding)
    design = features.design(observations.genes)
    folds = deal_folds(len(observations), rng)
    prior = _tuned(
        _fit(_Prior.start(), design, features, observations, None), design, features, observations
    ).prior
    top, span = float(observations.accuracies.max()), max(float(np.ptp(observations.accuracies)), 1e-6)
    ceilings = [None, *(top + share * span for share in CEILINGS)]
    fits = [_fit(prior, design, features, observations, ceiling) for ceiling in ceilings]
    best = min(fits, key=lambda solved: float(np.mean(solved.left_out_residuals(folds) ** 2)))
    best = _tuned(best, design, features, observations)
    residuals = best.left_out_residuals(folds)
    table = (features.cells @ best.solution.coefficients).reshape(encoding.length, -1)
    return AdditivePredictor(table, best.ceiling, float(np.std(residuals)), conformal_half_width(residuals))


def from_json(encoding: Encoding, parameters: dict[str, Any]) -> AdditivePredictor:
    """Read back what `to_json` gave."""
    table = np.array(parameters["table"], dtype=np.float64)
    if table.shape != (encoding.length, _width(encoding)) or not np.isfinite(table).all():
        raise ValueError(f"table of shape {table.shape}, expected {(encoding.length, _width(encoding))}")
    ceiling = parameters["ceiling"]
    sigma, half_width = float(parameters["sigma"]), float(parameters["half_width"])
    return AdditivePredictor(table, None if ceiling is None else float(ceiling), sigma, half_width)


def _from_link(sums: Floats, ceiling: float | None) -> Floats:
    return sums if ceiling is None else ceiling - np.exp(-sums)


def _width(encoding: Encoding) -> int:
    return max(len(encoding.space.resolutions), 1 + int(encoding.choice_counts.max()))


@dataclass(frozen=True)
class _Features:
    """What each value of each gene contributes to.

    Attributes:
        cells: `(d * width, p)`; row `gene * width + value` holds that value's features.
        levels: `(p,)` level of each feature; 0 is the mean.
    """

    cells: Floats
    levels: npt.NDArray[np.int64]

    @classmethod
    def of(cls, encoding: Encoding) -> "_Features":
        width, length = _width(encoding), encoding.length
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
        return cls(np.concatenate(flat, axis=1), levels)

    def design(self, genes: Genes) -> Floats:
        """Features of architectures `(n, d)`: `(n, p)`."""
        count, length = genes.shape
        width = len(self.cells) // length
        chosen = np.zeros((count, len(self.cells)))
        np.put_along_axis(chosen, np.arange(0, length * width, width) + genes, 1.0, axis=1)
        return np.asarray(chosen @ self.cells)


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


@dataclass(frozen=True, slots=True)
class _Prior:
    """Scale of each level but the mean, then the misfit; all in standard deviations."""

    scales: tuple[float, ...]

    @classmethod
    def start(cls) -> "_Prior":
        return cls((*START_SCALES, START_MISFIT))

    def times(self, index: int, factor: float) -> "_Prior":
        scales = list(self.scales)
        scales[index] = min(max(scales[index] * factor, SMALLEST), LARGEST)
        return replace(self, scales=tuple(scales))


@dataclass(frozen=True, slots=True)
class _Solution:
    """A ridge solution.

    Attributes:
        coefficients: `(p,)`.
        fitted: `(n,)` at the samples.
        projected: `(p, n)`; its Gram matrix smooths targets that are divided by their standard deviations.
        variances: `(n,)` of the targets.
    """

    coefficients: Floats
    fitted: Floats
    projected: Floats
    variances: Floats


@dataclass(frozen=True, slots=True)
class _Fit:
    """A solution in link space and what it was fitted to."""

    prior: _Prior
    ceiling: float | None
    targets: Floats
    accuracies: Floats
    solution: _Solution

    def left_out_residuals(self, folds: list[npt.NDArray[np.bool_]]) -> Floats:
        """Measured minus predicted accuracies when each fold is predicted by the others, in closed form.

        Source: Hastie et al. 2009, The Elements of Statistical Learning, section 7.10 (linear smoothers).
        """
        deviations = np.sqrt(self.solution.variances)
        left_out = np.empty(len(self.targets))
        for fold in folds:
            own = self.solution.projected[:, fold]
            raw = ((self.targets - self.solution.fitted) / deviations)[fold]
            misses = np.linalg.solve(np.eye(len(raw)) - own.T @ own, raw)
            left_out[fold] = self.targets[fold] - misses * deviations[fold]
        return self.accuracies - _from_link(left_out, self.ceiling)


def _fit(
    prior: _Prior, design: Floats, features: _Features, observations: Observations, ceiling: float | None
) -> _Fit:
    """Fit with given scales; behind a link by two steps of Gauss-Newton from the fit without one."""
    accuracies = observations.accuracies
    variances = _variances(prior, observations)
    solution = _solve(prior, design, features.levels, accuracies, variances)
    targets: Floats = accuracies
    if ceiling is not None:
        room = 0.02 * (ceiling - float(accuracies.min()))
        pilot: Floats = np.minimum(solution.fitted, ceiling - room)
        for _ in range(LINK_STEPS):
            slope: Floats = np.asarray(1.0 / (ceiling - pilot))
            targets = (accuracies - pilot) * slope - np.log(ceiling - pilot)
            solution = _solve(prior, design, features.levels, targets, variances * slope**2)
            pilot = np.asarray(np.minimum(_from_link(solution.fitted, ceiling), ceiling - room))
    return _Fit(prior, ceiling, targets, accuracies, solution)


def _variances(prior: _Prior, observations: Observations) -> Floats:
    spread = max(float(np.std(observations.accuracies)), 1e-6)
    return np.asarray(observations.variances + (prior.scales[-1] * spread) ** 2)


def _solve(
    prior: _Prior, design: Floats, levels: npt.NDArray[np.int64], targets: Floats, variances: Floats
) -> _Solution:
    """Gaussian regression in closed form.

    Source: Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, equation 2.8.
    """
    centre, scales = float(np.average(targets, weights=1.0 / variances)), _scales(prior, levels, targets)
    whitened = design * scales / np.sqrt(variances)[:, None]
    residuals = (targets - centre) / np.sqrt(variances)
    precision = whitened.T @ whitened + np.eye(len(scales))
    lower = np.linalg.cholesky(precision)
    projected = np.linalg.solve(lower, whitened.T)
    coefficients = scales * np.linalg.solve(lower.T, projected @ residuals)
    coefficients[levels == 0] += centre
    return _Solution(coefficients, design @ coefficients, projected, variances)


def _scales(prior: _Prior, levels: npt.NDArray[np.int64], targets: Floats) -> Floats:
    return np.array([BIAS_SCALE, *prior.scales[:-1]])[levels] * (float(np.std(targets)) or 1.0)


def _evidence(
    prior: _Prior, design: Floats, levels: npt.NDArray[np.int64], targets: Floats, variances: Floats
) -> float:
    """Logarithm of the marginal likelihood up to a constant, through the smaller of the two Gram matrices.

    Source: Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, equation 2.30.
    """
    whitened = design * _scales(prior, levels, targets) / np.sqrt(variances)[:, None]
    residuals = (targets - float(np.average(targets, weights=1.0 / variances))) / np.sqrt(variances)
    if len(whitened) <= whitened.shape[1]:
        gram = whitened @ whitened.T + np.eye(len(whitened))
        square = residuals @ np.linalg.solve(gram, residuals)
    else:
        gram = whitened.T @ whitened + np.eye(whitened.shape[1])
        projected = whitened.T @ residuals
        square = residuals @ residuals - projected @ np.linalg.solve(gram, projected)
    log_determinant = 2.0 * np.log(np.diag(np.linalg.cholesky(gram))).sum() + np.log(variances).sum()
    return -0.5 * float(square + log_determinant)


def _tuned(start: _Fit, design: Floats, features: _Features, observations: Observations) -> _Fit:
    """Try each scale larger and smaller as long as the evidence rises; the targets stay as they are."""
    slopes = start.solution.variances / _variances(start.prior, observations)

    def evidence_of(prior: _Prior) -> float:
        variances = slopes * _variances(prior, observations)
        return _evidence(prior, design, features.levels, start.targets, variances)

    best, evidence = start.prior, evidence_of(start.prior)
    for factor in STEPS:
        for index in range(len(best.scales)):
            for direction in (factor, 1.0 / factor):
                tried = best.times(index, direction)
                found = evidence_of(tried)
                if found > evidence:
                    best, evidence = tried, found
    return _fit(best, design, features, observations, start.ceiling)
