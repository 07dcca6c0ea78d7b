"""The comparison of recipes is fair: twins are the same networks, and what a training costs is counted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.bench_recipes import FRONT, choose_front, draw_candidates
from benchmarks.recipe_trainings import (
    Job,
    Outcome,
    Results,
    alone_recipe,
    alone_space,
    count_macs,
    load_recipe,
)
from ofa_nas.data import Normalization
from ofa_nas.data.packed import PackedImages
from ofa_nas.errors import ConfigError
from ofa_nas.search.pareto import non_dominated
from ofa_nas.space.costs import network_macs
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.supernet import Supernet
from ofa_nas.training.batches import Batches
from ofa_nas.training.recipe import Recipe
from ofa_nas.training.step import Learner

BENCH_SPACE = Path(__file__).parents[1] / "benchmarks" / "three_stages.toml"


@pytest.mark.parametrize("name", ["tiny", str(BENCH_SPACE)])
def test_a_twin_is_the_same_network_as_the_extracted_subnet(name: str) -> None:
    space = SearchSpace.load(name)
    rng = torch.Generator().manual_seed(0)
    supernet = Supernet(space, rng)
    for module in supernet.modules():  # none zero, or what stands on a residual branch would not show
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5, generator=rng)
    encoding = Encoding.of(space)
    random = encoding.decode(encoding.sample(4, np.random.default_rng(0)))
    for arch in (space.smallest, space.largest, *random):
        alone = alone_space(space, arch)
        assert alone.cardinality == 1
        assert network_macs(alone, alone.largest) == network_macs(space, arch)
        subnet, twin = supernet.extract(arch), Supernet(alone)
        for own, theirs in zip(twin.state_dict().values(), subnet.state_dict().values(), strict=True):
            own.copy_(theirs)
        x = torch.randn(2, 3, arch.resolution, arch.resolution, generator=rng)
        torch.testing.assert_close(twin(x, alone.largest), subnet(x), rtol=1e-4, atol=1e-7)


def test_a_twin_learns_from_labels_alone_with_the_settings_of_the_recipe() -> None:
    recipe = load_recipe("sandwich:rate_floor=0.1", epochs=3.0, seed=5)
    twin = alone_recipe(recipe, 0.02)
    (phase,) = twin.phases
    assert (phase.teacher, phase.epochs, phase.learning_rate) == ("none", 3.0, 0.02)
    assert (phase.warmup, phase.rate_floor) == (recipe.phases[0].warmup, 0.1)
    assert replace(twin, name="", phases=recipe.phases) == replace(recipe, name="")


def test_changes_behind_a_recipe_are_made() -> None:
    recipe = load_recipe("progressive:rate_floor=0.05,random_subnets=3,divergence=alpha", epochs=2.0, seed=1)
    assert recipe.divergence == "alpha"
    assert {phase.rate_floor for phase in recipe.phases} == {0.05}
    assert [phase.random_subnets for phase in recipe.phases] == [0, 3, 3, 3, 3, 3]
    assert recipe.epochs == pytest.approx(2.0)
    assert recipe.seed == 1


@pytest.mark.parametrize("change", ["rate=1", "epochs=many", "divergence=beta"])
def test_a_change_that_is_none_is_refused(change: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        load_recipe(f"sandwich:{change}", epochs=1.0, seed=0)


@pytest.mark.parametrize("name", ["sandwich", "progressive"])
def test_the_macs_of_every_pass_are_counted_the_teachers_too(name: str, tiny: SearchSpace) -> None:
    space = replace(tiny.keep_largest(kernel_sizes=1, depths=1, expand_ratios=1), resolutions=(24,))
    recipe = replace(load_recipe(name, epochs=2.0, seed=0), batch_size=4)
    images = PackedImages(
        np.zeros((8, 32, 32, 3), dtype=np.uint8), np.zeros(8, dtype=np.int64), tuple("abcdefghij")
    )
    supernet = Supernet(space, torch.Generator().manual_seed(0))
    counted = count_macs(supernet)
    drawn = Batches(images, recipe, normalization=Normalization(), device=torch.device("cpu"))
    learner = Learner(supernet, drawn)
    expected = 0
    for step in range(recipe.total_steps(8)):
        learner.step(step)
        phase = recipe.position(step, 8).phase
        # of one architecture: every subnet is the largest, which the sandwich rule teaches nothing
        passes = {"none": 3, "largest": 3, "frozen": 1 + 3 * phase.random_subnets}
        expected += 4 * network_macs(space, space.largest) * passes[phase.teacher]
    assert counted[0] == expected


def test_the_chosen_are_of_the_front_and_spread_over_macs(tiny: SearchSpace) -> None:
    archs = draw_candidates(tiny, 0)[2:]
    macs = np.array([network_macs(tiny, arch) for arch in archs], dtype=np.float64)
    errors = 1.0 / macs + np.random.default_rng(0).uniform(0.0, 5e-6, len(archs))
    chosen = choose_front(tiny, archs, errors)
    flags = non_dominated(np.stack([errors, macs], axis=1))
    assert len(set(chosen)) == FRONT
    assert all(flags[archs.index(arch)] for arch in chosen)
    found = [network_macs(tiny, arch) for arch in chosen]
    assert found == sorted(found)
    assert found[-1] > 1.5 * found[0]


def test_what_was_done_is_found_again_and_nothing_else_is(tmp_path: Path, tiny: SearchSpace) -> None:
    recipe: Recipe = load_recipe("sandwich", epochs=1.0, seed=0)
    job = Job("sandwich", "", recipe, tiny, "cifar10", (8, 2, 3), (tiny.smallest,))
    bits = np.packbits([True, False, True]).tobytes().hex()
    path = tmp_path / "results.jsonl"
    Results(path).add(Outcome(job.settings, "abc", 64, 1.0, 2.0, (1,), (bits,)))
    again = Results(path)
    found = again.find(job)
    assert found is not None
    assert found.correct(0, 3).tolist() == [1.0, 0.0, 1.0]
    others = (replace(recipe, seed=1), replace(recipe, divergence="alpha"))
    assert all(again.find(replace(job, recipe=other)) is None for other in others)
    assert again.find(replace(job, images=(9, 2, 3))) is None
    assert again.find(replace(job, space=replace(tiny, resolutions=(32,)))) is None
