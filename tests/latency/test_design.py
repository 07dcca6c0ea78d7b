"""Designs hold every layer of a space, and judge with networks that fitted nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ofa_nas.errors import ConfigError
from ofa_nas.latency.design import ANCHORS, HOLDOUTS, PROVIDER_ANCHORS, SHALLOW, draw_design
from ofa_nas.space.costs import full_depth
from ofa_nas.space.search_space import SearchSpace


@pytest.mark.parametrize("name", ["tiny", "efficientnet_lite", "mobilenet_v3"])
def test_latin_designs_hold_every_layer_of_a_resolution(name: str) -> None:
    space = SearchSpace.load(name)
    size = space.resolutions[-1]
    design = draw_design(space, size, np.random.default_rng(0))
    held = {layer for arch in design.latin for layer in space.layers(arch)}
    widest = max(len(stage.choices) for stage in space.stages)
    assert len(design.latin) == widest
    assert held == {layer for turn in range(widest) for layer in space.layers(full_depth(space, size, turn))}


def test_each_choice_stands_at_each_position_equally_often() -> None:
    space = SearchSpace.load("mobilenet_v3")
    latin = draw_design(space, 128, np.random.default_rng(1)).latin
    for stage in range(1, len(space.stages)):
        for position in range(4):
            assert {arch.stages[stage][position] for arch in latin} == set(space.stages[stage].choices)


def test_networks_differ_and_are_of_the_space_and_resolution() -> None:
    space = SearchSpace.load("efficientnet_lite")
    design = draw_design(space, 112, np.random.default_rng(2))
    assert len(design.anchors) == SHALLOW + ANCHORS
    assert len(design.holdouts) == HOLDOUTS
    assert len(set(design.networks)) == len(design.networks)
    for arch in design.networks:
        space.check(arch)
        assert arch.resolution == 112


def test_shallow_networks_are_among_anchors_and_holdouts() -> None:
    space = SearchSpace.load("mobilenet_v3")
    design = draw_design(space, 128, np.random.default_rng(3))
    for group in (design.anchors, design.holdouts):
        assert any(len(stage) == 2 for arch in group for stage in arch.stages[1:])


@pytest.mark.parametrize(
    ("ratios", "depths", "count"), [((2, 3), (1, 2), 6), ((1, 2, 3), (1, 2), 12), ((1, 2), (1, 2, 3), 14)]
)
def test_a_small_space_has_hold_outs_as_many_as_anchors(
    ratios: tuple[int, ...], depths: tuple[int, ...], count: int, few: Path
) -> None:
    space = SearchSpace.load(few)
    space = replace(space, stages=(replace(space.stages[0], expand_ratios=ratios, depths=depths),))
    design = draw_design(space, 24, np.random.default_rng(0))
    assert len(set(design.networks)) == len(design.networks) == count
    assert 0 <= len(design.holdouts) - len(design.anchors) <= 1
    assert len(design.anchors) >= 2


def test_a_space_with_nothing_left_to_judge_by_is_refused(few: Path) -> None:
    space = SearchSpace.load(few)
    space = replace(space, stages=(replace(space.stages[0], expand_ratios=tuple(range(1, 10)), depths=(1,)),))
    with pytest.raises(
        ConfigError, match="few has 9 architectures at 24 px, a latency table needs 13 or more"
    ):
        draw_design(space, 24, np.random.default_rng(0))


@pytest.mark.parametrize("size", [96, 160])
def test_the_smallest_network_and_other_shallow_ones_are_anchors(size: int) -> None:
    space = SearchSpace.load("efficientnet_lite")
    design = draw_design(space, size, np.random.default_rng(3))
    small = design.anchors[:SHALLOW]
    assert small[0] == replace(space.smallest, resolution=size)
    for arch in small:
        assert [len(stage) for stage in arch.stages] == [stage.depths[0] for stage in space.stages]
    assert not set(small) & set(design.holdouts)


@pytest.mark.parametrize(("provider", "count"), [("", ANCHORS), ("openvino", PROVIDER_ANCHORS)])
def test_the_other_anchors_are_even(provider: str, count: int) -> None:
    space = SearchSpace.load("mobilenet_v3")
    design = draw_design(space, 128, np.random.default_rng(3), provider=provider)
    even = design.anchors[SHALLOW:]
    assert len(even) == count
    assert all(len(set(stage)) == 1 for arch in even for stage in arch.stages)
    depths = {tuple(map(len, arch.stages)) for arch in even}
    assert len(depths) > count // 2
    assert any(len(set(stage)) > 1 for arch in design.holdouts for stage in arch.stages)


def test_a_space_that_runs_out_of_even_networks_has_random_anchors_too(tiny: SearchSpace) -> None:
    first, *others = tiny.stages
    narrow = replace(tiny, stages=(replace(first, depths=(2,)), *others))
    design = draw_design(narrow, 32, np.random.default_rng(3), provider="cuda")
    uneven = [arch for arch in design.anchors if any(len(set(stage)) > 1 for stage in arch.stages)]
    assert uneven
    assert len(design.anchors) == SHALLOW + PROVIDER_ANCHORS
    assert not set(design.anchors) & set(design.holdouts)


def test_same_seed_draws_the_same_design(tiny: SearchSpace) -> None:
    first, second = (draw_design(tiny, 32, np.random.default_rng(4)) for _ in range(2))
    assert first == second
    assert first != draw_design(tiny, 32, np.random.default_rng(5))
