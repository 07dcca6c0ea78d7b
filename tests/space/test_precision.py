"""Bytes in other precisions are those of the files, and of what ONNX Runtime asks for."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ofa_nas.devices import MeasuringProtocol, Model, open_device
from ofa_nas.latency.references import write_network
from ofa_nas.onnx_writer import random_weights, write_model
from ofa_nas.precisions import FP16, INT8
from ofa_nas.quantization import find_ranges, quantize_by_ranges
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.precision import peak_bytes, weight_bytes
from ofa_nas.space.search_space import SearchSpace

ONCE = MeasuringProtocol(profile_sittings=1, profile_runs=3, profile_skip=1)


def requested(model: Model) -> int:
    return next(iter(open_device("host").profile([model], ONCE))).peak_bytes


def held_bytes(model: onnx.ModelProto) -> int:
    """Of weights, biases and the scales of channels, whatever their type."""
    endings = (".weight", ".bias", ".weight_quantized", ".bias_quantized", ".weight_scale")
    return sum(
        numpy_helper.to_array(one).nbytes for one in model.graph.initializer if one.name.endswith(endings)
    )


def test_fp32_and_half_of_it(tiny: SearchSpace) -> None:
    for layer in tiny.layers(tiny.largest):
        assert weight_bytes(layer) == 2 * weight_bytes(layer, FP16)
        assert peak_bytes(layer) == 2 * peak_bytes(layer, FP16)


@pytest.mark.parametrize(
    "kept", [(), ("s0b0/expand", "s0b0/expand_act", "s0b0/depthwise", "s0b0/depthwise_act")]
)
def test_int8_weights_are_those_of_the_file(kept: tuple[str, ...], tiny: SearchSpace) -> None:
    rng, layers = np.random.default_rng(0), list(tiny.layers(tiny.smallest))
    model = write_model(layers, random_weights(layers, rng))
    image = rng.standard_normal((1, 3, layers[0].in_size, layers[0].in_size)).astype(np.float32)
    quantized = quantize_by_ranges(model, find_ranges(model, image), keep=kept)
    expected = sum(weight_bytes(layer, INT8, kept=frozenset(kept)) for layer in layers)
    unbiased = 4 * tiny.head.mix_width if tiny.head.mix_width else 0  # scales of a convolution without bias
    assert held_bytes(quantized) == expected + unbiased
    content = quantized.SerializeToString()
    peak = max(peak_bytes(layer, INT8, kept=frozenset(kept)) for layer in layers)
    assert requested(Model("kept", content)) == peak


@pytest.mark.parametrize(
    ("name", "exact"), [("tiny", 1.0), pytest.param("efficientnet_lite", 1.0, marks=pytest.mark.slow)]
)
def test_int8_liveness_is_what_onnx_runtime_asks_for(name: str, exact: float) -> None:
    space, rng = SearchSpace.load(name), np.random.default_rng(3)
    encoding = Encoding.of(space)
    archs = encoding.decode(encoding.sample(4, rng))
    pairs = [
        (
            max(peak_bytes(layer, INT8) for layer in space.layers(arch)),
            requested(write_network(space, arch, rng, name=str(arch), precision=INT8)),
        )
        for arch in archs
    ]
    assert np.mean([predicted == found for predicted, found in pairs]) >= exact
    for (predicted, _), arch in zip(pairs, archs, strict=True):
        assert predicted < max(map(peak_bytes, space.layers(arch))) * 2
