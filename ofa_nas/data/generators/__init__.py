"""Images that no camera saw, one law a file. A plug-in is a module with the names of `GeneratorPlugin`."""

from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ofa_nas.plugins import load_dashed

_PLUGINS = "data.generators"
_NAMES = ("MODES", "paint")


class GeneratorPlugin(Protocol):
    """What a module in this folder offers.

    Attributes:
        MODES: Variants of the law, the usual one first; empty where there is one law.
    """

    MODES: tuple[str, ...]

    def paint(self, size_px: int, *, mode: str, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Draw one image.

        Args:
            size_px: Its side S.
            mode: One of `MODES`; empty where there are none.
            rng: The image's own source of randomness.

        Returns:
            `(S, S, 3)` uint8.
        """
        ...


def load_generator(name: str) -> GeneratorPlugin:
    """The generator of a name, with dashes or underscores, or the module of a dotted path.

    Raises:
        ConfigError: There is none.
    """
    return cast(GeneratorPlugin, load_dashed(_PLUGINS, name, _NAMES, what="a generator"))
