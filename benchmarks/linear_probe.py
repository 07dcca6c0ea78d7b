"""What frozen features are worth: a linear classifier on them, fitted to the end."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ofa_nas.data import Normalization
from ofa_nas.data.packed import PackedImages
from ofa_nas.space.layer import Layer
from ofa_nas.supernet.elastic import EVALUATE
from ofa_nas.supernet.supernet import Subnet, Supernet
from ofa_nas.training.evaluate import batches, calibrated_subnet

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
_HELD_BACK = 5  # one in so many training images chooses the penalty


def pooled_features(
    supernet: Supernet, train: PackedImages, test: PackedImages, *, normalization: Normalization, stages: int = 1
) -> tuple[Tensor, Tensor]:
    """Features of the largest subnet, its batch norms calibrated on the training images: `(n, D)` float64 each.

    Args:
        supernet: Its classifier is left out.
        train: Images to fit to.
        test: Images to judge on.
        normalization: Of the supernet.
        stages: How many of the last stages' outputs are pooled and joined; 1 for what the classifier sees.
    """
    subnet = calibrated_subnet(
        supernet, supernet.space.largest, images=train.images[:1000], normalization=normalization
    )
    return tuple(_features(subnet, split.images, normalization, stages) for split in (train, test))  # type: ignore[return-value]


def _features(subnet: Subnet, images: npt.NDArray[np.uint8], normalization: Normalization, stages: int) -> Tensor:
    walk = [layer for layer in subnet.walk if layer.kind != "linear"]
    blocks = [layer for layer in walk if layer.name.startswith("s") and layer.name != "stem"]
    told = {layer.name for layer in blocks[-stages:]} if stages > 1 else {walk[-1].name}
    device = next(subnet.parameters()).device
    rows = []
    with torch.inference_mode():
        for x in batches(images, subnet.arch.resolution, normalization=normalization, device=device):
            rows.append(torch.cat([part for part in _pooled(subnet, walk, x, told)], dim=1))
    return torch.cat(rows).double()


def _pooled(subnet: Subnet, walk: list[Layer], x: Tensor, told: set[str]) -> list[Tensor]:
    parts = []
    for layer in walk:
        x = subnet.run([layer], x, EVALUATE)
        if layer.name in told:
            parts.append(x.flatten(2).mean(2) if x.ndim == 4 else x)
    return parts


def probe(
    train: tuple[Tensor, npt.NDArray[np.int64]], test: tuple[Tensor, npt.NDArray[np.int64]]
) -> tuple[float, float]:
    """Top-1 on test features of a multinomial regression; the penalty is chosen on a part of the training ones.

    Args:
        train: Features `(n, D)` and labels `(n,)`.
        test: Features `(m, D)` and labels `(m,)`.

    Returns:
        Accuracy in [0, 1], and the penalty.
    """
    x, mean, std = train[0], train[0].mean(0), train[0].std(0) + 1e-6
    x, y = (x - mean) / std, torch.from_numpy(train[1])
    is_back = torch.arange(len(x)) % _HELD_BACK == 0
    scores = {}
    for penalty in PENALTIES:
        weight = _fit(x[~is_back], y[~is_back], penalty)
        scores[penalty] = _accuracy(weight, x[is_back], y[is_back])
    best = max(scores, key=lambda penalty: scores[penalty])
    return _accuracy(_fit(x, y, best), (test[0] - mean) / std, torch.from_numpy(test[1])), best


def _fit(x: Tensor, y: Tensor, penalty: float) -> Tensor:
    """Weights `(K, D + 1)` that minimise cross-entropy and `penalty` times their square, by L-BFGS."""
    ones = torch.ones(len(x), 1, dtype=x.dtype)
    x = torch.cat([x, ones], dim=1)
    weight = torch.zeros(int(y.max()) + 1, x.shape[1], dtype=x.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(x @ weight.T, y) + penalty * weight[:, :-1].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach()


def _accuracy(weight: Tensor, x: Tensor, y: Tensor) -> float:
    logits = x @ weight[:, :-1].T + weight[:, -1]
    return float((logits.argmax(dim=1) == y).double().mean())
