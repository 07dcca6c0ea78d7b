"""Alignment and uniformity: views of one image lie together, all images spread over the sphere.

Source: Wang and Isola 2020, arXiv:2005.10242, equations 2 and 3, with alpha = 2, t = 2 and equal weights.
"""

import torch
from torch import Tensor

_T = 2.0


def terms(x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Alignment of features `(B, D)` with `(B, D)`, and the mean uniformity of both."""
    return {"align": align(x, y), "uniform": (uniform(x) + uniform(y)) / 2.0}


def follow(x: Tensor, answers: Tensor) -> Tensor:
    """Alignment of a smaller subnet's features `(B, D)` with the largest's, which are spread already."""
    return align(x, answers)


def align(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared distance of rows `(B, D)` to their partners `(B, D)`: 0 at best, 2 by chance."""
    return (x - y).square().sum(dim=1).mean()


def uniform(x: Tensor) -> Tensor:
    """Logarithm of the mean Gaussian potential of all pairs of rows `(B, D)`.

    0 where all rows are the same; for rows spread evenly over the sphere nearly −4 + 8 / D.
    """
    return torch.pdist(x).square().mul(-_T).exp().mean().log()
