"""The history of a run: every epoch once, whatever was killed in between."""

import json
from pathlib import Path

import pytest

from ofa_nas.errors import ConfigError, FileError
from ofa_nas.training.history import History
from ofa_nas.training.loop import StepReport
from ofa_nas.training.train import EpochReport


def step(number: int) -> StepReport:
    return StepReport(number, 40, "sandwich", 1.0 / number, 0.1, 100.0)


def epoch(number: int) -> EpochReport:
    return EpochReport(number, number / 10, "sandwich", 0.5, 0.1, 0.2, 0.3, 1.5)


def steps(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / "history.jsonl").read_text().splitlines()]


def test_every_tenth_step_and_every_epoch_are_kept(tmp_path: Path) -> None:
    history = History(tmp_path, EpochReport)
    for number in range(1, 26):
        history.add(step(number))
    history.add(epoch(25))
    history.add(step(40))
    assert steps(tmp_path) == [10, 20, 25, 40]
    assert history.epochs() == (epoch(25),)


def test_what_a_kill_undid_goes_with_the_torn_line(tmp_path: Path) -> None:
    history = History(tmp_path, EpochReport)
    for report in (step(10), epoch(10), step(20), epoch(20), step(30)):
        history.add(report)
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"kind": "step", "ste')
    resumed = History(tmp_path, EpochReport)
    resumed.add(step(15))  # the checkpoint was of step 14
    resumed.add(step(20))
    resumed.add(epoch(20))
    assert steps(tmp_path) == [10, 10, 20, 20]
    assert resumed.epochs() == (epoch(10), epoch(20))


def test_a_resume_that_begins_with_the_report_of_an_epoch_keeps_its_last_step(tmp_path: Path) -> None:
    history = History(tmp_path, EpochReport)
    for report in (step(10), epoch(10), step(20), epoch(20), step(30)):
        history.add(report)
    resumed = History(tmp_path, EpochReport)
    resumed.add(epoch(20))
    resumed.add(step(30))
    assert steps(tmp_path) == [10, 10, 20, 20, 30]
    assert resumed.epochs() == (epoch(10), epoch(20))


def test_a_new_training_starts_a_new_history(tmp_path: Path) -> None:
    History(tmp_path, EpochReport).add(step(10))
    again = History(tmp_path, EpochReport)
    again.add(step(1))
    assert steps(tmp_path) == []


def test_a_foreign_file_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text('{"kind": "step", "step": 1}\n[]\n')
    with pytest.raises(FileError, match=r"history\.jsonl, line 2: not a report of a training"):
        History(tmp_path, EpochReport).add(step(5))


def test_scalars_are_written_for_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = History(tmp_path, EpochReport, has_tensorboard=True)
    for report in (step(10), step(20), epoch(20)):
        history.add(report)
    history.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, round(event.value, 3)) for event in events.Scalars("loss")] == [
        (10, 0.1),
        (20, 0.05),
    ]
    assert events.Scalars("accuracy/smallest")[0].value == pytest.approx(0.1)


def test_tensorboard_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="--tensorboard needs a package: pip install 'ofa-nas"):
        History(tmp_path, EpochReport, has_tensorboard=True)
