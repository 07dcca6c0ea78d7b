"""What draws follow from, as a user gives it: a numpy Generator, or a seed."""

from operator import index
from typing import Any

import numpy as np

from ofa_nas.errors import ConfigError

MOST_SEED = 2**62  # torch takes no more than 64 bits, with a sign


def check_rng(rng: Any) -> None:
    """Refuse what nothing can be drawn from.

    Raises:
        ConfigError: It is no `numpy.random.Generator`.
    """
    if not isinstance(rng, np.random.Generator):
        raise ConfigError(f"rng {rng!r:.60}: expected a Generator, such as numpy.random.default_rng(0)")


def checked_seed(seed: Any, *, most: int | None = None) -> int:
    """A seed as a plain integer, which any file can hold.

    Args:
        seed: As a user gives it.
        most: That it may be, where more than numpy draws from it.

    Raises:
        ConfigError: It is no whole number from 0 on, or one that is too large.
    """
    try:
        number = index(seed)
    except TypeError:
        number = -1
    if number < 0 or (most is not None and number > most):
        allowed = ", 0 or more" if most is None else f" from 0 to {most}"
        raise ConfigError(f"seed {seed!r:.60}: expected a whole number{allowed}")
    return number


def rng_of(seed: int, *stream: int) -> np.random.Generator:
    """The generator of a seed; `stream` tells apart what is drawn from one seed in several places.

    Raises:
        ConfigError: The seed is no whole number from 0 on.
    """
    return np.random.default_rng([checked_seed(seed), *stream])
