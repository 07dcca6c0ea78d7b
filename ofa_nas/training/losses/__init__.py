"""Losses that need no labels, one a file. A plug-in is a module with the names of `ViewLoss`."""

from typing import Protocol, cast

from torch import Tensor

from ofa_nas.plugins import load_dashed

_PLUGINS = "training.losses"
_NAMES = ("terms", "follow")


class ViewLoss(Protocol):
    """What a module in this folder offers."""

    def terms(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """The parts of the loss, scalars by name; their sum is minimised.

        Args:
            x: `(B, D)` features of length 1, of one view of each image.
            y: `(B, D)`, of another view of the same images.
        """
        ...

    def follow(self, x: Tensor, answers: Tensor) -> Tensor:
        """What a smaller subnet minimises by the sandwich rule, a scalar.

        Args:
            x: `(B, D)` features of length 1, of the smaller subnet.
            answers: `(B, D)`, the largest subnet's of the same views; constants.
        """
        ...


def load_loss(name: str) -> ViewLoss:
    """The loss of a name, with dashes or underscores, or the module of a dotted path.

    Raises:
        ConfigError: There is none.
    """
    return cast(ViewLoss, load_dashed(_PLUGINS, name, _NAMES, what="a loss"))
