"""Batches of any size, and pixels instead of numbers: the same logits."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest

from ofa_nas.data import Normalization
from ofa_nas.errors import ConfigError
from ofa_nas.export.export import export_subnet, model_card
from ofa_nas.export.interface import SINGLE_PRECISION, FileForm, preprocessing_bytes, with_batch
from ofa_nas.export.ort_model import OrtModel
from ofa_nas.export.precision import to_half
from ofa_nas.export.verify import check_memory
from ofa_nas.onnx_writer import IMAGE, LOGITS, random_weights, write_model
from ofa_nas.quantization import quantize
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.checkpoint import load_supernet
from tests.small_supernet import SmallSupernet
from tests.torch_reference import relative_error, run_onnx

UNEVEN = Normalization((120.0, 127.0, 90.0), (60.0, 128.0, 31.0))


@pytest.fixture(scope="module")
def fp32(small: SmallSupernet) -> onnx.ModelProto:
    supernet, card = load_supernet(small.files)
    own = model_card(small.files.name, card, card.space.smallest, {})
    return export_subnet(supernet, own, calibration=small.calibration)[1]


@pytest.mark.parametrize("is_half", [False, True])
@pytest.mark.parametrize("batch", [1, 3, None])
@pytest.mark.parametrize("has_preprocessing", [False, True])
def test_every_form_gives_the_logits_of_the_plain_one(
    batch: int | None, has_preprocessing: bool, is_half: bool, fp32: onnx.ModelProto, small: SmallSupernet
) -> None:
    before = fp32.SerializeToString()
    plain = to_half(fp32) if is_half else fp32
    form = FileForm("fp16" if is_half else "fp32", batch, has_preprocessing)
    model = form.apply(plain, UNEVEN)
    assert fp32.SerializeToString() == before
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    images = small.held_out.images[:7, :24, :24]  # of the network's own resolution: nothing is resized
    wanted = OrtModel(plain, UNEVEN).logits(images)
    file = OrtModel(model, UNEVEN)
    assert (file.batch, file.takes_pixels) == (batch, has_preprocessing)
    tolerance = 2e-2 if is_half else 1e-5
    np.testing.assert_allclose(file.logits(images), wanted, atol=tolerance * np.abs(wanted).max())


def test_a_dynamic_batch_takes_any_number_at_once(fp32: onnx.ModelProto, small: SmallSupernet) -> None:
    images = np.ascontiguousarray(small.held_out.images[:5, :24, :24])
    model = FileForm(batch=None, has_preprocessing=True).apply(fp32, UNEVEN)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = OrtModel(fp32, UNEVEN).logits(images)
    for count in (1, 2, 5):
        logits = session.run([LOGITS], {IMAGE: images[:count]})[0]
        np.testing.assert_allclose(logits, wanted[:count], atol=1e-4)


@pytest.fixture(scope="module", params=["tiny", "conv1d"])
def lite(request: pytest.FixtureRequest) -> onnx.ModelProto:
    """Lite residual modules of images of 28 px (4 and 3 to 7 among them), and of signals of 97 samples."""
    size = {"tiny": 28, "conv1d": 97}[request.param]
    space = replace(SearchSpace.load(request.param), resolutions=(size,))
    own = replace(space.only(Architecture(size, space.largest.stages)), lite=True, folded=True)
    layers = list(own.layers(own.largest))
    return write_model(layers, random_weights(layers, np.random.default_rng(2)))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_lite_residual_modules_take_any_batch(precision: str, lite: onnx.ModelProto) -> None:
    shape = [axis.dim_value for axis in lite.graph.input[0].type.tensor_type.shape.dim]
    images = np.random.default_rng(3).standard_normal((3, *shape[1:])).astype(np.float32)
    one = {"fp32": lite, "fp16": to_half(lite), "int8": quantize(lite, images)}[precision]
    wanted = np.concatenate([run_onnx(one, images[row : row + 1]) for row in range(3)])
    tolerance = {"fp32": 1e-5, "fp16": 1e-2, "int8": 1e-5}[precision]
    for batch in (3, None):
        model = FileForm(precision, batch).apply(one, UNEVEN)
        assert relative_error(run_onnx(model, images), wanted) < tolerance
        again = with_batch(with_batch(model, None), 1)
        assert relative_error(run_onnx(again, images[:1]), wanted[:1]) < tolerance


def test_what_is_timed_of_a_dynamic_file_is_one_image(fp32: onnx.ModelProto) -> None:
    dynamic = OrtModel(FileForm(batch=None).apply(fp32, UNEVEN), UNEVEN)
    assert onnx.load_from_string(dynamic.timed()).graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
    fixed = OrtModel(fp32, UNEVEN)
    assert fixed.timed() is fixed.content


def test_a_file_of_pixels_can_be_measured(fp32: onnx.ModelProto) -> None:
    model = FileForm(has_preprocessing=True).apply(fp32, UNEVEN)
    peak, resident = check_memory(OrtModel(model, UNEVEN), "host", predicted=None, limit=None)
    assert peak.measured >= preprocessing_bytes(24)
    assert resident.measured > 0


@pytest.mark.parametrize(
    ("precision", "batch", "message"),
    [("int4", 1, "precision int4: expected fp32, fp16, int8"), ("fp32", 0, "batch 0: expected 1 to 256")],
)
def test_no_such_form(precision: str, batch: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FileForm(precision, batch)
    assert FileForm() == SINGLE_PRECISION
