"""Which networks to measure, so that every layer of a space is seen in context and the error is known.

Latin designs are full-depth networks that together hold each choice at each position once. Hold-outs are
random architectures. Anchors lie farther out, where random architectures hardly reach and searches end: the
smallest, others of least depth, and even ones, random but for one choice for all blocks of a stage.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice

import numpy as np

from ofa_nas.errors import ConfigError
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.encoding import ABSENT, Encoding
from ofa_nas.space.search_space import SearchSpace

SHALLOW, ANCHORS, HOLDOUTS = 4, 12, 20  # networks; the shallow ones are anchors too
PROVIDER_ANCHORS = 48  # where nodes tell nothing of layers
LEAST_LEFT = 4  # networks of a small space that are not in a latin design: half of them judge


@dataclass(frozen=True, slots=True)
class Design:
    """The networks of one resolution.

    Attributes:
        resolution: Of all of them [px].
        latin: Profiled and timed; they hold every layer of the space.
        anchors: Timed, shallow ones first, then even ones; with `latin` they fit scale and intercept.
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
    space: SearchSpace, resolution: int, rng: np.random.Generator, *, provider: str = ""
) -> Design:
    """Draw the networks to measure at one resolution, all different; fewer where the space is small.

    An execution provider may run a whole network as one node, of which a profile tells nothing; the more
    networks are timed.

    Raises:
        ConfigError: The space is so small that nothing would be left to judge with.
    """
    encoding = Encoding.of(space)
    latin = _latin(encoding, resolution, rng)
    count = space.cardinality // len(space.resolutions)
    left = count - len(latin)
    if left < LEAST_LEFT:
        raise ConfigError(
            f"{space.name} has {count} architectures at {resolution} px, a latency table needs "
            f"{len(latin) + LEAST_LEFT} or more: export each, and time it with ofa-nas verify FILE --device"
        )
    shallow = Encoding.of(
        replace(space, stages=tuple(replace(stage, depths=stage.depths[:1]) for stage in space.stages))
    )
    smallest = replace(space.smallest, resolution=resolution)
    shallowest = [smallest, *_random(shallow, resolution, 20 * SHALLOW, rng)]
    small = _different(shallowest, set(latin), min(SHALLOW, left // 2))
    anchors = PROVIDER_ANCHORS if provider else ANCHORS
    draws = 20 * (anchors + HOLDOUTS)
    random = list(_random(encoding, resolution, draws, rng))
    even = chain(_even(encoding, resolution, 20 * anchors, rng), random)  # small spaces run out of even ones
    far = (*small, *_different(even, {*latin, *small}, min(anchors, left // 2 - len(small))))
    return Design(resolution, latin, far, _different(random, {*latin, *far}, HOLDOUTS))


def _random(
    encoding: Encoding, resolution: int, count: int, rng: np.random.Generator
) -> Iterator[Architecture]:
    genes = encoding.sample(count, rng)
    genes[:, 0] = encoding.space.resolutions.index(resolution)
    return iter(encoding.decode(genes))


def _even(
    encoding: Encoding, resolution: int, count: int, rng: np.random.Generator
) -> Iterator[Architecture]:
    """Random architectures in which every block of a stage is like its first one."""
    genes = encoding.sample(count, rng)
    genes[:, 0] = encoding.space.resolutions.index(resolution)
    for span in encoding.spans:
        genes[:, span] = np.where(genes[:, span] == ABSENT, ABSENT, genes[:, span][:, :1])
    return iter(encoding.decode(genes))


def _different(
    archs: Iterable[Architecture], seen: set[Architecture], count: int
) -> tuple[Architecture, ...]:
    """The first so many that differ from one another and from those seen."""
    return tuple(islice((arch for arch in dict.fromkeys(archs) if arch not in seen), count))


def _latin(encoding: Encoding, resolution: int, rng: np.random.Generator) -> tuple[Architecture, ...]:
    count = int(encoding.choice_counts.max())
    genes = np.empty((count, encoding.length), dtype=np.int16)
    genes[:, 0] = encoding.space.resolutions.index(resolution)
    for column, choices in enumerate(encoding.choice_counts, start=1):
        genes[:, column] = 1 + rng.permutation(np.arange(count) % choices)
    return tuple(encoding.decode(genes))
