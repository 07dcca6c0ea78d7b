"""Gaussian regression of accuracies behind a monotone link, in closed form: `accuracy = ceiling - exp(-u)`.

`u` is linear in features that fall into levels; each level has a Gaussian prior, whose scale, like those of
the noise and of the misfit, is found by marginal likelihood. Nothing here knows what the features stand for.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ofa_nas.arrays import Floats

Fold = npt.NDArray[np.bool_]
CEILINGS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)  # above the best sample, in ranges of the samples
BIAS_SCALE = 10.0  # prior of the mean, in standard deviations: as good as none
# Subnets are measured on the same images, and share the luck of that draw: the noise that tells them apart
# is a part of the binomial one only.
START_NOISE, MOST_NOISE = 0.7, 1.0  # in binomial standard deviations
START_MISFIT = 0.1  # of the model itself, in standard deviations of the accuracies
STEPS = (4.0, 2.0, 1.4)  # factors by which scales are tried larger and smaller
SMALLEST, LARGEST = 1e-4, 10.0
LINK_STEPS = 2


@dataclass(frozen=True, slots=True)
class Data:
    """What is regressed on what.

    Attributes:
        design: `(n, p)` features.
        levels: `(p,)` level of each feature; 0 is the mean.
        accuracies: `(n,)` fractions.
        variances: `(n,)` binomial, of each accuracy.
    """

    design: Floats
    levels: npt.NDArray[np.int64]
    accuracies: Floats
    variances: Floats


@dataclass(frozen=True, slots=True)
class Scales:
    """Standard deviations of the priors.

    Attributes:
        levels: Of each level but the mean, in standard deviations of the targets.
        noise: Of measuring, in binomial standard deviations.
        misfit: Of the model itself, in standard deviations of the accuracies.
    """

    levels: tuple[float, ...]
    noise: float = START_NOISE
    misfit: float = START_MISFIT

    def variances(self, data: Data) -> Floats:
        """Of accuracies around the model, `(n,)`."""
        spread = max(float(np.std(data.accuracies)), 1e-6)
        return np.asarray(self.noise**2 * data.variances + (self.misfit * spread) ** 2)

    def of_features(self, levels: npt.NDArray[np.int64], targets: Floats) -> Floats:
        """Of features of these levels `(p,)` for these targets."""
        return np.array([BIAS_SCALE, *self.levels])[levels] * (float(np.std(targets)) or 1.0)

    def times(self, index: int, factor: float) -> "Scales":
        """With one of them, in the order of the fields, moved by a factor."""
        if index < len(self.levels):
            levels = list(self.levels)
            levels[index] = _bounded(levels[index] * factor, LARGEST)
            return replace(self, levels=tuple(levels))
        if index == len(self.levels):
            return replace(self, noise=_bounded(self.noise * factor, MOST_NOISE))
        return replace(self, misfit=_bounded(self.misfit * factor, LARGEST))


def _bounded(value: float, largest: float) -> float:
    return min(max(value, SMALLEST), largest)


@dataclass(frozen=True, slots=True)
class Solution:
    """A ridge solution of targets in link space.

    Attributes:
        coefficients: `(p,)`.
        factor: `(p, p)`; `|features @ factor|**2` is the posterior variance of `u`.
        projected: `(p, n)`; its Gram matrix smooths targets that are divided by their standard deviations.
    """

    coefficients: Floats
    factor: Floats
    projected: Floats


@dataclass(frozen=True, slots=True)
class LinkedFit:
    """A regression and what it was fitted to.

    Attributes:
        data: Accuracies and features.
        scales: Of the priors.
        ceiling: Accuracy that nothing reaches; None for no link, `accuracy = u`.
        targets: `(n,)` in link space.
        variances: `(n,)` of the targets.
        solution: Of the targets.
    """

    data: Data
    scales: Scales
    ceiling: float | None
    targets: Floats
    variances: Floats
    solution: Solution

    def left_out(self, folds: list[Fold]) -> tuple[Floats, Floats]:
        """Residuals and their predicted deviations when each fold is predicted by the others, closed form.

        Returns:
            `(n,)` measured minus predicted accuracies, and `(n,)` standard deviations.

        Source: Hastie et al. 2009, The Elements of Statistical Learning, section 7.10 (linear smoothers);
        Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, equation 5.12 (variances).
        """
        deviations = np.sqrt(self.variances)
        misses = (self.targets - self.data.design @ self.solution.coefficients) / deviations
        sums, spreads = np.empty(len(misses)), np.empty(len(misses))
        for fold in folds:
            own = self.solution.projected[:, fold]
            inverse = np.linalg.inv(np.eye(own.shape[1]) - own.T @ own)
            sums[fold] = self.targets[fold] - inverse @ misses[fold] * deviations[fold]
            spreads[fold] = np.sqrt(np.diag(inverse)) * deviations[fold]
        predicted = accuracy_of(sums, self.ceiling)
        return self.data.accuracies - predicted, spreads * slope_of(predicted, self.ceiling)

    @property
    def unexplained(self) -> float:
        """Standard deviation of a measurement around the model, a fraction."""
        return float(np.sqrt(np.mean(self.scales.variances(self.data))))


def accuracy_of(sums: Floats, ceiling: float | None) -> Floats:
    """Accuracies `(n,)` of sums `(n,)` in link space."""
    return sums if ceiling is None else ceiling - np.exp(-sums)


def slope_of(accuracies: Floats, ceiling: float | None) -> Floats:
    """How fast accuracies `(n,)` rise with the sum, `(n,)`."""
    return np.ones(len(accuracies)) if ceiling is None else ceiling - accuracies


def fit_linked(data: Data, start: Scales, folds: list[Fold]) -> LinkedFit:
    """Fit for every ceiling, keep the one that cross-validates best, and tune its scales."""
    scales = tuned(fit_ceiling(data, start, None)).scales
    top, span = float(data.accuracies.max()), max(float(np.ptp(data.accuracies)), 1e-6)
    ceilings = [None, *(top + share * span for share in CEILINGS)]
    fits = [fit_ceiling(data, scales, ceiling) for ceiling in ceilings]
    return tuned(min(fits, key=lambda fitted: float(np.mean(fitted.left_out(folds)[0] ** 2))))


def fit_ceiling(data: Data, scales: Scales, ceiling: float | None) -> LinkedFit:
    """Fit with given scales; behind a link by two steps of Gauss-Newton from the fit without one."""
    variances, targets = scales.variances(data), data.accuracies
    if ceiling is None:
        return LinkedFit(data, scales, None, targets, variances, solve(data, scales, targets, variances))
    room = 0.02 * (ceiling - float(data.accuracies.min()))
    solution, sloped = solve(data, scales, targets, variances), variances
    pilot: Floats = np.minimum(data.design @ solution.coefficients, ceiling - room)
    for _ in range(LINK_STEPS):
        slopes: Floats = np.asarray(1.0 / (ceiling - pilot))
        targets, sloped = (data.accuracies - pilot) * slopes - np.log(ceiling - pilot), variances * slopes**2
        solution = solve(data, scales, targets, sloped)
        fitted = accuracy_of(data.design @ solution.coefficients, ceiling)
        pilot = np.asarray(np.minimum(fitted, ceiling - room))
    return LinkedFit(data, scales, ceiling, targets, sloped, solution)


def solve(data: Data, scales: Scales, targets: Floats, variances: Floats) -> Solution:
    """Gaussian regression in closed form.

    Args:
        data: Its features; not its accuracies.
        scales: Of the priors.
        targets: `(n,)` in link space.
        variances: `(n,)` of the targets.

    Source: Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, equation 2.8.
    """
    centre = float(np.average(targets, weights=1.0 / variances))
    of_features = scales.of_features(data.levels, targets)
    whitened = data.design * of_features / np.sqrt(variances)[:, None]
    residuals = (targets - centre) / np.sqrt(variances)
    lower = np.linalg.cholesky(whitened.T @ whitened + np.eye(len(of_features)))
    projected = np.linalg.solve(lower, whitened.T)
    inverse = np.linalg.inv(lower)
    coefficients = of_features * (inverse.T @ (projected @ residuals))
    coefficients[data.levels == 0] += centre
    return Solution(coefficients, of_features[:, None] * inverse.T, projected)


class _Evidence:
    """Logarithm of the marginal likelihood of targets up to a constant, by scales.

    Through the smaller of the two Gram matrices; that of samples is a sum of one for each level.

    Source: Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, equation 2.30.
    """

    def __init__(self, fitted: LinkedFit) -> None:
        self.data, self.targets = fitted.data, fitted.targets
        self.slopes = fitted.variances / fitted.scales.variances(fitted.data)
        design, levels = fitted.data.design, fitted.data.levels
        parts = [design[:, levels == level] for level in range(levels.max() + 1)]
        self.grams = [part @ part.T for part in parts] if len(design) <= design.shape[1] else []

    def of(self, scales: Scales) -> float:
        variances = self.slopes * scales.variances(self.data)
        deviations = np.sqrt(variances)
        residuals = (self.targets - float(np.average(self.targets, weights=1.0 / variances))) / deviations
        if self.grams:
            sizes = scales.of_features(np.arange(len(self.grams)), self.targets)
            gram = sum(size**2 * part for size, part in zip(sizes, self.grams, strict=True))
            gram = gram / deviations / deviations[:, None] + np.eye(len(variances))
            lower = np.linalg.cholesky(gram)
            square = float((np.linalg.solve(lower, residuals) ** 2).sum())
        else:
            sizes = scales.of_features(self.data.levels, self.targets)
            whitened = self.data.design * sizes / deviations[:, None]
            lower = np.linalg.cholesky(whitened.T @ whitened + np.eye(len(sizes)))
            projected = np.linalg.solve(lower, whitened.T @ residuals)
            square = float(residuals @ residuals - projected @ projected)
        return -0.5 * (square + 2.0 * float(np.log(np.diag(lower)).sum()) + float(np.log(variances).sum()))


def tuned(start: LinkedFit) -> LinkedFit:
    """Try each scale larger and smaller as long as the evidence rises; the targets stay as they are."""
    evidence = _Evidence(start)
    best, most = start.scales, evidence.of(start.scales)
    for factor in STEPS:
        for index in range(len(best.levels) + 2):
            for direction in (factor, 1.0 / factor):
                tried = best.times(index, direction)
                found = evidence.of(tried)
                if found > most:
                    best, most = tried, found
    return fit_ceiling(start.data, best, start.ceiling)
