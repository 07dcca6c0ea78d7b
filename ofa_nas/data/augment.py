"""Turn packed images and windows into network input, as tensors on the device that trains."""

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from ofa_nas.data import Flip, Jitter, Normalization

# Luma of ITU-R BT.601, as Pillow and torchvision use for the saturation of an image.
LUMA = (0.299, 0.587, 0.114)
# Source: Szegedy et al. 2015, arXiv:1409.4842, section 6: aspect ratios from 3/4 to 4/3.
_LOG_RATIO = math.log(4 / 3)
_PLAIN_JITTER = Jitter()


def to_input(images: Tensor, size_px: int, normalization: Normalization) -> Tensor:
    """Resize and normalise, nothing random: what evaluation and deployment see.

    Args:
        images: `(B, S, S, 3)` uint8, or `(B, 1, L, C)` float32 of signals.
        size_px: Side R of the result; of signals, its length.
        normalization: Of the network.

    Returns:
        `(B, 3, R, R)` or `(B, C, 1, R)` float32, channels last in memory.
    """
    mean, std = _constants(normalization, images.device)
    pixels = ((images.float() - mean) / std).permute(0, 3, 1, 2)
    if images.shape[2] != size_px:
        height = 1 if is_signal(images) else size_px
        pixels = functional.interpolate(
            pixels, (height, size_px), mode="bilinear", antialias=images.shape[2] > size_px
        )
    return pixels.contiguous(memory_format=torch.channels_last)


def is_signal(images: Tensor) -> bool:
    """Whether a batch holds windows `(B, 1, L, C)` of float32, not images of uint8."""
    return images.is_floating_point()


def augmentation_draws(count: int, rng: torch.Generator, *, flip: Flip = "horizontal") -> Tensor:
    """Everything random in the augmentation of `count` images, `(7, count)` float32 in [0, 1).

    Drawn on the CPU, they give the same augmentation on every device. With `flip` both they are `(8, count)`:
    the last row is of the flips top to bottom, and the others stay what they are without it.
    """
    return with_flips(torch.rand(7, count, generator=rng, device=rng.device), rng, flip=flip)


def with_flips(draws: Tensor, rng: torch.Generator, *, flip: Flip) -> Tensor:
    """Draws `(k, B)`, and behind them those of flips top to bottom where there are such, `(k + 1, B)`."""
    if flip != "both":
        return draws
    return torch.cat([draws, torch.rand(1, draws.shape[1], generator=rng, device=rng.device)])


