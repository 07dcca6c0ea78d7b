"""The learning rate and the number of steps in closed form."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofa_nas.training.recipe import SandwichRecipe

RECIPE = SandwichRecipe(learning_rate=0.4, warmup=0.1)


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 0.4 / 11), (4, 0.4 * 5 / 11), (9, 0.4 * 10 / 11), (10, 0.4), (55, 0.2), (100, 0.0)],
)
def test_rate_rises_to_the_peak_and_falls_as_a_cosine(step: int, rate: float) -> None:
    assert RECIPE.rate_at(step, 100) == pytest.approx(rate, abs=1e-12)


def test_without_warm_up_the_first_step_has_the_peak_rate() -> None:
    assert replace(RECIPE, warmup=0.0).rate_at(0, 100) == 0.4


@given(total=st.integers(1, 500), warmup=st.floats(0.0, 1.0), data=st.data())
def test_rate_stays_between_zero_and_the_peak(total: int, warmup: float, data: st.DataObject) -> None:
    step = data.draw(st.integers(0, total - 1))
    assert 0.0 < replace(RECIPE, warmup=warmup).rate_at(step, total) <= 0.4


def test_steps_are_full_batches_of_all_epochs() -> None:
    recipe = SandwichRecipe(epochs=2.5, batch_size=40)
    assert recipe.steps_per_epoch(419) == 10
    assert recipe.total_steps(419) == 25
    assert replace(recipe, epochs=0.001).total_steps(419) == 1
