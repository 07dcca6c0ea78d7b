"""A subnet and its file."""

import onnx
import pytest

from ofa_nas.export.export import export_subnet, model_card
from ofa_nas.supernet.checkpoint import load_supernet
from ofa_nas.supernet.supernet import Subnet
from tests.small_supernet import SmallSupernet


@pytest.fixture(scope="module")
def exported(small: SmallSupernet) -> tuple[Subnet, onnx.ModelProto]:
    supernet, card = load_supernet(small.files)
    own = model_card(small.files.name, card, card.space.parse("24/5x2.3x3/3x3"), {})
    return export_subnet(supernet, own, calibration=small.calibration)
