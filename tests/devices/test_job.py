"""Jobs are files that anybody may touch, and answers come from elsewhere: both are checked."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofa_nas.devices import MeasuringProtocol, Model, Profile, Visit, agent
from ofa_nas.devices.job import Answers, Job, Task, pack_model
from ofa_nas.errors import FileError

MODELS = [pack_model(Model(name, name.encode() * 9)) for name in ("a", "b")]
JOB = Job(
    MeasuringProtocol(rounds=2, profile_sittings=1),
    (Task("profile", ("a",)), Task("time", ("a", "b"))),
    {model.name: model.file for model in MODELS},
    {"space": "tiny"},
)
BOARD = {
    "kind": "device",
    "job": JOB.id,
    "cpu": "Cortex-A72",
    "cores": 4,
    "onnxruntime": "1.23.2",
    "python": "3.11.2",
    "governor": "performance",
    "host_name": "raspberrypi",
    "warnings": [],
}
NODES = [{"name": "stem/conv", "operator": "Conv", "ms": 0.5}]
VISIT = {
    "task": 1,
    "kind": "visit",
    "model": "a",
    "round": 0,
    "wall_ms": [1.0, 2],
    "cpu_ms": [1.0, 0],
    "spoilt": False,
    "throttled": False,
}
PROFILE = {"task": 0, "kind": "profile", "model": "a", "sitting": 0, "nodes": NODES, "peak_bytes": 9}
DONE = {"task": 1, "kind": "done"}


def whole() -> Iterator[dict[str, Any]]:
    """What an agent answers that nobody disturbs."""
    yield BOARD
    yield PROFILE
    yield {"task": 0, "kind": "done"}
    for turn in range(2):
        for model in "ab":
            yield {**VISIT, "model": model, "round": turn}
    yield DONE


def read(records: list[Any]) -> Answers:
    answers = Answers(JOB, "results.jsonl", FileError, fix="run the agent again")
    for record in records:
        answers.read(record if isinstance(record, bytes) else json.dumps(record).encode())
    return answers


def test_a_job_survives_the_journey_and_its_id_tells_jobs_apart() -> None:
    files = JOB.files(MODELS)
    assert list(files) == sorted(files) == ["agent.py", "job.json", *sorted(one.file.file for one in MODELS)]
    again = Job.parse(files["job.json"], where="job.json", error=FileError)
    assert again == JOB
    assert again.id == JOB.id
    others = [
        Job(MeasuringProtocol(rounds=3, profile_sittings=1), JOB.tasks, JOB.models, JOB.about),
        Job(JOB.protocol, JOB.tasks[:1], JOB.models, JOB.about),
        Job(JOB.protocol, JOB.tasks, JOB.models, {}),
    ]
    assert len({JOB.id, *(other.id for other in others)}) == 4


def test_a_whole_number_serves_for_a_fraction() -> None:
    job = Job(MeasuringProtocol(visit_ms=50), JOB.tasks, JOB.models, JOB.about)
    assert Job.parse(job.files(MODELS)["job.json"], where="job.json", error=FileError) == job


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"schema": 1}', b"\xff", b"[" * 100_000])
def test_what_is_no_job_is_refused(content: bytes) -> None:
    with pytest.raises(FileError, match=r"^bundle\.zip: holds no job"):
        Job.parse(content, where="bundle.zip", error=FileError)


@pytest.mark.parametrize(
    ("schema", "message"), [(2, "a newer ofa-nas.*: update"), (0, "an older ofa-nas.*: write the bundle")]
)
def test_a_job_of_another_version_says_which(schema: int, message: str) -> None:
    document = {**json.loads(JOB.files([])["job.json"]), "schema": schema}
    with pytest.raises(FileError, match=rf"^bundle\.zip: schema {schema}: made by {message}"):
        Job.parse(json.dumps(document).encode(), where="bundle.zip", error=FileError)


def test_a_job_that_was_changed_is_refused() -> None:
    document = json.loads(JOB.files([])["job.json"])
    document["protocol"]["rounds"] = 1
    with pytest.raises(FileError, match="was changed after it was written"):
        Job.parse(json.dumps(document).encode(), where="bundle.zip", error=FileError)


def test_answers_become_the_records_of_devices() -> None:
    answers = Answers(JOB, "x", FileError, fix="")
    found = [answers.read(json.dumps(record).encode()) for record in whole()]
    assert answers.is_complete
    assert answers.machines == [BOARD]
    assert found[0] is found[2] is found[-1] is None
    assert found[1]
    assert found[3]
    assert isinstance(found[1][1], Profile)
    assert found[3] == (1, Visit("a", (1.0, 2), (1.0, 0), spoilt=False, throttled=False))


def test_a_second_start_is_part_of_the_answers() -> None:
    records = list(whole())
    assert read([*records[:4], BOARD, *records[4:]]).is_complete
    assert not read(records[:-1]).is_complete


@pytest.mark.parametrize("key", agent.FIXED)
def test_a_later_start_on_another_board_is_refused(key: str) -> None:
    records = list(whole())
    value: object = 8 if key == "cores" else "another"
    told = rf"^results\.jsonl: line 5 tells of {key} {value!r}, the first line of .*: take the results of one"
    with pytest.raises(FileError, match=told):
        read([*records[:4], {**BOARD, key: value}, *records[4:]])


def test_answers_of_a_provider_tell_it() -> None:
    job = replace(JOB, protocol=replace(JOB.protocol, provider="cuda"))
    answers = Answers(job, "results.jsonl", FileError, fix="")
    board = {**BOARD, "job": job.id}
    with pytest.raises(FileError, match="line 1 was measured with the CPU, and the job is for cuda"):
        answers.read(json.dumps(board).encode())
    answers.read(json.dumps({**board, "provider": "cuda"}).encode())
    assert answers.machine["provider"] == "cuda"


def test_warnings_of_all_starts_count_once_a_kind() -> None:
    hot = {**BOARD, "warnings": ["75 degrees C: let it cool"]}
    busy = {**BOARD, "warnings": ["busy: load 1.0", "79 degrees C: let it cool"], "load": 1.0}
    told = ["75 degrees C: let it cool", "busy: load 1.0"]
    assert read([BOARD, hot, busy, hot]).machine == {**BOARD, "warnings": told}


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (b'{"task": 1, "kind": "vis', "line 2 is damaged: run the agent again"),
        (b"\xff\xfe", "line 2 is damaged"),
        (b"[" * 100_000, "line 2 is damaged"),
        (json.dumps({**VISIT, "wall_ms": [float("nan")]}).encode(), "line 2 is damaged"),
        (["visit"], "line 2 is no record of the agent"),
        ({"kind": "virus"}, "line 2 is no record of the agent"),
        (
            {**BOARD, "job": "f" * 20},
            "line 2 belongs to another job: take the results and the bundle that belong",
        ),
        ({**BOARD, "cores": "four"}, "line 2 does not describe a board"),
        ({**BOARD, "cores": 4097}, "line 2 does not describe a board"),
        ({**BOARD, "cpu_quota": "much"}, "line 2 does not describe a board"),
        ({**BOARD, "warnings": "none"}, "line 2 does not describe a board"),
        ({**BOARD, "cpu": "\x1b]0;owned\x07"}, "line 2 does not describe a board"),
        (
            {**BOARD, "provider": "cuda"},
            "line 2 was measured with 'cuda', and the job is for the CPU: take the results as the",
        ),
        ({**BOARD, "provider": "\x1b]0;owned\x07"}, r"line 2 was measured with '\\x1b\]0;owned"),
        ({**VISIT, "model": "c"}, "line 2 measures something that the job does not ask for"),
        ({**VISIT, "task": 2}, "does not ask for"),
        ({**VISIT, "task": -1}, "does not ask for"),
        ({**VISIT, "task": True}, "does not ask for"),
        ({**VISIT, "task": 0}, "does not ask for"),
        ({**VISIT, "round": 0.5}, "does not ask for"),
        ({**VISIT, "model": ["a"]}, "does not ask for"),
        ({**VISIT, "wall_ms": []}, "line 2 holds figures that nothing can have measured"),
        ({**VISIT, "wall_ms": [0.0, 1.0]}, "holds figures"),
        ({**VISIT, "wall_ms": [1.0]}, "holds figures"),
        ({**VISIT, "wall_ms": [1e-300, 1.0]}, "holds figures"),
        ({**VISIT, "wall_ms": "12"}, "holds figures"),
        ({**VISIT, "wall_ms": [1.0, -1.0]}, "holds figures"),
        ({**VISIT, "cpu_ms": [True, True]}, "holds figures"),
        ({**VISIT, "wall_ms": [1.0, 1e300]}, "holds figures"),
        ({**VISIT, "spoilt": 0}, "holds figures"),
        ({**PROFILE, "nodes": []}, "holds figures"),
        ({**PROFILE, "nodes": [{"name": "x", "ms": 1.0}]}, "holds figures"),
        ({**PROFILE, "nodes": [{**NODES[0], "ms": -1.0}]}, "holds figures"),
        ({**PROFILE, "peak_bytes": None}, "holds figures"),
        ({**PROFILE, "resident_bytes": -1}, "holds figures"),
        (DONE, "line 2 says done, but measurements of a are missing"),
    ],
)
def test_a_wrong_answer_is_refused_with_its_line(record: Any, told: str) -> None:
    with pytest.raises(FileError, match=f"^results.jsonl: {'' if told.startswith('line') else '.*'}{told}"):
        read([BOARD, record])


ROW = [0.5, -1, None]
ANSWERED = {"task": 0, "kind": "logits", "model": "a", "sitting": 0, "logits": [ROW] * agent.LOGIT_INPUTS}


def ask(record: dict[str, Any]) -> tuple[int, Any] | None:
    job = replace(JOB, tasks=(Task("logits", ("a",)),))
    answers = Answers(job, "results.jsonl", FileError, fix="run the agent again")
    answers.read(json.dumps({**BOARD, "job": job.id}).encode())
    found = answers.read(json.dumps(record).encode())
    answers.read(b'{"task": 0, "kind": "done"}')
    assert answers.is_complete
    return found


def test_logits_become_a_record_and_null_what_is_no_number() -> None:
    found = ask(ANSWERED)
    assert found is not None
    (row, *_) = found[1].logits
    assert (found[0], found[1].model, row[:2], math.isnan(row[2])) == (0, "a", (0.5, -1.0), True)


@pytest.mark.parametrize(
    "logits",
    [
        None,
        [],
        [ROW] * (agent.LOGIT_INPUTS - 1),
        [ROW] * (agent.LOGIT_INPUTS + 1),
        [[]] * agent.LOGIT_INPUTS,
        [ROW] * (agent.LOGIT_INPUTS - 1) + [ROW[:2]],
        [["1"]] * agent.LOGIT_INPUTS,
        [[True]] * agent.LOGIT_INPUTS,
        [[1e39]] * agent.LOGIT_INPUTS,
    ],
)
def test_what_can_be_no_logits_is_refused(logits: Any) -> None:
    with pytest.raises(FileError, match="line 2 holds figures that nothing can have measured"):
        ask({**ANSWERED, "logits": logits})


def test_logits_that_are_missing_or_not_asked_for_are_refused() -> None:
    with pytest.raises(FileError, match="line 2 says done, but measurements of a are missing"):
        ask({"task": 0, "kind": "done"})
    with pytest.raises(FileError, match="line 2 measures something that the job does not ask for"):
        read([BOARD, ANSWERED])


def test_no_processor_time_is_refused_where_it_is_the_clock() -> None:
    protocol = replace(JOB.protocol, clock="cpu")
    job = Job(protocol, JOB.tasks, JOB.models, JOB.about)
    answers = Answers(job, "results.jsonl", FileError, fix="run the agent again")
    answers.read(json.dumps({**BOARD, "job": job.id}).encode())
    with pytest.raises(
        FileError, match=r"^results\.jsonl: line 2 holds figures that nothing can have measured"
    ):
        answers.read(json.dumps(VISIT).encode())


def test_the_same_measurement_twice_is_refused() -> None:
    with pytest.raises(
        FileError, match="line 3 measures the same again: take the file as the agent wrote it"
    ):
        read([BOARD, VISIT, VISIT])


def test_a_measurement_without_a_board_or_behind_its_end_is_refused() -> None:
    with pytest.raises(FileError, match="line 1 stands before any description of a board"):
        read([VISIT])
    with pytest.raises(FileError, match="line 9 goes on with part 2, which was done before"):
        read([*whole(), {**VISIT, "round": 7}])


def test_results_of_two_runs_in_one_file_are_refused_with_what_to_do() -> None:
    told = r"line 10 goes on with part 1, which was done before: take the file of one run.*not several joined"
    with pytest.raises(FileError, match=told):
        read([*whole(), *whole()])


def test_another_board_of_the_same_model_is_warned_of() -> None:
    first, *rest = whole()
    assert read([first, rest[0], first, *rest[1:]]).machine == BOARD
    machine = read([first, rest[0], {**BOARD, "host_name": "second"}, *rest[1:]]).machine
    assert machine["warnings"] == ["it was begun on raspberrypi, and continued on second"]


JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, -1, 0, 2**70, 0.5, 1e300, "", "a", [], {}, [None], [1.0], [[1.0]], [{"ms": 1}]]
)


@given(data=st.data())
def test_any_answer_is_read_or_refused_with_its_line(data: st.DataObject) -> None:
    records = list(whole())
    place = data.draw(st.integers(0, len(records) - 1))
    spoilt = dict(records[place])
    spoilt[data.draw(st.sampled_from(sorted(spoilt)))] = data.draw(JUNK)
    records[place] = spoilt
    try:
        read(records)
    except FileError as error:
        assert str(error).startswith("results.jsonl: line ")  # noqa: PT017 - a change may also be harmless
