"""ONNX Runtime classifies as torch does, on as many cores as it may, and what it refuses is told."""

import numpy as np
import onnx
import pytest

from ofa_nas.data import Normalization
from ofa_nas.data.packed import PackedImages
from ofa_nas.errors import VerificationError
from ofa_nas.export.ort_model import OrtModel, count_correct_in_file
from ofa_nas.supernet.supernet import Subnet
from ofa_nas.training.evaluate import count_correct
from tests.small_supernet import SmallSupernet


def test_the_file_classifies_as_torch_does(
    exported: tuple[Subnet, onnx.ModelProto], small: SmallSupernet
) -> None:
    subnet, model = exported
    held_out, normalization = small.held_out, Normalization()
    rows = np.arange(130) % len(held_out)
    split = PackedImages(held_out.images[rows], held_out.labels[rows], held_out.class_names)
    counts = list(count_correct_in_file(OrtModel(model, normalization), split))
    assert [count.images for count in counts] == [100, 130]
    assert counts[-1].correct == count_correct(subnet, split, normalization=normalization)
    assert counts[-1].accuracy > 0.3


def test_images_run_on_as_many_cores_as_are_asked_for_or_this_process_may_use(
    exported: tuple[Subnet, onnx.ModelProto], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, model = exported
    assert OrtModel(model, Normalization(), threads=3).workers == 3
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {1, 5}, raising=False)
    assert OrtModel(model, Normalization()).workers == 2
    monkeypatch.delattr("os.sched_getaffinity")
    assert OrtModel(model, Normalization()).workers == 64


def test_a_model_that_cannot_run_is_refused(exported: tuple[Subnet, onnx.ModelProto]) -> None:
    broken = onnx.ModelProto()
    broken.CopyFrom(exported[1])
    del broken.graph.initializer[3]
    with pytest.raises(VerificationError, match="ONNX Runtime refuses the model"):
        OrtModel(broken, Normalization())
