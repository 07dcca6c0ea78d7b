"""The ONNX writer: names, versions, refusals. That it computes the right thing stands in contracts/."""

import numpy as np
import onnx
import pytest

from ofa_nas.errors import OfaNasError
from ofa_nas.onnx_writer import IR_VERSION, OPSET, random_weights, weight_shapes, write_model
from ofa_nas.space.blocks import lower
from ofa_nas.space.layer import Layer
from ofa_nas.space.precision import weight_bytes
from ofa_nas.space.search_space import SearchSpace
from tests.torch_reference import random_image, relative_error, run_onnx, run_torch


@pytest.fixture(scope="module")
def layers(tiny: SearchSpace) -> list[Layer]:
    return list(tiny.layers(tiny.largest))


def test_the_model_states_its_versions_and_metadata(layers: list[Layer], tiny: SearchSpace) -> None:
    model = write_model(
        layers, random_weights(layers, np.random.default_rng(0)), metadata={"arch": str(tiny.largest)}
    )
    assert model.ir_version == IR_VERSION
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
    assert {entry.key: entry.value for entry in model.metadata_props} == {"arch": str(tiny.largest)}


def test_every_tensor_is_named_by_its_layer(layers: list[Layer]) -> None:
    model = write_model(layers, random_weights(layers, np.random.default_rng(0)))
    names = {layer.name for layer in layers}
    outputs = [name for node in model.graph.node for name in node.output]
    assert {name.split("/")[0] for name in outputs[:-1]} <= names
    assert outputs[-1] == "logits"
    assert len(outputs) == len(set(outputs))


def test_weights_take_the_bytes_that_costs_say(layers: list[Layer]) -> None:
    elements = sum(int(np.prod(shape)) for shape in weight_shapes(layers).values())
    assert 4 * elements == sum(map(weight_bytes, layers))


def test_batch_norm_is_folded_away(layers: list[Layer]) -> None:
    model = write_model(layers, random_weights(layers, np.random.default_rng(0)))
    kinds = {node.op_type for node in model.graph.node}
    assert "BatchNormalization" not in kinds
    assert {"Conv", "HardSwish", "HardSigmoid", "Gemm"} <= kinds


def test_a_single_layer_is_a_model(layers: list[Layer]) -> None:
    rng = np.random.default_rng(3)
    for layer in layers:
        weights, image = random_weights([layer], rng), random_image(layer, rng)
        expected, _ = run_torch([layer], weights, image)
        assert relative_error(run_onnx(write_model([layer], weights), image), expected) < 1e-4


def test_a_missing_weight_is_named(layers: list[Layer]) -> None:
    weights = random_weights(layers, np.random.default_rng(0))
    del weights["stem/conv.bias"]
    with pytest.raises(OfaNasError, match=r"weight stem/conv\.bias is missing; it needs shape \(8,\)"):
        write_model(layers, weights)


def test_a_weight_of_another_shape_is_named(layers: list[Layer]) -> None:
    weights = random_weights(layers, np.random.default_rng(0))
    weights["classifier/linear.weight"] = weights["classifier/linear.weight"][:, :3]
    with pytest.raises(
        OfaNasError, match=r"classifier/linear\.weight has shape \(10, 3\); it needs \(10, 64\)"
    ):
        write_model(layers, weights)


def test_random_weights_keep_activations_in_range(layers: list[Layer]) -> None:
    rng = np.random.default_rng(5)
    model = write_model(layers, random_weights(layers, rng))
    logits = run_onnx(model, random_image(layers[0], rng))
    assert 1e-3 < float(np.abs(logits).mean()) < 1e3
    assert lower(layers[0])[0].name == "conv"
    onnx.checker.check_model(model)


def test_layers_may_come_as_the_walk_yields_them(layers: list[Layer], tiny: SearchSpace) -> None:
    weights = random_weights(tiny.layers(tiny.largest), np.random.default_rng(0))
    assert write_model(tiny.layers(tiny.largest), weights) == write_model(layers, weights)
