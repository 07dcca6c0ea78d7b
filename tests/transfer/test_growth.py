"""A process really grows by no more than is promised; the measurement is of a process of its own."""

from pathlib import Path

import pytest

from ofa_nas.errors import OfaNasError
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.transfer.growth import training_growth
from ofa_nas.transfer.methods import METHODS
from ofa_nas.transfer.network import transfer_space

needs_proc = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="not Linux")


@needs_proc
@pytest.mark.campaign
def test_from_500_to_20_megabytes(proxyless_mobile: SearchSpace) -> None:
    found = {}
    for name, batch_size, is_lean in (("full", 8, False), ("lite+bias", 1, True)):
        method = METHODS[name]
        space = transfer_space(proxyless_mobile, proxyless_mobile.largest, classes=102, method=method)
        grown = training_growth(space, method, batch_size=batch_size, is_lean=is_lean)
        assert grown is not None
        found[name, batch_size] = grown.step / 1e6
    assert found["full", 8] == pytest.approx(499, abs=25)
    assert found["lite+bias", 1] <= 20


@needs_proc
@pytest.mark.slow
def test_the_optimisers_state_is_that_of_adam(tiny: SearchSpace) -> None:
    method = METHODS["last"]
    space = transfer_space(tiny, tiny.smallest, classes=10, method=method)
    grown = training_growth(space, method, batch_size=2, is_lean=True)
    assert grown is not None
    assert grown.state == 2 * 4 * (64 * 10 + 10)


def test_a_process_that_fails_tells_its_last_words(
    tiny: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    method = METHODS["last"]
    space = transfer_space(tiny, tiny.smallest, classes=10, method=method)
    with pytest.raises(OfaNasError, match=r"last cannot be trained at batch 2 .*: it ended with 1"):
        training_growth(space, method, batch_size=2, is_lean=True)
