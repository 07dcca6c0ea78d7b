"""Accuracy predictors, one module each, in numpy: fitted to measured subnets, saved as JSON.

A module offers `fit(encoding, observations, *, rng)` and `from_json(encoding, parameters)`, both giving a
`Predictor`; its name is what a file says it was made by. As fitted it has intervals for the images of its
samples; as read from a file, a `PopulationPredictor`, for any images of the kind.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

import numpy as np

from ofa_nas.accuracy import Z_90, AccuracySample, Draw
from ofa_nas.arrays import Flags, Floats, Index
from ofa_nas.errors import ArchitectureError, ConfigError, DataError
from ofa_nas.plugins import load_complete
from ofa_nas.randomness import check_rng
from ofa_nas.space.costs import CostTable, full_depth
from ofa_nas.space.encoding import Encoding, Genes
from ofa_nas.space.search_space import SearchSpace

COVERAGE = 0.9  # of the intervals
MIN_SAMPLES = 8
FEW_FOR_PAIRS = 20  # samples, of which two tenths may be left out at once: half as many fits
FEW = 100  # samples: with fewer, what is tuned on all of them flatters those that are left out
WIDEST = 1.0  # half-width: it says nothing, which eight samples may
FOLDS = 10
PROBES = 100  # random architectures that are asked whether a sum says what its predictor says
ROUNDING = 1e-6  # of accuracies, between the two
LARGEST = 1e3  # prediction: a fraction, wherever a model leads
_NAMES = ("fit", "from_json")
_METHODS = ("predict", "half_widths", "additive", "to_json")


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """What a predictor is fitted to.

    Attributes:
        genes: `(n, d)` architectures.
        accuracies: `(n,)` measured fractions in [0, 1].
        variances: `(n,)` variance of each measurement, above 0.

    Raises:
        DataError: They are not as many, or no such numbers.
    """

    genes: Genes
    accuracies: Floats
    variances: Floats

    def __post_init__(self) -> None:
        shapes = [np.shape(one) for one in (self.genes, self.accuracies, self.variances)]
        if len(shapes[0]) != 2 or shapes[1:] != [shapes[0][:1]] * 2:
            raise DataError(
                f"observations: arrays {', '.join(map(str, shapes))}; expected (n, d), (n,), (n,)"
            )
        if not ((self.accuracies >= 0.0) & (self.accuracies <= 1.0)).all():
            raise DataError("observations: an accuracy is no fraction from 0 to 1")
        if not ((self.variances > 0.0) & (self.variances < np.inf)).all():
            raise DataError("observations: a variance is no number above 0")

    @classmethod
    def of(cls, encoding: Encoding, samples: Sequence[AccuracySample]) -> "Observations":
        """Encode measured samples.

        Raises:
            DataError: There are too few, or one is of another space.
        """
        if len(samples) < MIN_SAMPLES:
            found = f"{len(samples)} accuracy samples: a predictor needs {MIN_SAMPLES} or more"
            raise DataError(told if (told := too_few(encoding.space)) else found)
        try:
            archs = [encoding.space.parse(sample.arch) for sample in samples]
        except ArchitectureError as error:
            raise DataError(f"accuracy samples: {error}") from error
        accuracies = np.array([sample.accuracy for sample in samples])
        return cls(encoding.encode(archs), accuracies, np.array([sample.variance for sample in samples]))

    def take(self, index: Index | Flags) -> "Observations":
        """Some of the rows."""
        return Observations(self.genes[index], self.accuracies[index], self.variances[index])

    def __len__(self) -> int:
        return len(self.accuracies)


def too_few(space: SearchSpace) -> str:
    """That a space has fewer architectures than a predictor needs, and what to do instead; empty if not."""
    if space.cardinality >= MIN_SAMPLES:
        return ""
    return (
        f"{space.name} has {space.cardinality} of the {MIN_SAMPLES} architectures that a predictor needs, "
        "too few to search: evaluate them (ofa-nas evaluate) and export one (ofa-nas export)"
    )


@dataclass(frozen=True)
class AdditiveForm:
    """A predictor as a sum over resolution and blocks, which an exact search can use.

    Attributes:
        worth: What each resolution and block adds.
        link: Sums `(n,)` → accuracies `(n,)`, rising.
    """

    worth: CostTable
    link: Callable[[Floats], Floats]


class Predictor(Protocol):
    """A fitted predictor."""

    def predict(self, genes: Genes) -> Floats:
        """Accuracies of architectures `(n, d)`: `(n,)` fractions."""

    def half_widths(self, genes: Genes) -> Floats:
        """Halves of the 90 % intervals of architectures `(n, d)`: `(n,)` fractions, 0 without one.

        As fitted they hold for measurements on the images of the samples.
        """

    def additive(self, encoding: Encoding) -> AdditiveForm | None:
        """The same as a sum, for the space it was fitted on; None where it is none."""

    def to_json(self) -> dict[str, Any]:
        """Everything that `from_json` needs, as plain values."""


class PredictorModule(Protocol):
    """What a module of this folder offers."""

    def fit(self, encoding: Encoding, observations: Observations, *, rng: np.random.Generator) -> Predictor:
        """Fit to measured accuracies of this encoding; the same `rng` state gives the same predictor."""

    def from_json(self, encoding: Encoding, parameters: dict[str, Any]) -> Predictor:
        """Read back what `to_json` gave; raises KeyError, TypeError or ValueError when it cannot."""


@dataclass(frozen=True, slots=True)
class CheckedModule:
    """A module of which nothing is taken but a predictor that gives accuracies."""

    kind: str
    module: PredictorModule

    @property
    def has_unwidened(self) -> bool:
        """Whether the module has a `fit_unwidened` of its own."""
        return hasattr(self.module, "fit_unwidened")

    def fit(self, encoding: Encoding, observations: Observations, *, rng: np.random.Generator) -> Predictor:
        """As the module's own."""
        return self._checked(self.module.fit, encoding, observations, rng)

    def fit_unwidened(
        self, encoding: Encoding, observations: Observations, *, rng: np.random.Generator
    ) -> Predictor:
        """The same predictions; where the module can, with intervals right only in proportion, and sooner."""
        fit = getattr(self.module, "fit_unwidened", self.module.fit)
        return self._checked(fit, encoding, observations, rng)

    def _checked(
        self,
        fit: Callable[..., Predictor],
        encoding: Encoding,
        observations: Observations,
        rng: np.random.Generator,
    ) -> Predictor:
        encoding.check(observations.genes)
        predictor = fit(encoding, observations, rng=rng)
        missing = [name for name in _METHODS if not hasattr(predictor, name)]
        if missing:
            raise ConfigError(
                f"{self.kind}: fit: gave {type(predictor).__name__}, which lacks {', '.join(missing)}"
            )
        _check(predictor, encoding, kind=self.kind)
        return predictor

    def from_json(self, encoding: Encoding, parameters: dict[str, Any]) -> Predictor:
        """As the module's own."""
        predictor = self.module.from_json(encoding, parameters)
        _check(predictor, encoding, kind=self.kind)
        return predictor


