"""A study of Optuna's as a list of work that many processes and machines share.

A trial is enqueued once, claimed by one worker, and complete once. A worker gives signs of life meanwhile:
Optuna's own heartbeat knows databases only, and only `Study.optimize`. Whoever misses them for too long puts
the trial back. That needs no clock that two machines agree on: a watcher waits for a counter to move.
"""

import os
import socket
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Self

from ofa_nas.errors import StudyError
from ofa_nas.search.storage import storage_refusals, without_chatter

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

ATTEMPTS = 3  # of one trial, before it is given up
MISSED = 4  # signs of life, before a worker counts as lost
ABOUT = "ofa-nas"  # user attribute of a study: what it was made for
KEY, ATTEMPT, WORKER, SIGN, EVERY = (
    "architecture",
    "attempt",
    "worker",
    "sign of life",
    "sign of life every [s]",
)
PLACE = "number of the first attempt"
BEFORE = "number of the attempt before"
FATE = "not counted because"
_OF_AN_ATTEMPT = (WORKER, SIGN, EVERY, FATE)
Notes = Mapping[str, Any]


class State(Enum):
    """Where a trial stands."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Objective:
    """What a study wants high or low."""

    name: str
    is_maximised: bool = False


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial, as the storage had it.

    Attributes:
        number: Counted from 0 in the order of creation.
        key: What is tried; no two trials of one key are ever counted.
        params: What Optuna shows of the key.
        values: Of the objectives; empty unless complete.
        notes: User attributes.
    """

    number: int
    state: State
    key: str
    params: Mapping[str, Any]
    values: tuple[float, ...]
    notes: Notes

    @property
    def attempt(self) -> int:
        """How often it was tried, this time included; an interruption is no attempt."""
        return int(self.notes.get(ATTEMPT, 1))

    @property
    def place(self) -> int:
        """Number of the first attempt: whatever is tried again keeps its place in the queue."""
        return int(self.notes.get(PLACE, self.number))


@dataclass(frozen=True)
class Study:
    """A study in a storage.

    Attributes:
        name: Of the study.
        where: The storage, for people.
        storage: Optuna's.
        choices: Values of every parameter, by its name.
        worker: Name of this process.
        every_s: Between two of its signs of life [s].
        watched: By number of a running trial: its last sign of life, and when that was first seen here.
    """

    name: str
    where: str
    storage: "BaseStorage"
    choices: Mapping[str, tuple[Any, ...]]
    worker: str
    every_s: float
    watched: dict[int, tuple[object, float]] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        storage: "BaseStorage",
        name: str,
        *,
        where: str,
        objectives: Sequence[Objective],
        choices: Mapping[str, tuple[Any, ...]],
        about: Mapping[str, str],
        every_s: float,
    ) -> Self:
        """Open a study, or make one.

        Args:
            storage: Opened.
            name: Of the study.
            where: The storage, for people.
            objectives: In the order of the values.
            choices: Values of every parameter, by its name.
            about: What it is made for, in words; whoever goes on with it must say the same.
            every_s: Between two signs of life [s].

        Raises:
            StudyError: The storage cannot be used, or the study was made for something else.
        """
        with storage_refusals(where), without_chatter():
            _make(storage, name, objectives, about, f"{where}: the study {name!r}")
        worker = f"{socket.gethostname()}, process {os.getpid()}"
        return cls(name, where, storage, choices, worker, every_s)

    def trials(self) -> list[Trial]:
        """Every trial that has a key, by number."""
        with storage_refusals(self.where):
            found = self.storage.get_all_trials(self._id, deepcopy=False)
            return [_trial(one) for one in sorted(found, key=lambda one: one.number) if KEY in one.user_attrs]

    def enqueue(self, key: str, params: Mapping[str, Any], notes: Notes) -> None:
        """Add a trial that waits for a worker; it is whole from the start."""
        from optuna.distributions import CategoricalDistribution
        from optuna.trial import TrialState, create_trial

        template = create_trial(
            state=TrialState.WAITING,
            params=dict(params),
            distributions={name: CategoricalDistribution(self.choices[name]) for name in params},
            user_attrs={KEY: key, ATTEMPT: 1, **notes},
        )
        with storage_refusals(self.where):
            self.storage.create_new_trial(self._id, template)

    def claim(self, *, limit: int) -> Trial | None:
        """Take the first waiting trial; None where none waits among the first `limit` that count."""
        from optuna.trial import TrialState

        trials = self.trials()
        counted = counted_trials(trials)
        first = {trial.key: trial.number for trial in counted}
        running = {trial.number for trial in trials if trial.state is State.RUNNING}
        for trial in trials:
            if trial.notes.get(BEFORE) in running:
                continue  # that one is just being put back
            if trial.state is State.WAITING and first[trial.key] != trial.number:
                self._fail(trial, f"trial {first[trial.key]} is of the same {KEY}")
        for trial in counted[:limit]:
            if trial.state is State.WAITING and self._set_state(trial, TrialState.RUNNING):
                self._note(trial, {EVERY: self.every_s, SIGN: 0, WORKER: self.worker})
                return trial
        return None

    @contextmanager
    def alive(self, trial: Trial) -> Iterator[None]:
        """Give signs of life while a claimed trial is worked on; whatever goes wrong puts it back."""
        done = threading.Event()

        def give_signs() -> None:
            count = 0
            while not done.wait(self.every_s):
                count += 1
                with suppress(StudyError):  # whoever works will meet it too
                    self._note(trial, {SIGN: count})

        thread = threading.Thread(target=give_signs, daemon=True)
        thread.start()
        try:
            yield
        except BaseException as error:
            done.set()
            thread.join()
            is_interrupted = not isinstance(error, Exception)
            try:
                told = f"its worker ended: {type(error).__name__}"
                self._put_back(trial, told, is_attempt=not is_interrupted)
            except StudyError:  # others will miss the signs of life
                if not is_interrupted:
                    raise
            raise
        done.set()
        thread.join()

    def complete(self, trial: Trial, values: Sequence[float], notes: Notes) -> bool:
        """Store what was measured; false where others have put the trial back meanwhile."""
        from optuna.trial import TrialState

        self._note(trial, notes)
        return self._set_state(trial, TrialState.COMPLETE, values)

    def put_back_lost(self) -> list[Trial]:
        """Put back trials whose workers gave no sign of life for too long; those that are."""
        now = time.monotonic()
        lost = []
        for trial in self.trials():
            if trial.state is not State.RUNNING:
                continue
            sign = trial.notes.get(WORKER), trial.notes.get(SIGN)
            last, since = self.watched.get(trial.number, (None, now))
            if sign != last:
                self.watched[trial.number] = sign, now
            elif now - since > MISSED * float(trial.notes.get(EVERY, self.every_s)):
                lost.append(trial)
        return [trial for trial in lost if self._put_back(trial, "its worker gave no more signs of life")]

    @property
    def _id(self) -> int:
        return self.storage.get_study_id_from_name(self.name)

    def _put_back(self, trial: Trial, reason: str, *, is_attempt: bool = True) -> bool:
        """Fail a trial, and enqueue it once more unless it was tried too often; false if it was finished.

        It is enqueued first: else another worker might take one too many meanwhile, and whoever is killed
        between the two would lose it.
        """
        found = self.trials()
        if not any(one.number == trial.number and one.state is State.RUNNING for one in found):
            return False
        attempt = trial.attempt + is_attempt
        if attempt <= ATTEMPTS and not any(one.notes.get(BEFORE) == trial.number for one in found):
            kept = {name: note for name, note in trial.notes.items() if name not in _OF_AN_ATTEMPT}
            again = {ATTEMPT: attempt, PLACE: trial.place, BEFORE: trial.number}
            self.enqueue(trial.key, trial.params, kept | again)
        return self._fail(trial, reason)

    def _fail(self, trial: Trial, reason: str) -> bool:
        from optuna.trial import TrialState

        self._note(trial, {FATE: reason})
        return self._set_state(trial, TrialState.FAIL)

    def _set_state(self, trial: Trial, state: Any, values: Sequence[float] | None = None) -> bool:
        from optuna.exceptions import UpdateFinishedTrialError

        with storage_refusals(self.where):
            try:
                return self.storage.set_trial_state_values(self._trial_id(trial), state, values)
            except UpdateFinishedTrialError:
                return False

    def _note(self, trial: Trial, notes: Notes) -> None:
        from optuna.exceptions import UpdateFinishedTrialError

        with storage_refusals(self.where), suppress(UpdateFinishedTrialError):
            for name, note in notes.items():
                self.storage.set_trial_user_attr(self._trial_id(trial), name, note)

    def _trial_id(self, trial: Trial) -> int:
        return self.storage.get_trial_id_from_study_id_trial_number(self._id, trial.number)


