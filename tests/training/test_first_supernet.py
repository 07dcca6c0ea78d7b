"""Names that become a supernet with first weights."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ofa_nas.data import Normalization
from ofa_nas.data.dataset import open_data
from ofa_nas.errors import ConfigError
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet_card import SupernetCard
from ofa_nas.training.first_supernet import first_supernet
from ofa_nas.training.recipe import Recipe
from tests.small_supernet import SmallSupernet

SANDWICH = Recipe.load("sandwich")


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
