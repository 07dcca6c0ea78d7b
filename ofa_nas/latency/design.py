"""Which networks to measure, so that every layer of a space is seen in context and the error is known.

Latin designs are full-depth networks that together hold each choice at each position once; anchors and
hold-outs are random architectures, shallow ones among them.
"""

from dataclasses import dataclass

import numpy as np

from ofa_nas.space.architecture import Architecture
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.search_space import SearchSpace

ANCHORS, HOLDOUTS = 8, 20


@dataclass(frozen=True, slots=True)
class Design:
    """The networks of one resolution.

    Attributes:
        resolution: Of all of them [px].
        latin: Profiled and timed; they hold every layer of the space.
        anchors: Timed; with `latin` they fit scale and intercept.
        holdouts: Timed; they only judge.
    """

    resolution: int
    latin: tuple[Architecture, ...]
    anchors: tuple[Architecture, ...]
    holdouts: tuple[Architecture, ...]

    @property
    def networks(self) -> tuple[Architecture, ...]:
        """All of them: latin, anchors, hold-outs."""
        return self.latin + self.anchors + self.holdouts


def draw_design(
    space: SearchSpace,
    resolution: int,
    rng: np.random.Generator,
    *,
    anchors: int = ANCHORS,
    holdouts: int = HOLDOUTS,
) -> Design:
    """Draw the networks to measure at one resolution, all different; fewer where the space is small."""
    encoding = Encoding.of(space)
    latin = _latin(encoding, resolution, rng)
    seen = set(latin)
    random: list[Architecture] = []
    for genes in encoding.sample(20 * (anchors + holdouts), rng):
        genes[0] = space.resolutions.index(resolution)
        arch = encoding.decode(genes[None])[0]
        if arch not in seen:
            seen.add(arch)
            random.append(arch)
        if len(random) == anchors + holdouts:
            break
    return Design(resolution, latin, tuple(random[:anchors]), tuple(random[anchors:]))


def _latin(encoding: Encoding, resolution: int, rng: np.random.Generator) -> tuple[Architecture, ...]:
    count = int(encoding.choice_counts.max())
    genes = np.empty((count, encoding.length), dtype=np.int16)
    genes[:, 0] = encoding.space.resolutions.index(resolution)
    for column, choices in enumerate(encoding.choice_counts, start=1):
        genes[:, column] = 1 + rng.permutation(np.arange(count) % choices)
    return tuple(encoding.decode(genes))
