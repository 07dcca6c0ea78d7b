"""Which images a step sees, and how they are cropped, flipped and coloured."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ofa_nas.data import Flip, Jitter, Normalization
from ofa_nas.data.augment import augment, augmentation_draws
from ofa_nas.data.packed import PackedImages
from ofa_nas.data.views import random_view, view_draws
from ofa_nas.errors import RecipeError
from ofa_nas.training.batches import Batches, balanced_order
from ofa_nas.training.distributed import ALONE, Ranks
from ofa_nas.training.recipe import Recipe
from tests.training.test_train import SHORT

RNG = np.random.default_rng(0)
COUNT = 24  # three batches an epoch
IMAGES = PackedImages(
    RNG.integers(0, 256, (COUNT, 32, 32, 3), dtype=np.uint8), np.arange(COUNT), tuple(map(str, range(COUNT)))
)


UNEVEN = np.repeat([0, 1, 3], [100, 20, 4])  # nothing is of class 2
UNEVEN_IMAGES = PackedImages(np.zeros((124, 8, 8, 3), np.uint8), UNEVEN, ("a", "b", "none", "c"))


def batches(recipe: Recipe, images: PackedImages = IMAGES, *, ranks: Ranks = ALONE) -> Batches:
    cpu = torch.device("cpu")
    return Batches(images, recipe, normalization=Normalization(), device=cpu, ranks=ranks)


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


def test_flips_and_colours_are_those_of_the_recipe() -> None:
    recipe = replace(SHORT, flip="both", brightness=0.3, saturation=0.1)
    x, rows = batches(recipe).draw(0, 24, torch.Generator().manual_seed(3))
    draws = augmentation_draws(len(rows), torch.Generator().manual_seed(3), flip="both")
    for jitter, is_same in ((Jitter(0.3, 0.1), True), (Jitter(0.1, 0.3), False)):
        expected = augment(
            torch.from_numpy(IMAGES.images[rows.numpy()]),
            24,
            normalization=Normalization(),
            draws=draws,
            flip="both",
            jitter=jitter,
        )
        assert torch.equal(x, expected) == is_same


@pytest.mark.parametrize("flip", ["horizontal", "none", "both"])
def test_views_are_flipped_as_the_recipe_says(flip: Flip) -> None:
    recipe = replace(SHORT, flip=flip)
    first, second = batches(recipe).draw_views(0, 24, torch.Generator().manual_seed(3))
    rng = torch.Generator().manual_seed(3)
    _, rows = batches(recipe).draw(0, 24, torch.Generator())
    for view in (first, second):
        expected = random_view(
            torch.from_numpy(IMAGES.images[rows.numpy()]),
            24,
            normalization=Normalization(),
            draws=view_draws(len(rows), rng, flip=flip),
            scale=(recipe.crop_scale, 1.0),
            flip=flip,
        )
        assert torch.equal(view, expected)


def test_signals_are_not_flipped_or_coloured() -> None:
    windows = PackedImages(np.zeros((24, 1, 16, 2), np.float32), np.arange(24), IMAGES.class_names)
    batches(replace(SHORT, balance=0.5), windows)
    for recipe in (
        replace(SHORT, flip="none"),
        replace(SHORT, brightness=0.0),
        replace(SHORT, saturation=0.2),
    ):
        with pytest.raises(RecipeError, match="recipe short: flip, brightness and saturation are of images"):
            batches(recipe, windows)


def test_without_balance_an_epoch_is_the_permutation_of_its_number() -> None:
    for epoch, steps in enumerate(epochs(SHORT)):
        order = np.random.default_rng([SHORT.seed, epoch, 1]).permutation(COUNT)
        assert steps == np.sort(order.reshape(3, 8)).tolist()


@pytest.mark.parametrize("balance", [0.25, 0.5, 1.0])
def test_a_class_is_drawn_by_its_count_and_the_balance(balance: float) -> None:
    drawn = balanced_order(UNEVEN, balance, np.random.default_rng(7))
    assert len(drawn) == len(UNEVEN)
    counts = np.array([100, 20, 4])
    shares = counts ** (1 - balance) / (counts ** (1 - balance)).sum()
    found = np.bincount(UNEVEN[drawn], minlength=4)[[0, 1, 3]]
    assert np.abs(found - shares * len(UNEVEN)).max() < 1.0 + 1e-9
    for label in (0, 1, 3):
        times = np.bincount(drawn, minlength=len(UNEVEN))[label == UNEVEN]
        assert times.max() - times.min() <= 1


def test_every_image_is_drawn_as_often_as_the_others_of_its_class_in_the_long_run() -> None:
    rng = np.random.default_rng(1)
    drawn = np.concatenate([balanced_order(UNEVEN, 1.0, rng) for _ in range(600)])
    times = np.bincount(drawn, minlength=len(UNEVEN)) / 600
    for label, count in ((0, 100), (1, 20), (3, 4)):
        expected = len(UNEVEN) / 3 / count
        assert np.abs(times[label == UNEVEN] - expected).max() < 0.1  # five times the error of a mean of 600


def test_a_balance_of_nearly_nothing_has_every_image_once() -> None:
    assert sorted(balanced_order(UNEVEN, 1e-12, np.random.default_rng(0))) == list(range(len(UNEVEN)))


def test_balanced_batches_hold_all_classes_equally_often() -> None:
    recipe = replace(SHORT, batch_size=31, balance=1.0)
    own = batches(recipe, UNEVEN_IMAGES)
    assert len(own) == len(UNEVEN)
    labels = torch.cat([own.draw(step, 8, torch.Generator())[1] for step in range(4)])
    found = np.bincount(labels.numpy(), minlength=4)
    assert np.abs(found - np.array([1, 1, 0, 1]) * len(UNEVEN) / 3).max() < 1.0


def test_balanced_batches_are_the_same_wherever_a_training_goes_on_and_however_many_train() -> None:
    recipe = replace(SHORT, batch_size=8, balance=0.7)
    first = batches(recipe, UNEVEN_IMAGES)
    labels = [first.draw(step, 8, torch.Generator())[1].tolist() for step in range(32)]
    assert labels[:15] != labels[15:30]  # another epoch
    for step in (29, 3):
        assert batches(recipe, UNEVEN_IMAGES).draw(step, 8, torch.Generator())[1].tolist() == labels[step]
        halves = [
            batches(recipe, UNEVEN_IMAGES, ranks=Ranks(rank, 2)).draw(step, 8, torch.Generator())[1]
            for rank in (0, 1)
        ]
        assert torch.cat(halves).tolist() == labels[step]
