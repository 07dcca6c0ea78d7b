"""Contract of a block kind: its ONNX computes what torch computes, and its MACs are those of its tensors."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from ofa_nas.onnx_writer import random_weights, write_model
from ofa_nas.plugins import plugin_names
from ofa_nas.space.costs import layer_macs
from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import Elementwise, Resample
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.supernet import Supernet
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


OWN = """
from ofa_nas.space.operators import INPUT, Convolution, Elementwise, Pool, Resample

def lower(layer):
    c, size = layer.out_channels, layer.out_size
    sizes = (layer.in_size, size)
    conv = Convolution("conv", (INPUT,), layer.in_channels, c, 1, layer.stride, 1, *sizes, (0, 0))
    pool = Pool("pool", ("conv",), c, size)
    half = Resample("half", ("conv",), "halve", c, size, size // 2)
    return (conv, {operators})
"""
FUNCTIONS = {
    **{name: f'Elementwise("last", ("conv",), "{name}", c, size)' for name in Elementwise.functions},
    "add": 'Elementwise("last", ("conv", "conv"), "add", c, size)',
    "scale": 'pool, Elementwise("last", ("conv", "pool"), "scale", c, size)',
    "halve": 'half, Resample("last", ("half",), "bilinear", c, size // 2, size)',
    "bilinear": 'half, Resample("last", ("half",), "bilinear", c, size // 2, size)',
}


@pytest.mark.parametrize("function", [*Elementwise.functions, *Resample.functions])
def test_every_function_of_operators_runs_in_a_supernet_and_in_onnx(
    function: str, tiny: SearchSpace, write_module: Callable[[str], str]
) -> None:
    kind = write_module(OWN.format(operators=FUNCTIONS[function]))
    space = replace(tiny, stages=(replace(tiny.stages[0], block=kind), *tiny.stages[1:]))
    generator = torch.Generator().manual_seed(0)
    supernet = Supernet(space, generator)
    for tensor in supernet.state_dict().values():
        if tensor.ndim == 1:  # batch norms before a sum start at zero
            tensor.uniform_(0.5, 1.5, generator=generator)
    arch = space.smallest
    image = np.random.default_rng(1).normal(size=(1, 3, arch.resolution, arch.resolution)).astype(np.float32)
    subnet = supernet.extract(arch)
    with torch.no_grad():
        logits = supernet(torch.from_numpy(image), arch).numpy()
    assert relative_error(run_onnx(write_model(subnet.walk, subnet.folded_weights()), image), logits) < 1e-4
