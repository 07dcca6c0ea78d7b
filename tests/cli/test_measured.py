"""`ofa-nas search --measured`: workers, one of them killed, and what people and programs are told."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import pytest

from ofa_nas.devices import HOST
from ofa_nas.devices.quiet import quiet
from ofa_nas.export.card import ModelCard, read_model
from ofa_nas.search.storage import open_storage
from ofa_nas.space.architecture import Architecture
from tests.cli.conftest import Command
from tests.pipeline.simulated_board import ADDRESS, simulated_table
from tests.small_supernet import SmallSupernet

Refused = Callable[..., str]
PATIENCE_S = 300.0  # of the tests, with workers on a busy machine
TRIALS = 6


@pytest.fixture
def arguments(small: SmallSupernet, tmp_path: Path) -> list[str]:
    """Of a measured search for a board that is not at hand."""
    table = tmp_path / "board.json"
    simulated_table().save(table)
    return [
        "search", "--measured", "--supernet", small.name, "--data", str(small.data), "--images", "40",
        "--device", str(table), "--latency", "1.8ms", "--storage", str(tmp_path / "study.log"),
    ]  # fmt: skip


def trials_of(address: str) -> list[optuna.trial.FrozenTrial]:
    storage = open_storage(address)
    try:
        return optuna.load_study(study_name="supernet", storage=storage).trials
    finally:
        if isinstance(storage, optuna.storages.RDBStorage):
            storage.engine.dispose()


def is_made(address: str) -> bool:
    """Whether a worker made the storage: looking would make it, and a database on a server is there."""
    return address.startswith("postgresql:") or Path(address.removeprefix("sqlite:///")).is_file()


def wait_for(condition: Callable[[], bool], *, what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.1)


@pytest.fixture
def worker() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a worker as a user would, in a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "ofa_nas", *arguments]
        started.append(
            subprocess.Popen(
                command,
                cwd=Path(__file__).parents[2],
                env=os.environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "journal",
        pytest.param("sqlite", marks=pytest.mark.campaign),
        pytest.param("postgresql", marks=pytest.mark.campaign),
    ],
)
def test_of_three_workers_one_is_killed_and_its_trial_is_measured_by_another(
    kind: str,
    worker: Callable[..., subprocess.Popen[str]],
    arguments: list[str],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    address = f"{tmp_path}/shared.log" if kind == "journal" else f"sqlite:///{tmp_path}/shared.db"
    if kind == "postgresql":
        address = request.getfixturevalue("postgresql").new_database()
    arguments[-1] = address
    arguments += ["--trials", str(TRIALS), "--heartbeat", "2", "--json"]  # a busy machine delays beats
    with quiet(HOST):  # workers claim a trial, and cannot go on: each stands in the middle of one
        workers = [worker(*arguments) for _ in range(3)]

        def running() -> dict[int, int]:
            """Numbers of trials by the ids of the processes that measure them."""
            with suppress(KeyError):  # nobody made the study yet
                found = [one for one in trials_of(address) if one.state.name == "RUNNING"]
                notes = [(one.user_attrs.get("worker", ""), one.number) for one in found]
                return {int(told.split()[-1]): number for told, number in notes if told}
            return {}

        wait_for(lambda: is_made(address) and len(running()) == 3, what="three trials under way")
        victim, *others = workers
        lost = running()[victim.pid]
        victim.send_signal(signal.SIGKILL)
    outputs = [process.communicate(timeout=PATIENCE_S) for process in others]
    assert [process.returncode for process in others] == [0, 0], outputs
    trials = trials_of(address)
    complete = [one for one in trials if one.state.name == "COMPLETE"]
    assert len(complete) == len({one.user_attrs["architecture"] for one in complete}) == TRIALS
    twins = [one for one in trials if "same" in one.user_attrs.get("not counted because", "")]
    assert len(twins) <= 4  # of the two that began to plan a round at the same moment
    assert trials[lost].state.name == "FAIL"
    assert trials[lost].user_attrs["not counted because"] == "its worker gave no more signs of life"
    again = [one for one in complete if one.user_attrs.get("number of the first attempt") == lost]
    assert [one.user_attrs["architecture"] for one in again] == [trials[lost].user_attrs["architecture"]]
    assert str(victim.pid) not in again[0].user_attrs["worker"].split()
    first, second = (json.loads(out) for out, _ in outputs)
    assert first["study"] == second["study"]
    assert len(first["study"]["trials"]) == TRIALS


def test_the_same_command_goes_on_until_all_trials_are_complete(
    command: Command, arguments: list[str]
) -> None:
    first = command(*arguments, "--trials", "2", "--json").document["study"]["trials"]
    document = command(*arguments, "--trials", "4", "--json").document
    assert len(first) == 2
    assert document["study"]["trials"][:2] == first
    assert len(document["study"]["trials"]) == 4
    again = command(*arguments, "--trials", "4", "--json").document
    assert again == document | {"search": ANYTHING, "made_by": ANYTHING}


class _Anything:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


ANYTHING: Any = _Anything()  # processor time and date differ


def test_the_document_holds_predicted_and_measured_side_by_side(
    command: Command, arguments: list[str]
) -> None:
    printed = command(*arguments, "--trials", "3", "--json")
    assert (printed.status, printed.err) == (0, "")
    document = printed.document
    study = document["study"]
    assert study.keys() == {
        "storage", "name", "images", "given_up", "chosen", "held_out", "front", "trials",
    }  # fmt: skip
    assert (study["name"], study["given_up"]) == ("supernet", 0)
    assert study["images"] == "shapes/predictor, seed 0"
    chosen = next(one for one in study["trials"] if one["number"] == study["chosen"])
    assert chosen["architecture"] == document["architecture"]
    assert chosen["measured"]["accuracy"] == max(one["measured"]["accuracy"] for one in study["trials"])
    assert set(study["front"]) <= {one["number"] for one in study["trials"]}
    assert study["held_out"].keys() == {"accuracy", "half_width", "images"}
    for one in study["trials"]:
        assert one.keys() == {
            "number", "round", "worker", "architecture", "predicted", "measured", "is_within",
        }  # fmt: skip
        assert one["measured"].keys() == {"accuracy", "accuracy_half_width", "images", "latency_ms"}
        assert one["measured"]["latency_ms"] == {}
        assert one["is_within"]
        assert Architecture.parse(one["architecture"])


def test_people_are_told_what_was_measured_and_what_flatters_it(
    command: Command, arguments: list[str]
) -> None:
    printed = command(*arguments, "--trials", "3")
    assert printed.status == 0
    assert "study supernet in " in printed.text
    assert (
        "study.log: 3 trials, the predictor fitted anew every 8; images shapes/predictor, seed 0"
        in printed.text
    )
    assert "top-1 predicted latency, predicted MACs peak weights architecture" in printed.text
    assert "was predicted; as the best of 3 on these images it is flattered by them" in printed.text
    assert "on 100 images that took no part in the choice" in printed.text


@pytest.mark.parametrize(("speed", "told"), [(1.02, 1.0), (0.8, 0.8)])  # the second makes the table stale
def test_measured_latencies_stand_beside_the_predicted(
    speed: float, told: float, command: Command, arguments: list[str]
) -> None:
    timed = (*arguments, "--measure", f"{ADDRESS}speed={speed}", "--trials", "2")
    assert "top-1 predicted latency predicted MACs" in command(*timed).text
    for one in command(*timed, "--json").document["study"]["trials"]:
        measured, predicted = one["measured"]["latency_ms"], one["predicted"]["latency_ms"]
        assert measured["simulated"] == pytest.approx(told * predicted["simulated"], rel=0.05)
        assert measured != predicted


def test_an_interruption_puts_the_trial_back_and_the_next_worker_measures_it(
    command: Command, arguments: list[str]
) -> None:
    broken = (*arguments, "--trials", "2", "--json", "--measure", f"{ADDRESS}break_at=3")
    assert command(*broken).status == 130
    states = [one.state.name for one in trials_of(arguments[-1])]
    assert states[0] == "FAIL"
    assert "RUNNING" not in states
    trials = command(*arguments, "--trials", "2", "--json").document["study"]["trials"]
    assert [one["number"] for one in trials] == [len(states) - 1, 1]


def test_the_chosen_one_is_exported_as_a_search_exports(
    command: Command, arguments: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "subnet.onnx"
    document = command(*arguments, "--trials", "2", "--export", path, "--json").document
    assert str(ModelCard.from_model(read_model(path), path).arch) == document["architecture"]
    assert document["measured"]["accuracy"] == document["study"]["held_out"]["accuracy"]


def test_options_that_do_not_go_together_are_refused(refused: Refused, arguments: list[str]) -> None:
    assert "--storage belongs to a measured search: add --measured" in refused("search", "--storage", "a.log")
    without = [one for one in arguments if one not in ("--storage", arguments[-1])]
    assert "--measured needs --storage" in refused(*without)
    assert "--measured times every trial" in refused(*arguments, "--finalists", "2")
    assert "is for a predicted search" in refused(*arguments, "--objective", "macs", "--accuracy", "0.5")
    assert "--measured is for one subnet, not for a list" in refused(*arguments, "--macs", "1,2M")
    assert "--trials 0: expected 1 or more" in refused(*arguments, "--trials", "0")
    assert "--images 0: expected 1 or more" in refused(*arguments, "--images", "0")


def test_a_wrong_storage_is_refused_in_one_line(
    refused: Refused, arguments: list[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for storage, told in (
        ("foo://bar", "--storage foo://bar: no such kind of storage"),
        (f"{tmp_path}/file/study.log", "file is no folder"),
        ("sqlite:///:memory:", "keeps nothing"),
    ):
        arguments[-1] = storage
        assert told in refused(*arguments)
