"""What a run folder remembers: when a step is current, when it goes on, and what stands in its way."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from ofa_nas.errors import ConfigError, FileError
from ofa_nas.pipeline.running import run_folder
from ofa_nas.pipeline.running.run_folder import BEGUN, RunFolder, Step, StepRecord, digest_of


@pytest.fixture
def step(tmp_path: Path) -> Step:
    (tmp_path / "weights").write_bytes(b"weights")
    (tmp_path / "table.json").write_text('{"ms": 1, "made_by": {"made_on": "today"}}')
    command = ("train", "--epochs", "2", "--threads", "2")
    inputs: dict[str, Path | str] = {"weights": tmp_path / "weights", "data": "digest"}
    return Step("train", (command,), inputs, (tmp_path / "table.json",))


def done(step: Step, folder: Path) -> RunFolder:
    run = RunFolder(folder)
    run.steps[step.name] = StepRecord.begin(step, seed=0, before=None).finish(step)
    run.save(settings={})
    return RunFolder(folder)


def test_what_was_done_is_known_again(step: Step, tmp_path: Path) -> None:
    assert RunFolder(tmp_path).why(step) == "never done"
    assert done(step, tmp_path).why(step) == ""


def test_every_change_is_told_by_its_name(step: Step, tmp_path: Path) -> None:
    run = done(step, tmp_path)
    more = replace(step, commands=(("train", "--epochs", "3", "--threads", "2"),))
    assert run.why(more) == "epochs was 2, now it is 3"
    less = replace(step, commands=(("train",),))
    assert run.why(less) == "epochs was 2, now it is nothing"
    flagged = replace(step, commands=(("train", "--epochs", "2", "--fast"),))
    assert run.why(flagged) == "fast was nothing, now it is given"
    assert run.why(replace(step, commands=(*step.commands, ("fit",)))) == "it was 1 commands, now it is 2"
    assert run.why(replace(step, inputs={**step.inputs, "data": "another"})) == "data changed"
    (tmp_path / "weights").write_bytes(b"others")
    assert run.why(step) == "weights changed"


def test_what_changes_nothing_but_speed_is_no_reason(step: Step, tmp_path: Path) -> None:
    fast = replace(step, commands=(("train", "--epochs", "2", "--threads", "8", "--device", "cuda"),))
    assert done(step, tmp_path).why(fast) == ""
    profiled = replace(step, name="profile", commands=(("profile", "--unless-fresh", "--seed", "0"),))
    anew = replace(profiled, commands=(("profile", "--seed", "0"),))
    assert done(profiled, tmp_path).why(anew) == ""
    searched = replace(step, name="search", commands=(("search", "--threads", "2"),))
    run = done(searched, tmp_path)
    assert (
        run.why(replace(searched, commands=(("search", "--threads", "1"),))) == "threads was 2, now it is 1"
    )


def test_outputs_are_looked_at_but_not_at_what_tells_of_their_making(step: Step, tmp_path: Path) -> None:
    run, table = done(step, tmp_path), tmp_path / "table.json"
    table.write_text('{"made_by": {"made_on": "tomorrow"}, "history": [1], "ms": 1}')
    assert run.why(step) == ""
    table.write_text('{"ms": 2}')
    assert run.why(step) == "table.json was changed"
    assert run.why(replace(step, grows=True)) == ""
    table.unlink()
    assert run.why(replace(step, grows=True)) == "table.json is missing"


def test_an_interrupted_step_goes_on_with_the_commands_that_are_left(step: Step, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    two = replace(step, commands=(("predictor", "collect"), ("predictor", "fit")))
    run.steps[two.name] = replace(StepRecord.begin(two, seed=0, before=None), parts=1)
    assert run.why(two) == "was interrupted"
    assert StepRecord.begin(two, seed=0, before=run.steps[two.name]).parts == 1
    other = replace(two, inputs={"data": "another"})
    assert StepRecord.begin(other, seed=0, before=run.steps[two.name]).parts == 0


def test_the_same_step_done_again_is_the_same_training(step: Step, tmp_path: Path) -> None:
    """A checkpoint of it may be continued: only another one has to be moved aside."""
    record = done(step, tmp_path).steps["train"]
    assert record.is_same(step)
    again = StepRecord.begin(step, seed=0, before=record)
    assert (again.state, again.parts, again.made_by) == (BEGUN, 0, record.made_by)
    assert not record.is_same(replace(step, inputs={**step.inputs, "data": "another"}))


def test_trainings_are_moved_aside_one_after_the_other(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.set_training_aside() is None
    for number in (1, 2):
        (tmp_path / "checkpoint.safetensors").write_bytes(bytes([number]))
        (tmp_path / "supernet.json").touch()
        (tmp_path / "table.json").touch()
        assert run.set_training_aside() == tmp_path / f"superseded-{number}"
    assert (tmp_path / "superseded-2" / "checkpoint.safetensors").read_bytes() == b"\2"
    assert {path.name for path in (tmp_path / "superseded-1").iterdir()} == {
        "checkpoint.safetensors",
        "supernet.json",
    }
    assert (tmp_path / "table.json").exists()


def test_two_runs_do_not_share_a_folder_and_leftovers_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_folder, "LOCK_S", 0.2)
    (tmp_path / ".subnet.onnx.99.tmp").touch()
    with RunFolder(tmp_path).locked():
        assert not (tmp_path / ".subnet.onnx.99.tmp").exists()
        with (
            pytest.raises(ConfigError, match="another ofa-nas run is at work here"),
            RunFolder(tmp_path).locked(),
        ):
            pass
    with RunFolder(tmp_path).locked():
        pass


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 3},
        {"steps": {"train": {}}},
        {"steps": {"train": 7}},
        {"steps": {"train": asdict(StepRecord(BEGUN, [["train"]], {})) | {"commands": [[1]]}}},
        {"steps": {"train": asdict(StepRecord(BEGUN, [["train"]], {})) | {"commands": [{"a": 1}]}}},
        {"steps": {"train": asdict(StepRecord(BEGUN, [["train"]], {})) | {"inputs": ["x"]}}},
        {"steps": {"train": asdict(StepRecord(BEGUN, [["train"]], {})) | {"parts": "1"}}},
        {"data": None},
        {"data": {}},
    ],
)
def test_a_damaged_record_is_one_clear_error(change: dict[str, object], tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.save(settings={})
    path = tmp_path / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(FileError, match=r"run\.json: not the record of a run"):
        RunFolder(tmp_path)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (2, "schema_version 2: made by a newer ofa-nas.*: update"),
        (0, "schema_version 0: made by an older ofa-nas.*: name another folder"),
        ("one", "schema_version: expected 1, got 'one'"),
        (None, "schema_version: expected 1, got nothing"),
    ],
)
def test_a_record_of_another_version_says_which(version: object, message: str, tmp_path: Path) -> None:
    RunFolder(tmp_path).save(settings={})
    path = tmp_path / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": version}))
    with pytest.raises(FileError, match=rf"run\.json: {message}"):
        RunFolder(tmp_path)


def test_a_file_that_is_no_json_is_another_one(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert digest_of(path) == ""
    path.write_text('{"a": 1}')
    whole = digest_of(path)
    path.write_text('{"a": ')
    assert digest_of(path) not in ("", whole)
    path.write_text("[1]")
    assert digest_of(path) not in ("", whole)
