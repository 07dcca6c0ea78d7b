"""The additive model with a Gaussian process beside it, for what blocks of several stages do together.

The process sees the trends of resolution, network and stages. At the samples it equals so many further
features of one more level, so it is fitted with all the others, in closed form and in link space. A file
holds what was fitted to; reading it solves again.
"""

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ofa_nas.array_json import unpack_number, unpack_numbers
from ofa_nas.arrays import Flags, Floats
from ofa_nas.link_regression import (
    Data,
    LinkedFit,
    Scales,
    Solution,
    accuracy_of,
    fit_ceiling,
    fit_linked,
    slope_of,
    solve,
    tuned,
)
from ofa_nas.predictors import WIDEST, AdditiveForm, Observations, conformal_widening, deal_folds
from ofa_nas.predictors.additive import START_SCALES, Features, sum_worths
from ofa_nas.space.encoding import Encoding, Genes

SEEN_LEVELS = (1, 3, 4)  # of the additive features: trends of the resolution, of the network, of its stages
LENGTHS = (0.5, 1.0, 2.0)  # of the kernel, in root mean square distances of the samples
START_RESIDUAL = 0.1  # prior scale of the process, in standard deviations of the target
JITTER = 1e-6  # of the kernel's diagonal, so that equal samples do no harm
SMALLEST_SIZE = 1e-9  # of a feature that differs among samples
MOST_SAMPLES = 4096  # in a file: their kernel is inverted when it is read
ROWS = 2048  # predicted at once, so that kernels stay in the cache


@dataclass(frozen=True)
class _Process:
    """A squared exponential kernel as features, whitened at its samples.

    Attributes:
        features: Of the additive model.
        genes: `(n, d)` samples.
        length: Of the kernel, in root mean square distances of the samples.
        lengths: `(e,)` of the kernel along all that it sees; infinite where the samples do not differ.
        whitening: `(n, n)` inverse of the Cholesky factor of the samples' kernel.
    """

    features: Features
    genes: Genes
    length: float
    lengths: Floats
    whitening: Floats

    @classmethod
    def of(cls, features: Features, genes: Genes, length: float) -> "_Process":
        """Whiten the kernel at samples `(n, d)`."""
        seen = features.design(genes, levels=SEEN_LEVELS)
        sizes = seen.std(axis=0)
        differs = sizes > SMALLEST_SIZE
        lengths = np.where(differs, sizes * length * np.sqrt(2.0 * max(int(differs.sum()), 1)), np.inf)
        gram = _kernel(seen / lengths, seen / lengths) + JITTER * np.eye(len(genes))
        return cls(features, genes, length, lengths, np.linalg.inv(np.linalg.cholesky(gram)))

    def nearness(self, genes: Genes) -> Floats:
        """The kernel of architectures `(m, d)` and the samples, `(m, n)`."""
        places, centres = (
            self.features.design(one, levels=SEEN_LEVELS) / self.lengths for one in (genes, self.genes)
        )
        return _kernel(places, centres)

    def design(self, genes: Genes) -> Floats:
        """Additive features, then those of the process, of architectures `(m, d)`: `(m, p + n)`."""
        whitened = self.nearness(genes) @ self.whitening.T
        return np.concatenate([self.features.design(genes), whitened], axis=1)

    def data(self, accuracies: Floats, variances: Floats) -> Data:
        """What is to be regressed, for the samples' `(n,)` and `(n,)`."""
        additive = self.features.levels
        levels = np.append(additive, np.full(len(self.genes), additive.max() + 1))
        return Data(self.design(self.genes), levels, accuracies, variances)


def _kernel(places: Floats, centres: Floats) -> Floats:
    """Squared exponential, `(m, n)`, of places `(m, e)` and centres `(n, e)` in its lengths."""
    squares = (places**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1) - 2.0 * places @ centres.T
    return np.asarray(np.exp(-0.5 * np.maximum(squares, 0.0)))


