"""`ofa-nas predictor`."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ofa_nas.accuracy import Top1
from ofa_nas.data import Pixels
from ofa_nas.data.packed import PackedImages
from ofa_nas.export.ort_model import OrtModel
from tests.cli.conftest import Command
from tests.json_schemas import check_document
from tests.small_supernet import SUBNETS, SmallSupernet


def test_collecting_goes_on_where_it_stopped_and_fitting_follows(
    command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    files = small.copy_to(tmp_path / "run")
    lines = files.samples.read_bytes().splitlines(keepends=True)
    files.samples.write_bytes(b"".join(lines[:-3]))
    files.predictor.unlink()
    settings = ["--data", small.data, "--count", SUBNETS, "--images", "60", "--threads", "1"]
    printed = command("predictor", "collect", "--supernet", files.weights, *settings, "--json")
    assert (printed.status, printed.err) == (0, "")
    assert printed.document == {"supernet": str(files.weights), "collected": 3, "standing": None}
    assert sorted(files.samples.read_bytes().splitlines(keepends=True)) == sorted(lines)

    printed = command("predictor", "fit", "--supernet", files.weights, "--json")
    assert (printed.status, printed.err) == (0, "")
    assert printed.document["predictor"] == str(files.predictor)
    report = printed.document["report"]
    assert report.keys() == {
        "kind",
        "samples",
        "tau",
        "rmse",
        "true_rmse",
        "half_width",
        "noise",
        "reason",
        "kinds",
    }
    assert report["samples"] == SUBNETS
    assert [one["kind"] for one in report["kinds"]] == ["additive", "additive_gp", "macs"]
    assert 0.0 < report["noise"] < 0.2
    assert files.predictor.is_file()


def test_threads_hold_for_the_images_of_a_subnet_too(
    command: Command, small: SmallSupernet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = set()

    def count(file: OrtModel, split: PackedImages) -> Iterator[Top1]:
        used.add(file.workers)
        yield Top1(0, len(split))

    monkeypatch.setattr("ofa_nas.export.ort_model.count_correct_in_file", count)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(7)), raising=False)
    supernet = ("--supernet", small.copy_to(tmp_path / "run").weights)
    collect = ("predictor", "collect", *supernet, "--data", small.data, "--images", "8", "--count", "1")
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    for flags, threads in ((("--threads", "1"), 1), (("--seed", "1"), 7)):
        used.clear()
        assert command(*collect, *flags, "--json").document["collected"] == 1
        assert used == {threads}
    used.clear()

    def take(file: OrtModel, images: Pixels) -> Iterator[NDArray[np.int64]]:
        used.add(file.workers)
        yield np.zeros(len(images), np.int64)

    monkeypatch.setattr("ofa_nas.pipeline.evaluating.judging.classify", take)
    assert command("evaluate", "smallest", *supernet, "--threads", "2", "--json").status == 0
    assert used == {2}


def test_people_are_told_how_good_the_predictor_is(
    command: Command, small: SmallSupernet, tmp_path: Path
) -> None:
    files = small.copy_to(tmp_path / "run")
    printed = command("predictor", "fit", "--supernet", files.weights)
    assert f"additive predictor of {SUBNETS} subnets" in printed.text
    assert "Kendall tau" in printed.text
    assert str(files.predictor) in printed.text


def test_wrong_inputs_are_one_line(refused: Callable[..., str], small: SmallSupernet, tmp_path: Path) -> None:
    files = small.copy_to(tmp_path / "run")
    before = files.predictor.read_bytes()
    assert "needs --data" in refused("predictor", "collect", "--supernet", files.weights)
    assert "there is no 'oracle'" in refused(
        "predictor", "fit", "--supernet", files.weights, "--kind", "oracle"
    )
    assert "no_such: no such supernet" in refused("predictor", "fit", "--supernet", "no_such")
    collect = ("predictor", "collect", "--supernet", files.weights, "--data", small.data, "--threads", "1")
    assert "--count 0: expected 1 to 100000" in refused(*collect, "--count", "0")
    assert "--images -5: expected 1 or more" in refused(*collect, "--images", "-5")
    files.samples.write_text("not JSON\n", encoding="utf-8")
    assert "supernet.samples.jsonl:1: not a JSON line" in refused(
        "predictor", "fit", "--supernet", files.weights
    )
    assert files.predictor.read_bytes() == before


def test_the_report_is_printed_and_written(command: Command, small: SmallSupernet, tmp_path: Path) -> None:
    page, beside = tmp_path / "report.html", tmp_path / "report.json"
    written = ("--output", page, "--json-file", beside)
    printed = command("predictor", "report", "--supernet", small.name, *written)
    assert printed.status == 0
    assert "Kendall tau" in printed.text
    assert "top-10 regret" in printed.text
    assert page.read_text().count("<svg") == 3
    document = json.loads(beside.read_text())
    check_document(["predictor", "report"], document)
    assert document["page"] == str(page)
    assert len(document["report"]["points"]) == SUBNETS
    assert document["report"]["scores"][0].keys() >= {"tau", "rmse", "coverage", "top_1_regret"}


def test_a_report_is_written_to_a_page_only(refused: Callable[..., str], tmp_path: Path) -> None:
    told = refused("predictor", "report", "--output", tmp_path / "report.pdf")
    assert "expected the name of a .html file" in told


def test_an_aim_that_is_none_is_refused(refused: Callable[..., str], small: SmallSupernet) -> None:
    told = refused(
        "predictor", "collect", "--supernet", small.name, "--data", small.data, "--until", "loss=1"
    )
    assert "--until loss=1: expected tau=0.95 or, in points, rmse=0.8" in told
