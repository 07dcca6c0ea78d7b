"""Evaluate many subnets of a supernet for real: what an accuracy predictor is fitted to."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from ofa_nas.accuracy import AccuracySample, SampleStore
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
    done = {sample.unmeasured for sample in store.read()}
    for arch in archs:
        sample = replace(blank, arch=str(arch)).unmeasured
        if sample in done:
            continue
        with store.claim(sample) as is_free:
            if not is_free:
                continue
            even, odd = evaluate(arch)
            sample = replace(sample, correct=even + odd, correct_even=even)
            store.append(sample)
        yield sample
