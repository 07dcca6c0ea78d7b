"""Before one is chosen, the best candidates may be evaluated for real.

A search picks what the predictor is too fond of. Evaluated on images that the supernet never learned from,
the best few are ordered anew. That again picks the luckiest: an exported file is reported on other images.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ofa_nas.accuracy import Z_90, AccuracySample, SampleStore, own_share
from ofa_nas.errors import ConfigError
from ofa_nas.pipeline.estimators import Candidate
from ofa_nas.pipeline.evaluation import Bench
from ofa_nas.pipeline.search import SearchResult
from ofa_nas.search.budgets import Budget

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
    within = [one for one in result.front if all(_keeps(one, budget) for budget in result.budgets)]
    best = {one.architecture: one for one in (result.chosen, *within)}
    return sorted(best.values(), key=lambda one: one.accuracy, reverse=True)[:count]


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
    if images < 1:
        raise ConfigError(f"--images {images}: expected 1 or more")
    bench = Bench.open(supernet)
    split = bench.predictor_images(data, images=images, seed=seed)
    blank = bench.blank_sample(split, seed=seed)
    own = own_share(SampleStore(bench.files.samples).read())
    contenders = []
    for candidate in candidates:
        correct = bench.count_correct(candidate.architecture, split)
        sample = replace(blank, arch=str(candidate.architecture), correct=correct)
        contenders.append(weigh(candidate, sample, own=own))
        yield contenders[-1]
    yield Contest(tuple(sorted(contenders, key=lambda one: one.accuracy, reverse=True)))


def weigh(candidate: Candidate, sample: AccuracySample, *, own: float = 1.0) -> Evaluated:
    """Prediction and measurement as one, by the inverses of their variances.

    The measurement alone counts where the predictor gives no interval.

    Args:
        candidate: With its prediction.
        sample: Its measurement.
        own: Share of the sample's variance that other candidates, which see the same images, do not share.
    """
    sure, noise = (candidate.half_width / Z_90) ** 2, own * sample.variance
    share = noise / (noise + sure) if sure else 0.0
    return Evaluated(candidate, sample, share * candidate.accuracy + (1.0 - share) * sample.accuracy)


def _keeps(candidate: Candidate, budget: Budget) -> bool:
    return candidate.cost(budget.key) <= budget.searched_limit
