"""The network that the literature's figures of training memory are of."""

from dataclasses import replace
from pathlib import Path

import pytest

from ofa_nas.space.search_space import SearchSpace

BLOCKS = "3x1/5x3.3x3/7x3.3x3.5x3.5x3/7x6.5x3.5x3.5x3/5x6.5x3.5x3.5x3/7x6.7x6.7x3.7x3/7x6"


@pytest.fixture(scope="session")
def proxyless_mobile() -> SearchSpace:
    """ProxylessNAS-Mobile at 224 px and 102 classes: a space of one architecture."""
    space = SearchSpace.load(str(Path(__file__).with_name("proxyless_mobile.toml")))
    return space.only(space.parse(f"224/{BLOCKS}"))


@pytest.fixture(scope="session")
def proxyless_lite(proxyless_mobile: SearchSpace) -> SearchSpace:
    """The same with its lite residual modules."""
    return replace(proxyless_mobile, lite=True)
