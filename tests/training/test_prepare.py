"""Splits that never mix, and names that become data and weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ofa_nas.data import Normalization, Source
from ofa_nas.data.dataset import open_data
from ofa_nas.data.sample import decode, load_sample
from ofa_nas.errors import ConfigError
from ofa_nas.pipeline.training_run import save_images
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet_card import SupernetCard, SupernetFiles
from ofa_nas.training.prepare import (
    SplitSizes,
    first_supernet,
    held_out_half,
    predictor_half,
    training_data,
)
from ofa_nas.training.recipe import Recipe
from tests.small_supernet import SmallSupernet

SANDWICH = Recipe.load("sandwich")


def source_of(labels: list[int]) -> Source:
    def pixels(index: int) -> np.ndarray:
        return np.full((8, 8, 3), index % 256, dtype=np.uint8)

    return Source(np.array(labels, np.int64), tuple("abcdef"), 8, "made up", pixels)


@given(labels=st.lists(st.integers(0, 5), max_size=80))
def test_the_halves_are_disjoint_cover_all_and_share_every_class(labels: list[int]) -> None:
    val = source_of(labels)
    first, second = predictor_half(val), held_out_half(val)
    assert sorted([*first, *second]) == list(range(len(labels)))
    counts = [np.bincount(val.labels[half], minlength=6) for half in (first, second)]
    assert (np.abs(counts[0] - counts[1]) <= 1).all()
    assert np.array_equal(first, predictor_half(source_of(labels)))


def encoded_images(source: Source) -> set[bytes]:
    assert source.encoded is not None
    return {source.encoded(index) for index in range(len(source))}


def test_no_seed_leaks_images_between_what_is_kept(small: SmallSupernet, tmp_path: Path) -> None:
    data = open_data(str(small.data))
    looked_at = encoded_images(data.val.subset(predictor_half(data.val)))
    drawn = []
    for seed in (0, 1):
        files = SupernetFiles(tmp_path / f"{seed}.safetensors")
        sizes = SplitSizes(calibration_sample=50, held_out_sample=50, seed=seed)
        save_images(files, data, sizes)
        held_out, calibration = load_sample(files.held_out), load_sample(files.calibration)
        assert np.bincount(held_out.labels).tolist() == [5] * 10
        assert encoded_images(calibration) < encoded_images(data.train)
        drawn.append(encoded_images(held_out))
        assert not drawn[-1] & looked_at
        assert not drawn[-1] & encoded_images(data.train)
    assert drawn[0] != drawn[1]


def test_reports_and_calibration_are_drawn_by_the_seed() -> None:
    val, train = decode(source_of([0, 1, 2] * 20)), decode(source_of([3, 4] * 40))
    sizes = [SplitSizes(reports=10, calibration=7, seed=seed) for seed in (0, 0, 1)]
    first, again, other = (training_data(train, val, size, normalization=Normalization()) for size in sizes)
    assert len(first.held_out) == 10
    assert set(first.held_out.labels) <= {0, 1, 2}
    assert first.calibration.shape == (7, 8, 8, 3)
    assert len(np.unique(first.calibration[:, 0, 0, 0])) == 7
    assert np.array_equal(first.held_out.images, again.held_out.images)
    assert not np.array_equal(first.held_out.images, other.held_out.images)


def test_the_first_supernet_has_the_classes_of_the_data_and_depends_on_the_seed(small: SmallSupernet) -> None:
    data, cpu = open_data(str(small.data)), torch.device("cpu")
    firsts = [
        first_supernet("tiny", data, start=None, recipe=replace(SANDWICH, seed=seed), device=cpu)
        for seed in (0, 0, 1)
    ]
    assert {(first.normalization, first.start) for first in firsts} == {(Normalization(), "random weights")}
    weights = [first.supernet.state_dict()["layers.classifier.linear.weight"] for first in firsts]
    assert weights[0].shape[0] == 10
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_fresh_residual_branches_begin_at_the_scale_of_the_recipe(small: SmallSupernet) -> None:
    data, cpu = open_data(str(small.data)), torch.device("cpu")
    closed, half = (
        first_supernet(
            "tiny", data, start=None, recipe=replace(SANDWICH, branch_scale=scale), device=cpu
        ).supernet.state_dict()
        for scale in (0.0, 0.5)
    )
    differ = {name for name, value in closed.items() if not torch.equal(value, half[name])}
    assert differ
    assert all(name.endswith(".bn.weight") for name in differ)
    assert all(not closed[name].any() and bool((half[name] == 0.5).all()) for name in differ)


def test_a_start_brings_its_space_and_its_normalisation(small: SmallSupernet, tmp_path: Path) -> None:
    data, cpu = open_data(str(small.data)), torch.device("cpu")
    files = small.copy_to(tmp_path / "copy")
    card = SupernetCard.load(files.card)
    replace(card, input_mean=(1.0, 2.0, 3.0), input_std=(4.0, 5.0, 6.0)).save(files.card)
    for space in (None, "tiny"):
        first = first_supernet(space, data, start=str(files.weights), recipe=SANDWICH, device=cpu)
        assert first.supernet.space == card.space
        assert first.normalization == Normalization((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
        assert first.start == f"{files.weights} (weights {card.sha256[:12]})"
    with pytest.raises(ConfigError, match="starts a supernet of the space tiny, not of mobilenet_v3: "):
        first_supernet("mobilenet_v3", data, start=str(files.weights), recipe=SANDWICH, device=cpu)


def test_classes_are_known_again_by_their_identifiers(small: SmallSupernet) -> None:
    data, cpu = open_data(str(small.data)), torch.device("cpu")
    ids = tuple(f"class_{9 - index}" for index in range(10))
    renamed = replace(data, train=replace(data.train, class_names=tuple("abcdefghij"), class_ids=ids))
    weight = "layers.classifier.linear.weight"
    own, turned = (
        first_supernet(None, some, start=small.name, recipe=SANDWICH, device=cpu).supernet
        for some in (data, renamed)
    )
    assert torch.equal(turned.state_dict()[weight], own.state_dict()[weight].flip(0))


def test_without_space_and_start_there_is_a_default(small: SmallSupernet) -> None:
    data, cpu = open_data(str(small.data)), torch.device("cpu")
    first = first_supernet(None, data, start=None, recipe=SANDWICH, device=cpu)
    assert first.supernet.space == SearchSpace.load("efficientnet_lite").with_classes(10)
