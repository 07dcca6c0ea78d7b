"""What a file loses against torch is counted image by image, and its limit allows for noise."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ofa_nas.export.comparison import TorchAgreement, check_comparison, compare_with_torch
from ofa_nas.export.export import export_subnet, model_card
from ofa_nas.export.ort_model import OrtModel
from ofa_nas.supernet.checkpoint import load_supernet
from ofa_nas.training.evaluate import count_correct
from tests.small_supernet import SmallSupernet


def test_drop_and_its_noise_in_closed_form() -> None:
    found = TorchAgreement(images=1000, agreeing=900, both=600, file_alone=20, torch_alone=60)
    assert found.top_1.accuracy == pytest.approx(0.62)
    assert found.drop == pytest.approx(0.04)
    assert found.agreement == pytest.approx(0.9)
    differences = np.array([1.0] * 60 + [-1.0] * 20 + [0.0] * 920)
    assert found.half_width == pytest.approx(1.645 * differences.std() / np.sqrt(1000))


@pytest.mark.parametrize(
    ("torch_alone", "is_met", "exceeds"),
    [(0, True, False), (10, True, False), (15, True, True), (40, False, True)],
)
def test_a_drop_breaks_its_limit_when_its_whole_interval_does(
    torch_alone: int, is_met: bool, exceeds: bool
) -> None:
    found = TorchAgreement(images=1000, agreeing=900, both=600, torch_alone=torch_alone)
    agreement, drop = check_comparison(found)
    assert (agreement.measured, agreement.is_met) == (0.9, True)
    assert drop.measured == pytest.approx(torch_alone / 1000)
    assert (drop.is_met, drop.exceeds_budget) == (is_met, exceeds)
    assert "torch has " in drop.note
    assert check_comparison(found, limit=0.5)[1].is_met


def test_a_file_is_compared_with_its_own_subnet(small: SmallSupernet) -> None:
    supernet, card = load_supernet(small.files)
    own = model_card(small.files.name, card, card.space.smallest, {})
    subnet, model = export_subnet(supernet, own, calibration=small.calibration)
    *_, same = compare_with_torch(OrtModel(model, own.normalization), subnet, small.held_out)
    correct = count_correct(subnet, small.held_out, normalization=own.normalization)
    assert same == TorchAgreement(len(small.held_out), len(small.held_out), correct)
    spoilt = onnx.ModelProto()
    spoilt.CopyFrom(model)
    tensor = next(one for one in spoilt.graph.initializer if one.name == "classifier/linear.bias")
    values = np.array(numpy_helper.to_array(tensor))
    values[3] += 100.0  # always the fourth class
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    *_, found = compare_with_torch(OrtModel(spoilt, own.normalization), subnet, small.held_out)
    fourth = int((small.held_out.labels == 3).sum())
    assert found.both + found.file_alone == fourth
    assert found.both + found.torch_alone == correct
    assert replace(found, images=1).drop == correct - fourth
    assert not check_comparison(found)[1].is_met
