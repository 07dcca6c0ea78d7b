"""Batches of a training, drawn by the number of the step: any of them can be drawn again."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ofa_nas.data import Normalization
from ofa_nas.data.augment import augment, augment_signals, augmentation_draws, is_signal
from ofa_nas.data.packed import PackedImages
from ofa_nas.data.views import random_view, view_draws
from ofa_nas.errors import DataError
from ofa_nas.training.distributed import ALONE, Ranks
from ofa_nas.training.recipe import Recipe


class Batches:
    """Training images on the device that trains, or on the host where they do not fit.

    Args:
        images: Of the training split.
        recipe: Batch size, crops and seed.
        normalization: Applied on the device.
        device: That trains.
        ranks: Each process gets its part of a batch.

    Raises:
        DataError: There are fewer images than one batch.
    """

    def __init__(
        self,
        images: PackedImages,
        recipe: Recipe,
        *,
        normalization: Normalization,
        device: torch.device,
        ranks: Ranks = ALONE,
    ) -> None:
        if len(images) < recipe.batch_size:
            raise DataError(
                f"{len(images)} training images are less than one batch of {recipe.batch_size}; lower "
                "--batch-size"
            )
        self.recipe, self.normalization, self.device, self.ranks = recipe, normalization, device, ranks
        self.images = torch.from_numpy(images.images)
        self.labels = torch.from_numpy(images.labels)
        if _fits(self.images, device):
            self.images, self.labels = self.images.to(device), self.labels.to(device)
        self._order: tuple[int, npt.NDArray[np.int64]] = (-1, np.empty(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.labels)

    def draw(self, step: int, resolution: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """The batch of a step.

        Args:
            step: Counted from 0 over the whole training.
            resolution: Side R of the result.
            rng: Draws crops, flips and colours of the whole batch, whichever part of it is asked for.

        Returns:
            Images `(B, 3, R, R)`, or signals `(B, C, 1, R)`, and labels `(B,)` of this process.
        """
        size = self.recipe.batch_size
        share = self.ranks.share(size)
        rows = self._share_of(step)
        draws = augmentation_draws(size, rng)[:, share].to(self.device)
        pixels = self._pixels(rows)
        change = augment_signals if is_signal(pixels) else augment
        x = change(
            pixels,
            resolution,
            normalization=self.normalization,
            draws=draws,
            scale=(self.recipe.crop_scale, 1.0),
        )
        return x, self.labels[rows].to(self.device)

    def draw_views(self, step: int, resolution: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Two views of each image of a step's batch.

        Args:
            step: Counted from 0 over the whole training.
            resolution: Side R of the result.
            rng: Draws the views of the whole batch, whichever part of it is asked for.

        Returns:
            `(B, 3, R, R)` each.
        """
        size = self.recipe.batch_size
        share = self.ranks.share(size)
        pixels = self._pixels(self._share_of(step))
        first, second = (
            random_view(
                pixels,
                resolution,
                normalization=self.normalization,
                draws=view_draws(size, rng)[:, share].to(self.device),
                scale=(self.recipe.crop_scale, 1.0),
            )
            for _ in range(2)
        )
        return first, second

    def _share_of(self, step: int) -> Tensor:
        """Indices of a step's images that are this process's, where the images are."""
        rows = self._rows(step)[self.ranks.share(self.recipe.batch_size)]
        return torch.from_numpy(rows).to(self.images.device)

    def _pixels(self, rows: Tensor) -> Tensor:
        """Images of some indices, on the device that trains."""
        return self.images[rows].to(self.device, non_blocking=True)

    def _rows(self, step: int) -> npt.NDArray[np.int64]:
        """Indices of a step's images; sorted, because they may lie in a file."""
        epoch, index = divmod(step, self.recipe.steps_per_epoch(len(self.labels)))
        if self._order[0] != epoch:
            order = np.random.default_rng([self.recipe.seed, epoch, 1]).permutation(len(self.labels))
            self._order = (epoch, order)
        size = self.recipe.batch_size
        return np.sort(self._order[1][index * size : (index + 1) * size])


def _fits(images: Tensor, device: torch.device) -> bool:
    """Whether a CUDA device has room for the images and as much again for the training."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return images.nbytes < free / 2
