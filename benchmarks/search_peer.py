"""once-for-all's own evolution, from a checkout, as a contender of `bench_search`."""

import contextlib
import importlib.util
import io
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.search_contenders import Contender, Outcome, Recorder
from ofa_nas.search.problem import Problem
from ofa_nas.space.encoding import Encoding, Genes

FINDER = Path("ofa", "tutorial", "evolution_finder.py")
BLOCKS_A_STAGE = 4
Sample = dict[str, Any]  # theirs: lists of kernel sizes `ks`, expand ratios `e`, depths `d`, resolution `r`


def once_for_all(checkout: Path) -> Contender:
    """Their loop as it stands, once for each budget; predictor and costs are those of all contenders.

    Their file asks on the terminal about budgets outside a range of its own, so the range is opened first.
    """
    path = checkout / FINDER
    spec = importlib.util.spec_from_file_location("once_for_all_finder", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise SystemExit(f"--peer {checkout}: no {FINDER} there; give a checkout of mit-han-lab/once-for-all")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.EvolutionFinder.valid_constraint_range = {"cost": [0.0, float("inf")]}

    def run(problem: Problem, seed: int) -> Outcome:
        recorder = Recorder(problem)
        for level in problem.at_levels():
            limit, predictor = float(level.limits[0]), _Predictor(recorder)
            finder = module.EvolutionFinder("cost", limit, predictor, predictor)
            finder.arch_manager.resolutions = list(predictor.encoding.space.resolutions)
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002  (theirs draws from it)
            with contextlib.redirect_stderr(io.StringIO()):  # a progress bar
                _, (_, sample, _) = finder.run_evolution_search()
            recorder.violations += not level.is_feasible(level.costs(predictor.genes([sample]))).all()
        return recorder.outcome()

    return run


class _Predictor:
    """Both of their predictors, by ours."""

    def __init__(self, recorder: Recorder) -> None:
        space, tables = recorder.problem.space, recorder.problem.tables
        assert isinstance(space, Encoding)
        assert tables is not None
        self.recorder, self.encoding = recorder, space
        (cost,) = tables.costs
        self.fixed, self.choices = cost.fixed.sum(axis=1).tolist(), cost.choices.tolist()
        self.places = {
            (block.kernel_size, block.expand_ratio): place
            for place, block in enumerate(space.space.stages[-1].choices, start=1)
        }

    def predict_efficiency(self, sample: Sample) -> float:
        """Cost of one of their samples, by look-up as theirs does."""
        (row,) = self.rows([sample])
        resolution = row[0]
        costs = self.choices[resolution]
        return float(self.fixed[resolution] + sum(costs[at][gene] for at, gene in enumerate(row[1:])))

    def predict_accuracy(self, samples: Sequence[Sample]) -> npt.NDArray[np.float64]:
        """Accuracies `(n, 1)`."""
        return (1.0 - self.recorder.score(self.genes(samples)).errors)[:, None]

    def genes(self, samples: Sequence[Sample]) -> Genes:
        """Of their samples, `(n, d)`."""
        return np.array(self.rows(samples), dtype=np.int16)

    def rows(self, samples: Sequence[Sample]) -> list[list[int]]:
        """Genes as lists; our first stage is the block that is the same in all of theirs."""
        found = []
        for sample in samples:
            row = [self.encoding.space.resolutions.index(sample["r"][0]), 1]
            for stage, depth in enumerate(sample["d"]):
                start = BLOCKS_A_STAGE * stage
                kinds = zip(
                    sample["ks"][start : start + depth], sample["e"][start : start + depth], strict=True
                )
                row += [self.places[kind] for kind in kinds] + [0] * (BLOCKS_A_STAGE - depth)
            found.append(row)
        return found
