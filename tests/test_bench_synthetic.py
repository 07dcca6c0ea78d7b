"""The benchmark of learning without labels runs, goes on where it stood, and judges fairly."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.bench_synthetic import main
from benchmarks.linear_probe import Features, pooled_features, probe
from ofa_nas.data import Normalization
from ofa_nas.data.packed import PackedImages
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.elastic import EVALUATE
from tests.small_supernet import SmallSupernet
from tests.supernet.test_supernet import lively_supernet


@pytest.mark.campaign
@pytest.mark.slow
def test_a_short_run_prints_tables_and_goes_on(
    small: SmallSupernet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ["--space", "tiny", "--data", str(small.data), "--images", "64", "--batch-size", "16"]
    steps = ["--size-px", "16", "--steps", "8", "--labels", "0.1", "1.0", "--label-steps", "4"]
    arguments = [*short, *steps, "--folder", str(tmp_path)]
    starts = ["random", "random-closed", "noise", "dead-leaves", "real"]
    main([*arguments, "--seeds", "0", "--starts", "random", "noise"])
    first = json.loads(capsys.readouterr().out.splitlines()[-1])["outcomes"]
    main([*arguments, "--seeds", "0", "--starts", *starts])
    *table, line = capsys.readouterr().out.splitlines()
    outcomes = json.loads(line)["outcomes"]
    assert [outcomes[0], outcomes[2]] == first, "what was done is not done again"
    assert [one["start"] for one in outcomes] == starts
    assert all(sum(start in row.split()[:2] for row in table) == 3 for start in starts)
    for one in outcomes:
        assert set(one["probes"]) == {"last", "all"}
        assert set(one["largest"]) == {"0.1", "1"}
        assert bool(one["terms"]) == (one["start"] not in ("random", "random-closed"))
    assert len({one["probes"]["all"] for one in outcomes}) > 1
    assert not list(tmp_path.glob("*.safetensors"))


def test_the_probe_finds_a_linear_rule_and_no_rule_in_noise() -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(900, 6, generator=rng, dtype=torch.float64) * 5.0 + 3.0
    y = (x @ torch.randn(6, 4, generator=rng, dtype=torch.float64)).argmax(1)
    split = {"train": slice(0, 600), "test": slice(600, 900)}
    train, test = (Features(x[rows], y[rows]) for rows in split.values())
    assert probe(train, test) > 0.9
    shuffled = Features(train.x, train.y[torch.randperm(600, generator=rng)])
    assert probe(shuffled, test) < float(test.y.bincount().max()) / len(test.y) + 0.1


def test_features_are_what_the_classifier_sees(tiny: SearchSpace) -> None:
    supernet = lively_supernet(tiny)
    subnet = supernet.extract(tiny.largest)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    images = PackedImages(pixels, np.arange(5), ("a",) * 10)
    found = pooled_features(subnet, images, Normalization())
    assert found["last"].x.shape == (5, 16)
    assert found["all"].x.shape == (5, 2 * 8 + 2 * 16)
    x = (torch.from_numpy(pixels).float().permute(0, 3, 1, 2) - 127) / 128
    for layer in subnet.walk:
        if layer.name == "s1b1":
            x = subnet.run([layer], x, EVALUATE)
            break
        x = subnet.run([layer], x, EVALUATE)
    torch.testing.assert_close(found["last"].x.float(), x.mean(dim=(2, 3)), rtol=1e-4, atol=1e-5)
