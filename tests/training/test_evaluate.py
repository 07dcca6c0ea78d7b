"""Accuracy of a subnet is a plain count over images, after calibration on whole batches."""

import numpy as np
import torch

from ofa_nas.data import Normalization
from ofa_nas.data.augment import to_input
from ofa_nas.data.packed import PackedImages
from ofa_nas.supernet.calibrate import calibrate
from ofa_nas.supernet.checkpoint import load_supernet
from ofa_nas.training.evaluate import BATCH_SIZE, accuracy_of, calibrated_subnet, count_correct
from tests.small_supernet import SmallSupernet

NORMALIZATION = Normalization()


def test_correct_images_are_counted_over_ragged_batches(small: SmallSupernet) -> None:
    supernet, card = load_supernet(small.files)
    held_out, arch = small.held_out, card.space.parse("24/5x3/3x2.5x3")
    rows = np.arange(130) % len(held_out)
    split = PackedImages(held_out.images[rows], held_out.labels[rows], held_out.class_names)
    subnet = calibrated_subnet(supernet, arch, images=small.calibration, normalization=NORMALIZATION)
    with torch.no_grad():
        logits = subnet(to_input(torch.from_numpy(split.images), 24, NORMALIZATION)).numpy()
    expected = int((logits.argmax(axis=1) == split.labels).sum())
    assert count_correct(subnet, split, normalization=NORMALIZATION) == expected
    found = accuracy_of(
        supernet, arch, calibration=small.calibration, split=split, normalization=NORMALIZATION
    )
    assert found == expected / 130
    assert found > 0.3


def test_calibration_uses_whole_batches_and_leaves_the_supernet_alone(small: SmallSupernet) -> None:
    supernet, card = load_supernet(small.files)
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    images, arch = small.calibration[: BATCH_SIZE + 30], card.space.middle
    found = calibrated_subnet(supernet, arch, images=images, normalization=NORMALIZATION)
    expected = supernet.extract(arch)
    whole = torch.from_numpy(np.ascontiguousarray(images[:BATCH_SIZE]))
    calibrate(expected, [to_input(whole, arch.resolution, NORMALIZATION)])
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name
    assert all(torch.equal(before[name], value) for name, value in supernet.state_dict().items())


def test_fewer_images_than_a_batch_calibrate_too(small: SmallSupernet) -> None:
    supernet, card = load_supernet(small.files)
    images, arch = small.calibration[:30], card.space.smallest
    found = calibrated_subnet(supernet, arch, images=images, normalization=NORMALIZATION)
    means = [value for name, value in found.state_dict().items() if name.endswith("running_mean")]
    original = supernet.extract(arch).state_dict()
    assert any(not torch.equal(found.state_dict()[name], value) for name, value in original.items())
    assert all(bool(torch.isfinite(mean).all()) for mean in means)
