"""Calibration gives a subnet the statistics of its own activations."""

import pytest
import torch

from ofa_nas.errors import DataError
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.calibrate import calibrate
from ofa_nas.supernet.elastic import TRAIN
from tests.supernet.test_supernet import images, lively_supernet


def test_calibrated_subnet_normalises_its_calibration_batch_as_training_does(tiny: SearchSpace) -> None:
    subnet = lively_supernet(tiny).extract(tiny.middle)
    x = images(tiny.middle, count=64)
    with torch.no_grad():
        by_batch = subnet(x, TRAIN)
        before = (subnet(x) - by_batch).abs().max()
        calibrate(subnet, [x])
        after = (subnet(x) - by_batch).abs().max()
    assert after < 0.01 * by_batch.abs().max()
    assert before > 10 * after


def test_statistics_are_means_over_batches(tiny: SearchSpace) -> None:
    subnet = lively_supernet(tiny).extract(tiny.middle)
    x = images(tiny.middle, count=8)
    means = []
    for part in torch.split(x, 4):
        calibrate(subnet, [part])
        means.append(subnet.state_dict()["layers.stem.conv.bn.running_mean"].clone())
    calibrate(subnet, torch.split(x, 4))
    found = subnet.state_dict()["layers.stem.conv.bn.running_mean"]
    torch.testing.assert_close(found, torch.stack(means).mean(dim=0))


def test_calibration_without_images_is_refused(tiny: SearchSpace) -> None:
    with pytest.raises(DataError, match="at least one batch"):
        calibrate(lively_supernet(tiny).extract(tiny.middle), [])
