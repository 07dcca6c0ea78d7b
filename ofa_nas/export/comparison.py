"""What a file of lower precision loses: its classes beside torch's, on the same images."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import torch

from ofa_nas.accuracy import Z_90, Top1
from ofa_nas.data.packed import PackedImages
from ofa_nas.export.check import Check
from ofa_nas.export.ort_model import OrtModel
from ofa_nas.supernet.supernet import Subnet

MOST_DROP = 0.01  # one point of top-1
_AT_ONCE = 100  # images


@dataclass(frozen=True, slots=True)
class TorchAgreement:
    """Classes of a file and of torch, counted over the images so far.

    Attributes:
        images: All of them.
        agreeing: To which both give the same class.
        both: That both have right.
        file_alone: That only the file has right.
        torch_alone: That only torch has right.
    """

    images: int = 0
    agreeing: int = 0
    both: int = 0
    file_alone: int = 0
    torch_alone: int = 0

    @property
    def top_1(self) -> Top1:
        """Of the file."""
        return Top1(self.both + self.file_alone, self.images)

    @property
    def agreement(self) -> float:
        """Share of images with the same class."""
        return self.agreeing / self.images

    @property
    def drop(self) -> float:
        """Top-1 of torch less that of the file, a fraction."""
        return (self.torch_alone - self.file_alone) / self.images

    @property
    def half_width(self) -> float:
        """Of the drop's 90 % interval: only images on which one of them alone is right count."""
        apart = self.torch_alone + self.file_alone
        return Z_90 * sqrt(max(apart / self.images - self.drop**2, 0.0) / self.images)


def compare_with_torch(file: OrtModel, subnet: Subnet, split: PackedImages) -> Iterator[TorchAgreement]:
    """Classify images by a file and by torch; yields the counts after every hundred, at the end of all."""
    counts = TorchAgreement()
    for start in range(0, len(split), _AT_ONCE):
        rows = slice(start, min(start + _AT_ONCE, len(split)))
        images, labels = split.images[rows], split.labels[rows]
        own = file.logits(images, at_once=2).argmax(axis=1)
        with torch.inference_mode():
            other = subnet(file.inputs(images)).argmax(dim=1).numpy()
        right, other_right = own == labels, other == labels
        counts = TorchAgreement(
            rows.stop,
            counts.agreeing + int((own == other).sum()),
            counts.both + int((right & other_right).sum()),
            counts.file_alone + int((right & ~other_right).sum()),
            counts.torch_alone + int((other_right & ~right).sum()),
        )
        yield counts


def check_comparison(found: TorchAgreement, *, limit: float = MOST_DROP) -> list[Check]:
    """Agreement with torch, and the drop of accuracy within its limit.

    The limit is broken when the whole interval of the drop lies above it.

    Args:
        found: Of all images.
        limit: Most that top-1 may fall, a fraction.
    """
    is_met = found.drop - found.half_width <= limit
    note = (
        f"torch has {found.top_1.accuracy + found.drop:.2%}; ± {100 * found.half_width:.2f} points; "
        f"allowed {100 * limit:g}"
    )
    told = f"same class as torch in fp32, {found.images} held-out images"
    return [
        Check("agreement", found.agreement, None, "fraction", is_met=True, note=told),
        Check("accuracy_drop", found.drop, None, "fraction", is_met, note, exceeds_budget=found.drop > limit),
    ]
