"""How well predictions order and hit what was measured.

Each raises a ConfigError where a number is NaN or infinite: with one, no order and no distance is true.
"""

from collections.abc import Iterator

import numpy as np

from ofa_nas.arrays import Floats
from ofa_nas.errors import ConfigError

CEILING_DRAWS = 20


def kendall_tau(first: Floats, second: Floats) -> float:
    """Kendall's tau-b of two rankings `(n,)`: 1 in the same order, -1 reversed, 0 unrelated or all tied.

    Source: Kendall 1945, Biometrika 33(3): ties in either ranking shrink the denominator.
    """
    _check(first, second)
    agreement = untied_first = untied_second = 0.0
    for row in range(len(first) - 1):
        sign_first = np.sign(first[row + 1 :] - first[row])
        sign_second = np.sign(second[row + 1 :] - second[row])
        agreement += float(sign_first @ sign_second)
        untied_first += float(sign_first @ sign_first)
        untied_second += float(sign_second @ sign_second)
    scale = np.sqrt(untied_first * untied_second)
    return float(agreement / scale) if scale > 0.0 else 0.0


def kendall_deviation(first: Floats, second: Floats) -> float:
    """Standard error of Kendall's tau of two rankings `(n,)` that were drawn at random from many more.

    Source: Hoeffding 1948, The Annals of Mathematical Statistics 19(3), section 9b: a U-statistic of degree 2
    varies as 4 / n times its projection on one member.
    """
    _check(first, second)
    signs = np.sign(first[:, None] - first) * np.sign(second[:, None] - second)
    agreements = signs.sum(axis=1) / max(len(first) - 1, 1)
    return float(2.0 * np.std(agreements) / np.sqrt(len(first)))


def tau_ceiling(truth: Floats, noise: float) -> float:
    """Kendall's tau of true accuracies `(n,)` and measurements with such a standard deviation, on average."""
    return float(np.mean([kendall_tau(truth, measured) for measured in _measurements(truth, noise)]))


def spearman_rho(first: Floats, second: Floats) -> float:
    """Spearman's rank correlation of `(n,)` and `(n,)`, ties sharing their mean rank; 0 if all are tied."""
    _check(first, second)
    ranks_first, ranks_second = _ranks(first), _ranks(second)
    scale = ranks_first.std() * ranks_second.std()
    if scale == 0.0:
        return 0.0
    return float(np.mean((ranks_first - ranks_first.mean()) * (ranks_second - ranks_second.mean())) / scale)


def _ranks(values: Floats) -> Floats:
    _, kind, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2.0)[kind])


def rmse(predicted: Floats, measured: Floats) -> float:
    """Root mean square error of `(n,)` accuracies, a fraction."""
    _check(predicted, measured)
    return float(np.sqrt(np.mean((predicted - measured) ** 2)))


def bias(predicted: Floats, measured: Floats) -> float:
    """Mean of predicted minus measured `(n,)`, a fraction: above zero is too optimistic."""
    _check(predicted, measured)
    return float(np.mean(predicted - measured))


def top_k_regret(predicted: Floats, measured: Floats, *, k: int) -> float:
    """What is lost by measuring the `k` predicted best of `(n,)` only and taking their best, a fraction."""
    _check(predicted, measured)
    chosen = np.argsort(-predicted, kind="stable")[:k]
    return float(measured.max() - measured[chosen].max())


def regret_floor(truth: Floats, noise: float, *, k: int) -> float:
    """`top_k_regret` of true accuracies `(n,)` against measurements with such a deviation, on average."""
    return float(np.mean([top_k_regret(truth, measured, k=k) for measured in _measurements(truth, noise)]))


def _check(*scores: Floats) -> None:
    for values in scores:
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            raise ConfigError(f"scores: {values[wrong[0]]} in place {wrong[0]}; expected finite numbers")


def _measurements(truth: Floats, noise: float) -> Iterator[Floats]:
    rng = np.random.default_rng(0)
    for _ in range(CEILING_DRAWS):
        yield truth + noise * rng.standard_normal(len(truth))
