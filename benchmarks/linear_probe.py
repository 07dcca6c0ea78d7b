"""A linear classifier on frozen features, fitted to the end: what the features are worth."""

import re
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ofa_nas.data import Normalization
from ofa_nas.data.packed import PackedImages
from ofa_nas.space.layer import Layer
from ofa_nas.supernet.elastic import EVALUATE
from ofa_nas.supernet.supernet import Subnet
from ofa_nas.training.evaluate import batches

PENALTIES = (1e-4, 1e-3, 1e-2)
_BLOCK = re.compile(r"s\d+b\d+")
_HELD_BACK = 5  # one in so many training images chooses the penalty


@dataclass(frozen=True, slots=True)
class Features:
    """Features and labels of the images of a split.

    Attributes:
        x: `(n, D)` float64.
        y: `(n,)` int64.
    """

    x: Tensor
    y: Tensor


def pooled_features(subnet: Subnet, split: PackedImages, normalization: Normalization) -> dict[str, Features]:
    """What a subnet makes of images: `last`, which its classifier sees, and `all`, every block's, joined."""
    walk = [layer for layer in subnet.walk if layer.kind != "linear"]
    rows: dict[str, list[Tensor]] = {"last": [], "all": []}
    with torch.inference_mode():
        for x in batches(
            split.images, subnet.arch.resolution, normalization=normalization, device=torch.device("cpu")
        ):
            parts = _pooled(subnet, walk, x)
            rows["last"].append(parts[-1])
            rows["all"].append(torch.cat(parts, dim=1))
    y = torch.from_numpy(split.labels)
    return {name: Features(torch.cat(parts).double(), y) for name, parts in rows.items()}


def _pooled(subnet: Subnet, walk: list[Layer], x: Tensor) -> list[Tensor]:
    """The mean over the pixels of every block's output, `(B, C)` each."""
    parts = []
    for layer in walk:
        x = subnet.run([layer], x, EVALUATE)
        if _BLOCK.fullmatch(layer.name):
            parts.append(x.mean(dim=(2, 3)))
    return parts


def probe(train: Features, test: Features) -> float:
    """Top-1 on test features of a multinomial regression, whose penalty a part of the training ones chooses.

    Returns:
        Accuracy in [0, 1].
    """
    mean, std = train.x.mean(0), train.x.std(0) + 1e-6
    x, y = (train.x - mean) / std, train.y
    is_back = torch.arange(len(x)) % _HELD_BACK == 0
    scores = {
        penalty: _accuracy(_fit(x[~is_back], y[~is_back], penalty), x[is_back], y[is_back])
        for penalty in PENALTIES
    }
    best = max(PENALTIES, key=lambda penalty: scores[penalty])
    return _accuracy(_fit(x, y, best), (test.x - mean) / std, test.y)


def _fit(x: Tensor, y: Tensor, penalty: float) -> Tensor:
    """Weights `(K, D + 1)` that minimise cross-entropy and `penalty` times their square, by L-BFGS."""
    ones = torch.ones(len(x), 1, dtype=x.dtype)
    x = torch.cat([x, ones], dim=1)
    weight = torch.zeros(int(y.max()) + 1, x.shape[1], dtype=x.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(x @ weight.T, y) + penalty * weight[:, :-1].square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach()


def _accuracy(weight: Tensor, x: Tensor, y: Tensor) -> float:
    logits = x @ weight[:, :-1].T + weight[:, -1]
    return float((logits.argmax(dim=1) == y).double().mean())
