"""A search, a file and a module by one call each: the same as by the command, record by record."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ofa_nas import Place, find_subnet, parse_budget, search_supernet
from ofa_nas.activity import Activity
from ofa_nas.errors import BudgetError, ConfigError, TableError
from ofa_nas.export.card import ModelCard, read_model
from ofa_nas.export.ort_model import OrtModel
from ofa_nas.pipeline.searching.estimators import Estimators
from ofa_nas.pipeline.searching.search import SearchResult
from ofa_nas.search.methods import Generation
from ofa_nas.space.search_space import SearchSpace
from tests.small_supernet import SmallSupernet, exact_table


@pytest.fixture
def board(tiny: SearchSpace, tmp_path: Path) -> str:
    """A table of `my-board`."""
    path = tmp_path / "board.json"
    replace(exact_table(tiny), name="my-board").save(path)
    return str(path)


def test_it_is_what_the_search_record_by_record_finds(
    small: SmallSupernet, board: str, exact: Estimators
) -> None:
    seen: list[object] = []
    found = find_subnet(
        small.name,
        latency={board: "6ms"},
        peak_memory="60kB",
        model_size="90kB",
        macs="900k",
        watch=seen.append,
    )
    budgets = [parse_budget("latency", "6ms", device="exact")]
    others = {"peak_memory": "60kB", "model_size": "90kB", "macs": "900k"}
    budgets += [parse_budget(name, text) for name, text in others.items()]
    *_, result = search_supernet(exact, budgets)
    assert isinstance(result, SearchResult)
    assert found.architecture == result.chosen.architecture
    assert (found.accuracy, len(found.front)) == (result.chosen.accuracy, len(result.front))
    assert dict(found.latencies_ms) == {"my-board": result.chosen.latencies_ms["exact"]}
    assert found.finals is None
    assert all(isinstance(one, Generation) for one in seen)
    assert seen
    assert str(found.architecture) in repr(found)
    assert "ms on my-board" in repr(found)


def test_options_reach_the_search(small: SmallSupernet, board: str) -> None:
    near = find_subnet(small.name, latency={board: "4ms"}, margin=0.0)
    far = find_subnet(small.name, latency={board: "4ms"}, margin=0.4)
    assert near.accuracy > far.accuracy
    assert find_subnet(small.name, precision="int8").estimators.precision == "int8"
    assert find_subnet(small.name, latency={board: None}).result.budgets == ()
    by_number = find_subnet(small.name, latency={board: 4}, peak_memory=60e3, macs=900_000).result
    by_text = find_subnet(small.name, latency={board: "4ms"}, peak_memory="60kB", macs="900k").result
    assert (by_number.budgets, by_number.chosen) == (by_text.budgets, by_text.chosen)


def test_it_is_exported_and_checked_and_is_a_module(small: SmallSupernet, tmp_path: Path) -> None:
    found = find_subnet(small.name, macs="900k")
    path, seen = tmp_path / "subnet.onnx", list[object]()
    delivery = found.export(path, watch=seen.append)
    assert delivery.is_met
    assert seen
    assert all(isinstance(one, Activity) for one in seen)
    model = read_model(path)
    assert ModelCard.from_model(model, path).arch == found.architecture
    file, images = OrtModel(model, delivery.card.normalization), small.held_out.images[:20]
    with torch.no_grad():
        logits = found.module()(file.inputs(images))
    np.testing.assert_allclose(file.logits(images), logits.numpy(), atol=1e-4)
    pixels = tmp_path / "pixels.onnx"
    assert found.export(pixels, has_preprocessing=True).is_met
    assert ModelCard.from_model(read_model(pixels), pixels).form.has_preprocessing
    whole = find_subnet(small.name, macs="900k", precision="int8").export(tmp_path / "int8.onnx")
    assert whole.card.form.precision == "int8"


def test_candidates_and_file_are_timed_where_the_device_is(
    small: SmallSupernet, board: str, tmp_path: Path
) -> None:
    found = find_subnet(small.name, latency={board: "1s"}, places={board: Place("host", threads=1)})
    assert found.finals is not None
    assert (found.finals.device, found.finals.address) == ("my-board", "host")
    assert found.architecture == found.finals.chosen.architecture
    delivery = found.export(tmp_path / "subnet.onnx")
    assert [check.device for check in delivery.checks if check.quantity == "latency"] == ["my-board"]


def test_what_cannot_be_is_one_error(small: SmallSupernet, board: str) -> None:
    with pytest.raises(BudgetError, match="MACs ≤ 1 k MACs cannot be met"):
        find_subnet(small.name, macs="1k")
    with pytest.raises(BudgetError, match="expected"):  # before anything is measured
        find_subnet(small.name, latency={"host": "soon"}, watch=lambda record: pytest.fail(str(record)))
    with pytest.raises(BudgetError, match="MACs budget of -1"):
        find_subnet(small.name, macs=-1)
    with pytest.raises(ConfigError, match="latency '3ms': expected a budget for each device, such as"):
        find_subnet(small.name, latency="3ms")  # type: ignore[arg-type]
    with pytest.raises(TableError, match="toaster: no such latency table"):
        find_subnet(small.name, latency={"toaster": "3ms"})
    with pytest.raises(ConfigError, match="places: 'pi': no such device in latency, which names none"):
        find_subnet(small.name, macs="1M", places={"pi": Place("host")})
    with pytest.raises(ConfigError, match="places: 'host' is an address already, and not ssh://pi"):
        find_subnet(small.name, latency={"host": "1ms"}, places={"host": Place("ssh://pi")})
    with pytest.raises(ConfigError, match="expected"):
        find_subnet(small.name, latency={board: "1s"}, places={board: Place("toaster")})
