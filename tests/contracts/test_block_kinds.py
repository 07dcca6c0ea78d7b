"""Contract of a block kind: its ONNX computes what torch computes, and its MACs are those of its tensors."""

import numpy as np
import pytest

from ofa_nas.onnx_writer import random_weights, write_model
from ofa_nas.plugins import plugin_names
from ofa_nas.space.costs import layer_macs
from ofa_nas.space.layer import Layer
from tests.torch_reference import random_image, relative_error, run_onnx, run_torch

ACTIVATIONS = ("relu", "relu6", "hard_swish")


def variants(kind: str) -> list[Layer]:
    """Layers of a kind: strides, paddings, odd sizes, with and without residual and squeeze-excite."""
    if kind == "linear":
        return [Layer("layer", kind, 24, 10, 10, 1, 1, 1, 1, "none", norm=False)]
    if kind in ("pool", "pool1d"):
        return [Layer("layer", kind, 24, 24, 24, 7, 1, 7, 1, "none", norm=False)]
    is_plain = kind in ("conv", "conv1d")
    return [
        Layer(
            "layer", kind, 8, mid, out, kernel, stride, size, -(-size // stride), activation,
            se_channels=squeezed, residual=stride == 1 and out == 8 and not is_plain, padding=padding,
        )
        for mid, out, squeezed in ((8, 8, 0), (24, 8, 8), (24, 16, 0))
        for kernel, stride, size in ((3, 1, 9), (5, 2, 9), (7, 2, 12), (3, 2, 8))
        for activation, padding in zip(ACTIVATIONS, ("symmetric", "same", "same"), strict=True)
    ]  # fmt: skip


@pytest.mark.parametrize("kind", plugin_names("space.blocks"))
def test_onnx_equals_torch_and_macs_are_counted(kind: str) -> None:
    rng = np.random.default_rng(11)
    for layer in variants(kind):
        weights, image = random_weights([layer], rng), random_image(layer, rng)
        expected, macs = run_torch([layer], weights, image)
        assert relative_error(run_onnx(write_model([layer], weights), image), expected) <= 1e-4, layer
        assert macs == layer_macs(layer), layer