@dataclass(frozen=True)
class AdditiveGpPredictor:
    """A table of worths, summed by genes, and a process beside them, behind a link.

    Attributes:
        process: With the samples.
        data: Samples in link space: targets in place of accuracies, and their variances.
        scales: Of the priors; the last level is the process.
        ceiling: Accuracy that no architecture reaches; None for no link.
        sigma: Standard deviation of a measurement around the model, a fraction.
        widening: Half of a 90 % interval in predicted standard deviations.
        solution: Of those targets.
    """

    process: _Process
    data: Data
    scales: Scales
    ceiling: float | None
    sigma: float
    widening: float
    solution: Solution

    @classmethod
    def of(
        cls,
        process: _Process,
        data: Data,
        scales: Scales,
        *,
        ceiling: float | None,
        sigma: float,
        widening: float,
    ) -> "AdditiveGpPredictor":
        """Solve for the samples in link space."""
        solution = solve(data, scales, data.accuracies, data.variances)
        return cls(process, data, scales, ceiling, sigma, widening, solution)

    def predict(self, genes: Genes) -> Floats:
        """Accuracies of architectures `(n, d)`: `(n,)` fractions."""
        coefficients, count = self.solution.coefficients, len(self.process.features.levels)
        table = self.process.features.table(coefficients[:count])
        weights = self.process.whitening.T @ coefficients[count:]
        parts = [self.process.nearness(rows) @ weights for rows in _batches(genes)]
        return accuracy_of(sum_worths(table, genes) + np.concatenate([np.empty(0), *parts]), self.ceiling)

    def half_widths(self, genes: Genes) -> Floats:
        """Halves of the 90 % intervals of architectures `(n, d)`: `(n,)` fractions."""
        variances = np.concatenate([np.empty(0), *(self._variances(rows) for rows in _batches(genes))])
        slopes = slope_of(self.predict(genes), self.ceiling)
        return np.asarray(np.minimum(self.widening * np.sqrt(variances * slopes**2 + self.sigma**2), WIDEST))

    def _variances(self, genes: Genes) -> Floats:
        """Of the sums; away from the samples the features of the process fade, and its prior is left."""
        design, count = self.process.design(genes), len(self.process.features.levels)
        prior = self.scales.of_features(self.data.levels, self.data.accuracies)[-1]
        unseen = 1.0 - (design[:, count:] ** 2).sum(axis=1)
        return np.asarray(
            ((design @ self.solution.factor) ** 2).sum(axis=1) + prior**2 * np.maximum(unseen, 0.0)
        )

    def additive(self, encoding: Encoding) -> AdditiveForm | None:
        """A process is no sum."""
        return None

    def to_json(self) -> dict[str, Any]:
        """Plain values: samples in link space, and what is needed to solve for them."""
        return {
            "genes": self.process.genes.tolist(),
            "targets": self.data.accuracies.tolist(),
            "variances": self.data.variances.tolist(),
            "scales": asdict(self.scales),
            "length": self.process.length,
            "ceiling": self.ceiling,
            "sigma": self.sigma,
            "widening": self.widening,
        }


def fit(encoding: Encoding, observations: Observations, *, rng: np.random.Generator) -> AdditiveGpPredictor:
    """Fit the additive model, then the process with it for every length, and keep the best."""
    features, folds = Features.of(encoding), deal_folds(len(observations), rng)
    process, fitted = _fit(features, observations, folds)
    widening = conformal_widening(
        observations, folds, left_out=fitted.left_out, refit=partial(_fit_unwidened, features, rng=rng)
    )
    return _predictor(process, fitted, widening=widening)


def fit_unwidened(
    encoding: Encoding, observations: Observations, *, rng: np.random.Generator
) -> AdditiveGpPredictor:
    """The same predictions, with intervals that are right only in proportion."""
    return _fit_unwidened(Features.of(encoding), observations, rng=rng)


def _fit(features: Features, observations: Observations, folds: list[Flags]) -> tuple[_Process, LinkedFit]:
    alone = fit_linked(features.data(observations), Scales(START_SCALES), folds)
    start = replace(alone.scales, levels=(*alone.scales.levels, START_RESIDUAL))
    processes = [_Process.of(features, observations.genes, length) for length in LENGTHS]
    accuracies, variances = observations.accuracies, observations.variances
    fits = [fit_ceiling(process.data(accuracies, variances), start, alone.ceiling) for process in processes]
    best = int(np.argmin([np.mean(fitted.left_out(folds)[0] ** 2) for fitted in fits]))
    return processes[best], tuned(fits[best])


def _fit_unwidened(
    features: Features, observations: Observations, *, rng: np.random.Generator
) -> AdditiveGpPredictor:
    return _predictor(*_fit(features, observations, deal_folds(len(observations), rng)), widening=1.0)


def _predictor(process: _Process, fitted: LinkedFit, *, widening: float) -> AdditiveGpPredictor:
    return AdditiveGpPredictor.of(
        process,
        process.data(fitted.targets, fitted.variances),
        fitted.scales,
        ceiling=fitted.ceiling,
        sigma=fitted.unexplained,
        widening=widening,
    )


def from_json(encoding: Encoding, parameters: dict[str, Any]) -> AdditiveGpPredictor:
    """Read back what `to_json` gave, and solve."""
    genes = np.array(parameters["genes"], dtype=np.int16)
    targets, variances = (unpack_numbers(parameters, key) for key in ("targets", "variances"))
    given, features = parameters["scales"], Features.of(encoding)
    levels, noise, misfit = (unpack_numbers(given, key) for key in ("levels", "noise", "misfit"))
    scales = Scales(tuple(levels.tolist()), noise.item(), misfit.item())
    if (
        genes.ndim != 2
        or genes.shape[1] != encoding.length
        or len(scales.levels) != features.levels.max() + 1
    ):
        raise ValueError(f"genes of shape {genes.shape} and {len(scales.levels)} scales")
    if len(genes) > MOST_SAMPLES:
        raise ValueError(f"{len(genes)} samples, more than {MOST_SAMPLES}")
    if not encoding.is_canonical(genes).all():
        raise ValueError("genes that are not in the space")
    if targets.shape != (len(genes),) or variances.shape != (len(genes),) or not (variances > 0.0).all():
        raise ValueError(f"targets of shape {targets.shape} for {len(genes)} samples")
    process = _Process.of(features, genes, unpack_number(parameters, "length"))
    return AdditiveGpPredictor.of(
        process,
        process.data(targets, variances),
        scales,
        ceiling=None if parameters["ceiling"] is None else unpack_number(parameters, "ceiling"),
        sigma=unpack_number(parameters, "sigma"),
        widening=unpack_number(parameters, "widening"),
    )


def _batches(genes: Genes) -> list[Genes]:
    return [genes[start : start + ROWS] for start in range(0, len(genes), ROWS)]
