"""What a measured search measures next: near the front of a predictor that knows what was measured so far."""

import hashlib
import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from ofa_nas.accuracy import AccuracySample, Draw, Top1, one_of_each
from ofa_nas.errors import CheckpointError
from ofa_nas.pipeline.predicting.sample_set import present_samples, tell_left_aside
from ofa_nas.pipeline.searching.estimators import Candidate, Estimators
from ofa_nas.pipeline.searching.search import SearchResult, search_supernet
from ofa_nas.predictor_file import load_predictor
from ofa_nas.predictors import Observations, PopulationPredictor, load_module
from ofa_nas.randomness import rng_of
from ofa_nas.search.budgets import Budget
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.encoding import Encoding

NEIGHBOURS = 2000  # mutations of the front that are looked at where its own members do not suffice
MUTATION_RATE = 0.1


def refit(estimators: Estimators, samples: Sequence[AccuracySample], *, kind: str, seed: int) -> Estimators:
    """The same with its predictor fitted to samples, the order of which does not matter.

    Args:
        estimators: Of the supernet.
        samples: Of its weights, one an architecture.
        kind: Of the predictor.
        seed: Of the fit.

    Raises:
        DataError: There are too few, or one is of another space.
    """
    whole = Encoding.of(estimators.card.space)
    observations = Observations.of(whole, sorted(samples, key=lambda one: one.arch))
    fitted = load_module(kind).fit(whole, observations, rng=rng_of(seed))
    return estimators.with_predictor(PopulationPredictor(fitted, Draw.of(samples)))


def propose(
    estimators: Estimators,
    result: SearchResult,
    known: Collection[str],
    *,
    count: int,
    rng: np.random.Generator,
) -> list[Candidate]:
    """Candidates within the budgets that nobody measured, the predicted best first.

    One half are the most accurate of the predicted front: the answer is among them if the predictor is right.
    The others are spread over the rest of the front, so that what is measured is a front too. Where it has
    no more, the best of its mutations serve.

    Args:
        estimators: That searched.
        result: What they found.
        known: Texts of architectures that are not wanted.
        count: At most so many.
        rng: Of the mutations.
    """
    within = [one for one in result.front if all(map(one.keeps, result.budgets))]
    fresh = [one for one in reversed(within) if str(one.architecture) not in known]
    best, rest = fresh[: -(-count // 2)], fresh[-(-count // 2) :]
    places = np.unique(np.linspace(0, len(rest) - 1, min(len(rest), count - len(best))).round().astype(int))
    chosen = best + [rest[place] for place in places]
    if len(chosen) == count or not within:
        return chosen
    taken = {*known, *(str(one.architecture) for one in chosen)}
    return chosen + _neighbours(estimators, within, result.budgets, taken, rng)[: count - len(chosen)]


def _neighbours(
    estimators: Estimators,
    front: Sequence[Candidate],
    budgets: Sequence[Budget],
    taken: Collection[str],
    rng: np.random.Generator,
) -> list[Candidate]:
    """Mutations within the budgets, by falling predicted accuracy."""
    encoding = estimators.encoding
    parents = encoding.encode([one.architecture for one in front])
    repeated = parents[np.arange(NEIGHBOURS) % len(parents)]
    genes = np.unique(encoding.mutate(repeated, rng, rate=MUTATION_RATE), axis=0)
    is_within = np.ones(len(genes), dtype=np.bool_)
    for budget in budgets:
        is_within &= estimators.costs[budget.key].values(genes) <= budget.searched_limit
    found = [one for one in estimators.candidates(genes[is_within]) if str(one.architecture) not in taken]
    return sorted(found, key=lambda one: one.accuracy, reverse=True)


@dataclass(frozen=True)
class Planner:
    """Says what is worth measuring, given what was measured: the same for the same samples.

    Attributes:
        estimators: With the predictor that the supernet has.
        searched: What they find.
        blank: A trial's sample but for its architecture and what was right.
        seed: Of everything random.
        method: Of further searches; None for the strongest.
        margin: As `searched` was searched with.
        kind: Of predictor.
        samples: Of the supernet, one an architecture.
    """

    estimators: Estimators
    searched: SearchResult
    blank: AccuracySample
    seed: int
    method: str | None
    margin: float | None
    kind: str
    samples: Sequence[AccuracySample]

    @classmethod
    def open(
        cls,
        estimators: Estimators,
        searched: SearchResult,
        blank: AccuracySample,
        *,
        seed: int,
        method: str | None,
        margin: float | None,
    ) -> Self:
        """Read a supernet's samples, and the kind of its predictor.

        Raises:
            CheckpointError: There are no samples of these weights.
        """
        files, card = estimators.files, estimators.card
        samples = present_samples(files, card, data=blank.data)
        if not samples:
            raise CheckpointError(
                f"{files.samples}: no samples of these weights, and the predictor is fitted to them and "
                "to trials; make some with ofa-nas predictor collect"
            )
        tell_left_aside(files, card, data=blank.data)
        others = [
            one
            for one in samples
            if one.data != blank.data or (one.draw == blank.draw and one.digest not in ("", blank.digest))
        ]
        if others:
            logging.getLogger(__name__).warning(
                "%s: %d samples of %s are on other data than the trials; the predictor learns from both: "
                "collect some on the data of the trials",
                *(files.samples, len(others), others[0].split),
            )
        kind = load_predictor(files.predictor, Encoding.of(card.space), weights=card.sha256).kind
        return cls(estimators, searched, blank, seed, method, margin, kind, samples)

    def about(self) -> dict[str, str]:
        """What it plans by, in words: whoever has another of them measures something else."""
        predictor = json.dumps(self.estimators.predictor.to_json(), sort_keys=True)
        return {
            "the predictor": f"{self.kind} {_digest(predictor)}",
            "the samples": f"{len(self.samples)} {_digest(str(sorted(map(str, self.samples))))}",
            "the method": self.method or "the strongest",
        }

    def known_top_1(self, arch: Architecture) -> Top1 | None:
        """What a sample tells that was measured just as trials are; None where there is none."""
        known = (one for one in self.samples if one.arch == str(arch) and one.is_alike(self.blank))
        return next((Top1(one.correct, one.images) for one in known), None)

    def search(self, measured: Sequence[AccuracySample]) -> tuple[Estimators, SearchResult]:
        """Fit the predictor to the supernet's samples and to those that were measured, and search."""
        if not measured:
            return self.estimators, self.searched
        samples = one_of_each([*self.samples, *measured])
        known = refit(self.estimators, samples, kind=self.kind, seed=self.seed)
        *_, last = search_supernet(
            known, self.searched.budgets, method=self.method, seed=self.seed, margin=self.margin
        )
        assert isinstance(last, SearchResult)
        return known, last

    def plan(
        self, measured: Sequence[AccuracySample], tried: Collection[str], *, number: int, count: int
    ) -> list[Candidate]:
        """At most `count` candidates of a round, by its number; nothing of what was tried."""
        known, result = self.search(measured)
        rng = rng_of(self.seed, 5, number)
        return propose(known, result, tried, count=count, rng=rng)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