def counted_trials(trials: Sequence[Trial]) -> list[Trial]:
    """One trial of each key, in the order in which keys were enqueued; none of those that failed.

    Of several, which two workers may have enqueued at once, it is the one that was claimed, else the first.
    """
    counted: dict[str, Trial] = {}
    for trial in sorted(trials, key=lambda one: (one.state is State.WAITING, one.place, one.number)):
        if trial.state is not State.FAILED:
            counted.setdefault(trial.key, trial)
    return sorted(counted.values(), key=lambda one: (one.place, one.number))


def _make(
    storage: "BaseStorage", name: str, objectives: Sequence[Objective], about: Mapping[str, str], where: str
) -> None:
    """Make a study unless it is there, and compare what it was made for."""
    import optuna

    study = optuna.create_study(
        storage=storage,
        study_name=name,
        directions=["maximize" if one.is_maximised else "minimize" for one in objectives],
        load_if_exists=True,
    )
    found = study.user_attrs.get(ABOUT)
    if found is None:
        if study.get_trials(deepcopy=False):
            raise StudyError(f"{where} holds trials that ofa-nas did not make: give another --study")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([one.name for one in objectives])
        study.set_user_attr(ABOUT, dict(about))
        return
    if not isinstance(found, dict):
        raise StudyError(f"{where} was not made by ofa-nas search: give another --study")
    for what, ours in about.items():
        theirs = found.get(what, "none")
        if theirs != ours:
            raise StudyError(
                f"{where} was made for {what} {str(theirs)[:200]}, not {ours}: give another --study, or "
                "everything as when it began"
            )


def _trial(found: "FrozenTrial") -> Trial:
    for name in (ATTEMPT, PLACE, BEFORE, EVERY):
        if type(found.user_attrs.get(name, 1)) not in (int, float):
            raise TypeError(f"{name!r} of trial {found.number} is no number")
    names = {"WAITING": State.WAITING, "RUNNING": State.RUNNING, "COMPLETE": State.COMPLETE}
    return Trial(
        number=found.number,
        state=names.get(found.state.name, State.FAILED),
        key=str(found.user_attrs[KEY]),
        params=found.params,
        values=tuple(found.values or ()),
        notes=found.user_attrs,
    )
