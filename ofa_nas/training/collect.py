"""Evaluate many subnets of a supernet for real: what an accuracy predictor is fitted to."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

import numpy as np

from ofa_nas.accuracy import AccuracySample
from ofa_nas.sample_store import SampleStore
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.costs import layer_macs, tabulate
from ofa_nas.space.encoding import Encoding

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
    numbers, first = np.unique(bins[order], return_index=True)
    first = first[(numbers > 0) & (numbers < count - 1)]  # smallest and largest stand for the outer bins
    ends = [space.smallest, space.largest]
    chosen = encoding.decode(genes[order[first]])
    rest = encoding.decode(genes[np.delete(order, first)[:count]])
    middle = (chosen + [arch for arch in rest if arch not in ends])[: max(0, count - len(ends))]
    return (ends + [middle[index] for index in rng.permutation(len(middle))])[:count]


def fill_up(
    encoding: Encoding, archs: Sequence[Architecture], known: Collection[Architecture]
) -> list[Architecture]:
    """Those of a sample that make some known architectures as many, in their order.

    Each known one that is not of the sample stands for what is nearest to it by MACs and not known. So it
    does for everybody, however many of the sample are known already.
    """
    left = [arch for arch in archs if arch not in known]
    others = sorted(set(known) - set(archs), key=str)
    if not left or not others:
        return left
    macs = np.log(tabulate(encoding, layer_macs).total(encoding.encode([*left, *others])))
    gaps = np.abs(macs[: len(left)] - macs[len(left) :, None])
    stood_for = np.zeros(len(left), dtype=np.bool_)
    for row in gaps[: len(left)]:
        stood_for[np.argmin(np.where(stood_for, np.inf, row))] = True
    return [arch for arch, is_known in zip(left, stood_for, strict=True) if not is_known]


def collect(
    archs: Sequence[Architecture],
    store: SampleStore,
    *,
    evaluate: Callable[[Architecture], tuple[int, int]],
    blank: AccuracySample,
) -> Iterator[AccuracySample]:
    """Evaluate the architectures that the store does not hold yet, appending each.

    Several processes may do so with one store: none evaluates what another one is evaluating.

    Args:
        archs: In the order of evaluation.
        store: Grows by one sample an architecture.
        evaluate: Says how many of the even and of the odd images an architecture classifies right.
        blank: Every sample but for its architecture and what was right.

    Yields:
        Samples as they are stored.
    """
    for arch in archs:
        sample = replace(blank, arch=str(arch)).unmeasured
        with store.claim(sample) as is_free:
            if not is_free:
                continue
            even, odd = evaluate(arch)
            sample = replace(sample, correct=even + odd, correct_even=even)
            store.append(sample)
        yield sample
