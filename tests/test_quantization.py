"""Quantised models: integer operators throughout, near the fp32 model, and as they were called before."""

import errno
import logging
import os
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from ofa_nas.devices.agent import EXACT_PRODUCTS
from ofa_nas.errors import FileError, OfaNasError
from ofa_nas.onnx_writer import random_weights, write_model
from ofa_nas.precisions import INT8
from ofa_nas.quantization import quantize
from ofa_nas.space.blocks import input_shape
from ofa_nas.space.layer import Layer
from ofa_nas.space.precision import weight_bytes
from ofa_nas.space.search_space import SearchSpace
from tests.torch_reference import run_onnx

SPACES = [
    "tiny",
    pytest.param("efficientnet_lite", marks=pytest.mark.slow),
    pytest.param("mobilenet_v3", marks=pytest.mark.slow),
]


@dataclass(frozen=True, slots=True)
class Pair:
    """A model in both precisions, and images that calibrated nothing."""

    layers: list[Layer]
    fp32: onnx.ModelProto
    int8: onnx.ModelProto
    images: npt.NDArray[np.float32]


def make_pair(name: str) -> Pair:
    space, rng = SearchSpace.load(name), np.random.default_rng(0)
    layers = list(space.layers(space.smallest))
    images = rng.standard_normal((5, *input_shape(layers[0]))).astype(np.float32)
    fp32 = write_model(layers, random_weights(layers, rng), metadata={"ofa_nas.arch": str(space.smallest)})
    return Pair(layers, fp32, quantize(fp32, images[:1]), images[1:])


@pytest.fixture(scope="module")
def tiny_pair() -> Pair:
    return make_pair("tiny")


def optimized_operators(model: onnx.ModelProto, path: Path) -> Counter[str]:
    """What ONNX Runtime really runs: the graph that it writes when all its optimisations are done."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    options.add_session_config_entry(*EXACT_PRODUCTS)
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("tiny", 2.8, 3.2),
        ("conv1d", 0.9, 1.1),
        pytest.param("efficientnet_lite", 0.04, 0.1, marks=pytest.mark.slow),
    ],
)
def test_an_int8_file_is_larger_than_its_weights_as_docs_search_md_says(
    name: str, least: float, most: float
) -> None:
    pair = make_pair(name)
    weights = sum(weight_bytes(layer, INT8) for layer in pair.layers)
    assert least < pair.int8.ByteSize() / weights - 1.0 < most


@pytest.mark.parametrize("name", SPACES)
def test_every_convolution_and_sum_runs_on_integers_and_logits_stay_near(name: str, tmp_path: Path) -> None:
    pair = make_pair(name)
    before = Counter(node.op_type for node in pair.fp32.graph.node)
    after = optimized_operators(pair.int8, tmp_path / "optimized.onnx")
    assert after["QLinearConv"] == before["Conv"] > 10
    assert after["QLinearAdd"] == before["Add"]
    assert after["QLinearMul"] == before["Mul"]
    assert after["QLinearGlobalAveragePool"] == before["GlobalAveragePool"]
    assert after["QGemm"] == before["Gemm"] == 1
    assert not {"Conv", "Gemm", "Add", "Clip", "GlobalAveragePool"} & set(after)
    for image in pair.images:
        wanted, got = (run_onnx(model, image[None]).ravel() for model in (pair.fp32, pair.int8))
        assert wanted @ got > 0.99 * np.linalg.norm(wanted) * np.linalg.norm(got)


def test_weights_are_int8_a_channel_and_activations_uint8_a_tensor(tiny_pair: Pair) -> None:
    held = {one.name: one for one in tiny_pair.int8.graph.initializer}
    fp32 = {one.name: one for one in tiny_pair.fp32.graph.initializer}
    weights = [name for name in fp32 if name.endswith(".weight")]
    assert len(weights) > 10
    for name in weights:
        assert held[f"{name}_quantized"].data_type == TensorProto.INT8
        assert tuple(held[f"{name}_scale"].dims) == (fp32[name].dims[0],)
        assert not any(onnx.numpy_helper.to_array(held[f"{name}_zero_point"]).ravel())
        assert name not in held
    steps = [node for node in tiny_pair.int8.graph.node if node.op_type == "QuantizeLinear"]
    assert {held[node.input[2]].data_type for node in steps} == {TensorProto.UINT8}
    assert {tuple(held[node.input[1]].dims) for node in steps} == {()}


def test_names_metadata_and_ends_of_the_model_stay(tiny_pair: Pair) -> None:
    fp32, int8 = tiny_pair.fp32, tiny_pair.int8
    assert list(int8.graph.input) == list(fp32.graph.input)
    assert list(int8.graph.output) == list(fp32.graph.output)
    assert list(int8.metadata_props) == list(fp32.metadata_props)
    assert (int8.producer_name, int8.ir_version) == (fp32.producer_name, fp32.ir_version)
    assert list(int8.opset_import) == list(fp32.opset_import)
    names = {layer.name for layer in tiny_pair.layers} | {"image", "logits"}
    for node in int8.graph.node:
        assert node.name.split("/")[0].split("_Q")[0].split("_D")[0] in names
        assert node.op_type != "Constant"  # of a Clip that is gone


def test_the_same_images_give_the_same_model_and_the_argument_stays(tiny_pair: Pair) -> None:
    before = tiny_pair.fp32.SerializeToString()
    first, again = (quantize(tiny_pair.fp32, tiny_pair.images) for _ in range(2))
    assert first.SerializeToString() == again.SerializeToString()
    assert tiny_pair.fp32.SerializeToString() == before
    assert first.SerializeToString() != tiny_pair.int8.SerializeToString()  # other images, other scales


def test_scales_hold_the_widest_of_all_images(tiny_pair: Pair) -> None:
    images = tiny_pair.images.copy()
    images[-1, 0, 0, 0] = 100.0
    held = {one.name: one for one in quantize(tiny_pair.fp32, images).graph.initializer}
    scale = float(onnx.numpy_helper.to_array(held["image_scale"]))
    assert scale == pytest.approx((100.0 - images.min()) / 255, rel=1e-3)


@pytest.mark.parametrize("shape", [(0, 3, 24, 24), (1, 3, 32, 32), (3, 24, 24)])
def test_images_of_another_shape_are_refused(tiny_pair: Pair, shape: tuple[int, ...]) -> None:
    with pytest.raises(OfaNasError, match=r"calibration images have shape \(.*expected \(n, 3, 24, 24\)"):
        quantize(tiny_pair.fp32, np.zeros(shape, dtype=np.float32))


def test_a_folder_for_temporary_files_without_room_is_named(
    tiny_pair: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(onnx, "save", refuse)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(FileError, match=f"{tmp_path}: cannot be written to: No space left .*; set TMPDIR"):
        quantize(tiny_pair.fp32, tiny_pair.images)


def test_the_quantiser_says_nothing_and_sets_up_no_logging(
    tiny_pair: Pair, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    quantize(tiny_pair.fp32, tiny_pair.images)
    assert logging.getLogger().handlers == []
    assert capfd.readouterr() == ("", "")
