"""Views: colours as their definitions say, geometry as in training by labels, everything by its draw."""

import colorsys

import pytest
import torch

from ofa_nas.data import Flip, Normalization
from ofa_nas.data.augment import augment
from ofa_nas.data.views import jitter_color, random_view, shift_hue, view_draws

PLAIN = Normalization((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
FLIPS: tuple[Flip, ...] = ("none", "horizontal", "both")
IN_ORDER = torch.arange(4)[:, None]


def pictures(count: int, size_px: int = 12) -> torch.Tensor:
    return torch.randint(
        0, 256, (count, size_px, size_px, 3), generator=torch.Generator().manual_seed(2), dtype=torch.uint8
    )


def colors(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 5, 5, generator=torch.Generator().manual_seed(1))


def neutral(count: int) -> torch.Tensor:
    """Draws of the whole image, as it is."""
    draws = torch.full((14, count), 0.5)
    draws[0] = 1.0
    draws[4] = 0.9
    draws[9:13] = torch.tensor([0.1, 0.2, 0.3, 0.4])[:, None]
    draws[13] = 0.9
    return draws


@pytest.mark.parametrize("turn", [0.0, 0.13, -0.4, 0.4])
def test_hue_turns_as_in_the_hexcone(turn: float) -> None:
    x = colors(4)
    x[0, :, 0, 0] = 0.3  # grey has no hue
    found = shift_hue(x, torch.full((4, 1, 1, 1), turn)).permute(0, 2, 3, 1).reshape(-1, 3)
    for before, after in zip(x.permute(0, 2, 3, 1).reshape(-1, 3).tolist(), found.tolist(), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*before)
        assert after == pytest.approx(colorsys.hsv_to_rgb((hue + turn) % 1.0, saturation, value), abs=1e-5)


def test_each_change_is_that_of_its_definition() -> None:
    x = colors(3)
    luma = (0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2])[:, None]
    expected = (
        (x * 1.3).clamp(0, 1),
        (1.3 * x - 0.3 * luma.mean(dim=(2, 3), keepdim=True)).clamp(0, 1),
        (1.3 * x - 0.3 * luma).clamp(0, 1),
    )
    for number, wanted in enumerate(expected):
        factors = torch.zeros(4, 3)
        factors[number] = 0.3
        torch.testing.assert_close(jitter_color(x, factors, order=IN_ORDER.expand(4, 3)), wanted)


def test_each_image_is_changed_in_its_own_order() -> None:
    x = colors(2)
    factors = torch.tensor([0.4, -0.4, 0.3, 0.2])[:, None].expand(4, 2)
    order = torch.tensor([[0, 3], [1, 2], [2, 1], [3, 0]])
    both = jitter_color(x, factors, order=order)
    for index in range(2):
        alone = jitter_color(x[index : index + 1], factors[:, :1], order=order[:, index : index + 1])
        torch.testing.assert_close(both[index : index + 1], alone)
    other = jitter_color(x[1:], factors[:, :1], order=order[:, :1])
    assert not torch.allclose(both[1:], other)


def test_a_neutral_draw_changes_nothing_and_a_small_last_one_makes_grey() -> None:
    images = pictures(2)
    draws = neutral(2)
    draws[13, 1] = 0.1
    view = random_view(images, 12, normalization=PLAIN, draws=draws)
    expected = images.permute(0, 3, 1, 2) / 255.0
    torch.testing.assert_close(view[0], expected[0], atol=1e-5, rtol=0.0)
    assert torch.equal(view[1, 0], view[1, 2])
    assert not torch.equal(view[0, 0], view[0, 2])


def test_crops_and_flips_are_those_of_training_by_labels() -> None:
    images = pictures(16)
    rng = torch.Generator().manual_seed(7)
    draws = neutral(16)
    draws[:5] = torch.rand(5, 16, generator=rng)
    expected = augment(
        images,
        8,
        normalization=Normalization(),
        draws=torch.cat([draws[:5], torch.full((2, 16), 0.5)]),
        scale=(0.2, 1.0),
    )
    found = random_view(images, 8, normalization=Normalization(), draws=draws, scale=(0.2, 1.0))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0.0)


def test_views_are_flipped_as_images_are_by_labels() -> None:
    images = pictures(64)
    still, mirrored, both = (
        random_view(images, 12, normalization=PLAIN, draws=flips(64, flip), flip=flip) for flip in FLIPS
    )
    across, down = mirrored[:, 0, 0, 0] != still[:, 0, 0, 0], both[:, 0, 0, 0] != mirrored[:, 0, 0, 0]
    assert 16 < across.sum() < 48
    assert 16 < down.sum() < 48
    torch.testing.assert_close(mirrored[across], still[across].flip(3))
    torch.testing.assert_close(both[down], mirrored[down].flip(2))


def flips(count: int, flip: Flip) -> torch.Tensor:
    """Draws that flip at random and do nothing else."""
    draws = view_draws(count, torch.Generator().manual_seed(1), flip=flip)
    return torch.cat([neutral(count)[:4], draws[4:5], neutral(count)[5:], draws[14:]])


def test_views_stay_in_range_and_differ() -> None:
    images = pictures(64)
    rng = torch.Generator().manual_seed(0)
    first, second = (
        random_view(images, 12, normalization=PLAIN, draws=view_draws(64, rng)) for _ in range(2)
    )
    assert first.min() >= 0.0
    assert first.max() <= 1.0 + 1e-6
    assert first.is_contiguous(memory_format=torch.channels_last)
    assert not any(torch.allclose(one, other) for one, other in zip(first, second, strict=True))
    is_grey = (first[:, 0] - first[:, 2]).abs().amax(dim=(1, 2)) < 1e-6
    assert 3 <= int(is_grey.sum()) <= 26  # a fifth of 64
