"""What tests of the pipeline share: a trained supernet, a device whose latency is known in closed form."""

import pytest

from ofa_nas.pipeline.searching.estimators import Candidate, Estimators
from ofa_nas.space.search_space import SearchSpace
from tests.pipeline.enumerated import EVERY
from tests.small_supernet import SmallSupernet, exact_table


@pytest.fixture(scope="module")
def exact(small: SmallSupernet, tiny: SearchSpace) -> Estimators:
    """With a device whose latency is known in closed form."""
    return Estimators.load(small.name, exact_table(tiny))


@pytest.fixture(scope="module")
def candidates(exact: Estimators) -> list[Candidate]:
    """All 800 architectures of the space."""
    return exact.candidates(EVERY)
