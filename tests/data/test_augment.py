"""Augmentation on tensors, against plain definitions and Pillow."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ofa_nas.data import Flip, Jitter, Normalization
from ofa_nas.data.augment import augment, augmentation_draws, to_input

PIXELS = Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.fixture
def images() -> Tensor:
    coarse = torch.randint(0, 256, (6, 3, 8, 8), generator=seeded(1)).float()
    smooth = torch.nn.functional.interpolate(coarse, (24, 24), mode="bilinear")
    return smooth.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draws(seed: int, count: int = 6) -> Tensor:
    return augmentation_draws(count, seeded(seed))


def colourless(drawn: Tensor) -> Tensor:
    """The same draws, which leave brightness and saturation as they are."""
    return torch.cat([drawn[:5], torch.full_like(drawn[5:7], 0.5), drawn[7:]])


@pytest.mark.parametrize("size_px", [10, 17, 24, 40])
def test_input_is_resized_as_pillow_resizes(size_px: int, images: Tensor) -> None:
    x = to_input(images, size_px, PIXELS)
    assert x.shape == (6, 3, size_px, size_px)
    assert x.dtype == torch.float32
    assert x.is_contiguous(memory_format=torch.channels_last)
    for image, made in zip(images.numpy(), x.permute(0, 2, 3, 1).numpy(), strict=True):
        reference = Image.fromarray(image).resize((size_px, size_px), Image.Resampling.BILINEAR)
        assert np.abs(made - np.asarray(reference, np.float32)).max() < 1.01


def test_input_is_normalised_by_channel(images: Tensor) -> None:
    x = to_input(images, 24, Normalization((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)))
    assert torch.allclose(x[0, 2, 3, 4], (images[0, 3, 4, 2].float() - 3) / 6)


@pytest.mark.parametrize("size_px", [12, 24, 36])
def test_flat_image_stays_flat_whatever_the_crop(size_px: int) -> None:
    color = torch.tensor([10, 90, 200], dtype=torch.uint8)
    x = augment(color.expand(8, 24, 24, 3), size_px, normalization=PIXELS, draws=colourless(draws(0, 8)))
    assert x.shape == (8, 3, size_px, size_px)
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(x, color.float().view(1, 3, 1, 1).expand_as(x), atol=1e-3)


def test_augmented_images_are_normalised_by_channel(images: Tensor) -> None:
    plain = augment(images, 24, normalization=PIXELS, draws=draws(1))
    normalised = augment(images, 24, normalization=Normalization((1, 2, 3), (4, 5, 6)), draws=draws(1))
    mean, std = torch.tensor([1.0, 2, 3]).view(1, 3, 1, 1), torch.tensor([4.0, 5, 6]).view(1, 3, 1, 1)
    assert torch.allclose(normalised, (plain - mean) / std, atol=1e-3)


def crops(batch: int, seed: int, *, flip: Flip = "horizontal") -> tuple[Tensor, Tensor]:
    """Left, right edges of the crops of images whose red is the column and green the row."""
    ramp = torch.arange(64, dtype=torch.uint8) * 4
    image = torch.zeros(64, 64, 3, dtype=torch.uint8)
    image[..., 0], image[..., 1] = ramp[None, :], ramp[:, None]
    x = augment(
        image.expand(batch, -1, -1, -1),
        64,
        normalization=PIXELS,
        draws=colourless(augmentation_draws(batch, seeded(seed), flip=flip)),
        flip=flip,
    )
    return x[:, 0, 32], x[:, 1, :, 32]


def test_half_of_the_images_are_mirrored_and_none_upside_down() -> None:
    across, down = crops(400, 3)
    mirrored = (across[:, 0] > across[:, -1]).float().mean()
    assert 0.4 < mirrored < 0.6
    assert (down[:, 0] < down[:, -1]).all()


def test_no_image_is_flipped_where_none_may_be() -> None:
    across, down = crops(400, 3, flip="none")
    assert (across[:, 0] < across[:, -1]).all()
    assert (down[:, 0] < down[:, -1]).all()


def test_images_are_flipped_both_ways_independently() -> None:
    across, down = crops(400, 3, flip="both")
    is_mirrored, is_upended = across[:, 0] > across[:, -1], down[:, 0] > down[:, -1]
    assert 0.4 < is_mirrored.float().mean() < 0.6
    assert 0.4 < is_upended.float().mean() < 0.6
    assert 0.2 < (is_mirrored & is_upended).float().mean() < 0.3
    once, _ = crops(400, 3)
    assert torch.equal(across, once)


def test_other_flips_leave_the_draws_as_they_were() -> None:
    drawn = augmentation_draws(40, seeded(3))
    assert torch.equal(drawn, torch.rand(7, 40, generator=seeded(3)))
    assert torch.equal(augmentation_draws(40, seeded(3), flip="none"), drawn)
    both = augmentation_draws(40, seeded(3), flip="both")
    assert torch.equal(both[:7], drawn)
    assert both.shape == (8, 40)


def test_crops_keep_the_share_and_ratio_asked_for_and_lie_anywhere() -> None:
    across, down = crops(800, 4)
    # Slopes away from the borders tell the sides of the crop, as a share of the image's.
    width = (across[:, 40] - across[:, 24]).abs() / (16 * 4)
    height = (down[:, 40] - down[:, 24]).abs() / (16 * 4)
    area, ratio = width * height, width / height
    assert 0.34 < area.min() < 0.36
    assert area.max() > 0.95
    assert abs(area.mean().item() - 0.665) < 0.03
    assert ratio.min() > 0.74
    assert ratio.max() < 1.35
    middle = (down[:, 31] + down[:, 32]) / 2 / 252
    assert middle.min() < 0.35
    assert middle.max() > 0.65
    assert abs(middle.mean().item() - 0.5) < 0.02


def test_crop_is_resized_as_pillow_resizes_its_box() -> None:
    images = torch.randint(0, 256, (1, 48, 48, 3), generator=seeded(5)).to(torch.uint8)
    drawn = draws(9, 1)[:, 0].tolist()
    area, ratio = 0.35 + 0.65 * drawn[0], (4 / 3) ** (2 * drawn[1] - 1)
    width, height = min(1, (area * ratio) ** 0.5), min(1, (area / ratio) ** 0.5)
    left, top = (1 - width) * drawn[2] * 48, (1 - height) * drawn[3] * 48
    box = (left, top, left + width * 48, top + height * 48)
    for size_px in (16, 64):
        x = augment(images, size_px, normalization=PIXELS, draws=colourless(draws(9, 1)))
        made = x[0].permute(1, 2, 0).numpy()
        made = made[:, ::-1] if drawn[4] < 0.5 else made
        reference = Image.fromarray(images[0].numpy()).resize(
            (size_px, size_px), Image.Resampling.BILINEAR, box=box
        )
        assert np.abs(made - np.asarray(reference, np.float32)).max() < 1.5


def test_colour_stays_in_range_and_varies_between_images() -> None:
    grey = torch.full((500, 8, 8, 3), 100, dtype=torch.uint8)
    brightness = augment(grey, 8, normalization=PIXELS, draws=draws(6, 500))[:, :, 4, 4]
    assert torch.allclose(brightness[:, 0], brightness[:, 2], atol=1e-3)  # grey stays grey
    assert brightness.min() > 100 * (1 - 33 / 255)
    assert brightness.max() < 100 * (1 + 33 / 255)
    assert brightness[:, 0].std() > 5
    red = torch.zeros(500, 8, 8, 3, dtype=torch.uint8)
    red[..., 0] = 255
    saturated = augment(red, 8, normalization=PIXELS, draws=draws(7, 500))
    assert saturated.min() >= 0
    assert saturated.max() <= 255.01
    assert saturated[:, 1, 4, 4].max() > 20  # towards grey


def test_colour_is_brightness_then_a_blend_with_grey(images: Tensor) -> None:
    images = images // 2 + 40  # never clipped, so that colour and resizing commute
    drawn = draws(8)
    with_colour = augment(images, 24, normalization=PIXELS, draws=drawn)
    plain = augment(images, 24, normalization=PIXELS, draws=colourless(drawn))
    brightness = (1 + (2 * drawn[5] - 1) * 32 / 255).view(6, 1, 1, 1)
    saturation = (1 + (2 * drawn[6] - 1) * 0.5).view(6, 1, 1, 1)
    grey = (plain * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    expected = brightness * (saturation * plain + (1 - saturation) * grey)
    assert torch.allclose(with_colour, expected, atol=1e-3)


def test_colours_change_as_far_as_asked_for(images: Tensor) -> None:
    images = images // 2 + 40  # never clipped
    grey = torch.full((500, 8, 8, 3), 100, dtype=torch.uint8)
    wide = augment(grey, 8, normalization=PIXELS, draws=draws(6, 500), jitter=Jitter(brightness=0.5))
    assert 50 <= wide.min() < 52
    assert 148 < wide.max() <= 150
    still, pale = (
        augment(images, 24, normalization=PIXELS, draws=draws(8), jitter=jitter)
        for jitter in (Jitter(0.0, 0.0), Jitter(0.0, 0.3))
    )
    plain = augment(images, 24, normalization=PIXELS, draws=colourless(draws(8)))
    assert torch.equal(still, plain)
    saturation = (1 + (2 * draws(8)[6] - 1) * 0.3).view(6, 1, 1, 1)
    grey = (plain * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    assert torch.allclose(pale, saturation * plain + (1 - saturation) * grey, atol=1e-3)


def test_same_seed_same_augmentation_and_global_state_untouched(images: Tensor) -> None:
    state = torch.random.get_rng_state()
    one, other, third = (
        augment(images, 20, normalization=Normalization(), draws=draws(seed)) for seed in (2, 2, 3)
    )
    assert torch.equal(one, other)
    assert not torch.equal(one, third)
    assert torch.equal(state, torch.random.get_rng_state())


def test_images_are_not_changed_in_place(images: Tensor) -> None:
    before = images.clone()
    augment(images, 24, normalization=Normalization(), draws=draws(2))
    to_input(images, 24, Normalization())
    assert torch.equal(images, before)


@pytest.mark.gpu
def test_device_gives_what_the_cpu_gives(images: Tensor) -> None:
    here = augment(images, 20, normalization=Normalization(), draws=draws(2))
    there = augment(images.cuda(), 20, normalization=Normalization(), draws=draws(2).cuda())
    assert torch.allclose(here, there.cpu(), atol=2e-2)
