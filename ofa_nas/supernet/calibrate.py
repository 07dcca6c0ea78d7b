"""Batch norm calibration: statistics of a subnet's own, measured on images."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ofa_nas.errors import DataError
from ofa_nas.supernet.elastic import CALIBRATE
from ofa_nas.supernet.supernet import Subnet


def calibrate(subnet: Subnet, batches: Iterable[Tensor]) -> None:
    """Replace the running statistics of every batch norm by the averages over batches.

    Args:
        subnet: Extracted from a supernet.
        batches: Images `(B, 3, R, R)` of equal B, augmented as little as at evaluation.

    Raises:
        DataError: There is not one batch.

    Source: Yu and Huang 2019, arXiv:1903.05134, section 3.2 (post-statistics of batch normalisation).
    """
    norms = [module for module in subnet.modules() if isinstance(module, nn.BatchNorm2d)]
    sums = [(torch.zeros_like(_mean(norm)), torch.zeros_like(_variance(norm))) for norm in norms]
    count = 0
    with torch.no_grad():
        for batch in batches:
            subnet(batch, CALIBRATE)
            for norm, (mean, variance) in zip(norms, sums, strict=True):
                mean.add_(_mean(norm))
                variance.add_(_variance(norm))
            count += 1
        if count == 0:
            raise DataError("batch norm calibration needs at least one batch of images")
        for norm, (mean, variance) in zip(norms, sums, strict=True):
            _mean(norm).copy_(mean / count)
            _variance(norm).copy_(variance / count)


def _mean(norm: nn.BatchNorm2d) -> Tensor:
    assert norm.running_mean is not None
    return norm.running_mean


def _variance(norm: nn.BatchNorm2d) -> Tensor:
    assert norm.running_var is not None
    return norm.running_var
