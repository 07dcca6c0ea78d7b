"""The account reproduces what is published, to the tenth of a megabyte.

Source: Cai et al. 2020, arXiv:2007.11622, table 2 and figure 5; the other columns are a re-implementation's.
"""

from dataclasses import replace

import pytest

from ofa_nas.errors import ConfigError
from ofa_nas.space.costs import layer_parameters
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.transfer.account import account
from ofa_nas.transfer.methods import METHODS, Method

# method: parameters, activations of one image, batch 8, batch 1 [MB]
PUBLISHED = {
    "full": (18.986, 46.482, 390.8, 65.5),
    "bn": (5.264, 23.395, 192.4, 28.7),
    "last": (5.139, 3.211, 30.8, 8.3),
    "bias": (5.202, 3.312, 31.7, 8.5),
    "lite": (10.588, 3.312, 37.1, 13.9),
    "lite+bias": (10.634, 3.312, 37.1, 13.9),
}


@pytest.mark.parametrize("name", METHODS)
def test_the_published_figures_come_out(name: str, proxyless_lite: SearchSpace) -> None:
    found = account(proxyless_lite.layers(proxyless_lite.largest), METHODS[name])
    parameters, activations, batch_8, batch_1 = PUBLISHED[name]
    assert found.parameter_bytes / 1e6 == pytest.approx(parameters, abs=0.0006)
    assert found.activation_bytes / 1e6 == pytest.approx(activations, abs=0.0006)
    assert round(found.total(8) / 1e6, 1) == batch_8
    assert round(found.total(1) / 1e6, 1) == batch_1


@pytest.mark.parametrize(("resolution", "batch_8"), [(192, 30.1), (256, 45.2), (288, 54.4)])
def test_other_resolutions_too(resolution: int, batch_8: float, proxyless_lite: SearchSpace) -> None:
    space = replace(proxyless_lite, resolutions=(resolution,))
    found = account(space.layers(space.largest), METHODS["lite+bias"])
    assert round(found.total(8) / 1e6, 1) == batch_8


def test_the_network_has_the_published_number_of_parameters(
    proxyless_mobile: SearchSpace, proxyless_lite: SearchSpace
) -> None:
    counts = [
        sum(map(layer_parameters, space.layers(space.largest)))
        for space in (proxyless_mobile, proxyless_lite)
    ]
    assert counts == [2_930_174, 4_746_590]


def test_an_unknown_method_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"--method lora: expected one of full, last, .*lite\+bias"):
        Method.named("lora")
