"""Channel sorting keeps the largest subnet's function and puts the important channels first."""

from dataclasses import replace

import torch

from ofa_nas.space.architecture import Block
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.sorting import sort_channels
from tests.supernet.test_supernet import images, lively_supernet


def test_sorting_leaves_the_largest_subnet_unchanged_and_changes_the_smallest(tiny: SearchSpace) -> None:
    supernet = lively_supernet(tiny)
    x, small = images(tiny.largest), images(tiny.smallest)
    with torch.no_grad():
        largest, smallest = supernet(x, tiny.largest), supernet(small, tiny.smallest)
        sort_channels(supernet)
        torch.testing.assert_close(supernet(x, tiny.largest), largest, rtol=1e-5, atol=1e-5)
        assert (supernet(small, tiny.smallest) - smallest).abs().max() > 1e-3


def test_sorted_channels_fall_in_importance(tiny: SearchSpace) -> None:
    supernet = lively_supernet(tiny)
    sort_channels(supernet)
    for name, weight in supernet.state_dict().items():
        if name.endswith("project.weight"):
            importance = weight.abs().sum(dim=(0, 2, 3))
            assert (importance[:-1] >= importance[1:]).all()


def test_sorting_within_groups_leaves_the_middle_widths_unchanged_too(tiny: SearchSpace) -> None:
    stages = tuple(replace(stage, expand_ratios=(2, 3, 6)) for stage in tiny.stages)
    wide = replace(tiny, stages=stages)
    supernet = lively_supernet(wide)
    kept = wide.keep_largest(expand_ratios=2)
    three = replace(kept.largest, stages=tuple((Block(5, 3),) * 2 for _ in wide.stages))
    mixed = replace(kept.largest, stages=((Block(5, 6), Block(3, 3)), (Block(3, 3), Block(5, 6))))
    x = images(wide.largest)
    with torch.no_grad():
        before = [supernet(x, arch) for arch in (wide.largest, three, mixed)]
        small = supernet(images(wide.smallest), wide.smallest)
        sort_channels(supernet, kept=kept)
        for arch, logits in zip((wide.largest, three, mixed), before, strict=True):
            torch.testing.assert_close(supernet(x, arch), logits, rtol=1e-5, atol=1e-5)
        assert (supernet(images(wide.smallest), wide.smallest) - small).abs().max() > 1e-3


def test_sorting_within_groups_leaves_blocks_that_do_not_expand_unchanged(tiny: SearchSpace) -> None:
    space = replace(tiny, stages=tuple(replace(stage, expand_ratios=(1, 2, 3)) for stage in tiny.stages))
    supernet, x = lively_supernet(space), images(space.largest)
    archs = [
        replace(space.largest, stages=tuple((Block(5, ratio),) * 2 for _ in space.stages))
        for ratio in (1, 2, 3)
    ]
    with torch.no_grad():
        before = [supernet(x, arch) for arch in archs]
        sort_channels(supernet, kept=space)
        for arch, logits in zip(archs, before, strict=True):
            torch.testing.assert_close(supernet(x, arch), logits, rtol=1e-5, atol=1e-5)
