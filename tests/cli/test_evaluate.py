"""`ofa-nas evaluate`."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from ofa_nas.space.search_space import SearchSpace
from tests.cli.conftest import Command
from tests.small_supernet import SmallSupernet, write_tests

KEYS = ("architecture", "file", "accuracy", "half_width", "balanced_accuracy", "images", "macs")


@pytest.fixture(scope="module")
def file(small: SmallSupernet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ofa_nas.cli import main

    path = tmp_path_factory.mktemp("file") / "largest.onnx"
    assert main(["export", "largest", "--supernet", small.name, "--output", str(path), "--json"]) == 0
    return path


@pytest.fixture
def tests_folder(tmp_path: Path) -> Path:
    return write_tests(tmp_path)


def test_smallest_middle_and_largest_are_evaluated_without_names(
    command: Command, small: SmallSupernet, tiny: SearchSpace
) -> None:
    printed = command("evaluate", "--supernet", small.name, "--json")
    assert (printed.status, printed.err) == (0, "")
    results = printed.document["results"]
    assert [result["architecture"] for result in results] == [
        str(arch) for arch in (tiny.smallest, tiny.middle, tiny.largest)
    ]
    for result in results:
        assert result.keys() == {*KEYS}
        assert result["images"] == 100
        assert result["accuracy"] > 0.25


def test_people_get_a_table(command: Command, small: SmallSupernet) -> None:
    arguments = ("--supernet", small.name, "--data", small.data, "--images", "50")
    printed = command("evaluate", "24/3x2/3x2", *arguments)
    assert printed.status == 0
    assert "24/3x2/3x2" in printed.out
    assert " 50 " in printed.out
    assert "points" in printed.out


def test_wrong_inputs_are_one_line(refused: Callable[..., str], small: SmallSupernet) -> None:
    assert "no_such: no such supernet" in refused("evaluate", "--supernet", "no_such")
    assert "99/3x2/3x2" in refused("evaluate", "99/3x2/3x2", "--supernet", small.name)
    assert "no such folder" in refused("evaluate", "--supernet", small.name, "--data", "no/such/folder")
    assert "--images 0: expected 1 or more" in refused("evaluate", "--supernet", small.name, "--images", "0")


def test_people_get_classes_and_a_list_of_mistakes(
    command: Command, file: Path, tests_folder: Path, tmp_path: Path
) -> None:
    (tests_folder / "class_4" / "=cmd, é.png").write_bytes((tests_folder / "class_4" / "0.png").read_bytes())
    listed = tmp_path / "wrong.csv"
    arguments = ("evaluate", file, "--data", tests_folder, "--split", "all", "--mistakes", listed)
    printed = command(*arguments, "--per-class")
    assert printed.status == 0, printed.err
    assert "balanced" in printed.out
    assert all(f" class_{label} " in printed.out for label in range(10))
    document = command(*arguments, "--per-class", "--json").document
    (result,) = document["results"]
    assert (result["file"], result["images"]) == (str(file), 56)
    counts = np.array([one["predicted"] for one in result["classes"]])
    recall = np.diagonal(counts) / counts.sum(axis=1)
    assert [one["recall"] for one in result["classes"]] == pytest.approx(recall.tolist())
    assert result["balanced_accuracy"] == pytest.approx(recall.mean())
    with listed.open(encoding="utf-8", newline="") as content:
        head, *lines = csv.reader(content)
    assert head == ["network", "image", "class", "predicted"]
    assert len(lines) == 56 - np.trace(counts)
    for network, image, label, predicted in lines:
        assert (network, Path(image).parent.name) == (str(file), label)
        assert predicted != label
        assert Path(image).is_file()


def test_long_names_of_classes_leave_the_figures_their_room(
    command: Command, file: Path, tests_folder: Path, tmp_path: Path
) -> None:
    model = onnx.load(file)
    names = [f"class_{label}, {'a very long name of it ' * 3}end" for label in range(10)]
    onnx.helper.set_model_props(
        model,
        {one.key: one.value for one in model.metadata_props} | {"ofa_nas.class_names": json.dumps(names)},
    )
    onnx.save(model, tmp_path / "long.onnx")
    for label, name in enumerate(names):
        (tests_folder / f"class_{label}").rename(tests_folder / name)
    arguments = ("evaluate", tmp_path / "long.onnx", "--data", tests_folder, "--split", "all", "--per-class")
    printed = command(*arguments)
    assert printed.status == 0, printed.err
    rows = re.findall(r"^ +[\d.]+% +[\d.%]* +\d+ +class_\d, a very long na… ", printed.out, re.MULTILINE)
    assert len(rows) == 10


def test_of_a_folder_that_is_not_split_the_part_is_told(
    command: Command, file: Path, tests_folder: Path
) -> None:
    told = "--split all takes every image of it"
    assert told in command("evaluate", file, "--data", tests_folder).text
    assert told not in command("evaluate", file, "--data", tests_folder, "--split", "all").text


def test_a_list_that_cannot_be_written_is_refused_first(
    refused: Callable[..., str], file: Path, tests_folder: Path, tmp_path: Path
) -> None:
    arguments = ("evaluate", file, "--data", tests_folder, "--mistakes")
    assert "--mistakes" in refused(*arguments, tmp_path / "wrong.txt")
    assert "--mistakes" in refused(*arguments, tmp_path)
