"""ONNX files of others: image classifiers that say nothing of themselves but their shapes."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto

from ofa_nas.errors import FileError
from ofa_nas.export.card import read_model
from ofa_nas.precisions import FP16, FP32, INT8

_QUANTIZED = {"QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "ConvInteger"}
LARGEST_PX = 4096
_EXPECTED = "expected one input (N, 3, H, W) and one output (N, classes), both float32"


def read_classifier(path: Path) -> onnx.ModelProto:
    """Read any ONNX image classifier, and make its batch one image.

    Args:
        path: File with one input `(N, 3, H, W)` and one output `(N, K)`; N may be open, H and W are fixed.

    Returns:
        A model from `(1, 3, H, W)` to `(1, K)`, all sizes known.

    Raises:
        FileError: It is missing, no ONNX model, or no such classifier.
    """
    model = read_model(path)
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    images = [value for value in graph.input if value.name not in weights]
    if len(images) != 1 or len(graph.output) != 1:
        raise FileError(f"{path}: has {len(images)} inputs and {len(graph.output)} outputs; {_EXPECTED}")
    _fix_batch(path, images[0].type.tensor_type)
    del graph.value_info[:]  # may name the old batch
    shape = _run_once(path, model)
    if len(shape) < 2 or shape[0] != 1 or shape[1] < 2 or int(np.prod(shape)) != shape[1]:
        raise FileError(f"{path}: its output is {shape}; {_EXPECTED}")
    output = graph.output[0].type.tensor_type.shape
    del output.dim[:]
    for size in shape:
        output.dim.add().dim_value = size
    return model


def class_count(model: onnx.ModelProto) -> int:
    """How many classes a model that `read_classifier` read tells apart."""
    return int(model.graph.output[0].type.tensor_type.shape.dim[1].dim_value)


def image_size(model: onnx.ModelProto) -> tuple[int, int]:
    """Height and width of the image that such a model takes [px]."""
    names = {tensor.name for tensor in model.graph.initializer}
    image = next(value for value in model.graph.input if value.name not in names)
    _, _, height, width = image.type.tensor_type.shape.dim
    return int(height.dim_value), int(width.dim_value)


def model_precision(model: onnx.ModelProto) -> str:
    """Precision that the weights of any model were written for: `int8`, `fp16` or `fp32`."""
    if _QUANTIZED & {node.op_type for node in model.graph.node}:
        return INT8
    halves = any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)
    return FP16 if halves else FP32


def _fix_batch(path: Path, image: onnx.TypeProto.Tensor) -> None:
    sizes = [dim.dim_value for dim in image.shape.dim]  # 0 where it is open
    is_image = len(sizes) == 4 and sizes[1] == 3 and all(0 < size <= LARGEST_PX for size in sizes[2:])
    if image.elem_type != TensorProto.FLOAT or not is_image:
        shape = ", ".join(str(dim.dim_value or dim.dim_param or "?") for dim in image.shape.dim)
        names = {number: name.lower() for name, number in TensorProto.DataType.items()}
        kind = names.get(image.elem_type, "an unknown type")
        raise FileError(f"{path}: its input is ({shape}) of {kind}; {_EXPECTED}, H and W fixed")
    if sizes[0] > 1:
        raise FileError(
            f"{path}: takes {sizes[0]} images at once; export it with a batch of one, or an open one"
        )
    image.shape.dim[0].dim_value = 1


def _run_once(path: Path, model: onnx.ModelProto) -> tuple[int, ...]:
    """Shape of the output for one image."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it refuses, the error says
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        image = session.get_inputs()[0]
        output = np.asarray(session.run(None, {image.name: np.zeros(image.shape, dtype=np.float32)})[0])
    except Exception as error:  # ONNX Runtime's own classes differ from version to version
        told = str(error).splitlines()[0][:200]
        raise FileError(f"{path}: ONNX Runtime refuses the model: {told}") from error
    if output.dtype != np.float32:
        raise FileError(f"{path}: its output is of {output.dtype}; {_EXPECTED}")
    return output.shape
