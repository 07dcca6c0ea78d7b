"""Finalists and files are timed on a board behind an address: a real sshd on the loopback."""

from dataclasses import replace
from pathlib import Path

import pytest

from ofa_nas.devices import MeasuringProtocol, open_device
from ofa_nas.errors import ConfigError
from ofa_nas.export.card import PredictedLatency
from ofa_nas.pipeline.delivery.deliver import deliver
from ofa_nas.pipeline.delivery.file_verification import Delivery, verify_file
from ofa_nas.pipeline.searching.estimators import Estimators
from ofa_nas.pipeline.searching.finalists import Finals, Site, measure_finalists, pick_finalists
from ofa_nas.pipeline.searching.promise import LatencyPromise, Promise
from ofa_nas.pipeline.searching.search import SearchResult, search_supernet
from ofa_nas.search.budgets import Budget
from ofa_nas.space.search_space import SearchSpace
from tests.devices.conftest import Loopback
from tests.small_supernet import SmallSupernet, exact_table

FAST = MeasuringProtocol(rounds=2, max_rounds=2, visit_ms=0.0, retries=0)


@pytest.mark.slow
def test_finalists_are_timed_on_the_board(board: Loopback, small: SmallSupernet, tiny: SearchSpace) -> None:
    table = exact_table(tiny)
    estimators = Estimators.load(small.name, table)
    *_, result = search_supernet(estimators, [Budget("latency", 5.0, "ms", "exact")])
    assert isinstance(result, SearchResult)
    loose = replace(result, budgets=(Budget("latency", 1e6, "ms", "exact"),))
    device = open_device(board.address)
    three = pick_finalists(loose, table.name, count=3)
    *visits, finals = measure_finalists(loose, three, tiny, Site(device, table, board.address, FAST))
    assert isinstance(finals, Finals)
    assert len(visits) == 2 * len(finals.finalists)
    assert finals.address == board.address
    assert finals.chosen == finals.finalists[0].candidate
    assert all(one.measured.latency_ms > 0.0 for one in finals.finalists)
    assert board.results == []  # nothing stays there


@pytest.mark.slow
def test_a_file_is_timed_on_the_board(
    board: Loopback, small: SmallSupernet, tiny: SearchSpace, tmp_path: Path
) -> None:
    path = tmp_path / "subnet.onnx"
    predicted = PredictedLatency("my-board", "measured", 1.0)
    promise = Promise(figures={}, latencies=(LatencyPromise(predicted, limit_ms=1e6, address=board.address),))
    *_, delivery = deliver(small.files, tiny.smallest, promise, output=path)
    assert isinstance(delivery, Delivery)
    checks = {check.quantity: check for check in delivery.checks}
    assert checks["latency"].predicted == 1.0
    assert checks["latency"].is_met
    assert f"{board.address}, 1 thread, predicted for my-board (measured)" in checks["latency"].note
    assert checks["answers"].is_met
    assert f"same class on {board.address} as on this machine: 8 of 8" in checks["answers"].note
    assert f"requested by ONNX Runtime on {board.address}" in checks["peak_memory"].note
    assert f"what a process on {board.address} gains" in checks["resident_memory"].note
    assert delivery.measured().keys() >= {"latency_ms", "latency_p90_ms", "rss_max_bytes"}

    tight = (Budget("latency", 1e-6, "ms", "my-board"),)
    name = str(small.files.weights)
    *_, again = verify_file(path, supernet=name, device=board.address, budgets=tight)
    assert isinstance(again, Delivery)
    assert [check.quantity for check in again.checks if not check.is_met] == ["latency"]
    assert board.results == []


def test_a_table_cannot_time_a_file(small: SmallSupernet, tiny: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "subnet.onnx"
    list(deliver(small.files, tiny.smallest, Promise(figures={}), output=path))
    with pytest.raises(ConfigError, match="--device rpi4: expected host, or ssh://USER@HOST for a board"):
        list(verify_file(path, supernet=str(small.files.weights), device="rpi4", budgets=()))