def load_module(name: str) -> CheckedModule:
    """A kind of predictor by the name of its module; `fit` and `from_json` are as `answers` asks for.

    Raises:
        ConfigError: There is none, or the module is no predictor.
    """
    return CheckedModule(
        name, cast(PredictorModule, load_complete("predictors", name, _NAMES, what="a predictor"))
    )


def answers(predictor: Predictor, genes: Genes, *, kind: str) -> tuple[Floats, Floats]:
    """What a predictor says of architectures `(n, d)`: accuracies `(n,)` and halves of intervals `(n,)`.

    Raises:
        ConfigError: They are no such numbers; the message names the kind and its method.
    """
    with np.errstate(all="ignore"):
        predicted, half_widths = predictor.predict(genes), predictor.half_widths(genes)
    for name, values, least in (("predict", predicted, -LARGEST), ("half_widths", half_widths, 0.0)):
        fault = _fault(values, len(genes), least=least)
        if fault:
            raise ConfigError(f"{kind}: {name}: gave {fault}")
    return predicted, half_widths


def _check(predictor: Predictor, encoding: Encoding, *, kind: str) -> None:
    """Ask a predictor of some architectures, and of the same its sum, by which an exact search proves things.

    Raises:
        ConfigError: It gives no accuracies, or the sum gives others.
    """
    genes = np.concatenate([_probes(encoding), encoding.sample(PROBES, np.random.default_rng(0))])
    predicted, _ = answers(predictor, genes, kind=kind)
    form = predictor.additive(encoding)
    if form is None:
        return
    if not isinstance(form, AdditiveForm):
        raise ConfigError(
            f"{kind}: additive: gave {type(form).__name__}; expected an AdditiveForm, or None for no sum"
        )
    with np.errstate(all="ignore"):
        sums = form.worth.total(genes)
        linked = form.link(sums)
    fault = _fault(linked, len(genes))
    if fault:
        raise ConfigError(f"{kind}: additive: its link gave {fault}")
    worst = int(np.argmax(np.abs(linked - predicted)))
    if abs(linked[worst] - predicted[worst]) > ROUNDING:
        raise ConfigError(
            f"{kind}: additive: gives {linked[worst]:.6g} where predict gives {predicted[worst]:.6g} "
            f"({encoding.decode(genes[[worst]])[0]}); expected the same, or None for no sum"
        )
    if (np.diff(linked[np.argsort(sums)]) < -ROUNDING).any():
        raise ConfigError(f"{kind}: additive: its link falls somewhere; expected one that rises")


