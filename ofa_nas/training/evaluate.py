"""Accuracy of subnets, after batch norm calibration."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ofa_nas.data import Normalization, Pixels
from ofa_nas.data.augment import to_input
from ofa_nas.data.packed import PackedImages
from ofa_nas.space.architecture import Architecture
from ofa_nas.supernet.calibrate import calibrate
from ofa_nas.supernet.supernet import Subnet, Supernet

BATCH_SIZE = 100
Images = Pixels  # (n, S, S, 3) uint8, or (n, 1, L, C) float32


def batches(
    images: Images, size_px: int, *, normalization: Normalization, device: torch.device
) -> Iterator[Tensor]:
    """Network inputs `(B, 3, size_px, size_px)`, in order, without augmentation."""
    for start in range(0, len(images), BATCH_SIZE):
        block = torch.from_numpy(np.ascontiguousarray(images[start : start + BATCH_SIZE])).to(device)
        yield to_input(block, size_px, normalization)


def calibrated_subnet(
    supernet: Supernet, arch: Architecture, *, images: Images, normalization: Normalization
) -> Subnet:
    """Extract a subnet and calibrate it on images `(n, S, S, 3)`; a last partial batch is left out."""
    device = next(supernet.parameters()).device
    subnet = supernet.extract(arch)
    whole = images[: max(len(images) // BATCH_SIZE * BATCH_SIZE, min(len(images), BATCH_SIZE))]
    calibrate(subnet, batches(whole, arch.resolution, normalization=normalization, device=device))
    return subnet


def count_correct(subnet: Subnet, split: PackedImages, *, normalization: Normalization) -> int:
    """How many images a subnet classifies correctly (top 1)."""
    device = next(subnet.parameters()).device
    inputs = batches(split.images, subnet.arch.resolution, normalization=normalization, device=device)
    labels = torch.split(torch.from_numpy(split.labels), BATCH_SIZE)
    with torch.inference_mode():
        return sum(
            int((subnet(x).argmax(dim=1).cpu() == wanted).sum())
            for x, wanted in zip(inputs, labels, strict=True)
        )


def accuracy_of(
    supernet: Supernet,
    arch: Architecture,
    *,
    calibration: Images,
    split: PackedImages,
    normalization: Normalization,
) -> float:
    """Top-1 accuracy of an architecture, taken from the supernet without training, in [0, 1]."""
    subnet = calibrated_subnet(supernet, arch, images=calibration, normalization=normalization)
    return count_correct(subnet, split, normalization=normalization) / len(split.labels)
