"""Search by real evaluations: measure near the predicted front, fit the predictor anew, search again.

A study in a storage holds every trial, so that a search can be stopped and gone on with, and any number of
processes and machines can work at it.
"""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ofa_nas.accuracy import AccuracySample, Top1
from ofa_nas.data.packed import PackedImages
from ofa_nas.devices import MeasuringProtocol, Visit, open_device
from ofa_nas.devices.quiet import quiet, working
from ofa_nas.errors import ConfigError
from ofa_nas.latency.measure import Measurement
from ofa_nas.latency.references import Timed
from ofa_nas.pipeline.evaluating.evaluation import Bench
from ofa_nas.pipeline.measured.proposals import Planner
from ofa_nas.pipeline.measured.trials import (
    PLANNER,
    ROUND,
    MeasuredTrial,
    about,
    choices,
    measured_notes,
    objective_values,
    objectives,
    params,
    proposal_notes,
    read_candidate,
    read_trial,
    round_of,
)
from ofa_nas.pipeline.searching.estimators import Candidate, Estimators
from ofa_nas.pipeline.searching.finalists import time_architectures
from ofa_nas.pipeline.searching.promise import Places
from ofa_nas.pipeline.searching.search import SearchResult
from ofa_nas.search.pareto import non_dominated
from ofa_nas.search.storage import open_storage, storage_name
from ofa_nas.search.study import State, Study, Trial, counted_trials
from ofa_nas.space.architecture import Architecture

ROUND_TRIALS = 8  # measured between two fits of the predictor
POLL_S = 1.0  # between two looks at what other workers do
TURN_S = 600.0  # that other workers may take on a device before who waits says so


@dataclass(frozen=True, slots=True)
class MeasuredSetup:
    """How a measured search goes.

    Attributes:
        storage: Address of the study's storage, as `open_storage` takes it.
        study: Its name there.
        data: Data set; the half of its validation images that verification never sees serves.
        trials: In all, whoever measures them.
        images: For each, at most.
        seed: Of everything random.
        places: Where latencies are measured, by the names of the tables.
        every_s: Between two signs of life of this worker [s].
    """

    storage: str
    study: str
    data: str
    trials: int
    images: int
    seed: int = 0
    places: Places = field(default_factory=dict)
    every_s: float = 15.0


