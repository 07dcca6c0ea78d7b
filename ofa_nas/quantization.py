"""Quantise an ONNX model to int8: static, from calibration images, by ONNX Runtime's own quantiser."""

import contextlib
import io
import tempfile
from collections.abc import Collection, Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from ofa_nas.errors import FileError, OfaNasError

MINMAX, ENTROPY, PERCENTILE = "minmax", "entropy", "percentile"
METHODS = (MINMAX, ENTROPY, PERCENTILE)  # how ranges of activations follow from what images show
_METHODS = {
    MINMAX: (CalibrationMethod.MinMax, {}),
    ENTROPY: (CalibrationMethod.Entropy, {}),
    PERCENTILE: (CalibrationMethod.Percentile, {"percentile": 99.99}),  # 1 of 10,000 values is cut
}
_AT_ONCE = 8  # images whose activations are held at the same time: histograms are made of whole tensors
# What the quantiser looks for before it asks, on the root logger, for folded norms and inferred shapes:
# models of `onnx_writer` have both.
_PREPARED = {"onnx.quant.pre_process": "onnxruntime.quant"}


def find_ranges(
    model: onnx.ModelProto, images: npt.NDArray[np.float32], *, method: str = MINMAX
) -> TensorsData:
    """Find the range of every activation on images.

    Args:
        model: fp32 with a batch of one; it stays as it is.
        images: `(n, C, H, W)` float32, as the model takes them.
        method: One of `METHODS`.

    Raises:
        OfaNasError: The images do not fit the model, or there is no room for a while's files.
    """
    shape = tuple(size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim)
    if images.ndim != 4 or not len(images) or images.shape[1:] != shape[1:]:
        wanted = ", ".join(map(str, shape[1:]))
        raise OfaNasError(f"calibration images have shape {images.shape}; expected (n, {wanted})")
    name, (kind, options) = model.graph.input[0].name, _METHODS[method]
    with _scratch() as folder, contextlib.redirect_stdout(io.StringIO()):  # histograms are announced there
        source = folder / "fp32.onnx"
        onnx.save(_prepared(model), source)
        calibrator = create_calibrator(
            source,
            augmented_model_path=str(folder / "augmented.onnx"),
            calibrate_method=kind,
            extra_options=options,
        )
        for start in range(0, len(images), _AT_ONCE):
            calibrator.collect_data(_Reader(name, images[start : start + _AT_ONCE]))
        ranges: TensorsData = calibrator.compute_data()
    return ranges


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    except OSError as error:
        told = tempfile.tempdir or "a folder for temporary files"
        raise FileError(f"{told}: cannot be written to: {error.strerror or error}; set TMPDIR") from error


def quantize_by_ranges(
    model: onnx.ModelProto, ranges: TensorsData, *, keep: Collection[str] = ()
) -> onnx.ModelProto:
    """Quantise weights and activations to 8 bits; inputs and outputs of the model stay fp32.

    Weights are symmetric int8, one scale an output channel; activations asymmetric uint8, one scale a tensor.
    Pairs of QuantizeLinear and DequantizeLinear say so in the file (QDQ), and ONNX Runtime makes integer
    operators of them. ReLU and ReLU6 become the bounds of a range. uint8 serves every processor: with int8
    activations, ONNX Runtime 1.31 leaves convolutions beside residual additions in fp32 on x86 (14 of 49 in
    EfficientNet-Lite), and on ARM it has kernels for both. On x86 processors without VNNI a session needs
    `devices.agent.EXACT_PRODUCTS`.

    Args:
        model: fp32 with a batch of one; it stays as it is.
        ranges: Of its activations, as `find_ranges` gives them.
        keep: Names of nodes that are left in fp32.

    Returns:
        A model with the same inputs, outputs, metadata and names of tensors; the same for the same arguments.

    Source: ONNX Runtime's documentation, "Quantize ONNX models"; Krishnamoorthi 2018, arXiv:1806.08342,
        section 3 (a scale for each channel of the weights).
    """
    quantizer = QDQQuantizer(
        _prepared(model),
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=ranges,
        nodes_to_quantize=[],  # none named: all
        nodes_to_exclude=sorted(keep),
        op_types_to_quantize=sorted({*QLinearOpsRegistry, *QDQRegistry}),
        extra_options={},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    return _tidy(quantizer.model.model, model)


def quantize(model: onnx.ModelProto, images: npt.NDArray[np.float32]) -> onnx.ModelProto:
    """Quantise all of a model, each activation from its least to its largest value on images.

    See `find_ranges` and `quantize_by_ranges`.
    """
    return quantize_by_ranges(model, find_ranges(model, images))


class _Reader:
    """Images one at a time, as the quantiser asks for them."""

    def __init__(self, name: str, images: npt.NDArray[np.float32]) -> None:
        self.name = name
        self.rest: Iterator[npt.NDArray[np.float32]] = iter(images)

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        image = next(self.rest, None)
        return None if image is None else {self.name: image[None]}


def _prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    prepared = deepcopy(model)
    helper.set_model_props(prepared, _PREPARED)
    return prepared


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
