"""The benchmark of tickets runs on real images, keeps what is done, and its ticket beats a random mask."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.bench_lottery import lenet, main, shuffle
from ofa_nas.data.dataset import open_data
from ofa_nas.errors import OfaNasError
from ofa_nas.pruning.masks import full_masks, prune_smallest


@pytest.mark.campaign
@pytest.mark.slow
def test_a_short_run_prints_a_table_and_one_json_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        open_data("fashion_mnist")
    except OfaNasError as error:
        pytest.skip(f"no Fashion-MNIST: {error}")
    short = ["--seeds", "0", "--rounds", "4", "--iterations", "250", "--share", "0.5", "--images", "15000"]
    for _ in range(2):
        main([*short, "--folder", str(tmp_path)])
        *table, line = capsys.readouterr().out.splitlines()
        assert any("random mask" in row for row in table)
    document = json.loads(line)
    outcomes = {one["network"]: one for one in document["outcomes"]["0"]}
    assert list(outcomes) == ["dense", "round 1", "round 2", "round 3", "ticket", "drawn anew", "random mask"]
    assert outcomes["ticket"]["density"] == pytest.approx(0.5**4, abs=0.005)
    assert (
        outcomes["drawn anew"]["density"]
        == outcomes["random mask"]["density"]
        == outcomes["ticket"]["density"]
    )
    assert outcomes["ticket"]["final"] > outcomes["random mask"]["final"]
    assert outcomes["dense"]["final"] > 0.75
    assert len(list(tmp_path.rglob("seed_0.json"))) == 1


def test_shuffled_masks_leave_as_many_weights_of_each_layer_elsewhere() -> None:
    generator = torch.Generator().manual_seed(1)
    network = lenet(generator)
    weights, masks = dict(network.named_parameters()), full_masks(network)
    masks = prune_smallest(weights, masks, share=0.7, scope="global", halved=frozenset())
    others = shuffle(masks, generator)
    for key, mask in masks.items():
        assert int(others[key].sum()) == int(mask.sum())
        assert not torch.equal(others[key], mask)
