"""Channel sorting keeps the largest subnet's function and puts the important channels first."""

import torch

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
