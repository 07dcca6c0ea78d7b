"""Before one is chosen, the best candidates may be evaluated for real.

A search picks what the predictor is too fond of. Evaluated on images that the supernet never learned from,
the best few are ordered anew. That again picks the luckiest: an exported file is reported on other images.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ofa_nas.accuracy import Z_90, AccuracySample, Draw, binomial_variance
from ofa_nas.pipeline.evaluating.evaluation import Bench
from ofa_nas.pipeline.searching.estimators import Candidate, by_accuracy
from ofa_nas.pipeline.searching.search import SearchResult
from ofa_nas.predictor_file import load_predictor
from ofa_nas.space.encoding import Encoding

CONTENDERS = 8
IMAGES = 2000


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A candidate with what it is worth for real.

    Attributes:
        candidate: With its predictions.
        sample: How many images its file classified right.
        accuracy: Predicted and measured top-1 together, each weighed by how sure it is.
    """

    candidate: Candidate
    sample: AccuracySample
    accuracy: float


@dataclass(frozen=True, slots=True)
class Contest:
    """Evaluated candidates, by falling accuracy."""

    contenders: tuple[Evaluated, ...]


def pick_contenders(result: SearchResult, *, count: int = CONTENDERS) -> list[Candidate]:
    """The candidates within the budgets that are predicted to be most accurate, by falling accuracy."""
    within = [one for one in result.front if all(map(one.keeps, result.budgets))]
    return by_accuracy([result.chosen, *within])[:count]


def evaluate_contenders(
    candidates: Sequence[Candidate], supernet: str, *, data: str, images: int = IMAGES, seed: int = 0
) -> Iterator[Evaluated | Contest]:
    """Evaluate candidates as the files that they would be exported to.

    Args:
        candidates: Of a search of the supernet.
        supernet: Shipped name or weights file.
        data: Data set; the half of its validation images that verification never sees serves.
        images: At most so many.
        seed: Of their draw.

    Yields:
        Contenders, then the contest.

    Raises:
        ConfigError: Fewer than one image is asked for.
        CheckpointError: The supernet or its images are missing or damaged.
        DataError: The data set has other classes.
    """
    bench = Bench.open(supernet)
    split = bench.predictor_images(data, images=images, seed=seed)
    blank = bench.blank_sample(split, seed=seed)
    encoding = Encoding.of(bench.card.space)
    draw = load_predictor(bench.files.predictor, encoding, weights=bench.card.sha256).predictor.draw
    contenders = []
    for candidate in candidates:
        correct = bench.count_correct(candidate.architecture, split)
        sample = replace(blank, arch=str(candidate.architecture), correct=correct)
        contenders.append(weigh(candidate, sample, draw))
        yield contenders[-1]
    yield Contest(tuple(sorted(contenders, key=lambda one: one.accuracy, reverse=True)))


def weigh(candidate: Candidate, sample: AccuracySample, draw: Draw | None) -> Evaluated:
    """Prediction and measurement as one, by the inverses of their variances.

    What all candidates share, luck of the images included, orders none of them: the prediction's variance is
    that of its interval without the binomial one of the images it was fitted on, the measurement's is its own
    noise. A prediction is as unsure, at least, as so many subnets leave the difference of two variances.

    Args:
        candidate: With its prediction.
        sample: Its measurement, which counts alone where the prediction has no interval.
        draw: Of the images that the predictor was fitted on; None where nobody knows.
    """
    share = 0.0
    if draw is not None and candidate.half_width:
        own = 1.0 if draw.own_share is None else draw.own_share
        fitted_on = binomial_variance(candidate.accuracy * draw.images, draw.images)
        least = 2.0 * own * fitted_on / np.sqrt(draw.subnets)
        sure, noise = max(least, (candidate.half_width / Z_90) ** 2 - fitted_on), own * sample.variance
        share = float(noise / (noise + sure)) if noise else 0.0
    return Evaluated(candidate, sample, share * candidate.accuracy + (1.0 - share) * sample.accuracy)