@dataclass(frozen=True, slots=True)
class TrialBegun:
    """This worker measures an architecture now.

    Attributes:
        number: Of the trial.
        candidate: As it was predicted when it was proposed.
        complete: Trials that are complete already, whoever measured them.
    """

    number: int
    candidate: Candidate
    complete: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing is left to begin, but other workers measure.

    Attributes:
        running: So many trials.
        complete: Trials that are complete already.
    """

    running: int
    complete: int


@dataclass(frozen=True, slots=True)
class MeasuredResult:
    """What a study holds once its trials are done.

    Attributes:
        storage: Of the study, for people.
        study: Its name there.
        split: Which images the trials were measured on.
        trials: That are complete, in the order in which they were proposed.
        front: Those that no other beats in both measured accuracy and first cost, by rising cost.
        chosen: The most accurate as measured of those within the budgets; None where there is none.
        held_out: Top-1 of the chosen one on images that took no part in any choice; None where the supernet
            has none.
        search: By the predictor that knows all trials; with the chosen one in its place.
        given_up: Architectures that failed too often.
    """

    storage: str
    study: str
    split: str
    trials: tuple[MeasuredTrial, ...]
    front: tuple[MeasuredTrial, ...]
    chosen: MeasuredTrial | None
    held_out: Top1 | None
    search: SearchResult
    given_up: int


def measured_search(
    estimators: Estimators,
    searched: SearchResult,
    setup: MeasuredSetup,
    *,
    method: str | None = None,
    margin: float | None = None,
) -> Iterator[TrialBegun | Visit | MeasuredTrial | Waiting | MeasuredResult]:
    """Work at a measured search until all of its trials are complete.

    It begins with the predicted front. After every `ROUND_TRIALS` the predictor is fitted to the supernet's
    samples and to all trials of all workers, and what is measured next comes from its front. Closing the
    generator puts back the trial that is under way.

    Args:
        estimators: Of the supernet.
        searched: What they find; its budgets hold.
        setup: How.
        method: Plug-in of `ofa_nas.search.methods` for further searches; without, the strongest.
        margin: As they were searched with.

    Yields:
        Trials that this worker begins and completes, visits of devices, and the result.

    Raises:
        ConfigError: A number makes no sense, or there is no such storage.
        CheckpointError: The supernet, its samples or its calibration images are missing or damaged.
        DataError: The data set has other classes.
        StudyError: The storage cannot be used, or the study was made for something else.
        DeviceError: A device cannot be reached.
    """
    if setup.trials < 1:
        raise ConfigError(f"--trials {setup.trials}: expected 1 or more")
    if not 0.0 < setup.every_s <= 3600.0:
        raise ConfigError(f"--heartbeat {setup.every_s:g}: expected seconds, above 0 and at most 3600")
    storage = open_storage(setup.storage)
    bench = Bench.open(str(estimators.files.weights))
    split = bench.predictor_images(setup.data, images=setup.images, seed=setup.seed)
    blank = bench.blank_sample(split, seed=setup.seed)
    planner = Planner.open(estimators, searched, blank, seed=setup.seed, method=method, margin=margin)
    study = Study.open(
        storage,
        setup.study,
        where=storage_name(setup.storage),
        objectives=objectives(estimators),
        choices=choices(estimators.encoding),
        about=about(estimators, searched.budgets, blank, seed=setup.seed) | planner.about(),
        every_s=setup.every_s,
    )
    worker = _Worker(estimators, setup, bench, split, study, planner)
    yield from worker.measure_all()
    yield worker.result()


@dataclass(frozen=True)
class _Worker:
    """One process that works at a study."""

    estimators: Estimators
    setup: MeasuredSetup
    bench: Bench
    split: PackedImages
    study: Study
    planner: Planner

    def measure_all(self) -> Iterator[TrialBegun | Visit | MeasuredTrial | Waiting]:
        """Claim and measure; plan another round when nothing waits; wait for others at the end."""
        while True:
            self.study.put_back_lost()
            trial = self.study.claim(limit=self.setup.trials)
            if trial is not None:
                yield from self._measure(trial)
                continue
            trials = self.study.trials()
            counted = counted_trials(trials)[: self.setup.trials]
            if len(counted) < self.setup.trials and self._plan(trials):
                continue
            under_way = sum(one.state is not State.COMPLETE for one in counted)
            if not under_way:
                return
            yield Waiting(under_way, len(counted) - under_way)
            time.sleep(min(POLL_S, self.setup.every_s))

    def result(self) -> MeasuredResult:
        """What the study holds."""
        found = self.study.trials()
        trials = self._complete(found)
        known, result = self.planner.search(self._samples(trials))
        within = [one for one in trials if all(map(one.keeps, result.budgets))]
        chosen = min(within, key=lambda one: (-one.top_1.accuracy, one.first_cost, one.number), default=None)
        if chosen is not None:
            genes = known.encoding.encode([chosen.candidate.architecture])
            result = replace(result, chosen=known.candidates(genes)[0])
        with working():
            held_out = None if chosen is None else self.bench.held_out_top_1(chosen.candidate.architecture)
        return MeasuredResult(
            storage=self.study.where,
            study=self.study.name,
            split=self.planner.blank.split,
            trials=tuple(trials),
            front=_front(trials),
            chosen=chosen,
            held_out=held_out,
            search=result,
            given_up=len({one.key for one in found} - {one.key for one in counted_trials(found)}),
        )

    def _measure(self, trial: Trial) -> Iterator[TrialBegun | Visit | MeasuredTrial]:
        candidate = read_candidate(trial, self.estimators)
        arch = candidate.architecture
        with self.study.alive(trial):
            yield TrialBegun(trial.number, candidate, len(self._complete(self.study.trials())))
            with working():
                top_1 = self.planner.known_top_1(arch) or Top1(
                    self.bench.count_correct(arch, self.split), len(self.split)
                )
            timed = {}
            for device in self.setup.places:
                timed[device] = yield from self._time(arch, device)
            notes = measured_notes(top_1, timed)
            own = replace(trial, notes={**trial.notes, **notes})
            measured = read_trial(own, self.estimators)
            is_counted = self.study.complete(trial, objective_values(measured), notes)
        if is_counted:
            yield measured

    def _time(self, arch: Architecture, device: str) -> Generator[Visit, None, Measurement]:
        """Time an architecture on a device while no worker of this machine does anything else there."""
        place = self.setup.places[device]
        with quiet(place.address, patience_s=TURN_S):
            for record in time_architectures(
                [arch],
                open_device(place.address),
                space=self.estimators.card.space,
                table=self.estimators.tables[device],
                protocol=MeasuringProtocol(threads=place.threads, seed=self.setup.seed),
            ):
                if isinstance(record, Timed):
                    return record.judged[str(arch)]
                yield record
        raise AssertionError("a device ended without a measurement")

    def _plan(self, trials: Sequence[Trial]) -> bool:
        """Enqueue another round, unless others just did; false where nothing is left to measure.

        A round is always whole: what is beyond the trials that are wanted now waits until more are. One whose
        planner was stopped while it enqueued is completed before the next.
        """
        tried = {one.key for one in trials}
        last = max(map(round_of, trials), default=0)
        missing = ROUND_TRIALS - len({one.key for one in trials if round_of(one) == last})
        rest = self._proposals(trials, last, count=missing) if last and missing > 0 else []
        candidates = rest or self._proposals(trials, last + 1, count=ROUND_TRIALS)
        if last and missing > 0 and not self._is_planner(last):
            time.sleep(POLL_S)  # another may be enqueuing it
        if {one.key for one in self.study.trials()} - tried:
            return True
        self._enqueue(candidates, number=last if rest else last + 1)
        return bool(candidates)

    def _proposals(self, trials: Sequence[Trial], number: int, *, count: int) -> list[Candidate]:
        """Candidates of a round that nobody tried, by what was known before it, `count` at most."""
        before = [one for one in trials if round_of(one) < number]
        known, tried = {one.key for one in before}, {one.key for one in trials}
        measured = self._samples(self._complete(before))
        planned = self.planner.plan(measured, known, number=number, count=ROUND_TRIALS)
        return [one for one in planned if str(one.architecture) not in tried][:count]

    def _enqueue(self, candidates: Sequence[Candidate], *, number: int) -> None:
        """Add candidates to a round, unless another worker does."""
        is_first = True
        for candidate in candidates:
            arch = candidate.architecture
            if str(arch) in {one.key for one in self.study.trials()}:  # of a round that others are enqueuing
                continue
            notes = proposal_notes(candidate, number=number, planner=self.study.worker)
            self.study.enqueue(str(arch), params(self.estimators.encoding, arch), notes)
            if is_first and not self._is_planner(number):
                time.sleep(POLL_S)
                break
            is_first = False

    def _is_planner(self, number: int) -> bool:
        """Whether this worker was the first to enqueue for a round; the others leave the rest to that one."""
        first = next(one for one in self.study.trials() if one.notes.get(ROUND) == number)
        return first.notes.get(PLANNER) == self.study.worker

    def _complete(self, trials: Sequence[Trial]) -> list[MeasuredTrial]:
        counted = counted_trials(trials)
        return [read_trial(one, self.estimators) for one in counted if one.state is State.COMPLETE]

    def _samples(self, trials: Sequence[MeasuredTrial]) -> list[AccuracySample]:
        blank = self.planner.blank
        return [
            replace(
                blank,
                arch=str(one.candidate.architecture),
                correct=one.top_1.correct,
                images=one.top_1.images,
            )
            for one in trials
        ]


def _front(trials: Sequence[MeasuredTrial]) -> tuple[MeasuredTrial, ...]:
    if not trials:
        return ()
    points = np.array([[one.first_cost, 1.0 - one.top_1.accuracy] for one in trials])
    front = [one for one, is_best in zip(trials, non_dominated(points), strict=True) if is_best]
    return tuple(sorted(front, key=lambda one: one.first_cost))
