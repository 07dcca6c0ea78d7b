"""Losses without labels, against closed forms, loops and numerical gradients."""

import math

import pytest
import torch
import torch.nn.functional as F

from ofa_nas.errors import ConfigError
from ofa_nas.training.losses import load_loss
from ofa_nas.training.losses.align_uniform import align, follow, terms, uniform


def features(count: int, width: int, *, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, width, generator=rng, dtype=torch.float64), dim=1)


def test_alignment_is_two_minus_twice_the_cosine() -> None:
    x, y = features(40, 8), features(40, 8, seed=1)
    assert float(align(x, x)) == 0.0
    assert float(align(x, -x)) == pytest.approx(4.0)
    assert float(align(x, y)) == pytest.approx(float((2 - 2 * (x * y).sum(1)).mean()))
    assert float(follow(x, y)) == float(align(x, y))


def test_uniformity_of_a_cross_is_its_closed_form() -> None:
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]], dtype=torch.float64)
    # Four pairs at a squared distance of 2, two at 4.
    assert float(uniform(x)) == pytest.approx(math.log((4 * math.exp(-4) + 2 * math.exp(-8)) / 6))
    assert float(uniform(torch.ones(5, 2, dtype=torch.float64) / 2**0.5)) == pytest.approx(0.0)


def test_uniformity_is_that_of_a_plain_loop() -> None:
    x = features(12, 5)
    pairs = [(i, j) for i in range(12) for j in range(i)]
    mean = sum(math.exp(-2 * float((x[i] - x[j]).square().sum())) for i, j in pairs) / len(pairs)
    assert float(uniform(x)) == pytest.approx(math.log(mean))


@pytest.mark.parametrize("width", [64, 128])
def test_the_floor_is_nearly_that_of_an_even_spread(width: int) -> None:
    # E exp(-2 d²) = exp(-4) E exp(4 cos), and cos has variance 1 / D: nearly -4 + 8 / D.
    assert float(uniform(features(3000, width))) == pytest.approx(-4 + 8 / width, abs=0.01)


def test_terms_are_alignment_and_the_mean_uniformity_of_both_views() -> None:
    x, y = features(20, 6), features(20, 6, seed=3)
    found = terms(x, y)
    assert list(found) == ["align", "uniform"]
    assert float(found["align"]) == float(align(x, y))
    assert float(found["uniform"]) == pytest.approx(float(uniform(x) + uniform(y)) / 2)


def test_gradients_are_numerical_ones() -> None:
    x, y = features(6, 4).requires_grad_(), features(6, 4, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda *views: tuple(terms(*views).values()), (x, y))


def test_equal_features_have_a_finite_gradient() -> None:
    x = torch.ones(4, 3, dtype=torch.float64, requires_grad=True)
    loss = sum(terms(F.normalize(x, dim=1), F.normalize(x, dim=1)).values())
    assert isinstance(loss, torch.Tensor)
    loss.backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())


def test_a_loss_is_found_by_its_name_or_path() -> None:
    assert load_loss("align-uniform") is load_loss("ofa_nas.training.losses.align_uniform")
    with pytest.raises(ConfigError, match="there is no 'nothing'; there are align-uniform"):
        load_loss("nothing")
    with pytest.raises(ConfigError, match=r"os\.path: not a loss: the module lacks terms, follow"):
        load_loss("os.path")
