"""Evaluate many subnets of a supernet for real: what an accuracy predictor is fitted to."""

from collections.abc import Iterator, Sequence

import numpy as np

from ofa_nas.accuracy import AccuracySample, SampleStore
from ofa_nas.data import Normalization
from ofa_nas.data.packed import PackedImages
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import layer_macs, tabulate
from ofa_nas.space.encoding import Encoding
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.training.evaluate import Images, calibrated_subnet, count_correct

CANDIDATES_PER_BIN = 200


def stratified_sample(encoding: Encoding, count: int, rng: np.random.Generator) -> list[Architecture]:
    """Distinct architectures spread evenly over the logarithm of MACs: smallest, largest, the rest at random.

    Plain random sampling crowds around the middle, where a predictor is needed least.
    """
    space = encoding.space
    genes = np.unique(encoding.sample(CANDIDATES_PER_BIN * max(count, 1), rng), axis=0)
    macs = np.log(tabulate(encoding, layer_macs).total(genes))
    edges = np.linspace(macs.min(), macs.max(), count + 1)[1:-1]
    bins = np.searchsorted(edges, macs)
    order = rng.permutation(len(genes))
    _, first = np.unique(bins[order], return_index=True)
    chosen = encoding.decode(genes[order[first]])
    rest = encoding.decode(genes[np.delete(order, first)[: max(0, count - len(chosen))]])
    ends = [space.smallest, space.largest]
    middle = [arch for arch in chosen + rest if arch not in ends]
    return (ends + [middle[index] for index in rng.permutation(len(middle))])[:count]


def collect(
    supernet: Supernet,
    archs: Sequence[Architecture],
    store: SampleStore,
    *,
    calibration: Images,
    split: PackedImages,
    normalization: Normalization,
    labels: tuple[str, str],
) -> Iterator[AccuracySample]:
    """Evaluate the architectures that the store does not hold yet, appending each.

    Args:
        supernet: Where they come from.
        archs: In the order of evaluation.
        store: Grows by one sample an architecture.
        calibration: `(n, S, S, 3)` uint8 for batch norm.
        split: Images never trained on, and never used to report the accuracy of what was searched.
        normalization: Of the supernet.
        labels: Name of the split, and digest of the supernet's weights.

    Yields:
        Samples as they are stored.
    """
    split_name, digest = labels
    done = {(sample.arch, sample.split, sample.supernet) for sample in store.read()}
    for arch in archs:
        if (str(arch), split_name, digest) in done:
            continue
        subnet = calibrated_subnet(supernet, arch, images=calibration, normalization=normalization)
        sample = AccuracySample(
            arch=str(arch),
            correct=count_correct(subnet, split, normalization=normalization),
            images=len(split),
            split=split_name,
            calibration=f"{len(calibration)} images",
            supernet=digest,
        )
        store.append(sample)
        yield sample
