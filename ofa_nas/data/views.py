"""Random views of images, for learning without labels: crop, flip, all colours, sometimes grey.

Source: Baradad et al. 2021, arXiv:2106.05963, and its code: random resized crop, flip, colour jitter of 0.4
in brightness, contrast, saturation and hue in random order, grey with probability 0.2.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ofa_nas.data import Flip, Normalization
from ofa_nas.data.augment import LUMA, crop_weights, resample, with_flips

_STRENGTH = 0.4
_GREY_SHARE = 0.2
_CROP, _FACTORS, _ORDER = 5, 4, 4  # draws of each kind; one more for grey


def view_draws(count: int, rng: torch.Generator, *, flip: Flip = "horizontal") -> Tensor:
    """Everything random in a view of each of `count` images, `(14, count)` float32 in [0, 1).

    Drawn on the CPU, they give the same view on every device. With `flip` both they are `(15, count)`, as
    those of `augmentation_draws` are one more.
    """
    draws = torch.rand(_CROP + _FACTORS + _ORDER + 1, count, generator=rng, device=rng.device)
    return with_flips(draws, rng, flip=flip)


def random_view(
    images: Tensor,
    size_px: int,
    *,
    normalization: Normalization,
    draws: Tensor,
    scale: tuple[float, float] = (0.08, 1.0),
    flip: Flip = "horizontal",
) -> Tensor:
    """A view of each image of a batch.

    Args:
        images: `(B, S, S, 3)` uint8.
        size_px: Side R of the result.
        normalization: Of the network.
        draws: `(14, B)` or `(15, B)` of `view_draws` for this `flip`, on the images' device.
        scale: Least and largest share of the image's area that a crop keeps.
        flip: As `augment` takes it.

    Returns:
        `(B, 3, R, R)` float32, channels last in memory.
    """
    _, factors, order, grey = torch.split(draws[:14], [_CROP, _FACTORS, _ORDER, 1])
    rows, columns = crop_weights(images, size_px, draws=draws, scale=scale, flip=flip)
    pixels = images.transpose(1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    x = resample(pixels.div_(255.0), rows, columns)
    x = jitter_color(x, (2.0 * factors - 1.0) * _STRENGTH, order=order.argsort(dim=0))
    x = torch.where((grey[0] < _GREY_SHARE)[:, None, None, None], _luma(x).expand_as(x), x)
    mean, std = (
        torch.tensor(values, device=x.device).view(1, 3, 1, 1) / 255.0
        for values in (normalization.mean, normalization.std)
    )
    return x.sub(mean).div(std).contiguous(memory_format=torch.channels_last)


def jitter_color(x: Tensor, factors: Tensor, *, order: Tensor) -> Tensor:
    """Change brightness, contrast, saturation and hue, each image by its own amounts and in its own order.

    Args:
        x: `(B, 3, R, R)` in [0, 1].
        factors: `(4, B)`: the first three in parts of what is there, 0 changes nothing; hue in turns of the
            colour circle.
        order: `(4, B)` int64, each column a permutation of 0 to 3: which change comes first, second, …

    Returns:
        `(B, 3, R, R)` in [0, 1].
    """
    changes: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (_brighten, _contrast, _saturate, shift_hue)
    for turn in order:
        after = torch.empty_like(x)
        for number, change in enumerate(changes):
            chosen = (turn == number).nonzero()[:, 0]
            after[chosen] = change(x[chosen], factors[number, chosen].view(-1, 1, 1, 1))
        x = after
    return x


def shift_hue(x: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of `(B, 3, R, R)` in [0, 1] by `(B, 1, 1, 1)` turns; lightness and saturation stay.

    Source: Smith 1978, Color gamut transform pairs, hexcone model.
    """
    red, green, blue = x.unbind(1)
    value, chroma = x.amax(1), x.amax(1) - x.amin(1)
    width = chroma.clamp(min=1e-12)
    sixths = torch.where(
        value == red,
        (green - blue) / width,
        torch.where(value == green, (blue - red) / width + 2.0, (red - green) / width + 4.0),
    )
    position = torch.tensor([5.0, 3.0, 1.0], device=x.device).view(1, 3, 1, 1) + (
        sixths[:, None] + 6.0 * turns
    )
    position = position.remainder(6.0)
    return value[:, None] - chroma[:, None] * torch.minimum(position, 4.0 - position).clamp(0.0, 1.0)


def _brighten(x: Tensor, factor: Tensor) -> Tensor:
    return (x * (1.0 + factor)).clamp(0.0, 1.0)


def _contrast(x: Tensor, factor: Tensor) -> Tensor:
    return _away_from(_luma(x).mean(dim=(1, 2, 3), keepdim=True), x, factor)


def _saturate(x: Tensor, factor: Tensor) -> Tensor:
    return _away_from(_luma(x), x, factor)


def _away_from(grey: Tensor, x: Tensor, factor: Tensor) -> Tensor:
    return torch.lerp(grey, x, 1.0 + factor).clamp(0.0, 1.0)


def _luma(x: Tensor) -> Tensor:
    """`(B, 1, R, R)` of `(B, 3, R, R)`."""
    return (x * torch.tensor(LUMA, device=x.device).view(1, 3, 1, 1)).sum(1, keepdim=True)