def _fault(values: Any, count: int, *, least: float = -LARGEST) -> str:
    """What is wrong with numbers of so many architectures; empty if nothing is."""
    expected = f"for {count} architectures; expected an array of numbers, ({count},)"
    if not isinstance(values, np.ndarray):
        return f"{type(values).__name__} {expected}"
    if values.shape != (count,) or values.dtype.kind not in "fiu":
        return f"an array of {values.dtype} {values.shape} {expected}"
    wrong = values[~((values >= least) & (values <= LARGEST))]  # nan is not, either
    told = "fractions" if least else "fractions from 0 up"
    return f"{wrong[0]:.3g} for one of {count} architectures; expected {told}" if len(wrong) else ""


def _probes(encoding: Encoding) -> Genes:
    """Architectures `(n, d)` that have every value of every gene."""
    space = encoding.space
    turns = max(len(space.resolutions), int(encoding.choice_counts.max()))
    sizes = [space.resolutions[turn % len(space.resolutions)] for turn in range(turns)]
    return encoding.encode([space.smallest, *map(partial(full_depth, space), sizes, range(turns))])


def promised(predictor: Predictor, genes: Genes) -> Floats:
    """Predicted accuracies of architectures `(n, d)` as one may tell them: `(n,)` fractions in [0, 1].

    A search orders by `predict` itself, which a sum without a ceiling can carry beyond 1 where all are good.
    """
    return np.clip(predictor.predict(genes), 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class PopulationPredictor:
    """A predictor whose intervals are of accuracy on any images of the kind, not on those it was fitted to.

    Attributes:
        fitted: To subnets that were all evaluated on the same images.
        draw: Those images; None where nobody knows, and there is no interval then.
    """

    fitted: Predictor
    draw: Draw | None

    def predict(self, genes: Genes) -> Floats:
        """Accuracies of architectures `(n, d)`: `(n,)` fractions."""
        return self.fitted.predict(genes)

    def half_widths(self, genes: Genes) -> Floats:
        """Halves of the 90 % intervals of architectures `(n, d)`: `(n,)` fractions, 0 without one.

        An unlucky draw of images lowers all subnets, and the residuals that made the fitted intervals do not
        feel that: its variance is added.
        """
        widths = self.fitted.half_widths(genes)
        if self.draw is None:
            return np.zeros(len(widths))
        shared = self.draw.shared_variance(promised(self.fitted, genes))
        return np.where(widths > 0.0, np.hypot(widths, Z_90 * np.sqrt(shared)), 0.0)

    def additive(self, encoding: Encoding) -> AdditiveForm | None:
        """As fitted."""
        return self.fitted.additive(encoding)

    def to_json(self) -> dict[str, Any]:
        """As fitted."""
        return self.fitted.to_json()


def conformal_widening(
    observations: Observations,
    folds: Sequence[Flags],
    *,
    left_out: Callable[[list[Flags]], tuple[Floats, Floats]],
    refit: Callable[[Observations], Predictor],
) -> float:
    """Half of a 90 % interval in predicted standard deviations, from samples that were left out.

    Args:
        observations: All samples.
        folds: Masks `(n,)` of what is left out together.
        left_out: Residuals `(n,)` and standard deviations `(n,)` of what was tuned on all samples.
        refit: Everything that depends on samples, for few of them.
    """
    if len(observations) < FEW:
        return conformal_half_width(refitted_residuals(observations, folds, refit))
    residuals, deviations = left_out(list(folds))
    return conformal_half_width(residuals / deviations)


def refitted_residuals(
    observations: Observations, folds: Sequence[Flags], fit: Callable[[Observations], Predictor]
) -> Floats:
    """Residuals `(n,)` of samples that nothing was tuned on: each fold by a fit to the others alone.

    Args:
        observations: Few enough to fit that often.
        folds: Masks `(n,)` of what is left out together, ten of many samples; of 20 or more two at once.
        fit: Everything that depends on samples; its half-widths are what residuals are divided by.
    """
    residuals = np.empty(len(observations))
    if len(observations) >= FEW_FOR_PAIRS:
        folds = [one | other for one, other in zip(folds[::2], folds[1::2], strict=True)]
    for fold in folds:
        out, predictor = observations.take(fold), fit(observations.take(~fold))
        residuals[fold] = (out.accuracies - predictor.predict(out.genes)) / predictor.half_widths(out.genes)
    return residuals


def conformal_half_width(residuals: Floats) -> float:
    """Half-width that covers 90 % of future residuals, from `(n,)` residuals of samples that were not fitted.

    Of fewer than nine it is the largest, which covers n of n + 1: 89 % with eight.

    Source: Lei et al. 2018, arXiv:1604.04173, algorithm 2 (split conformal), its rank applied to all folds.
    """
    rank = min(len(residuals), int(np.ceil(COVERAGE * (len(residuals) + 1))))
    return float(np.sort(np.abs(residuals))[rank - 1])


def deal_folds(count: int, rng: np.random.Generator) -> list[Flags]:
    """Masks `(count,)` of the samples left out in each of up to ten folds."""
    check_rng(rng)
    folds = rng.permutation(count) % min(FOLDS, count)
    return [folds == fold for fold in range(min(FOLDS, count))]
