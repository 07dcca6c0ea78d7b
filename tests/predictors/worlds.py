"""Made-up accuracies whose truth is known: additive ones, and ones with interactions behind a ceiling."""

from statistics import NormalDist

import numpy as np

from ofa_nas.accuracy import AccuracySample
from ofa_nas.arrays import Floats
from ofa_nas.predictors import Observations, Predictor
from ofa_nas.space.costs import layer_macs, tabulate
from ofa_nas.space.encoding import Encoding, Genes
from ofa_nas.space.search_space import SearchSpace

LITE = Encoding.of(SearchSpace.load("efficientnet_lite"))
_MACS = tabulate(LITE, layer_macs)
HARDNESS = 0.95  # correlation of an image with its difficulty: a third of the noise is a subnet's own


def interval(predictor: Predictor, genes: Genes) -> Floats:
    """90 % intervals of accuracy for architectures `(n, d)`: `(n, 2)` fractions, low and high."""
    centre, half = predictor.predict(genes), predictor.half_widths(genes)
    return np.clip(np.stack([centre - half, centre + half], axis=1), 0.0, 1.0)


def linear_accuracy(genes: Genes) -> Floats:
    """Linear in the logarithm of MACs: what every predictor must be able to learn."""
    return np.asarray(0.5 + 0.06 * (np.log(_MACS.total(genes)) - np.log(100e6)))


def rugged_accuracy(genes: Genes, *, seed: int) -> Floats:
    """Diminishing returns towards 70 %, blocks of unequal worth, and pairs of blocks that interact."""
    rng = np.random.default_rng(seed)
    share = _MACS.gather(genes) / np.nanmax(_MACS.choices, axis=(0, 2))
    worth = rng.lognormal(0.0, 0.6, size=share.shape[1])
    blocks = share**0.5
    pairs = rng.normal(size=(share.shape[1], share.shape[1]))
    centred = blocks - 0.5
    interaction = 0.006 * np.einsum("np,pq,nq->n", centred, pairs, centred)
    resolution = np.log(np.array(LITE.space.resolutions) / 128.0)[genes[:, 0]]
    return np.asarray(
        0.7 - 0.8 * np.exp(-(2.0 * blocks @ worth / worth.sum() + 0.8 * resolution + interaction))
    )


def observe(genes: Genes, truth: Floats, rng: np.random.Generator, *, images: int) -> Observations:
    """Accuracies as counted on so many images."""
    correct = rng.binomial(images, truth)
    variances = [AccuracySample("", int(count), images, "").variance for count in correct]
    return Observations(genes, correct / images, np.array(variances))


def evaluate(genes: Genes, truth: Floats, rng: np.random.Generator, *, images: int) -> list[AccuracySample]:
    """Subnets counted on the same images, of which some are hard and some are easy for all of them."""
    thresholds = np.array([NormalDist().inv_cdf(share) for share in truth])
    difficulty = rng.standard_normal(images, dtype=np.float32)
    own = rng.standard_normal((len(genes), images), dtype=np.float32)
    right = HARDNESS * difficulty + np.sqrt(1.0 - HARDNESS**2) * own < thresholds[:, None]
    return [
        AccuracySample(str(arch), int(row.sum()), images, "s", correct_even=int(row[::2].sum()))
        for arch, row in zip(LITE.decode(genes), right, strict=True)
    ]
