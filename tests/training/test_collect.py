"""Subnets spread over MACs, each evaluated once."""

from pathlib import Path

import numpy as np
import pytest

from ofa_nas.pipeline.evaluating.evaluation import Bench
from ofa_nas.pipeline.predicting.collecting import Collection
from ofa_nas.sample_store import SampleStore
from ofa_nas.space.costs import network_macs
from ofa_nas.space.encoding import Encoding
from ofa_nas.training.collect import fill_up, stratified_sample
from tests.predictors.worlds import LITE
from tests.small_supernet import SUBNETS, SmallSupernet


@pytest.mark.parametrize("count", [1, 2, 3, 10, 24, 60])
def test_a_stratified_sample_is_distinct_and_starts_with_the_ends(encoding: Encoding, count: int) -> None:
    archs = stratified_sample(encoding, count, np.random.default_rng(0))
    assert len(set(archs)) == len(archs) == count
    assert archs[:2] == [encoding.space.smallest, encoding.space.largest][:count]


@pytest.mark.parametrize("seed", range(5))
def test_a_stratified_sample_hits_every_bin_of_log_macs(encoding: Encoding, seed: int) -> None:
    bins, space = 24, encoding.space
    archs = stratified_sample(encoding, bins, np.random.default_rng(seed))
    macs = np.log([network_macs(space, arch) for arch in archs])
    hit = np.histogram(macs, bins=bins, range=(macs[0], macs[1] + 1e-9))[0]
    everything = encoding.sample(50_000, np.random.default_rng(0))
    possible = np.log([network_macs(space, arch) for arch in encoding.decode(np.unique(everything, axis=0))])
    filled = np.histogram(possible, bins=bins, range=(macs[0], macs[1] + 1e-9))[0] > 0
    assert (hit[filled] > 0).all()


def test_the_seed_decides_the_sample(encoding: Encoding) -> None:
    first, again, other = (stratified_sample(encoding, 20, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first == again
    assert set(first) != set(other)


@pytest.mark.parametrize(("first", "then"), [(60, 90), (150, 200), (24, 24), (30, 20)])
def test_a_larger_sample_is_filled_up_and_stays_spread(first: int, then: int) -> None:
    known = stratified_sample(LITE, first, np.random.default_rng(0))
    drawn = stratified_sample(LITE, then, np.random.default_rng(0))
    more = fill_up(LITE, drawn, known)
    assert len(more) == max(0, then - first)
    assert not set(more) & set(known)
    for begun in (more[:7], more):  # another worker, or the same one again
        rest = [arch for arch in more if arch not in begun]
        assert fill_up(LITE, drawn, [*begun, *known]) == rest
    if more:
        filled, at_once = (
            np.histogram(np.log([network_macs(LITE.space, arch) for arch in archs]), bins=10)[0]
            for archs in (known + more, drawn)
        )
        assert np.abs(filled - at_once).max() <= 0.2 * at_once.max()


def test_more_are_added_to_what_the_store_holds(small: SmallSupernet) -> None:
    plan = Collection.plan(Bench.open(small.name), count=SUBNETS + 6, data=str(small.data), images=60, seed=0)
    assert len(plan.archs) == 6
    assert not {str(arch) for arch in plan.archs} & {
        one.arch for one in SampleStore(small.files.samples).read()
    }


def test_what_the_store_holds_is_not_evaluated_again(small: SmallSupernet, tmp_path: Path) -> None:
    files = small.copy_to(tmp_path / "run")
    before = SampleStore(files.samples).read()
    assert len(before) == SUBNETS
    lines = files.samples.read_bytes().splitlines(keepends=True)
    files.samples.write_bytes(b"".join(lines[:5] + lines[8:]) + b'{"arch": "24/3x2')  # torn as by a kill
    plan = Collection.plan(
        Bench.open(str(files.weights)), count=SUBNETS, data=str(small.data), images=60, seed=0
    )
    assert [str(arch) for arch in plan.archs] == [sample.arch for sample in before[5:8]]
    assert list(plan.samples()) == before[5:8]
    assert sorted(SampleStore(files.samples).read(), key=str) == sorted(before, key=str)
