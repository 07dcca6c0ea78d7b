"""Operators run by plain torch functions: what the ONNX writer is compared with."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
import torch.nn.functional as F

from ofa_nas.devices.agent import EXACT_PRODUCTS
from ofa_nas.onnx_writer import IMAGE, LOGITS
from ofa_nas.space.blocks import input_shape, lower
from ofa_nas.space.layer import Layer
from ofa_nas.space.operators import (
    INPUT,
    Convolution,
    Elementwise,
    Linear,
    Operator,
    Pool,
    Resample,
    tensor_name,
)

Floats = npt.NDArray[np.float32]
FUNCTIONS: dict[str, Callable[..., torch.Tensor]] = {
    "relu": lambda x: x.clamp(min=0),
    "relu6": lambda x: x.clamp(0, 6),
    "hard_sigmoid": lambda x: (x + 3).clamp(0, 6) / 6,
    "hard_swish": lambda x: x * (x + 3).clamp(0, 6) / 6,
    "add": torch.add,
    "scale": torch.mul,
}


def run_torch(layers: Sequence[Layer], weights: Mapping[str, Floats], image: Floats) -> tuple[Floats, int]:
    """Logits of an image `(1, C, H, W)`, and the multiply-accumulates counted from the tensors themselves."""
    tensors = {name: torch.from_numpy(weight) for name, weight in weights.items()}
    x, macs = torch.from_numpy(image), 0
    for layer in layers:
        results = {INPUT: x}
        for operator in lower(layer):
            inputs = [results[name] for name in operator.inputs]
            x, counted = _apply(operator, inputs, tensors, tensor_name(layer, operator.name))
            results[operator.name] = x
            macs += counted
    return x.numpy(), macs


def _apply(
    operator: Operator, inputs: list[torch.Tensor], weights: Mapping[str, torch.Tensor], name: str
) -> tuple[torch.Tensor, int]:
    match operator:
        case Convolution():
            weight = weights[f"{name}.weight"]
            bias = weights.get(f"{name}.bias")
            if operator.axes == 1:  # a real 1-D convolution: what the flat image has to equal
                x, weight = F.pad(inputs[0].squeeze(2), operator.pad), weight.squeeze(2)
                x = F.conv1d(x, weight, bias, operator.stride, groups=operator.groups)
                return x.unsqueeze(2), weight[0].numel() * x.numel()
            padded = F.pad(inputs[0], (*operator.pad, *operator.pad))
            x = F.conv2d(padded, weight, bias, operator.stride, groups=operator.groups)
            return x, weight[0].numel() * x.numel()
        case Linear():
            weight = weights[f"{name}.weight"]
            return F.linear(inputs[0].flatten(1), weight, weights[f"{name}.bias"]), weight.numel()
        case Pool():
            return inputs[0].mean((2, 3), keepdim=True), 0
        case Resample(axes=1):
            flat = inputs[0].squeeze(2)
            halved = operator.function == "halve"
            x = F.avg_pool1d(flat, 2) if halved else F.interpolate(flat, operator.out_size, mode="linear")
            return x.unsqueeze(2), 0
        case Resample(function="halve"):
            return F.avg_pool2d(inputs[0], 2), 0
        case Resample():
            return F.interpolate(inputs[0], size=(operator.out_size,) * 2, mode="bilinear"), 0
        case Elementwise():
            return FUNCTIONS[operator.function](*inputs), 0


def run_onnx(model: onnx.ModelProto, image: Floats) -> Floats:
    """Logits of an image `(1, C, H, W)` by ONNX Runtime on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry(*EXACT_PRODUCTS)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run([LOGITS], {IMAGE: image})[0])


def random_image(layer: Layer, rng: np.random.Generator) -> Floats:
    """An input of a layer, `(1, C, H, W)`."""
    return rng.standard_normal((1, *input_shape(layer))).astype(np.float32)


def relative_error(found: Floats, expected: Floats) -> float:
    """Largest difference over the largest expected magnitude."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())
