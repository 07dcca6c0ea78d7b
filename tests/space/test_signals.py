"""Spaces of signals: one axis, exact counts, and everything of images as it was."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from ofa_nas.assets import asset_folder
from ofa_nas.errors import SpaceError
from ofa_nas.precisions import INT8
from ofa_nas.space.blocks import input_shape, lower, output_shape
from ofa_nas.space.costs import layer_macs, layer_parameters
from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import Convolution
from ofa_nas.space.precision import peak_bytes
from ofa_nas.space.search_space import SearchSpace

TEXT = (asset_folder("search_spaces") / "conv1d.toml").read_text(encoding="utf-8")
BLOCK = Layer("s0b0", "mbconv1d", 16, 48, 16, 5, 1, 64, 64, "relu", residual=True)


def load(folder: Path, text: str) -> SearchSpace:
    path = folder / "space.toml"
    path.write_text(text, encoding="utf-8")
    return SearchSpace.load(str(path))


def test_macs_parameters_and_memory_of_a_block_in_closed_form() -> None:
    assert layer_macs(BLOCK) == 64 * (16 * 48 + 48 * 5 + 48 * 16)
    assert layer_parameters(BLOCK) == 16 * 48 + 48 * 5 + 48 * 16 + 2 * (48 + 48 + 16)
    # Beside the block's input, which the sum needs, the depthwise convolution's input and output.
    assert peak_bytes(BLOCK) == 4 * 64 * (16 + 48 + 48)
    assert (input_shape(BLOCK), output_shape(BLOCK)) == ((16, 1, 64), (16, 1, 64))


def test_many_channels_make_the_float_input_the_peak_of_an_int8_network() -> None:
    space = SearchSpace.load("conv1d").with_channels(40)
    assert max(peak_bytes(layer, INT8) for layer in space.layers(space.smallest)) == (4 + 1) * 40 * 64
    few = SearchSpace.load("conv1d").with_channels(6)
    assert max(peak_bytes(layer, INT8) for layer in few.layers(few.smallest)) == 64 * (8 + 24 + 24)


@pytest.mark.parametrize("rewrites", ["", "+folded", "+lite", "+lite+folded"])
def test_rewrites_of_a_block_for_signals_work_along_one_axis(rewrites: str) -> None:
    operators = lower(replace(BLOCK, kind=f"mbconv1d{rewrites}"))
    assert all(getattr(operator, "axes", 1) == 1 for operator in operators)
    kernels = {one.name: one.weight_shape[2:] for one in operators if isinstance(one, Convolution)}
    assert kernels["depthwise"] == (1, 5)
    assert all(height == 1 for height, _ in kernels.values())


def test_every_layer_of_the_space_hands_on_what_the_next_one_takes() -> None:
    space = SearchSpace.load("conv1d")
    layers = list(space.layers(space.middle))
    assert input_shape(layers[0]) == (6, 1, 96)
    for layer, following in pairwise(layers):
        assert output_shape(layer) == input_shape(following)
    assert [layer.kind for layer in layers[-3:]] == ["conv1d", "pool1d", "linear"]


def test_blocks_of_images_and_signals_do_not_mix(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"stages\[1\].block: mbconv does not go with mbconv1d"):
        load(tmp_path, TEXT.replace("mbconv1d", "mbconv").replace("mbconv", "mbconv1d", 1))


def test_images_have_three_channels(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="channels: expected 3 for images, got 6"):
        load(tmp_path, TEXT.replace("mbconv1d", "mbconv"))


def test_the_document_and_the_digest_tell_the_channels() -> None:
    space = SearchSpace.load("conv1d").with_channels(2)
    assert SearchSpace.from_document(space.to_document(), Path("card.json")) == space
    assert space.digest != SearchSpace.load("conv1d").digest
    assert next(space.layers(space.smallest)).in_channels == 2


@pytest.mark.parametrize(
    ("name", "digest"),
    [("efficientnet_lite", "8d19f7dc1cdf"), ("mobilenet_v3", "e1cf8390d473"), ("tiny", "51ccf1f576b2")],
)
def test_spaces_of_images_are_what_they_were(name: str, digest: str) -> None:
    """Latency tables and cards are found by this digest, and older versions read the document."""
    space = SearchSpace.load(name)
    assert space.digest == digest
    assert "channels" not in space.to_document()
