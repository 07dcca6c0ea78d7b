"""What the training benchmark compares is the same network, whoever runs it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.static_network import StaticNetwork
from benchmarks.training_contenders import Setting, Workshop, peer_choices
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.elastic import TRAIN
from tests.supernet.test_supernet import images, lively_supernet

SETTING = Setting(space="tiny", batch=4, resolution=32, device="cpu", rounds=1, peer="", threads=1, seed=3)


@pytest.mark.parametrize("name", ["tiny", "efficientnet_lite", "mobilenet_v3"])
def test_the_static_network_is_the_subnet(name: str) -> None:
    space = SearchSpace.load(name)
    encoding = Encoding.of(space)
    (drawn,) = encoding.decode(encoding.sample(1, np.random.default_rng(0)))
    arch = replace(drawn, resolution=space.resolutions[0])
    subnet = lively_supernet(space).extract(arch)
    static = StaticNetwork(space, arch)
    static.copy_weights(subnet)
    x = images(arch)
    with torch.no_grad():
        trained = static(x)
        torch.testing.assert_close(trained, subnet(x, TRAIN), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(static.eval()(x), trained)
    assert sum(value.numel() for value in static.parameters()) == sum(
        value.numel() for value in subnet.parameters()
    )


def test_contenders_run_what_our_step_draws() -> None:
    workshop = Workshop(SETTING)
    drawn = workshop.architectures()
    assert drawn[:2] == (str(workshop.space.largest), str(workshop.space.smallest))
    assert len(drawn) == 4
    assert workshop.architectures() == drawn  # of every step alike
    for contender in SETTING.contenders:
        workshop.make(contender, drawn)()


def test_the_batch_is_one_that_a_training_draws() -> None:
    data = Workshop(SETTING).data
    assert data.x.shape == (4, 3, 32, 32)
    assert torch.equal(data.draw_anew(32)[0], data.x)
    assert data.draw(7, 32, torch.Generator())[0] is data.x
    assert data.y.shape == (4,)


def test_the_peer_gets_choices_for_absent_blocks_too() -> None:
    space = SearchSpace.load("mobilenet_v3")
    arch = space.parse("128/3x1/3x3.5x4/7x6.7x6.7x6.7x6/3x3.3x3.3x3/5x4.5x4/5x6.3x3")
    choices = peer_choices(arch)
    assert choices["d"] == [2, 4, 3, 2, 2]
    assert choices["ks"] == [3, 5, 5, 5, 7, 7, 7, 7, 3, 3, 3, 3, 5, 5, 5, 5, 5, 3, 3, 3]
    assert choices["e"] == [3, 4, 4, 4, 6, 6, 6, 6, 3, 3, 3, 3, 4, 4, 4, 4, 6, 3, 3, 3]
