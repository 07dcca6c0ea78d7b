"""Quantise an ONNX model to int8: static, from calibration images, by ONNX Runtime's own quantiser."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

from ofa_nas.errors import OfaNasError

# What the quantiser looks for before it asks, on the root logger, for folded norms and inferred shapes:
# models of `onnx_writer` have both.
_PREPARED = {"onnx.quant.pre_process": "onnxruntime.quant"}


def quantize(model: onnx.ModelProto, images: npt.NDArray[np.float32]) -> onnx.ModelProto:
    """Quantise weights and activations to 8 bits; inputs and outputs of the model stay fp32.

    Weights are symmetric int8, one scale an output channel; activations asymmetric uint8, one scale a tensor,
    from least to largest value on the images. Pairs of QuantizeLinear and DequantizeLinear say so in the file
    (QDQ), and ONNX Runtime makes integer operators of them. ReLU and ReLU6 become the bounds of a range.
    uint8 serves every processor: with int8 activations, ONNX Runtime 1.31 leaves convolutions beside residual
    additions in fp32 on x86 (14 of 49 in EfficientNet-Lite), and on ARM it has kernels for both. x86
    processors without VNNI may saturate where weights are large.

    Args:
        model: fp32 with a batch of one; it stays as it is.
        images: `(n, C, H, W)` float32, as the model takes them.

    Returns:
        A model with the same inputs, outputs, metadata and names of tensors; the same for the same arguments.

    Raises:
        OfaNasError: The images do not fit the model.

    Source: ONNX Runtime's documentation, "Quantize ONNX models"; Krishnamoorthi 2018, arXiv:1806.08342,
        section 3 (a scale for each channel of the weights).
    """
    shape = tuple(size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim)
    if images.ndim != 4 or not len(images) or images.shape[1:] != shape[1:]:
        wanted = ", ".join(map(str, shape[1:]))
        raise OfaNasError(f"calibration images have shape {images.shape}; expected (n, {wanted})")
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
        prepared = onnx.ModelProto()
        prepared.CopyFrom(model)
        helper.set_model_props(prepared, _PREPARED)
        onnx.save(prepared, source)
        quantize_static(
            source,
            result,
            _Reader(model.graph.input[0].name, images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        quantized = onnx.load(result)
    return _tidy(quantized, model)


class _Reader:
    """Images one at a time, as the quantiser asks for them."""

    def __init__(self, name: str, images: npt.NDArray[np.float32]) -> None:
        self.name = name
        self.rest: Iterator[npt.NDArray[np.float32]] = iter(images)

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        image = next(self.rest, None)
        return None if image is None else {self.name: image[None]}


def _tidy(quantized: onnx.ModelProto, model: onnx.ModelProto) -> onnx.ModelProto:
    """Without bounds of activations that are gone, and with the words of the fp32 model about itself."""
    graph = quantized.graph
    used = {name for node in graph.node for name in node.input}
    kept = [node for node in graph.node if node.op_type != "Constant" or node.output[0] in used]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(kept)
    quantized.producer_name = model.producer_name
    helper.set_model_props(quantized, {entry.key: entry.value for entry in model.metadata_props})
    onnx.checker.check_model(quantized, full_check=True)
    return quantized
