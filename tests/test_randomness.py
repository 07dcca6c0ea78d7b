"""What is no source of randomness, or no seed, is told where it comes in."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from ofa_nas.data.synthetic import SyntheticImages
from ofa_nas.devices import MeasuringProtocol
from ofa_nas.errors import ConfigError
from ofa_nas.pipeline.evaluating.evaluation import Bench
from ofa_nas.pipeline.evaluating.judging import evaluate
from ofa_nas.pipeline.predicting.collecting import Collection
from ofa_nas.pipeline.predicting.predictor_fit import try_predictors
from ofa_nas.pipeline.predicting.predictor_report import report_predictor
from ofa_nas.pipeline.searching.cheapest import search_cheapest
from ofa_nas.pipeline.searching.estimators import Estimators
from ofa_nas.pipeline.searching.search import Goal, search_supernet
from ofa_nas.pipeline.training.starting import bootstrap_supernet
from ofa_nas.predictors import Observations, load_module
from ofa_nas.randomness import rng_of
from ofa_nas.search.budgets import Cost
from ofa_nas.search.choices import ChoiceSpace
from ofa_nas.search.methods import load_method
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.training.recipe import Recipe, Settings
from ofa_nas.training.splits import SplitSizes
from tests.search.worlds import every_architecture
from tests.small_supernet import SmallSupernet

TINY = Encoding.of(SearchSpace.load("tiny"))
CHOICES = ChoiceSpace((5,) * 6)
NO_RNG = r"rng .*: expected a Generator, such as numpy\.random\.default_rng\(0\)"
NO_SEED = r"^seed .*: expected a whole number, 0 or more$"


@pytest.mark.parametrize("seed", [0, 7, 2**40, np.int64(3)])
@pytest.mark.parametrize("stream", [(), (4,), (2, 3)])
def test_draws_of_a_seed_are_those_of_numpy(seed: int, stream: tuple[int, ...]) -> None:
    expected = np.random.default_rng([seed, *stream] if stream else seed)
    assert (rng_of(seed, *stream).integers(2**62, size=5) == expected.integers(2**62, size=5)).all()


@pytest.mark.parametrize("rng", [0, None, np.random, np.random.RandomState(0), np.random.PCG64(0)])
@pytest.mark.parametrize("space", [TINY, CHOICES], ids=["encoding", "choices"])
def test_a_space_draws_from_generators_only(space: Encoding | ChoiceSpace, rng: Any) -> None:
    genes = space.sample(2, np.random.default_rng(0))
    with pytest.raises(ConfigError, match=NO_RNG):
        space.sample(2, rng)
    with pytest.raises(ConfigError, match=NO_RNG):
        space.mutate(genes, rng, rate=0.5)
    with pytest.raises(ConfigError, match=NO_RNG):
        space.crossover(genes, genes, rng)


@pytest.mark.parametrize("method", ["ageing", "evolution", "local", "random", "optuna"])
def test_a_method_draws_from_generators_only(method: str) -> None:
    problem = CHOICES.problem(lambda genes: np.full(len(genes), 0.5))
    wrong: Any = 0
    with pytest.raises(ConfigError, match=NO_RNG):
        list(load_method(method).search(problem, rng=wrong, max_evaluations=100))


@pytest.mark.parametrize("kind", ["additive", "additive_gp", "macs", "mlp"])
def test_a_predictor_draws_from_generators_only(kind: str) -> None:
    genes = every_architecture()[:20]
    observations = Observations(genes, np.linspace(0.2, 0.8, 20), np.full(20, 1e-4))
    wrong: Any = 0
    with pytest.raises(ConfigError, match=NO_RNG):
        load_module(kind).fit(TINY, observations, rng=wrong)


SEEDED: dict[str, Callable[[SmallSupernet, Any], Any]] = {
    "search": lambda small, seed: search_supernet(Estimators.load(small.name), [], seed=seed),
    "search_cheapest": lambda small, seed: search_cheapest(
        Estimators.load(small.name), [], Goal(Cost("macs"), 0.1), seed=seed
    ),
    "evaluate": lambda small, seed: evaluate(small.name, ["smallest"], images=2, seed=seed),
    "collect": lambda small, seed: Collection.plan(
        Bench.open(small.name), count=40, data=f"folder={small.data}", images=2, seed=seed
    ),
    "fit": lambda small, seed: try_predictors(small.name, kind="macs", seed=seed),
    "report": lambda small, seed: report_predictor(small.name, kind="macs", seed=seed),
    "splits": lambda _, seed: SplitSizes(seed=seed),
    "images": lambda _, seed: SyntheticImages.plan("noise", mode=None, count=1, size_px=32, seed=seed),
}
BOUNDED: dict[str, Callable[[SmallSupernet, Any], Any]] = {
    "recipe": lambda _, seed: replace(Recipe.load("sandwich"), seed=seed),
    "settings": lambda _, seed: Recipe.load("sandwich").override(Settings(seed=seed)),
    "protocol": lambda _, seed: MeasuringProtocol(seed=seed),
    "bootstrap": lambda small, seed: bootstrap_supernet(
        small.name, output=small.files.weights.with_name("other.safetensors"), data=None, seed=seed
    ),
}


@pytest.mark.parametrize("seed", [np.int64(3), np.uint8(3), 3])
def test_a_seed_is_kept_as_what_a_file_can_hold(seed: int) -> None:
    kept: tuple[Any, ...] = (
        replace(Recipe.load("sandwich"), seed=seed),
        Settings(seed=seed),
        MeasuringProtocol(seed=seed),
        SplitSizes(seed=seed),
        SyntheticImages.plan("noise", mode=None, count=1, size_px=32, seed=seed),
    )
    for one in kept:
        assert json.loads(json.dumps(asdict(one)))["seed"] == 3


@pytest.mark.parametrize("seed", [-1, "0", 0.5, None])
@pytest.mark.parametrize("work", SEEDED)
def test_what_is_no_seed_is_refused(small: SmallSupernet, work: str, seed: Any) -> None:
    with pytest.raises(ConfigError, match=NO_SEED):
        list(SEEDED[work](small, seed))


@pytest.mark.parametrize("seed", [-1, "0", 0.5, None, 2**63 + 1])
@pytest.mark.parametrize("work", BOUNDED)
def test_so_is_one_that_torch_or_a_board_cannot_take(small: SmallSupernet, work: str, seed: Any) -> None:
    with pytest.raises(ConfigError, match=r"^seed .*: expected a whole number from 0 to [0-9]+$"):
        BOUNDED[work](small, seed)
    assert not small.files.weights.with_name("other.safetensors").exists()
