"""Batches of a training, drawn by the number of the step: any of them can be drawn again."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ofa_nas.data import Jitter, Normalization
from ofa_nas.data.augment import augment, augment_signals, augmentation_draws, is_signal
from ofa_nas.data.packed import PackedImages
from ofa_nas.data.views import random_view, view_draws
from ofa_nas.errors import DataError
from ofa_nas.training.distributed import ALONE, Ranks
from ofa_nas.training.placement import send
from ofa_nas.training.recipe import Recipe


class Batches:
    """Training images on the device that trains, or on the host where they do not fit.

    Args:
        images: Of the training split.
        recipe: Batch size, balance of the classes, crops, flips, colours and seed.
        normalization: Applied on the device.
        device: That trains.
        ranks: Each process gets its part of a batch.

    Raises:
        DataError: There are fewer images than one batch.
        RecipeError: The recipe flips or colours, and they are windows of signals.
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
        if is_signal(self.images):
            recipe.check_signals()
        self._classes = images.labels
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
        draws = augmentation_draws(size, rng, flip=self.recipe.flip)[:, share]
        x = self._augment(self._pixels(rows), resolution, send(draws, self.device))
        return x, send(self.labels[rows], self.device)

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
                draws=send(view_draws(size, rng, flip=self.recipe.flip)[:, share], self.device),
                scale=(self.recipe.crop_scale, 1.0),
                flip=self.recipe.flip,
            )
            for _ in range(2)
        )
        return first, second

    def _augment(self, pixels: Tensor, resolution: int, draws: Tensor) -> Tensor:
        """Images or windows, changed as the recipe says."""
        recipe, scale = self.recipe, (self.recipe.crop_scale, 1.0)
        if is_signal(pixels):
            return augment_signals(
                pixels, resolution, normalization=self.normalization, draws=draws, scale=scale
            )
        return augment(
            pixels,
            resolution,
            normalization=self.normalization,
            draws=draws,
            scale=scale,
            flip=recipe.flip,
            jitter=Jitter(recipe.brightness, recipe.saturation),
        )

    def _share_of(self, step: int) -> Tensor:
        """Indices of a step's images that are this process's, where the images are."""
        rows = self._rows(step)[self.ranks.share(self.recipe.batch_size)]
        return send(torch.from_numpy(rows), self.images.device)

    def _pixels(self, rows: Tensor) -> Tensor:
        """Images of some indices, on the device that trains."""
        return send(self.images[rows], self.device)

    def _rows(self, step: int) -> npt.NDArray[np.int64]:
        """Indices of a step's images; sorted, because they may lie in a file."""
        epoch, index = divmod(step, self.recipe.steps_per_epoch(len(self.labels)))
        if self._order[0] != epoch:
            self._order = (epoch, self._draw_order(epoch))
        size = self.recipe.batch_size
        return np.sort(self._order[1][index * size : (index + 1) * size])

    def _draw_order(self, epoch: int) -> npt.NDArray[np.int64]:
        """Indices of an epoch's images, all of them or as many; the same in every process."""
        rng = np.random.default_rng([self.recipe.seed, epoch, 1])
        if self.recipe.balance == 0.0:
            return rng.permutation(len(self._classes))
        return balanced_order(self._classes, self.recipe.balance, rng)


def balanced_order(
    labels: npt.NDArray[np.int64], balance: float, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Indices of as many images as there are, each drawn in proportion to its class's count to the −balance.

    A class has its share of them to within one image, and its images come equally often to within one.

    Args:
        labels: `(n,)`.
        balance: 0, classes as they are, to 1, all of them equally often.
        rng: Draws which of a class's images come once more than others, and the order of all.

    Returns:
        `(n,)` indices into the labels, in the order of the epoch.

    Source: Kang et al. 2020, arXiv:1910.09217, equation 1, with q = 1 − balance.
    """
    _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    rows = rng.permutation(len(labels))
    rows = rows[np.argsort(classes[rows], kind="stable")]
    ends = np.cumsum((counts**-balance)[classes[rows]])
    marks = np.arange(len(rows)) + rng.random()  # evenly spaced along the images' lengths: one draw a mark
    drawn = np.searchsorted(ends / ends[-1] * len(rows), marks, side="right")
    return rng.permutation(rows[drawn.clip(max=len(rows) - 1)])


def _fits(images: Tensor, device: torch.device) -> bool:
    """Whether a CUDA device has room for the images and as much again for the training."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return images.nbytes < free / 2
