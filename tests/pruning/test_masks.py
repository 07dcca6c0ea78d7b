"""The rule that prunes: exact counts, nothing comes back, and what is pruned stays 0 in training."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from ofa_nas.pruning.masks import full_masks, prune_count, prune_smallest, pruned, remaining

NONE: frozenset[str] = frozenset()


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(100, 3))


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.named_parameters())


def test_weights_of_convolutions_and_linear_layers_are_pruned_and_nothing_else() -> None:
    assert full_masks(network()).keys() == {"0.weight", "3.weight"}


@pytest.mark.parametrize(
    ("left", "share", "count"),
    [(266_200, 0.2, 53_240), (10, 0.1, 1), (11, 0.1, 2), (7, 0.3, 3), (1, 0.2, 1), (100, 0.07, 7)],
)
def test_the_count_is_rounded_up_from_the_share_as_it_is_written(left: int, share: float, count: int) -> None:
    assert prune_count(left, share) == count


@given(
    values=st.lists(st.floats(-2, 2, width=32), min_size=2, max_size=60),
    share=st.sampled_from([0.1, 0.2, 0.5, 0.9]),
    cut=st.integers(1, 59),
)
def test_global_pruning_takes_exactly_the_smallest(values: list[float], share: float, cut: int) -> None:
    whole = torch.tensor(values)
    cut = min(cut, len(values) - 1)
    weights = {"a": whole[:cut], "b": whole[cut:]}
    masks = {name: torch.ones_like(value, dtype=torch.bool) for name, value in weights.items()}
    left = len(values)
    for _ in range(3):
        fewer = prune_smallest(weights, masks, share=share, scope="global", halved=NONE)
        assert not any(bool((fewer[name] & ~masks[name]).any()) for name in masks), "nothing comes back"
        left -= math.ceil(round(share * left, 9))
        assert remaining(fewer) == left
        kept = torch.cat([weights[name][fewer[name]].abs() for name in masks])
        gone = torch.cat([weights[name][masks[name] & ~fewer[name]].abs() for name in masks])
        assert not len(kept) or not len(gone) or gone.max() <= kept.min()
        masks = fewer


def test_by_layer_each_layer_loses_its_share_and_the_output_half_of_it() -> None:
    own = network()
    masks = prune_smallest(
        weights_of(own), full_masks(own), share=0.2, scope="layer", halved=frozenset({"3.weight"})
    )
    assert [int((~mask).sum()) for mask in masks.values()] == [8, 30]  # ceil(0.2 x 36), 0.1 x 300


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_what_is_pruned_stays_exactly_0_and_the_rest_learns(name: str) -> None:
    own = network()
    masks = prune_smallest(weights_of(own), full_masks(own), share=0.7, scope="global", halved=NONE)
    before = {key: value.detach().clone() for key, value in own.named_parameters()}
    with pruned(own, masks):
        parameters = own.parameters()
        optimizer = (
            torch.optim.SGD(parameters, 0.1, momentum=0.9, nesterov=True, weight_decay=0.1)
            if name == "sgd"
            else torch.optim.Adam(parameters, 0.1)
        )
        for _ in range(4):
            optimizer.zero_grad()
            own(torch.randn(8, 1, 5, 5)).square().sum().backward()
            optimizer.step()
    for key, mask in masks.items():
        value = own.get_parameter(key)
        assert bool((value[~mask] == 0.0).all())
        assert bool((value[mask] != before[key][mask]).all())
    own(torch.randn(8, 1, 5, 5)).square().sum().backward()
    assert all(bool(own.get_parameter(key).grad[~mask].any()) for key, mask in masks.items()), "only inside"  # type: ignore[index]
