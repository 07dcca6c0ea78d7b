"""A study that many workers share: every trial once, none lost."""

import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import optuna
import pytest

from ofa_nas.errors import ConfigError, FileError, StudyError
from ofa_nas.search import storage
from ofa_nas.search import study as module
from ofa_nas.search.storage import open_storage, storage_name
from ofa_nas.search.study import ATTEMPTS, MISSED, Objective, State, Study, counted_trials
from tests.postgresql import Server

OBJECTIVES = (Objective("top-1", is_maximised=True), Objective("MACs"))
CHOICES: dict[str, tuple[Any, ...]] = {"size": (16, 32), "block": ("none", "3x2")}
ABOUT = {"the weights": "0123", "the seed": "0"}
EVERY_S = 0.05
KINDS = ("journal", "sqlite", "postgresql")
Open = Callable[..., Study]


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its tables take a second to make."""
    path = tmp_path_factory.mktemp("database") / "study.db"
    open_storage(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="module")
def on_server(postgresql: Server) -> str:
    """The address of a database on a server."""
    return postgresql.new_database()


@pytest.fixture(params=KINDS)
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    path = tmp_path / "study"
    if request.param == "journal":
        yield f"journal:{path}.log"
    elif request.param == "sqlite":
        shutil.copy(request.getfixturevalue("empty_database"), path)
        yield f"sqlite:///{path}"
    else:
        opened, make = [], storage._make_tables

        def noted(address: str, options: dict[str, Any]) -> optuna.storages.RDBStorage:
            opened.append(make(address, options))
            return opened[-1]

        monkeypatch.setattr(storage, "_make_tables", noted)
        address = request.getfixturevalue("on_server")
        yield address
        last = open_storage(address)
        for name in optuna.get_all_study_names(last):
            optuna.delete_study(study_name=name, storage=last)
        for one in opened:
            one.engine.dispose()  # an idle connection warns when it is collected


@pytest.fixture
def open_(address: str) -> Open:
    """Opens the study as another process would."""

    def opened(*, about: dict[str, str] = ABOUT, every_s: float = EVERY_S) -> Study:
        return Study.open(
            open_storage(address),
            "mine",
            where=storage_name(address),
            objectives=OBJECTIVES,
            choices=CHOICES,
            about=about,
            every_s=every_s,
        )

    return opened


def enqueue(study: Study, *keys: str) -> None:
    for key in keys:
        study.enqueue(key, {"size": 32, "block": "3x2"}, {"predicted": 0.5})


def states(study: Study) -> list[tuple[str, State]]:
    return [(trial.key, trial.state) for trial in study.trials()]


def test_trials_are_claimed_in_their_order_and_once(open_: Open) -> None:
    first, second = open_(), open_()
    enqueue(first, "a", "b", "c")
    claimed = [first.claim(limit=9), second.claim(limit=9), first.claim(limit=9)]
    assert [trial.key for trial in claimed if trial] == ["a", "b", "c"]
    assert second.claim(limit=9) is None
    assert all(trial.notes["worker"] for trial in second.trials())


@pytest.mark.slow
def test_many_workers_at_once_share_without_any_trial_twice(open_: Open) -> None:
    study = open_()
    keys = [f"arch {number}" for number in range(12)]
    enqueue(study, *keys)
    workers = [open_() for _ in range(4)]
    claimed: list[str] = []
    start = threading.Barrier(len(workers))

    def work(worker: Study) -> None:
        start.wait()
        while (trial := worker.claim(limit=99)) is not None:
            claimed.append(trial.key)
            assert worker.complete(trial, (0.5, 1.0), {})

    threads = [threading.Thread(target=work, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(keys)
    assert {state for _, state in states(study)} == {State.COMPLETE}


def test_of_two_trials_of_one_key_the_first_counts(open_: Open) -> None:
    study = open_()
    enqueue(study, "a", "b", "a")
    assert [trial.key for trial in (study.claim(limit=9), study.claim(limit=9)) if trial] == ["a", "b"]
    assert study.claim(limit=9) is None
    assert states(study)[2] == ("a", State.FAILED)
    assert study.trials()[2].notes["not counted because"] == "trial 0 is of the same architecture"


def test_no_more_trials_are_claimed_than_may_count(open_: Open) -> None:
    study = open_()
    enqueue(study, "a", "a", "b", "c")
    assert [trial.key for trial in (study.claim(limit=2), study.claim(limit=2)) if trial] == ["a", "b"]
    assert study.claim(limit=2) is None
    assert study.claim(limit=3)


def test_what_was_measured_is_stored_for_everybody(open_: Open) -> None:
    study = open_()
    enqueue(study, "a")
    trial = study.claim(limit=1)
    assert trial
    with study.alive(trial):
        assert study.complete(trial, (0.75, 3.0), {"images right": 30})
    (found,) = open_().trials()
    assert (found.state, found.values, found.params) == (
        State.COMPLETE,
        (0.75, 3.0),
        {"size": 32, "block": "3x2"},
    )
    assert (found.notes["images right"], found.notes["predicted"]) == (30, 0.5)


def test_optuna_itself_reads_the_study(open_: Open, address: str) -> None:
    study = open_()
    enqueue(study, "a", "b")
    trial = study.claim(limit=1)
    assert trial
    study.complete(trial, (0.75, 3.0), {})
    found = optuna.load_study(study_name="mine", storage=open_storage(address))
    assert found.metric_names == ["top-1", "MACs"]
    assert [direction.name for direction in found.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert [one.state.name for one in found.trials] == ["COMPLETE", "WAITING"]
    assert found.best_trials[0].values == [0.75, 3.0]
    assert found.best_trials[0].params == {"size": 32, "block": "3x2"}
    assert found.best_trials[0].user_attrs["architecture"] == "a"


def wait_until_lost(study: Study) -> list[module.Trial]:
    patience = threading.Event()
    for _ in range(200):
        if lost := study.put_back_lost():
            return lost
        patience.wait(EVERY_S)
    raise AssertionError("nothing was ever lost")


def test_the_trial_of_a_silent_worker_is_tried_again_by_another(open_: Open) -> None:
    dead, other = open_(), open_()
    enqueue(dead, "a")
    assert dead.claim(limit=1)  # and killed: no sign of life ever comes
    assert other.put_back_lost() == []
    assert [trial.key for trial in wait_until_lost(other)] == ["a"]
    assert "worker" not in other.trials()[1].notes  # nobody has it now
    again = other.claim(limit=1)
    assert again
    assert (again.key, again.attempt, again.number) == ("a", 2, 1)
    assert again.params == {"size": 32, "block": "3x2"}
    assert again.notes["predicted"] == 0.5
    assert other.complete(again, (0.5, 1.0), {})
    assert states(other) == [("a", State.FAILED), ("a", State.COMPLETE)]


def test_what_is_tried_again_keeps_its_place_in_the_queue(open_: Open) -> None:
    study = open_()
    enqueue(study, "a", "b", "c")
    trial = study.claim(limit=1)
    assert trial
    with pytest.raises(KeyboardInterrupt), study.alive(trial):
        raise KeyboardInterrupt
    again = study.claim(limit=1)
    assert again
    assert (again.key, again.number, again.place) == ("a", 3, 0)
    assert [one.key for one in counted_trials(study.trials())] == ["a", "b", "c"]
    enqueue(study, "a")
    second = study.claim(limit=3)
    assert second
    assert second.key == "b"


def test_an_interrupt_stays_one_where_the_trial_cannot_be_put_back(
    empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "study.db"
    shutil.copy(empty_database, path)
    monkeypatch.setitem(storage._SQLITE, "connect_args", {"timeout": 0.1})
    study = Study.open(
        open_storage(f"sqlite:///{path}"),
        "mine",
        where="mine",
        objectives=OBJECTIVES,
        choices=CHOICES,
        about=ABOUT,
        every_s=60.0,
    )
    study.enqueue("a", {"size": 16}, {})
    trial = study.claim(limit=1)
    assert trial is not None
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(KeyboardInterrupt), study.alive(trial):
            raise KeyboardInterrupt
    finally:
        other.close()
    assert [one.state for one in study.trials()] == [State.RUNNING]


def test_a_worker_that_gives_signs_of_life_keeps_its_trial(open_: Open) -> None:
    every_s = 4 * EVERY_S  # a server on a busy machine may be slow
    busy, other = open_(every_s=every_s), open_()
    enqueue(busy, "a")
    trial = busy.claim(limit=1)
    assert trial
    patience = threading.Event()
    with busy.alive(trial):
        for _ in range(2 * MISSED):
            assert other.put_back_lost() == []
            patience.wait(every_s)
        assert busy.complete(trial, (0.5, 1.0), {})


def test_a_result_that_comes_after_the_trial_was_put_back_does_not_count(open_: Open) -> None:
    asleep, other = open_(), open_()
    enqueue(asleep, "a")
    trial = asleep.claim(limit=1)
    assert trial
    wait_until_lost(other)
    assert not asleep.complete(trial, (0.9, 1.0), {"images right": 9})
    assert states(other) == [("a", State.FAILED), ("a", State.WAITING)]


def test_what_goes_wrong_puts_a_trial_back_until_it_is_given_up(open_: Open) -> None:
    study = open_()
    enqueue(study, "a")
    for attempt in range(1, ATTEMPTS + 1):
        trial = study.claim(limit=1)
        assert trial
        assert trial.attempt == attempt
        with pytest.raises(MemoryError), study.alive(trial):
            raise MemoryError
    assert study.claim(limit=1) is None
    assert states(study) == [("a", State.FAILED)] * ATTEMPTS
    assert study.trials()[0].notes["not counted because"] == "its worker ended: MemoryError"
    assert counted_trials(study.trials()) == []


def test_an_interruption_is_no_attempt(open_: Open) -> None:
    study = open_()
    enqueue(study, "a")
    for _ in range(ATTEMPTS + 1):
        trial = study.claim(limit=1)
        assert trial
        assert trial.attempt == 1
        with pytest.raises(KeyboardInterrupt), study.alive(trial):
            raise KeyboardInterrupt


def test_nobody_takes_one_too_many_while_a_trial_is_put_back(
    open_: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = open_(), open_()
    enqueue(first, "a", "b")
    trial = first.claim(limit=1)
    assert trial
    taken = []
    for method in (Study.enqueue, Study._fail):

        def watched(study: Study, *arguments: Any, method: Callable[..., Any] = method) -> Any:
            result = method(study, *arguments)
            if study is first:
                taken.append(other.claim(limit=1))
            return result

        monkeypatch.setattr(Study, method.__name__, watched)
    with pytest.raises(KeyboardInterrupt), first.alive(trial):
        raise KeyboardInterrupt
    assert [one.key for one in taken if one] == ["a"]
    assert states(first) == [("a", State.FAILED), ("b", State.WAITING), ("a", State.RUNNING)]


def test_a_trial_that_was_put_back_by_half_is_put_back_once(
    open_: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, other = open_(), open_()
    enqueue(dead, "a")
    assert dead.claim(limit=1)
    with monkeypatch.context() as patch:
        patch.setattr(Study, "_fail", lambda *_: False)  # killed before that
        for _ in range(3 * MISSED):
            dead.put_back_lost()
            threading.Event().wait(EVERY_S)
    assert other.claim(limit=1) is None
    assert states(other) == [("a", State.RUNNING), ("a", State.WAITING)]
    wait_until_lost(other)
    again = other.claim(limit=1)
    assert again
    assert (again.number, again.attempt) == (1, 2)
    assert states(other) == [("a", State.FAILED), ("a", State.RUNNING)]


def test_a_study_that_is_deleted_meanwhile_is_told(open_: Open, address: str) -> None:
    study = open_()
    optuna.delete_study(study_name="mine", storage=open_storage(address))
    with pytest.raises(StudyError, match="the study was deleted meanwhile"):
        study.trials()


def test_a_study_of_something_else_is_refused_by_what_differs(open_: Open) -> None:
    open_()
    with pytest.raises(StudyError, match=r"'mine' was made for the weights 0123, not 4567: give another"):
        open_(about={**ABOUT, "the weights": "4567"})


def test_trials_of_somebody_else_are_refused(open_: Open, address: str) -> None:
    storage = open_storage(address)
    optuna.create_study(storage=storage, study_name="mine").add_trial(optuna.create_trial(value=1.0))
    with pytest.raises(StudyError, match="'mine' holds trials that ofa-nas did not make: give"):
        open_()


@pytest.mark.parametrize(
    ("address", "told"),
    [
        (
            "foo://bar",
            "--storage foo://bar: no such kind of storage: give a file, journal:FILE, sqlite:///FILE",
        ),
        ("sqlite:/a/b.db", "no such kind of storage"),
        ("sqlite://", "keeps nothing: name a file, such as sqlite:///study.db"),
        ("sqlite:///:memory:", "keeps nothing"),
        ("postgresql+nodriver://h/d", "no such kind of storage"),
        ("postgresql://me:secret@h:port/d", "--storage postgresql:…: no such kind of storage"),
    ],
)
def test_what_is_no_storage_is_refused(address: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_storage(address)
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.skipif(find_spec("psycopg2") is not None, reason="psycopg2 is installed")
def test_a_missing_driver_is_named_and_the_password_is_not() -> None:
    with pytest.raises(ConfigError, match=r"psycopg2://me:\*\*\*@host/db: the driver psycopg2 is not"):
        open_storage("postgresql+psycopg2://me:secret@host/db")


@pytest.mark.parametrize("prefix", ["", "journal:", "sqlite:///"])
def test_a_file_that_holds_something_else_is_refused(prefix: str, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("milk\neggs\n" * 100)
    with pytest.raises(
        StudyError, match=r"notes\.txt: (holds no journal of Optuna|cannot be used: file is not a database)"
    ):
        open_storage(f"{prefix}{path}")
    assert path.read_text().startswith("milk")


def test_a_database_as_a_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StudyError, match=r"holds no journal of Optuna: .* or sqlite:///.*study\.db for a"):
        open_storage(str(path))
    assert path.read_bytes() == before


@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.97, 1.0])
def test_a_journal_that_ends_within_a_line_loses_that_line_alone(kept: float, tmp_path: Path) -> None:
    """A full disk tears a line; the next worker would write its own behind it, and both would be lost."""
    path = tmp_path / "study.log"
    optuna.create_study(storage=open_storage(str(path)), study_name="first")
    whole = path.read_bytes()
    optuna.create_study(storage=open_storage(str(path)), study_name="second")
    torn = path.read_bytes()
    path.write_bytes(torn[: len(whole) + round(kept * (len(torn) - len(whole)))])
    optuna.create_study(storage=open_storage(str(path)), study_name="third")
    names = {"first", "third"} | ({"second"} if kept == 1.0 else set())
    assert set(optuna.get_all_study_names(open_storage(str(path)))) == names
    path.write_bytes(whole[: round(kept * 40)])
    optuna.create_study(storage=open_storage(str(path)), study_name="anew")
    assert optuna.get_all_study_names(open_storage(str(path))) == ["anew"]


def test_a_journal_is_made_with_the_folder_that_it_lies_in(tmp_path: Path) -> None:
    open_storage(f"{tmp_path}/new/study.log")
    assert (tmp_path / "new" / "study.log").is_file()


@pytest.mark.parametrize("prefix", ["", "journal:", "sqlite:///"])
def test_a_place_that_cannot_be_written_is_refused(prefix: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match=r"--storage .*file/study: cannot be written: .*file is no folder"):
        open_storage(f"{prefix}{tmp_path}/file/study")
    with pytest.raises(FileError, match="it is a folder"):
        open_storage(f"{prefix}{tmp_path}")


def test_a_database_that_stays_locked_is_waited_for_once(
    empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copy(empty_database, tmp_path / "study.db"))
    opened: list[str] = []

    class Counted(optuna.storages.RDBStorage):
        def __init__(self, address: str, **options: Any) -> None:
            opened.append(address)
            super().__init__(address, **options)

    monkeypatch.setattr(optuna.storages, "RDBStorage", Counted)
    monkeypatch.setattr(storage, "LOCK_WAIT_S", 0.1)
    monkeypatch.setattr(storage, "_SQLITE", {"connect_args": {"timeout": 0.1}})
    with sqlite3.connect(path) as connection:
        connection.execute("begin exclusive")
        with pytest.raises(StudyError, match=r"study\.db: cannot be used: .*database is locked"):
            open_storage(f"sqlite:///{path}")
    connection.close()
    assert len(opened) == 1
    open_storage(f"sqlite:///{path}")


def test_a_password_is_never_shown() -> None:
    assert storage_name("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"
    assert storage_name("journal:a/b.log") == "a/b.log"


def test_a_database_file_is_open_only_while_it_is_used(tmp_path: Path) -> None:
    """Since Python 3.13, connections that nobody closes are warned of."""
    path = tmp_path / "study.db"
    kept = open_storage(f"sqlite:///{path}")
    assert kept.get_all_studies() == []
    assert path not in [entry.resolve() for entry in Path("/proc/self/fd").iterdir()]
