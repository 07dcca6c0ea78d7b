"""The plain residual block: ResNet-18's own counts, and what its expand ratios multiply."""

from dataclasses import replace

import torch

from ofa_nas.space.blocks import lower
from ofa_nas.space.costs import layer_parameters
from ofa_nas.space.search_space import SearchSpace
from ofa_nas.supernet.sorting import sort_channels
from ofa_nas.supernet.supernet import Supernet


def resnet(first_width: int, *, expand_ratios: tuple[int, ...] = (1,)) -> SearchSpace:
    """The shipped space with other widths and ratios."""
    space = SearchSpace.load("resnet")
    stages = tuple(
        replace(stage, width=first_width << index, expand_ratios=expand_ratios)
        for index, stage in enumerate(space.stages)
    )
    return replace(space, stem=replace(space.stem, width=first_width), stages=stages)


# He et al. 2016, arXiv:1512.03385, as torchvision counts it: 11,689,512, of which the stem has 9,536 and the
# classifier 513,000. Pooling halves the size there before the first stage; here its first block does, and so
# has a shortcut with weights.
def test_the_blocks_have_the_parameters_of_resnet_18() -> None:
    space = resnet(64)
    blocks = [layer for layer in space.layers(space.largest) if layer.kind == "basic"]
    shortcut = 64 * 64 + 2 * 64
    assert sum(map(layer_parameters, blocks)) == 11_689_512 - 9_536 - 513_000 + shortcut


def test_there_is_no_convolution_between_the_last_block_and_the_pooling() -> None:
    space = resnet(8)
    names = [layer.name for layer in space.layers(space.largest)]
    assert names[-3:] == ["s3b1", "head_pool", "classifier"]


def test_expand_ratios_multiply_the_output_of_a_basic_block() -> None:
    space = resnet(8, expand_ratios=(1, 3))
    for arch, ratio in ((space.smallest, 1), (space.largest, 3)):
        blocks = [layer for layer in space.layers(arch) if layer.kind == "basic"]
        assert [layer.mid_channels for layer in blocks] == [ratio * layer.out_channels for layer in blocks]


def test_the_last_batch_norm_before_every_sum_starts_at_zero() -> None:
    space = resnet(8)
    supernet = Supernet(space, torch.Generator().manual_seed(0))
    tensors = supernet.state_dict()
    for layer in space.layers(space.largest):
        if layer.kind == "basic":
            assert lower(layer)[-1].name == "act"
            assert (tensors[f"layers.{layer.name}.expand.bn.weight"] == 1.0).all()
            assert (tensors[f"layers.{layer.name}.project.bn.weight"] == 0.0).all()


def test_sorting_the_middle_leaves_the_largest_network_what_it_is() -> None:
    space = resnet(8, expand_ratios=(1, 2))
    supernet = Supernet(space, torch.Generator().manual_seed(0))
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for parameter in supernet.parameters():
            if parameter.ndim == 1:
                parameter.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(len(parameter)))
        largest, smallest = supernet(x, space.largest), supernet(x, space.smallest)
        sort_channels(supernet)
        torch.testing.assert_close(supernet(x, space.largest), largest, rtol=1e-3, atol=1e-4)
        assert not torch.allclose(supernet(x, space.smallest), smallest, rtol=1e-2)
