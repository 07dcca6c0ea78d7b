"""Supernets survive the disk; damaged files are named."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ofa_nas.errors import CheckpointError, OfaNasError
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.checkpoint import load_supernet, save_supernet
from ofa_nas.supernet_card import SupernetCard, SupernetFiles, supernet_names
from tests.supernet.test_supernet import images, lively_supernet


def card_of(space: SearchSpace) -> SupernetCard:
    names = tuple(f"class {index}" for index in range(space.classes))
    mean, std = (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)
    return SupernetCard(space, "made up", names, mean, std, sha256="", made_by={"seed": 0})


@pytest.fixture
def saved(tiny: SearchSpace, tmp_path: Path) -> SupernetFiles:
    files = SupernetFiles(tmp_path / "net.safetensors")
    save_supernet(files, lively_supernet(tiny), card_of(tiny))
    return files


def test_a_saved_supernet_computes_the_same_to_half_precision(
    saved: SupernetFiles, tiny: SearchSpace
) -> None:
    loaded, card = load_supernet(saved)
    assert card.space == replace(tiny, name="tiny")
    assert card.space.digest == tiny.digest
    x = images(tiny.largest)
    with torch.no_grad():
        expected = lively_supernet(tiny)(x, tiny.largest)
        assert (loaded(x, tiny.largest) - expected).abs().max() < 0.01 * expected.abs().max()


def test_a_card_tells_its_fit_only_where_images_are_not_cropped(tiny: SearchSpace, tmp_path: Path) -> None:
    card, path = card_of(tiny), tmp_path / "net.json"
    card.save(path)
    assert '"fit"' not in path.read_text()
    assert SupernetCard.load(path).fit == "crop"
    replace(card, fit="pad").save(path)
    assert SupernetCard.load(path).fit == "pad"
    path.write_text(path.read_text().replace('"fit": "pad"', '"fit": "shrink"'))
    with pytest.raises(CheckpointError, match=r"net.json: fit: expected one of crop, pad, stretch, got"):
        SupernetCard.load(path)


def test_a_value_too_large_for_half_precision_survives(tiny: SearchSpace, tmp_path: Path) -> None:
    files = SupernetFiles(tmp_path / "net.safetensors")
    supernet = lively_supernet(tiny)
    weight = next(value for value in supernet.state_dict().values() if value.ndim == 4)
    weight.view(-1)[0] = 1e5
    save_supernet(files, supernet, card_of(tiny))
    loaded, _ = load_supernet(files)
    assert max(float(value.abs().max()) for value in loaded.state_dict().values() if value.ndim == 4) == 1e5


def test_the_statistics_of_a_sensor_in_any_unit_are_read_back(tiny: SearchSpace, tmp_path: Path) -> None:
    card = replace(card_of(tiny), input_mean=(8.3e6, -2e9, 1e-7), input_std=(4e6, 1e12, 1e-6))  # raw counts
    card.save(tmp_path / "net.json")
    loaded = SupernetCard.load(tmp_path / "net.json")
    assert (loaded.input_mean, loaded.input_std) == (card.input_mean, card.input_std)


def test_a_card_tells_its_licence_where_somebody_stated_one(tiny: SearchSpace, tmp_path: Path) -> None:
    card_of(tiny).save(tmp_path / "older.json")
    replace(card_of(tiny), licence="CC0-1.0").save(tmp_path / "net.json")
    assert "licence" not in (tmp_path / "older.json").read_text()
    assert SupernetCard.load(tmp_path / "older.json").licence == ""
    assert SupernetCard.load(tmp_path / "net.json").licence == "CC0-1.0"


@pytest.mark.parametrize("name", supernet_names())
def test_what_ships_states_its_licence(name: str) -> None:
    files = SupernetFiles.find(name)
    assert SupernetCard.load(files.card).licence
    assert files.weights.with_name(f"{name}.LICENSE.txt").is_file()


def test_weights_that_belong_to_another_card_are_refused(saved: SupernetFiles, tiny: SearchSpace) -> None:
    card = SupernetCard.load(saved.card)
    save_supernet(saved, lively_supernet(tiny, seed=1), card)
    card.save(saved.card)
    with pytest.raises(CheckpointError, match=r"its digest is not the one that net\.json names"):
        load_supernet(saved)


@pytest.mark.parametrize("length", [0, 7, 100, 5000])
def test_a_truncated_weights_file_is_named(saved: SupernetFiles, length: int) -> None:
    saved.weights.write_bytes(saved.weights.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=r"net\.safetensors: not a safetensors file"):
        load_supernet(saved)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"schema_version": 1',
            '"schema_version": 9',
            "schema_version 9: made by a newer ofa-nas",
        ),
        ('"schema_version": 1', '"schema_version": 0', "made by an older ofa-nas; .*: train it again$"),
        ('"schema_version"', '"schema"', "not the sidecar of a supernet: schema_version is missing"),
        ('"class 3",', "", "9 class names for 10 classifier outputs"),
        ("127.0,", '"x",', "input_mean: expected numbers, one a colour"),
        ('"stride": 2', '"stride": 77', "expected an integer from 1 to 4, got 77"),
        ('"schema_version"', '"licence": "\\u001b[2J", "schema_version"', "licence: expected printable text"),
        ('"schema_version"', '"licence": 1, "schema_version"', "licence: expected a string"),
        ("{", "", "not valid JSON"),
    ],
)
def test_a_wrong_card_is_named(saved: SupernetFiles, old: str, new: str, message: str) -> None:
    saved.card.write_text(saved.card.read_text().replace(old, new, 1))
    with pytest.raises(OfaNasError, match=message) as caught:
        load_supernet(saved)
    assert "net.json" in str(caught.value)


def test_an_unknown_supernet_lists_what_ships() -> None:
    with pytest.raises(CheckpointError, match="no_such: no such supernet; shipped: "):
        SupernetFiles.find("no_such")
