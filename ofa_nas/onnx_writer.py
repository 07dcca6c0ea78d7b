"""Write layers as an ONNX model: the one lowering that serves measuring and exporting.

Every tensor is named `layer/operator` (`s1b0/expand_act`): ONNX Runtime drops node names when it fuses, but
keeps the names of outputs, and by them its profile is attributed to layers.
"""

from collections.abc import Iterable, Mapping
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from ofa_nas.errors import OfaNasError
from ofa_nas.space.blocks import input_shape, lower, output_shape
from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import (
    INPUT,
    Convolution,
    Elementwise,
    Linear,
    Operator,
    Pool,
    Resample,
    extent,
    tensor_name,
)

OPSET = 17  # HardSwish needs 14; 17 runs in ONNX Runtime 1.12 and later
IR_VERSION = 8  # the IR version of opset 17
IMAGE, LOGITS = "image", "logits"
# Sixteen equally likely quantiles of the normal distribution, of zero mean and unit variance. A tensor has so
# many in one random order, repeated: computing with them takes as long as with any, and a model compresses
# to a hundredth of its size before it is sent to a board. A prime, so that filters differ.
_PERIOD = 1021
_QUANTILES = np.resize([NormalDist().inv_cdf((place + 0.5) / 16) for place in range(16)], _PERIOD)
_VALUES = (_QUANTILES - _QUANTILES.mean()) / _QUANTILES.std()
Weights = Mapping[str, npt.NDArray[np.float32]]
_FUNCTIONS = {"relu": "Relu", "hard_swish": "HardSwish", "add": "Add", "scale": "Mul"}


def weight_shapes(layers: Iterable[Layer]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of every weight that a model of these layers needs, batch norm folded."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in layers:
        for operator in lower(layer):
            if isinstance(operator, Convolution | Linear):
                name = tensor_name(layer, operator.name)
                shapes[f"{name}.weight"] = operator.weight_shape
                if operator.biases:
                    shapes[f"{name}.bias"] = (operator.biases,)
    return shapes


def random_weights(layers: Iterable[Layer], rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
    """Weights that keep activations of random inputs within a few units, so that none is denormal."""
    weights = {}
    for name, shape in weight_shapes(layers).items():
        fan_in = max(int(np.prod(shape[1:])), 1)
        scale = (1.5 / fan_in) ** 0.5 if len(shape) > 1 else 0.1  # 2 explodes along residuals
        weights[name] = (np.resize(rng.permutation(_VALUES), shape) * scale).astype(np.float32)
    return weights


def write_model(
    layers: Iterable[Layer],
    weights: Weights,
    *,
    name: str = "subnet",
    metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """Write a chain of layers as one fp32 model with a batch of one.

    Args:
        layers: In execution order, as `SearchSpace.layers` yields them.
        weights: Named and shaped as `weight_shapes` says, batch norm folded.
        name: Name of the graph.
        metadata: Text properties of the model.

    Returns:
        A model from `image` `(1, C, H, W)` float32 to `logits`, checked.

    Raises:
        OfaNasError: A weight is missing or has another shape.
    """
    layers = tuple(layers)
    initializers = [_initializer(weights, key, shape) for key, shape in weight_shapes(layers).items()]
    nodes: list[onnx.NodeProto] = []
    source = IMAGE
    for layer in layers:
        for operator in lower(layer):
            nodes.extend(_nodes(layer, operator, source))
        source = nodes[-1].output[0]
    nodes[-1].output[0] = LOGITS
    graph = helper.make_graph(nodes, name, [_image_info(layers[0])], [_logits_info(layers[-1])], initializers)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="ofa-nas"
    )
    helper.set_model_props(model, dict(metadata or {}))
    onnx.checker.check_model(model, full_check=True)
    return model


def _initializer(weights: Weights, key: str, shape: tuple[int, ...]) -> onnx.TensorProto:
    if key not in weights:
        raise OfaNasError(f"weight {key} is missing; it needs shape {shape}")
    if weights[key].shape != shape:
        raise OfaNasError(f"weight {key} has shape {weights[key].shape}; it needs {shape}")
    return numpy_helper.from_array(np.ascontiguousarray(weights[key], dtype=np.float32), key)


def _image_info(layer: Layer) -> onnx.ValueInfoProto:
    shape = [1, *input_shape(layer)]
    return helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, shape)


def _logits_info(layer: Layer) -> onnx.ValueInfoProto:
    shape = [1, layer.out_channels] if layer.kind == "linear" else [1, *output_shape(layer)]
    return helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, shape)


def _nodes(layer: Layer, operator: Operator, source: str) -> list[onnx.NodeProto]:
    output = tensor_name(layer, operator.name)
    inputs = [source if name == INPUT else tensor_name(layer, name) for name in operator.inputs]
    match operator:
        case Convolution():
            return [_convolution(operator, inputs, output)]
        case Linear():
            flat = f"{output}_flat"
            gemm = helper.make_node(
                "Gemm", [flat, f"{output}.weight", f"{output}.bias"], [output], name=output, transB=1
            )
            return [helper.make_node("Flatten", inputs, [flat], name=flat), gemm]
        case Pool():
            return [helper.make_node("GlobalAveragePool", inputs, [output], name=output)]
        case Resample():
            return _resample(operator, inputs, output)
        case Elementwise():
            return _elementwise(operator, inputs, output)


def _convolution(operator: Convolution, inputs: list[str], output: str) -> onnx.NodeProto:
    parameters = [f"{output}.weight"]
    if operator.biases:
        parameters.append(f"{output}.bias")
    before, behind = operator.pads
    return helper.make_node(
        "Conv",
        [*inputs, *parameters],
        [output],
        name=output,
        kernel_shape=operator.kernel,
        strides=operator.strides,
        pads=[*before, *behind],
        group=operator.groups,
    )


def _resample(operator: Resample, inputs: list[str], output: str) -> list[onnx.NodeProto]:
    if operator.function == "halve":
        half = extent(2, operator.axes)
        return [
            helper.make_node("AveragePool", inputs, [output], name=output, kernel_shape=half, strides=half)
        ]
    sizes = f"{output}_sizes"
    shape_of_output = [1, operator.channels, *operator.out_shape]
    constant = helper.make_tensor(sizes, TensorProto.INT64, [4], shape_of_output)
    return [
        helper.make_node("Constant", [], [sizes], value=constant),
        helper.make_node("Resize", [*inputs, "", "", sizes], [output], name=output, mode="linear"),
    ]


def _elementwise(operator: Elementwise, inputs: list[str], output: str) -> list[onnx.NodeProto]:
    match operator.function:
        case "relu6":
            low, high = f"{output}_low", f"{output}_high"
            bounds = [(low, 0.0), (high, 6.0)]
            constants = [
                helper.make_node(
                    "Constant", [], [key], value=helper.make_tensor(key, TensorProto.FLOAT, [], [value])
                )
                for key, value in bounds
            ]
            return [*constants, helper.make_node("Clip", [*inputs, low, high], [output], name=output)]
        case "hard_sigmoid":  # relu6(x + 3) / 6
            return [helper.make_node("HardSigmoid", inputs, [output], name=output, alpha=1 / 6, beta=0.5)]
        case function:
            return [helper.make_node(_FUNCTIONS[function], inputs, [output], name=output)]