def augment(
    images: Tensor,
    size_px: int,
    *,
    normalization: Normalization,
    draws: Tensor,
    scale: tuple[float, float] = (0.35, 1.0),
    flip: Flip = "horizontal",
    jitter: Jitter = _PLAIN_JITTER,
) -> Tensor:
    """Crop, flip and colour a batch at random, each image in its own way.

    Args:
        images: `(B, S, S, 3)` uint8.
        size_px: Side R of the result.
        normalization: Of the network.
        draws: `(7, B)` or `(8, B)` of `augmentation_draws` for this `flip`, on the images' device.
        scale: Least and largest share of the image's area that a crop keeps.
        flip: Whether half of the images are mirrored, and whether half are flipped top to bottom too.
        jitter: Of the colours.

    Returns:
        `(B, 3, R, R)` float32, channels last in memory.

    Source: Cai et al. 2020, arXiv:1908.09791, and its code: random resized crop, flip, colour "tf".
    """
    rows, columns = crop_weights(images, size_px, draws=draws, scale=scale, flip=flip)
    pixels = images.transpose(1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    brightness = 1 + (2 * draws[5] - 1) * jitter.brightness
    saturation = 1 + (2 * draws[6] - 1) * jitter.saturation
    pixels = _jitter(pixels, brightness, saturation)
    # Resizing is linear with weights that sum to one: normalising first, on fewer pixels, is the same.
    mean, std = _constants(normalization, images.device)
    return resample(pixels.sub_(mean).div_(std), rows, columns)


def crop_weights(
    images: Tensor,
    size_px: int,
    *,
    draws: Tensor,
    scale: tuple[float, float],
    flip: Flip = "horizontal",
) -> tuple[Tensor, Tensor]:
    """Crop, resize and flip as two products, each image in its own way.

    Args:
        images: `(B, S, S, 3)`.
        size_px: Side R of the result.
        draws: `(5, B)` or more in [0, 1): area, aspect ratio, column, row, flip; with `flip` both, the last
            row is of the flips top to bottom.
        scale: Least and largest share of the image's area that a crop keeps.
        flip: As `augment` takes it.

    Returns:
        Weights `(B, R, S)` of the rows and of the columns, for `resample`.
    """
    area = scale[0] + (scale[1] - scale[0]) * draws[0]
    ratio = torch.exp((2 * draws[1] - 1) * _LOG_RATIO)
    width = (area * ratio).sqrt().clamp(max=1.0)
    height = (area / ratio).sqrt().clamp(max=1.0)
    columns = _resize_weights((1 - width) * draws[2], width, images.shape[2], size_px=size_px)
    rows = _resize_weights((1 - height) * draws[3], height, images.shape[1], size_px=size_px)
    if flip != "none":
        columns = _flip_half(columns, draws[4])
    if flip == "both":
        rows = _flip_half(rows, draws[-1])
    return rows, columns


def _flip_half(weights: Tensor, draws: Tensor) -> Tensor:
    """Weights `(B, R, S)`, the result's pixels in reverse order where a draw `(B,)` is below a half."""
    return torch.where((draws < 0.5)[:, None, None], weights.flip(1), weights)


def augment_signals(
    windows: Tensor,
    length: int,
    *,
    normalization: Normalization,
    draws: Tensor,
    scale: tuple[float, float] = (0.8, 1.0),
) -> Tensor:
    """Cut a random part out of each window, stretch it, and make it a little stronger or weaker.

    So movements are faster or slower, earlier or later, and larger or smaller (± 10 %). Nothing is mirrored:
    the directions of sensors, and of gravity among them, mean something.

    Args:
        windows: `(B, 1, L, C)` float32.
        length: R of the result.
        normalization: Of the network.
        draws: `(7, B)` of `augmentation_draws`, on the windows' device; three of them are used.
        scale: Least and largest share of the window that a cut keeps.

    Returns:
        `(B, C, 1, R)` float32, channels last in memory.

    Source: Um et al. 2017, arXiv:1706.00527 (scaling, time warping and cropping of wearable sensor data).
    """
    share = scale[0] + (scale[1] - scale[0]) * draws[0]
    weights = _resize_weights((1 - share) * draws[2], share, windows.shape[2], size_px=length)
    mean, std = _constants(normalization, windows.device)
    strength = (0.9 + 0.2 * draws[5])[:, None, None]
    stretched = torch.bmm(weights, windows[:, 0] * strength)
    return stretched.sub_(mean).div_(std)[:, None].permute(0, 3, 1, 2)


def _resize_weights(start: Tensor, length: Tensor, side: int, *, size_px: int) -> Tensor:
    """Weights `(B, R, S)` that resize an interval of each image by a triangle filter.

    Where it shrinks, the triangle widens with the pixel of the result, so nothing aliases.
    """
    step = (length * (side / size_px))[:, None]
    index = torch.arange(max(side, size_px), device=start.device, dtype=torch.float32) + 0.5
    centre = start[:, None] * side + index[:size_px] * step
    distance = (index[:side] - centre[..., None]).abs_()
    weights = distance.div_(-step.clamp(min=1.0)[..., None]).add_(1.0).clamp_(min=0.0)
    return weights.div_(weights.sum(2, keepdim=True))


def resample(pixels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Resize `(B, W, H, 3)` pixels, which lie column by column, to `(B, 3, R, R)` by `crop_weights`."""
    # Two batched products, columns first, so that the result lies channels last without a further copy.
    batch, width, height, channels = pixels.shape
    size_px = rows.shape[1]
    pixels = torch.bmm(columns, pixels.view(batch, width, height * channels))
    pixels = pixels.view(batch, size_px, height, channels).transpose(1, 2).reshape(batch, height, -1)
    return torch.bmm(rows, pixels).view(batch, size_px, size_px, channels).permute(0, 3, 1, 2)


def _jitter(pixels: Tensor, brightness: Tensor, saturation: Tensor) -> Tensor:
    """Brightness, then saturation, of `(B, W, H, 3)` pixels; both factors are `(B,)`."""
    luma = _on_device(LUMA, pixels.device)
    brightness, saturation = brightness.view(-1, 1, 1), saturation.view(-1, 1, 1)
    grey = (pixels @ luma).mul_(brightness * (1 - saturation))
    return pixels.mul_((brightness * saturation)[..., None]).add_(grey[..., None]).clamp_(0.0, 255.0)


def _constants(normalization: Normalization, device: torch.device) -> tuple[Tensor, Tensor]:
    return _on_device(normalization.mean, device), _on_device(normalization.std, device)


@lru_cache(maxsize=64)
def _on_device(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Constants `(n,)`, which a CUDA device gets once: a copy waits for all that it still has to do."""
    with torch.inference_mode(False):
        return torch.tensor(values, device=device)
