"""Which images a step sees, and how they are cropped."""

from dataclasses import replace

import numpy as np
import torch

from ofa_nas.data import Normalization
from ofa_nas.data.augment import augment, augmentation_draws
from ofa_nas.data.packed import PackedImages
from ofa_nas.training.batches import Batches
from ofa_nas.training.recipe import Recipe
from tests.training.test_train import SHORT

RNG = np.random.default_rng(0)
COUNT = 24  # three batches an epoch
IMAGES = PackedImages(
    RNG.integers(0, 256, (COUNT, 32, 32, 3), dtype=np.uint8), np.arange(COUNT), tuple(map(str, range(COUNT)))
)


def batches(recipe: Recipe) -> Batches:
    return Batches(IMAGES, recipe, normalization=Normalization(), device=torch.device("cpu"))


def epochs(recipe: Recipe) -> list[list[list[int]]]:
    """The images of each step of two epochs."""
    own = batches(recipe)
    steps = [own.draw(step, 24, torch.Generator().manual_seed(step))[1].tolist() for step in range(6)]
    return [steps[:3], steps[3:]]


def test_an_epoch_has_every_image_once_in_an_order_of_its_own() -> None:
    first, second = epochs(SHORT)
    for epoch in (first, second):
        assert sorted(image for step in epoch for image in step) == list(range(COUNT))
    assert first != second
    assert epochs(SHORT) == [first, second]
    assert epochs(replace(SHORT, seed=1)) != [first, second]


def test_crops_are_those_of_the_recipe() -> None:
    x, rows = batches(replace(SHORT, crop_scale=0.9)).draw(0, 24, torch.Generator().manual_seed(3))
    for least, is_same in ((0.9, True), (SHORT.crop_scale, False)):
        expected = augment(
            torch.from_numpy(IMAGES.images[rows.numpy()]),
            24,
            normalization=Normalization(),
            draws=augmentation_draws(len(rows), torch.Generator().manual_seed(3)),
            scale=(least, 1.0),
        )
        assert torch.equal(x, expected) == is_same
